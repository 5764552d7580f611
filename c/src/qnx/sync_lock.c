/* QNX's locks: its mutexes. A wait with a limit is SyncMutexLock() after TimerTimeout(): that
 * always enters the kernel, while pthread_mutex_lock() on a free mutex would leave the time-out
 * armed for whatever call comes next. */
#include "sys.h"
#include "wrt_platform/qnx/sync.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/owned_lock.h"
#include "error.h"
#include "mutex.h"
#include "threading.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((wrt_qnx_lock *)0)->mutex),
               "a mutex fits its storage");

static wrt_qnx_lock *whole(wrt_lock_base *base)
{
    return (wrt_qnx_lock *)(void *)base;
}

static pthread_mutex_t *mutex_of(wrt_qnx_lock *lock)
{
    return (pthread_mutex_t *)(void *)&lock->mutex;
}

static uint32_t own_number(void)
{
    return (uint32_t)pthread_self();
}

static uint32_t own_process(void)
{
    return (uint32_t)getpid();
}

/* ---- Taking it ---- */

/* Waits for the mutex; returns an error number. */
static int take(wrt_qnx_lock *lock, uint64_t timeout_ns)
{
    if (wrt__load(&lock->base.lost) != 0) return ENOTRECOVERABLE;
    int code = pthread_mutex_trylock(mutex_of(lock));
    if (code != EBUSY) return code;
    if (wrt__load(&lock->base.owner) == own_number()) return EDEADLK;
    if (timeout_ns == 0) return ETIMEDOUT;
    code = wrt__qnx_arm(_NTO_TIMEOUT_MUTEX, timeout_ns);
    return code == EOK ? -SyncMutexLock_r(mutex_of(lock)) : code;
}

static wrt_status fail_to_take(const char *operation, const wrt_qnx_lock *lock, int code,
                               uint64_t timeout_ns)
{
    switch (code) {
    case ETIMEDOUT:
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "another thread held the lock for {0} nanoseconds", timeout_ns, 0);
    case EINVAL:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the caller's priority is above the lock's ceiling, {0}", code,
                               lock->ceiling, 0);
    default:
        return wrt__qnx_mutex_fail(operation, code);
    }
}

static wrt_status take_lock(const char *operation, wrt_lock_base *base, uint64_t timeout_ns,
                            bool *owner_died_out)
{
    wrt_qnx_lock *lock = whole(base);

    const int code = take(lock, timeout_ns);
    if (code != EOK && code != EOWNERDEAD) return fail_to_take(operation, lock, code, timeout_ns);
    *owner_died_out = code == EOWNERDEAD;
    return WRT_OK;
}

/* ---- What else a mutex does ---- */

static wrt_status give_mutex(const char *operation, wrt_lock_base *base)
{
    const int code = pthread_mutex_unlock(mutex_of(whole(base)));

    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}

static wrt_status mend_mutex(const char *operation, wrt_lock_base *base)
{
    const int code = pthread_mutex_consistent(mutex_of(whole(base)));

    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}

static bool is_held(wrt_lock_base *base)
{
    pthread_mutex_t *mutex = mutex_of(whole(base));

    int code = pthread_mutex_trylock(mutex);
    if (code == EOWNERDEAD) code = pthread_mutex_consistent(mutex);
    if (code == EOK) code = pthread_mutex_unlock(mutex);
    return code == EBUSY || code == EDEADLK;
}

static wrt_status end_mutex(const char *operation, wrt_lock_base *base)
{
    const int code = pthread_mutex_destroy(mutex_of(whole(base)));

    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}

static const wrt__mutex_ops mutex_ops = {
    .process = own_process,
    .thread = own_number,
    .take = take_lock,
    .give = give_mutex,
    .mend = mend_mutex,
    .is_held = is_held,
    .end = end_mutex,
};

/* ---- The interface ---- */

static wrt_status lock_lock(void *self, uint64_t timeout_ns, bool *owner_died_out)
{
    return wrt__owned_lock_lock("wrt_qnx_lock_lock", &mutex_ops, self, timeout_ns, owner_died_out);
}

static wrt_status lock_unlock(void *self)
{
    return wrt__owned_lock_unlock("wrt_qnx_lock_unlock", &mutex_ops, self);
}

static wrt_status lock_recover(void *self)
{
    return wrt__owned_lock_recover("wrt_qnx_lock_recover", &mutex_ops, self);
}

static wrt_status lock_now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    return wrt__qnx_now("wrt_qnx_lock_now", nanoseconds_out);
}

wrt_lock wrt_qnx_lock_interface(wrt_qnx_lock *lock)
{
    static const wrt_lock_ops ops = {lock_lock, lock_unlock, lock_recover, lock_now};

    return (wrt_lock){&ops, lock};
}

/* ---- Life ---- */

static wrt_status read_config(const char *operation, const wrt_qnx_lock_config *given,
                              wrt_qnx_lock_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    return wrt__lock_protocol_read(operation, &config->protocol, config->ceiling,
                                   WRT_QNX_CEILING_MAX);
}

static int system_protocol(uint32_t protocol)
{
    if (protocol == WRT_LOCK_PROTOCOL_NONE) return PTHREAD_PRIO_NONE;
    return protocol == WRT_LOCK_PROTOCOL_CEILING ? PTHREAD_PRIO_PROTECT : PTHREAD_PRIO_INHERIT;
}

wrt_status wrt_qnx_lock_init(wrt_qnx_lock *lock, const wrt_qnx_lock_config *config)
{
    wrt_qnx_lock_config known;

    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    const wrt__qnx_mutex_kind kind = {.protocol = system_protocol(known.protocol),
                                      .ceiling = (int)known.ceiling,
                                      .robust = known.robust};
    const wrt_qnx_lock before = *lock;
    *lock =
        (wrt_qnx_lock){.base = {.self = lock, .process = own_process()}, .ceiling = known.ceiling};
    status = wrt__qnx_mutex_init(__func__, mutex_of(lock), &kind);
    if (status != WRT_OK) *lock = before;
    return status;
}

wrt_status wrt_qnx_lock_deinit(wrt_qnx_lock *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    if (wrt__is_zero(lock, sizeof *lock)) return WRT_OK;
    const wrt_status status = wrt__owned_lock_end(__func__, &mutex_ops, &lock->base);
    if (status == WRT_OK) *lock = (wrt_qnx_lock){0};
    return status;
}
