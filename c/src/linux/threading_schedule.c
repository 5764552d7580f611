/* Who runs when and where: the four priorities on nice values and a real-time policy, CPUs, and
 * what the kernel says of a thread. Why it refuses one of them is in threading_refused.c. */
#include "threading.h"

#include "../core/fail.h"
#include "times.h"

enum { NICE_MIN = -20, NICE_MAX = 19 };

/* ---- Priority ---- */

static int nice_of(const wrt_linux_thread_system *system, uint32_t priority)
{
    const int step = (int)system->nice_step;
    int nice_value = system->base_nice;

    if (priority == WRT_THREAD_PRIORITY_LOW) nice_value += step;
    if (priority == WRT_THREAD_PRIORITY_HIGH) nice_value -= step;
    if (nice_value < NICE_MIN) return NICE_MIN;
    return nice_value > NICE_MAX ? NICE_MAX : nice_value;
}

/* -1 and errno if this process may not. */
static int try_priority(const wrt_linux_thread_system *system, int32_t id, uint32_t priority)
{
    if (priority == WRT_THREAD_PRIORITY_REALTIME) {
        return wrt__sys_setscheduler(id, (int)system->realtime_policy,
                                     (int)system->realtime_priority);
    }
    if (wrt__sys_setscheduler(id, SCHED_OTHER, 0) != 0) return -1;
    return wrt__sys_setnice(id, nice_of(system, priority));
}

static bool is_refusal(int code)
{
    return code == EPERM || code == EACCES;
}

_Static_assert(SCHED_FIFO == (int)WRT_LINUX_REALTIME_FIFO &&
                   SCHED_RR == (int)WRT_LINUX_REALTIME_ROUND_ROBIN,
               "policies have the system's numbers");

/* Why `priority`, at which the system's answer was errno, can't be had. */
static wrt_status fail_for_priority(const char *operation, const wrt_linux_thread_system *system,
                                    uint32_t priority, int code)
{
    if (!is_refusal(code)) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "setting priority {0} failed", code,
                               priority, 0);
    }
    if (priority == WRT_THREAD_PRIORITY_REALTIME) {
        return wrt__linux_refuse_realtime(operation, system->realtime_policy,
                                          system->realtime_priority, code);
    }
    return wrt__linux_refuse_nice(operation, nice_of(system, priority), code);
}

wrt_status wrt__linux_set_priority(const char *operation, const wrt_linux_thread_system *system,
                                   int32_t id, uint32_t priority)
{
    if (try_priority(system, id, priority) == 0) return WRT_OK;
    return fail_for_priority(operation, system, priority, errno);
}

wrt_status wrt__linux_set_nearest_priority(const char *operation,
                                           const wrt_linux_thread_system *system, int32_t id,
                                           uint32_t priority)
{
    for (; priority >= WRT_THREAD_PRIORITY_LOW; priority--) {
        if (try_priority(system, id, priority) == 0) return WRT_OK;
        const int code = errno;
        if (!is_refusal(code)) return fail_for_priority(operation, system, priority, code);
    }
    return WRT_OK; /* its starter is less urgent than LOW: it stays so */
}

wrt_status wrt__linux_thread_set_priority(void *self, uint32_t priority)
{
    static const char operation[] = "wrt_linux_thread_set_priority";

    wrt_status status = wrt__linux_threads_check(operation, self);
    if (status == WRT_OK) status = wrt__thread_priority_read(operation, &priority);
    if (status != WRT_OK) return status;
    return wrt__linux_set_priority(operation, self, 0, priority);
}

/* ---- CPUs ---- */

wrt_status wrt__linux_set_cpus(const char *operation, const wrt_linux_thread_system *system,
                               int32_t id, const wrt_cpu_set *cpus)
{
    cpu_set_t asked;

    CPU_ZERO(&asked);
    if (wrt__cpus_are_any(cpus)) memcpy(&asked, system->cpus, sizeof asked);
    for (size_t cpu = 0; cpu < WRT_THREAD_CPU_MAX; cpu++) {
        if ((cpus->words[cpu / 64] >> (cpu % 64) & 1u) != 0) CPU_SET(cpu, &asked);
    }
    if (wrt__sys_setaffinity(id, &asked) == 0) return WRT_OK;
    return wrt__linux_refuse_cpus(operation, &asked, errno);
}

wrt_status wrt__linux_thread_set_cpus(void *self, const wrt_cpu_set *cpus)
{
    static const char operation[] = "wrt_linux_thread_set_cpus";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (cpus == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "cpus is NULL");
    return wrt__linux_set_cpus(operation, self, 0, cpus);
}

static void copy_cpus(wrt_cpu_set *cpus_out, const cpu_set_t *cpus)
{
    for (size_t cpu = 0; cpu < WRT_THREAD_CPU_MAX; cpu++) {
        if (CPU_ISSET(cpu, cpus)) cpus_out->words[cpu / 64] |= (uint64_t)1 << (cpu % 64);
    }
}

/* ---- What the kernel says ---- */

typedef struct subject {
    pthread_t handle;
    pid_t id;
    clockid_t clock;
} subject;

/* Whom a call is about. Errors: STATE. */
static wrt_status find_subject(const char *operation, const wrt_linux_thread_system *system,
                               const wrt_thread *thread, subject *subject_out)
{
    const wrt__linux_thread *known = (const wrt__linux_thread *)(const void *)thread;

    wrt_status status = wrt__linux_threads_check(operation, system);
    if (status == WRT_OK && known != NULL) {
        status = wrt__thread_find(operation, system, &known->record);
    }
    if (status != WRT_OK) return status;
    *subject_out = known == NULL ? (subject){.handle = pthread_self()}
                                 : (subject){.handle = known->handle, .id = known->record.id};
    if (wrt__sys_thread_clock(subject_out->handle, &subject_out->clock) == 0) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "the thread has ended");
}

static wrt_status read_clock(const char *operation, clockid_t clock, uint64_t *nanoseconds_out)
{
    struct timespec time;

    if (clock_gettime(clock, &time) != 0) {
        return wrt_fail_system(WRT_ERR_STATE, operation, "the thread has ended", errno, 0, 0);
    }
    *nanoseconds_out = wrt__nanoseconds(&time);
    return WRT_OK;
}

wrt_status wrt__linux_thread_cpu_time(void *self, const wrt_thread *thread,
                                      uint64_t *nanoseconds_out)
{
    static const char operation[] = "wrt_linux_thread_cpu_time";
    subject who;

    const wrt_status status = find_subject(operation, self, thread, &who);
    if (status != WRT_OK) return status;
    if (nanoseconds_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "nanoseconds_out is NULL");
    }
    return read_clock(operation, who.clock, nanoseconds_out);
}

/* The reverse of nice_of() and try_priority(); what lies between two belongs to the nearer one. */
static uint32_t priority_of(const wrt_linux_thread_system *system, int policy, int nice_value)
{
    const int half = (int)(system->nice_step + 1u) / 2;

    if (policy == SCHED_IDLE) return WRT_THREAD_PRIORITY_LOW;
    if (policy != SCHED_OTHER && policy != SCHED_BATCH) return WRT_THREAD_PRIORITY_REALTIME;
    if (nice_value >= system->base_nice + half) return WRT_THREAD_PRIORITY_LOW;
    return nice_value <= system->base_nice - half ? WRT_THREAD_PRIORITY_HIGH
                                                  : WRT_THREAD_PRIORITY_NORMAL;
}

/* Policy and priority; -1 and errno. */
static int read_schedule(const wrt_linux_thread_system *system, pid_t id, wrt_thread_report *report)
{
    int nice_value = 0;
    int priority = 0;

    const int policy = wrt__sys_getscheduler(id, &priority);
    if (policy < 0 || wrt__sys_getnice(id, &nice_value) != 0) return -1;
    report->priority = priority_of(system, policy, nice_value);
    report->system_policy = policy;
    report->system_priority = policy == SCHED_FIFO || policy == SCHED_RR ? priority : nice_value;
    return 0;
}

static int read_cpus(pid_t id, wrt_thread_report *report)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    if (wrt__sys_getaffinity(id, &cpus) != 0) return -1;
    copy_cpus(&report->cpus, &cpus);
    return 0;
}

/* Stack and name, which the C library knows; an error number. */
static int read_description(pthread_t handle, wrt_thread_report *report)
{
    pthread_attr_t attributes;
    size_t size = 0;

    const int code = wrt__sys_thread_attributes(handle, &attributes);
    if (code != 0) return code;
    (void)pthread_attr_getstacksize(&attributes, &size);
    (void)pthread_attr_destroy(&attributes);
    report->stack_size = size;
    return wrt__sys_thread_name(handle, report->name, sizeof report->name);
}

wrt_status wrt__linux_thread_query(void *self, const wrt_thread *thread,
                                   wrt_thread_report *report_out)
{
    static const char operation[] = "wrt_linux_thread_query";
    subject who;

    wrt_status status = find_subject(operation, self, thread, &who);
    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "report_out is NULL");
    }
    const pid_t id = who.id != 0 ? who.id : (pid_t)syscall(SYS_gettid);
    wrt_thread_report report = {.system_id = (uint64_t)id};
    status = read_clock(operation, who.clock, &report.cpu_time_ns);
    if (status != WRT_OK) return status;
    int code = read_description(who.handle, &report);
    if (code == 0 && (read_schedule(self, id, &report) != 0 || read_cpus(id, &report) != 0)) {
        code = errno;
    }
    if (code == 0) {
        *report_out = report;
        return WRT_OK;
    }
    return wrt_fail_system(code == ESRCH || code == ENOENT ? WRT_ERR_STATE : WRT_ERR_SYSTEM,
                           operation, "thread {0} could not be described, or has ended", code,
                           (uint64_t)id, 0);
}
