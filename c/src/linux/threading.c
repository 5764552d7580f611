/* The life of Linux's threads. A new thread says its number and waits; its starter gives it
 * priority, CPUs and name from outside, so that all errors are the starter's own, and lets it go.
 * What they need for that lies on the starter's stack, so the last word is the thread's. */
#include "threading.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/name.h"
#include "fork.h"
#include "times.h"

_Static_assert(sizeof(wrt__linux_thread) <= sizeof(wrt_thread), "a thread fits its storage");

enum { REALTIME_PRIORITY_MAX = 99, NICE_STEP_MAX = 19 };

/* ---- Hand-over between starter and thread ---- */

enum { START_WAITS, START_RUNS, START_ENDS };

typedef struct starting {
    wrt_thread_entry_fn entry;
    void *context;
    uint32_t id;       /* atomic: the thread's number, 0 at first */
    uint32_t decision; /* atomic: the starter's */
    uint32_t heard;    /* atomic: 1, the thread does not look here any more */
} starting;

static void wait_for_change(const uint32_t *word, uint32_t from)
{
    while (wrt__load_acquire(word) == from) {
        (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, from, NULL, NULL, 0);
    }
}

static void say(uint32_t *word, uint32_t value)
{
    wrt__store_release(word, value);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void *run_thread(void *given)
{
    starting *start = given;
    const wrt_thread_entry_fn entry = start->entry;
    void *context = start->context;

    say(&start->id, (uint32_t)syscall(SYS_gettid));
    wait_for_change(&start->decision, START_WAITS);
    const bool runs = wrt__load(&start->decision) == START_RUNS;
    say(&start->heard, 1);
    if (runs) entry(context);
    return NULL;
}

/* ---- Start ---- */

static wrt_status set_stack(const char *operation, pthread_attr_t *attributes,
                            const wrt_thread_config *config)
{
    const size_t size = (size_t)config->stack_size;
    int code = 0;

    if (config->stack != NULL) {
        code = pthread_attr_setstack(attributes, config->stack, size);
    } else if (size != 0) {
        code = pthread_attr_setstacksize(attributes, size);
    }
    if (code == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                           "a stack of {0} bytes is refused: the least is {1}", code, size,
                           (uint64_t)PTHREAD_STACK_MIN);
}

static wrt_status fail_for_creation(const char *operation, int code)
{
    if (code == EAGAIN || code == ENOMEM) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "the system has no room for one more thread: see RLIMIT_NPROC "
                               "(ulimit -u), the control group's pids.max, and memory for stacks",
                               code, 0, 0);
    }
    return wrt_fail_system(code == EINVAL ? WRT_ERR_INVALID_ARGUMENT : WRT_ERR_SYSTEM, operation,
                           "pthread_create failed", code, 0, 0);
}

/* Signals are blocked round the creation: the new thread keeps its starter's mask. Faults are not:
 * a blocked one would end the process without a word. */
static int create_without_signals(pthread_t *handle, const pthread_attr_t *attributes,
                                  starting *start)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked;
    sigset_t before;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int code = wrt__sys_thread_create(handle, attributes, run_thread, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static wrt_status create(const char *operation, const wrt_thread_config *config, starting *start,
                         pthread_t *handle)
{
    pthread_attr_t attributes;

    if (pthread_attr_init(&attributes) != 0) return fail_for_creation(operation, ENOMEM);
    wrt_status status = set_stack(operation, &attributes, config);
    if (status == WRT_OK) {
        const int code = create_without_signals(handle, &attributes, start);
        if (code != 0) status = fail_for_creation(operation, code);
    }
    (void)pthread_attr_destroy(&attributes);
    return status;
}

static void set_name(pthread_t handle, const char *name)
{
    char cut[WRT_THREAD_NAME_SIZE];

    if (name == NULL) return;
    wrt__name_copy(cut, sizeof cut, name);
    (void)wrt__sys_thread_set_name(handle, cut); /* a name is never worth a failure */
}

/* What the config says about a thread that waits for its starter. */
static wrt_status set_up(const char *operation, const wrt_linux_thread_system *system, int32_t id,
                         pthread_t handle, const wrt_thread_config *config)
{
    wrt_status status = wrt__linux_set_cpus(operation, system, id, &config->cpus);
    if (status != WRT_OK) return status;

    status = config->require_priority
                 ? wrt__linux_set_priority(operation, system, id, config->priority)
                 : wrt__linux_set_nearest_priority(operation, system, id, config->priority);
    if (status == WRT_OK) set_name(handle, config->name);
    return status;
}

static wrt_status start(void *self, wrt_thread *thread, const wrt_thread_config *config)
{
    static const char operation[] = "wrt_linux_thread_start";
    wrt_linux_thread_system *system = self;
    wrt_thread_config known;
    pthread_t handle;

    wrt_status status = wrt__linux_threads_check(operation, system);
    if (status != WRT_OK) return status;
    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "thread is NULL");
    status = wrt__thread_config_read(operation, config, &known);
    if (status != WRT_OK) return status;

    starting start_of = {.entry = known.entry, .context = known.context};
    status = create(operation, &known, &start_of, &handle);
    if (status != WRT_OK) return status;
    wait_for_change(&start_of.id, 0);
    const int32_t id = (int32_t)wrt__load(&start_of.id);
    status = set_up(operation, system, id, handle, &known);
    say(&start_of.decision, status == WRT_OK ? START_RUNS : START_ENDS);
    wait_for_change(&start_of.heard, 0);
    if (status != WRT_OK) {
        (void)pthread_join(handle, NULL);
        return status;
    }
    const wrt__linux_thread started = {
        .record = {.system = system, .id = id, .state = WRT__THREAD_OUT}, .handle = handle};
    memcpy(thread, &started, sizeof started);
    (void)wrt__add(&system->thread_count, 1);
    return WRT_OK;
}

/* ---- Join and detach ---- */

/* Makes the thread the caller's alone, to join or detach. */
static wrt_status claim(const char *operation, void *self, wrt_thread *thread)
{
    wrt__linux_thread *known = (wrt__linux_thread *)(void *)thread;

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    return wrt__thread_claim(operation, self, known == NULL ? NULL : &known->record);
}

/* Waits until `timeout_ns` from now; returns an error number. */
static int wait_for_end(pthread_t handle, uint64_t timeout_ns)
{
    struct timespec deadline = {0};

    if (timeout_ns == UINT64_MAX) return wrt__sys_thread_join(handle, NULL);
    if (clock_gettime(CLOCK_MONOTONIC, &deadline) != 0) return errno;
    deadline = wrt__timespec(wrt__time_after(wrt__nanoseconds(&deadline), timeout_ns));
    return wrt__sys_thread_join(handle, &deadline);
}

static wrt_status fail_to_join(const char *operation, const wrt__linux_thread *known, int code,
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
    static const char operation[] = "wrt_linux_thread_join";
    wrt_linux_thread_system *system = self;
    wrt__linux_thread *known = (wrt__linux_thread *)(void *)thread;

    wrt_status status = claim(operation, self, thread);
    if (status != WRT_OK) return status;
    const int code = wait_for_end(known->handle, timeout_ns);
    if (code != 0) status = fail_to_join(operation, known, code, timeout_ns);
    return wrt__thread_settle(&known->record, &system->thread_count, status);
}

static wrt_status detach(void *self, wrt_thread *thread)
{
    static const char operation[] = "wrt_linux_thread_detach";
    wrt_linux_thread_system *system = self;
    wrt__linux_thread *known = (wrt__linux_thread *)(void *)thread;

    wrt_status status = claim(operation, self, thread);
    if (status != WRT_OK) return status;
    const int code = wrt__sys_thread_detach(known->handle);
    if (code != 0) {
        status = wrt_fail_system(WRT_ERR_SYSTEM, operation, "pthread_detach of thread {0} failed",
                                 code, (uint64_t)known->record.id, 0);
    }
    return wrt__thread_settle(&known->record, &system->thread_count, status);
}

/* ---- Life of the system ---- */

static wrt_status read_config(const char *operation, const wrt_linux_thread_system_config *given,
                              wrt_linux_thread_system_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (config->realtime_priority > REALTIME_PRIORITY_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "realtime_priority is {0}, SCHED_FIFO and SCHED_RR have 1 to {1}",
                               config->realtime_priority, REALTIME_PRIORITY_MAX);
    }
    if (config->nice_step > NICE_STEP_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "nice_step is {0}, not 1 to {1}", config->nice_step, NICE_STEP_MAX);
    }
    if (config->realtime_policy > WRT_LINUX_REALTIME_ROUND_ROBIN) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "realtime_policy is {0}, not FIFO (1) or ROUND_ROBIN (2)",
                               config->realtime_policy, 0);
    }
    if (config->realtime_policy == 0) config->realtime_policy = WRT_LINUX_REALTIME_FIFO;
    if (config->realtime_priority == 0) {
        config->realtime_priority = WRT_LINUX_REALTIME_PRIORITY_DEFAULT;
    }
    if (config->nice_step == 0) config->nice_step = WRT_LINUX_NICE_STEP_DEFAULT;
    return WRT_OK;
}

wrt_status wrt_linux_thread_system_init(wrt_linux_thread_system *system,
                                        const wrt_linux_thread_system_config *config)
{
    wrt_linux_thread_system_config known;
    cpu_set_t cpus;
    int base_nice = 0;

    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    if (wrt__sys_getnice(0, &base_nice) != 0) base_nice = 0;
    if (wrt__sys_getaffinity(0, &cpus) != 0) memset(&cpus, 0xFF, sizeof cpus);
    *system = (wrt_linux_thread_system){.self = system,
                                        .fork_generation = wrt__fork_generation(),
                                        .realtime_priority = known.realtime_priority,
                                        .nice_step = known.nice_step,
                                        .base_nice = base_nice,
                                        .realtime_policy = known.realtime_policy};
    memcpy(system->cpus, &cpus, sizeof system->cpus);
    return WRT_OK;
}

_Static_assert(sizeof(cpu_set_t) == sizeof(((wrt_linux_thread_system *)0)->cpus),
               "a cpu_set_t fills `cpus`");

wrt_status wrt__linux_threads_check(const char *operation, const wrt_linux_thread_system *system)
{
    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "system is NULL");
    if (system->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the thread system is not initialised");
    }
    if (system->self != system && wrt__load(&system->thread_count) != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "the thread system was moved while {0} threads are out",
                               wrt__load(&system->thread_count), 0);
    }
    if (system->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the thread system belongs to the process that forked this one; make a "
                        "new one");
    }
    return WRT_OK;
}

wrt_status wrt_linux_thread_system_deinit(wrt_linux_thread_system *system)
{
    if (system == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is NULL");
    if (wrt__is_zero(system, sizeof *system)) return WRT_OK;
    const wrt_status status = wrt__linux_threads_check(__func__, system);
    if (status != WRT_OK) return status;
    const uint32_t out = wrt__load_acquire(&system->thread_count);
    if (out != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "{0} threads are neither joined nor detached", out, 0);
    }
    *system = (wrt_linux_thread_system){0};
    return WRT_OK;
}

wrt_thread_system wrt_linux_thread_system_interface(wrt_linux_thread_system *system)
{
    static const wrt_thread_system_ops ops = {
        .start = start,
        .join = join,
        .detach = detach,
        .set_priority = wrt__linux_thread_set_priority,
        .set_cpus = wrt__linux_thread_set_cpus,
        .query = wrt__linux_thread_query,
        .cpu_time = wrt__linux_thread_cpu_time,
        .now = wrt__linux_thread_now,
        .wait = wrt__linux_thread_wait,
        .wake = wrt__linux_thread_wake,
        .lock_init = wrt__linux_lock_init,
        .lock = wrt__linux_lock,
        .unlock = wrt__linux_unlock,
        .lock_deinit = wrt__linux_lock_deinit,
    };

    return (wrt_thread_system){&ops, system};
}
