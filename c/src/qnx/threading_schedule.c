/* Who runs when and where on QNX: the four priorities, run masks, and what the kernel says of a
 * thread. */
#include "threading.h"

#include "../core/fail.h"
#include "error.h"

/* ---- Priority ---- */

int wrt__qnx_policy(uint32_t priority)
{
    return priority == WRT_THREAD_PRIORITY_REALTIME ? SCHED_FIFO : SCHED_RR;
}

int wrt__qnx_number(const wrt_qnx_thread_system *system, uint32_t priority)
{
    return (int)system->priorities[priority - WRT_THREAD_PRIORITY_LOW];
}

/* The most urgent of the four that the number comes up to. */
static uint32_t priority_of(const wrt_qnx_thread_system *system, int number)
{
    uint32_t priority = WRT_THREAD_PRIORITY_REALTIME;

    while (priority > WRT_THREAD_PRIORITY_LOW && number < wrt__qnx_number(system, priority)) {
        priority--;
    }
    return priority;
}

wrt_status wrt__qnx_thread_set_priority(void *self, uint32_t priority)
{
    static const char operation[] = "wrt_qnx_thread_set_priority";

    wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status == WRT_OK) status = wrt__thread_priority_read(operation, &priority);
    if (status != WRT_OK) return status;
    const struct sched_param param = {.sched_priority = wrt__qnx_number(self, priority)};
    const int code = -SchedSet_r(0, 0, wrt__qnx_policy(priority), &param);
    if (code == EOK) return WRT_OK;
    return wrt_fail_system(wrt__qnx_status(code), operation,
                           "priority {0} was refused: beyond 63 it takes the ability "
                           "PROCMGR_AID_PRIORITY, or root",
                           code, (uint64_t)param.sched_priority, 0);
}

/* ---- CPUs ---- */

static uint32_t half_word(const wrt_cpu_set *cpus, int index)
{
    return (uint32_t)(cpus->words[index / 2] >> (index % 2 * 32));
}

int wrt__qnx_set_cpus(const wrt_qnx_thread_system *system, const wrt_cpu_set *cpus)
{
    const wrt_cpu_set *asked = wrt__cpus_are_any(cpus) ? &system->cpus : cpus;
    const int size = (int)RMSK_SIZE(system->cpu_count);
    wrt__qnx_run_mask mask = {.size = size};

    for (int i = 0; i < size; i++) mask.words[i] = mask.words[size + i] = half_word(asked, i);
    uint32_t seen = 0;
    for (int i = 0; i < size; i++) seen |= mask.words[i];
    if (seen == 0) return EINVAL; /* zero would leave the mask as it is */
    return -ThreadCtl_r(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &mask);
}

int wrt__qnx_get_cpus(uint32_t cpu_count, int32_t thread, wrt_cpu_set *cpus_out)
{
    const int size = (int)RMSK_SIZE(cpu_count);
    wrt__qnx_run_mask mask = {.size = size};

    const int code = thread == 0
                         ? -ThreadCtl_r(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &mask)
                         : -ThreadCtlExt_r(0, thread, _NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &mask);
    if (code != EOK) return code;
    *cpus_out = (wrt_cpu_set){{0}};
    for (int i = 0; i < size; i++) {
        cpus_out->words[i / 2] |= (uint64_t)mask.words[i] << (i % 2 * 32);
    }
    return EOK;
}

wrt_status wrt__qnx_fail_for_cpus(const char *operation, int code, uint32_t cpu_count)
{
    if (code == EINVAL) {
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "none of these CPUs exists: the system has {0}", code, cpu_count, 0);
    }
    return wrt_fail_system(wrt__qnx_status(code), operation, "ThreadCtl with a run mask failed",
                           code, 0, 0);
}

wrt_status wrt__qnx_thread_set_cpus(void *self, const wrt_cpu_set *cpus)
{
    static const char operation[] = "wrt_qnx_thread_set_cpus";
    const wrt_qnx_thread_system *system = self;

    const wrt_status status = wrt__qnx_threads_check(operation, system);
    if (status != WRT_OK) return status;
    if (cpus == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "cpus is NULL");
    const int code = wrt__qnx_set_cpus(system, cpus);
    return code == EOK ? WRT_OK : wrt__qnx_fail_for_cpus(operation, code, system->cpu_count);
}

/* ---- What the kernel says ---- */

/* Whom a call is about. Errors: STATE. */
static wrt_status find_subject(const char *operation, const wrt_qnx_thread_system *system,
                               const wrt_thread *thread, wrt__qnx_thread *subject_out)
{
    const wrt__qnx_thread *known = (const wrt__qnx_thread *)(const void *)thread;

    wrt_status status = wrt__qnx_threads_check(operation, system);
    if (status == WRT_OK && known != NULL) {
        status = wrt__thread_find(operation, system, &known->record);
    }
    if (status != WRT_OK) return status;
    *subject_out = (wrt__qnx_thread){.record = {.id = pthread_self()}};
    if (known == NULL) return WRT_OK;
    *subject_out =
        (wrt__qnx_thread){.record = {.id = known->record.id}, .stack_size = known->stack_size};
    return WRT_OK;
}

static wrt_status fail_for_subject(const char *operation, int code, int32_t id)
{
    if (code == ESRCH || code == EINVAL) {
        return wrt_fail_system(WRT_ERR_STATE, operation, "thread {0} has ended", code, (uint64_t)id,
                               0);
    }
    return wrt_fail_system(wrt__qnx_status(code), operation, "thread {0} could not be described",
                           code, (uint64_t)id, 0);
}

/* An error number of QNX. */
static int read_cpu_time(int32_t id, uint64_t *nanoseconds_out)
{
    struct timespec time;
    clockid_t clock = 0;

    const int code = pthread_getcpuclockid(id, &clock);
    if (code != EOK) return code;
    if (clock_gettime(clock, &time) != 0) return errno;
    *nanoseconds_out = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
    return EOK;
}

wrt_status wrt__qnx_thread_cpu_time(void *self, const wrt_thread *thread, uint64_t *nanoseconds_out)
{
    static const char operation[] = "wrt_qnx_thread_cpu_time";
    wrt__qnx_thread who;

    const wrt_status status = find_subject(operation, self, thread, &who);
    if (status != WRT_OK) return status;
    if (nanoseconds_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "nanoseconds_out is NULL");
    }
    const int code = read_cpu_time(who.record.id, nanoseconds_out);
    return code == EOK ? WRT_OK : fail_for_subject(operation, code, who.record.id);
}

static int describe(const wrt_qnx_thread_system *system, int32_t id, wrt_thread_report *report)
{
    struct sched_param param;

    const int policy = SchedGet_r(0, id, &param);
    if (policy < 0) return -policy;
    report->system_policy = policy;
    report->system_priority = param.sched_priority;
    report->priority = priority_of(system, param.sched_priority);
    int code = wrt__qnx_get_cpus(system->cpu_count, id, &report->cpus);
    if (code == EOK) code = pthread_getname_np(id, report->name, sizeof report->name);
    return code == EOK ? read_cpu_time(id, &report->cpu_time_ns) : code;
}

wrt_status wrt__qnx_thread_query(void *self, const wrt_thread *thread,
                                 wrt_thread_report *report_out)
{
    static const char operation[] = "wrt_qnx_thread_query";
    wrt__qnx_thread who;

    const wrt_status status = find_subject(operation, self, thread, &who);
    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "report_out is NULL");
    }
    wrt_thread_report report = {.system_id = (uint64_t)who.record.id, .stack_size = who.stack_size};
    const int code = describe(self, who.record.id, &report);
    if (code != EOK) return fail_for_subject(operation, code, who.record.id);
    *report_out = report;
    return WRT_OK;
}
