/* The life of QNX's threads. Priority and stack go into the thread's attributes; CPUs and name can
 * only be set by the thread itself, before it runs what it is for: its starter waits for that, so
 * that a failure is the starter's. */
#include "threading.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/name.h"
#include "error.h"

_Static_assert(sizeof(wrt__qnx_thread) <= sizeof(wrt_thread), "a thread fits its storage");

enum { PRIORITY_MAX = 255 };

/* ---- The new thread ---- */

enum { START_WAITS, START_RUNS, START_FAILED };

/* On the starter's stack: the thread does not look at it after it has said how it started. */
typedef struct starting {
    wrt_qnx_thread_system *system;
    const wrt_thread_config *config;
    int32_t code;     /* error number of QNX */
    uint32_t outcome; /* atomic */
} starting;

static void set_own_name(const char *name)
{
    char cut[WRT_THREAD_NAME_SIZE];

    if (name == NULL) return;
    wrt__name_copy(cut, sizeof cut, name);
    (void)pthread_setname_np(pthread_self(), cut); /* a name is never worth a failure */
}

static void *run_thread(void *given)
{
    starting *start = given;
    wrt_qnx_thread_system *system = start->system;
    const wrt_thread_entry_fn entry = start->config->entry;
    void *context = start->config->context;

    set_own_name(start->config->name);
    const int code = wrt__qnx_set_cpus(system, &start->config->cpus);
    start->code = code;
    wrt__store_ordered(&start->outcome, code == EOK ? START_RUNS : START_FAILED);
    wrt__qnx_thread_wake(system, &start->outcome, UINT32_MAX);
    if (code == EOK) entry(context);
    return NULL;
}

/* ---- Start ---- */

static int set_stack(pthread_attr_t *attributes, const wrt_thread_config *config)
{
    const size_t size = (size_t)config->stack_size;

    if (config->stack != NULL) return pthread_attr_setstack(attributes, config->stack, size);
    return size != 0 ? pthread_attr_setstacksize(attributes, size) : EOK;
}

/* Attributes that say all by themselves: nothing comes from the starter. */
static int set_schedule(pthread_attr_t *attributes, const wrt_qnx_thread_system *system,
                        uint32_t priority)
{
    const struct sched_param param = {.sched_priority = wrt__qnx_number(system, priority)};

    int code = pthread_attr_setinheritsched(attributes, PTHREAD_EXPLICIT_SCHED);
    if (code == EOK) code = pthread_attr_setschedpolicy(attributes, wrt__qnx_policy(priority));
    return code == EOK ? pthread_attr_setschedparam(attributes, &param) : code;
}

static wrt_status fail_to_create(const char *operation, const wrt_qnx_thread_system *system,
                                 uint32_t priority, int code)
{
    if (code == EPERM || code == EACCES) {
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "priority {0} was refused: beyond 63 it takes the ability "
                               "PROCMGR_AID_PRIORITY, or root; or ask for less",
                               code, (uint64_t)wrt__qnx_number(system, priority), 0);
    }
    return wrt_fail_system(
        wrt__qnx_status(code), operation,
        "pthread_create failed: for EAGAIN see RLIMIT_NTHR and memory for stacks", code, 0, 0);
}

static int create(const wrt_qnx_thread_system *system, const wrt_thread_config *config,
                  uint32_t priority, starting *start, pthread_t *id)
{
    pthread_attr_t attributes;

    int code = pthread_attr_init(&attributes);
    if (code != EOK) return code;
    code = set_schedule(&attributes, system, priority);
    if (code == EOK) code = set_stack(&attributes, config);
    if (code == EOK) code = pthread_create(id, &attributes, run_thread, start);
    (void)pthread_attr_destroy(&attributes);
    return code;
}

/* With the priority of the config, or the nearest that this process may have. */
static wrt_status create_nearest(const char *operation, const wrt_qnx_thread_system *system,
                                 const wrt_thread_config *config, starting *start, pthread_t *id)
{
    uint32_t priority = config->priority;

    int code = create(system, config, priority, start, id);
    while (code == EPERM && !config->require_priority && priority > WRT_THREAD_PRIORITY_LOW) {
        priority--;
        code = create(system, config, priority, start, id);
    }
    return code == EOK ? WRT_OK : fail_to_create(operation, system, priority, code);
}

static void wait_until_started(wrt_qnx_thread_system *system, const starting *start)
{
    while (wrt__load_acquire(&start->outcome) == START_WAITS) {
        const wrt_status looks_again =
            wrt__qnx_thread_wait(system, &start->outcome, START_WAITS, UINT64_MAX);
        (void)looks_again;
    }
}

static wrt_status start(void *self, wrt_thread *thread, const wrt_thread_config *config)
{
    static const char operation[] = "wrt_qnx_thread_start";
    wrt_qnx_thread_system *system = self;
    wrt_thread_config known;
    pthread_t id = 0;

    wrt_status status = wrt__qnx_threads_check(operation, system);
    if (status != WRT_OK) return status;
    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "thread is NULL");
    status = wrt__thread_config_read(operation, config, &known);
    if (status != WRT_OK) return status;

    starting start_of = {.system = system, .config = &known};
    status = create_nearest(operation, system, &known, &start_of, &id);
    if (status != WRT_OK) return status;
    wait_until_started(system, &start_of);
    if (start_of.code != EOK) {
        (void)pthread_join(id, NULL);
        return wrt__qnx_fail_for_cpus(operation, start_of.code, system->cpu_count);
    }
    const wrt__qnx_thread started = {
        .record = {.system = system, .id = id, .state = WRT__THREAD_OUT},
        .stack_size = known.stack_size};
    memcpy(thread, &started, sizeof started);
    (void)wrt__add(&system->thread_count, 1);
    return WRT_OK;
}

/* ---- Join and detach ---- */

/* Makes the thread the caller's alone, to join or detach. */
static wrt_status claim(const char *operation, void *self, wrt_thread *thread)
{
    wrt__qnx_thread *known = (wrt__qnx_thread *)(void *)thread;

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    return wrt__thread_claim(operation, self, known == NULL ? NULL : &known->record);
}

static int wait_for_end(pthread_t id, uint64_t timeout_ns)
{
    const int code = wrt__qnx_arm(_NTO_TIMEOUT_JOIN, timeout_ns);

    return code == EOK ? pthread_join(id, NULL) : code;
}

static wrt_status fail_to_join(const char *operation, const wrt__qnx_thread *known, int code,
                               uint64_t timeout_ns)
{
    const uint64_t id = (uint64_t)known->record.id;

    switch (code) {
    case ETIMEDOUT:
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "thread {0} still runs after {1} nanoseconds", id, timeout_ns);
    case EDEADLK:
        return wrt_fail(WRT_ERR_STATE, operation, "a thread can't join itself");
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pthread_join of thread {0} failed", code,
                               id, 0);
    }
}

static wrt_status join(void *self, wrt_thread *thread, uint64_t timeout_ns)
{
    static const char operation[] = "wrt_qnx_thread_join";
    wrt_qnx_thread_system *system = self;
    wrt__qnx_thread *known = (wrt__qnx_thread *)(void *)thread;

    wrt_status status = claim(operation, self, thread);
    if (status != WRT_OK) return status;
    const int code = wait_for_end(known->record.id, timeout_ns);
    if (code != EOK) status = fail_to_join(operation, known, code, timeout_ns);
    return wrt__thread_settle(&known->record, &system->thread_count, status);
}

static wrt_status detach(void *self, wrt_thread *thread)
{
    static const char operation[] = "wrt_qnx_thread_detach";
    wrt_qnx_thread_system *system = self;
    wrt__qnx_thread *known = (wrt__qnx_thread *)(void *)thread;

    wrt_status status = claim(operation, self, thread);
    if (status != WRT_OK) return status;
    const int code = pthread_detach(known->record.id);
    if (code != EOK) {
        status = wrt_fail_system(WRT_ERR_SYSTEM, operation, "pthread_detach of thread {0} failed",
                                 code, (uint64_t)known->record.id, 0);
    }
    return wrt__thread_settle(&known->record, &system->thread_count, status);
}

/* ---- Life of the system ---- */

static wrt_status check_priorities(const char *operation, const uint32_t *priorities)
{
    for (int i = 0; i < 4; i++) {
        if (priorities[i] > PRIORITY_MAX || (i > 0 && priorities[i] < priorities[i - 1])) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "priority {0} is above {1}, or falls from one to the next",
                                   priorities[i], PRIORITY_MAX);
        }
    }
    return WRT_OK;
}

static wrt_status read_config(const char *operation, const wrt_qnx_thread_system_config *given,
                              uint32_t *priorities)
{
    wrt_qnx_thread_system_config config;

    const wrt_status status = wrt__config_read(operation, given, &config, sizeof config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config.reserved, sizeof config.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    priorities[0] =
        config.low_priority != 0 ? config.low_priority : (uint32_t)WRT_QNX_LOW_PRIORITY_DEFAULT;
    priorities[1] = config.normal_priority != 0 ? config.normal_priority
                                                : (uint32_t)WRT_QNX_NORMAL_PRIORITY_DEFAULT;
    priorities[2] =
        config.high_priority != 0 ? config.high_priority : (uint32_t)WRT_QNX_HIGH_PRIORITY_DEFAULT;
    priorities[3] = config.realtime_priority != 0 ? config.realtime_priority
                                                  : (uint32_t)WRT_QNX_REALTIME_PRIORITY_DEFAULT;
    return check_priorities(operation, priorities);
}

static uint32_t count_cpus(void)
{
    const long found = sysconf(_SC_NPROCESSORS_CONF);

    if (found < 1) return 1;
    return found > WRT_THREAD_CPU_MAX ? (uint32_t)WRT_THREAD_CPU_MAX : (uint32_t)found;
}

wrt_status wrt_qnx_thread_system_init(wrt_qnx_thread_system *system,
                                      const wrt_qnx_thread_system_config *config)
{
    uint32_t priorities[4];
    wrt_cpu_set cpus = {{0}};

    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is NULL");
    wrt_status status = read_config(__func__, config, priorities);
    if (status != WRT_OK) return status;
    const uint32_t cpu_count = count_cpus();
    const int code = wrt__qnx_get_cpus(cpu_count, 0, &cpus);
    if (code != EOK) return wrt__qnx_fail_for_cpus(__func__, code, cpu_count);
    const wrt_qnx_thread_system before = *system;
    *system = (wrt_qnx_thread_system){
        .self = system, .cpus = cpus, .process = getpid(), .cpu_count = cpu_count};
    memcpy(system->priorities, priorities, sizeof priorities);
    status = wrt__qnx_buckets_init(__func__, system);
    if (status != WRT_OK) *system = before;
    return status;
}

wrt_status wrt__qnx_threads_check(const char *operation, const wrt_qnx_thread_system *system)
{
    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "system is NULL");
    if (system->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the thread system is not initialised");
    }
    if (system->self != system) {
        return wrt_fail(WRT_ERR_STATE, operation, "the thread system was moved");
    }
    if (system->process == getpid()) return WRT_OK;
    return wrt_fail(
        WRT_ERR_STATE, operation,
        "the thread system belongs to the process that forked this one; make a new one");
}

wrt_status wrt_qnx_thread_system_deinit(wrt_qnx_thread_system *system)
{
    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is NULL");
    if (wrt__is_zero(system, sizeof *system)) return WRT_OK;
    wrt_status status = wrt__qnx_threads_check(__func__, system);
    if (status != WRT_OK) return status;
    const uint32_t out = wrt__load_acquire(&system->thread_count);
    if (out != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "{0} threads are neither joined nor detached", out, 0);
    }
    status = wrt__qnx_buckets_deinit(__func__, system);
    if (status == WRT_OK) *system = (wrt_qnx_thread_system){0};
    return status;
}

wrt_thread_system wrt_qnx_thread_system_interface(wrt_qnx_thread_system *system)
{
    static const wrt_thread_system_ops ops = {
        .start = start,
        .join = join,
        .detach = detach,
        .set_priority = wrt__qnx_thread_set_priority,
        .set_cpus = wrt__qnx_thread_set_cpus,
        .query = wrt__qnx_thread_query,
        .cpu_time = wrt__qnx_thread_cpu_time,
        .now = wrt__qnx_thread_now,
        .wait = wrt__qnx_thread_wait,
        .wake = wrt__qnx_thread_wake,
        .lock_init = wrt__qnx_system_lock_init,
        .lock = wrt__qnx_system_lock,
        .unlock = wrt__qnx_system_unlock,
        .lock_deinit = wrt__qnx_system_lock_deinit,
    };

    return (wrt_thread_system){&ops, system};
}
