/* Linux's locks: mutexes of the C library, which keep inheritance and ceilings in the kernel's
 * hands. Who holds one is remembered beside it, for what the C library does not tell. */
#include "sys.h"
#include "wrt_platform/linux/sync.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/owned_lock.h"
#include "../core/port.h"
#include "fork.h"
#include "mutex.h"
#include "shared.h"
#include "times.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((wrt_linux_lock *)0)->mutex),
               "a mutex fits its storage");

static wrt_linux_lock *whole(wrt_lock_base *base)
{
    return (wrt_linux_lock *)(void *)base;
}

static pthread_mutex_t *mutex_of(wrt_linux_lock *lock)
{
    return (pthread_mutex_t *)(void *)(lock->memory == NULL ? lock->mutex : lock->memory->mutex);
}

/* ---- Taking it ---- */

static int until(wrt_linux_lock *lock, clockid_t clock, uint64_t now, uint64_t timeout_ns)
{
    const struct timespec deadline = wrt__timespec(wrt__time_after(now, timeout_ns));

    return wrt__sys_mutex_timedlock(mutex_of(lock), clock, &deadline);
}

/* For kernels whose inheritance knows CLOCK_REALTIME only: the time counts on the other clock, and
 * somebody who sets this one spoils no more than a slice. */
static int take_in_slices(wrt_linux_lock *lock, uint64_t start, uint64_t timeout_ns)
{
    uint64_t now = start;
    int code = ETIMEDOUT;

    while (code == ETIMEDOUT && now - start < timeout_ns) {
        const uint64_t rest = timeout_ns - (now - start);
        struct timespec real;
        if (clock_gettime(CLOCK_REALTIME, &real) != 0) return errno;
        code = until(lock, CLOCK_REALTIME, wrt__nanoseconds(&real),
                     rest < WRT_CANCEL_SLICE_NS ? rest : WRT_CANCEL_SLICE_NS);
        if (wrt__port_now(&now) != WRT_OK) return EIO;
    }
    return code;
}

/* Waits for the mutex; returns an error number. */
static int take(wrt_linux_lock *lock, uint64_t timeout_ns)
{
    uint64_t now = 0;

    if (wrt__load(&lock->base.lost) != 0) return ENOTRECOVERABLE;
    const int code = wrt__sys_mutex_trylock(mutex_of(lock));
    if (code != EBUSY) return code;
    if (wrt__load(&lock->base.owner) == wrt__thread_number()) return EDEADLK;
    if (timeout_ns == 0) return ETIMEDOUT;
    if (timeout_ns == UINT64_MAX) return wrt__sys_mutex_lock(mutex_of(lock));
    if (wrt__port_now(&now) != WRT_OK) return EIO;
    const int timed = until(lock, CLOCK_MONOTONIC, now, timeout_ns);
    const bool knows_the_clock = timed != EINVAL || lock->protocol != WRT_LOCK_PROTOCOL_INHERIT;
    return knows_the_clock ? timed : take_in_slices(lock, now, timeout_ns);
}

static wrt_status fail_to_take(const char *operation, const wrt_linux_lock *lock, int code,
                               uint64_t timeout_ns)
{
    switch (code) {
    case ETIMEDOUT:
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "another thread held the lock for {0} nanoseconds", timeout_ns, 0);
    case EPERM:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "SCHED_FIFO at the ceiling {0} was refused: raise RLIMIT_RTPRIO "
                               "(ulimit -r, LimitRTPRIO=), give CAP_SYS_NICE, or use inheritance",
                               code, lock->ceiling, 0);
    case EINVAL:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the caller does not run by SCHED_FIFO or SCHED_RR at the lock's "
                               "ceiling {0} or below",
                               code, lock->ceiling, 0);
    default:
        return wrt__mutex_fail(operation, code);
    }
}

static wrt_status take_lock(const char *operation, wrt_lock_base *base, uint64_t timeout_ns,
                            bool *owner_died_out)
{
    wrt_linux_lock *lock = whole(base);

    const int code = take(lock, timeout_ns);
    if (code != 0 && code != EOWNERDEAD) return fail_to_take(operation, lock, code, timeout_ns);
    *owner_died_out = code == EOWNERDEAD;
    return WRT_OK;
}

/* ---- What else a mutex does ---- */

static wrt_status give_mutex(const char *operation, wrt_lock_base *base)
{
    const int code = wrt__sys_mutex_unlock(mutex_of(whole(base)));

    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

static wrt_status mend_mutex(const char *operation, wrt_lock_base *base)
{
    const int code = wrt__sys_mutex_consistent(mutex_of(whole(base)));

    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

/* Of a shared one it matters whether a thread of this process holds it. To try would take the news
 * of an owner that died from whoever comes next. */
static bool is_held_here(const wrt_lock_base *base)
{
    const uint32_t owner = wrt__load(&base->owner);

    return owner != 0 && syscall(SYS_tgkill, getpid(), owner, 0) == 0;
}

static bool is_held(wrt_lock_base *base)
{
    pthread_mutex_t *mutex = mutex_of(whole(base));

    if (whole(base)->memory != NULL) return is_held_here(base);
    int code = pthread_mutex_trylock(mutex);
    if (code == EOWNERDEAD) code = pthread_mutex_consistent(mutex);
    if (code == 0) code = pthread_mutex_unlock(mutex);
    return code == EBUSY || code == EDEADLK;
}

static wrt_status end_mutex(const char *operation, wrt_lock_base *base)
{
    if (whole(base)->memory != NULL) return WRT_OK; /* other processes have it still */
    const int code = wrt__sys_mutex_destroy(mutex_of(whole(base)));

    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

static const wrt__mutex_ops mutex_ops = {
    .process = wrt__fork_generation,
    .thread = wrt__thread_number,
    .take = take_lock,
    .give = give_mutex,
    .mend = mend_mutex,
    .is_held = is_held,
    .end = end_mutex,
};

/* ---- The interface ---- */

static wrt_status lock_lock(void *self, uint64_t timeout_ns, bool *owner_died_out)
{
    return wrt__owned_lock_lock("wrt_linux_lock_lock", &mutex_ops, self, timeout_ns,
                                owner_died_out);
}

static wrt_status lock_unlock(void *self)
{
    return wrt__owned_lock_unlock("wrt_linux_lock_unlock", &mutex_ops, self);
}

static wrt_status lock_recover(void *self)
{
    return wrt__owned_lock_recover("wrt_linux_lock_recover", &mutex_ops, self);
}

static wrt_status lock_now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    return wrt__port_now(nanoseconds_out);
}

wrt_lock wrt_linux_lock_interface(wrt_linux_lock *lock)
{
    static const wrt_lock_ops ops = {lock_lock, lock_unlock, lock_recover, lock_now};

    return (wrt_lock){&ops, lock};
}

/* ---- Life ---- */

static wrt_status read_config(const char *operation, const wrt_linux_lock_config *given,
                              wrt_linux_lock_config *config)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = wrt__lock_protocol_read(operation, &config->protocol, config->ceiling,
                                     WRT_LINUX_CEILING_MAX);
    if (status != WRT_OK) return status;
    if (config->ceiling != 0 && (config->robust || config->shared)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "a lock with a ceiling can be neither robust nor shared");
    }
    return wrt__shared_check(operation, config->shared, config->memory);
}

static int system_protocol(uint32_t protocol)
{
    if (protocol == WRT_LOCK_PROTOCOL_NONE) return PTHREAD_PRIO_NONE;
    return protocol == WRT_LOCK_PROTOCOL_CEILING ? PTHREAD_PRIO_PROTECT : PTHREAD_PRIO_INHERIT;
}

/* As a wrt__shared_prepare_fn. */
static wrt_status prepare(const char *operation, wrt_linux_shared *memory, const void *context)
{
    return wrt__mutex_init(operation, (pthread_mutex_t *)(void *)memory->mutex, context);
}

static wrt_status make_mutex(const char *operation, wrt_linux_lock *lock,
                             const wrt_linux_lock_config *config)
{
    const wrt__mutex_kind kind = {.protocol = system_protocol(config->protocol),
                                  .ceiling = (int)config->ceiling,
                                  .robust = config->robust,
                                  .shared = config->shared};
    if (!config->shared) return wrt__mutex_init(operation, mutex_of(lock), &kind);
    const uint32_t tag =
        WRT__SHARED_LOCK + (config->protocol << 8) + (config->robust ? 1u << 16 : 0);
    wrt__shared_use use = {.memory = config->memory, .kind = tag};
    const wrt_status status = wrt__shared_attach(operation, &use, prepare, &kind);
    lock->memory = use.memory;
    lock->is_mapped = use.is_mapped;
    return status;
}

wrt_status wrt_linux_lock_init(wrt_linux_lock *lock, const wrt_linux_lock_config *config)
{
    wrt_linux_lock_config known;

    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    const wrt_linux_lock before = *lock;
    *lock = (wrt_linux_lock){.base = {.self = lock, .process = wrt__fork_generation()},
                             .protocol = known.protocol,
                             .ceiling = known.ceiling};
    status = make_mutex(__func__, lock, &known);
    if (status != WRT_OK) *lock = before;
    return status;
}

wrt_status wrt_linux_lock_shared(const wrt_linux_lock *lock, wrt_linux_shared **memory_out)
{
    if (lock == NULL || memory_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock or memory_out is NULL");
    }
    if (lock->base.self != lock || lock->memory == NULL) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the lock is not initialised, or not shared");
    }
    *memory_out = lock->memory;
    return WRT_OK;
}

wrt_status wrt_linux_lock_deinit(wrt_linux_lock *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    if (wrt__is_zero(lock, sizeof *lock)) return WRT_OK;
    const wrt_status status = wrt__owned_lock_end(__func__, &mutex_ops, &lock->base);
    if (status != WRT_OK) return status;
    if (lock->is_mapped != 0) wrt__shared_unmap(lock->memory);
    *lock = (wrt_linux_lock){0};
    return WRT_OK;
}
