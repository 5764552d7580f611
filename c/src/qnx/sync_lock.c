/* QNX's locks: its mutexes. A wait with a limit is SyncMutexLock() after TimerTimeout(): that
 * always enters the kernel, while pthread_mutex_lock() on a free mutex would leave the time-out
 * armed for whatever call comes next. */
#include "sys.h"
#include "wrt_platform/qnx/sync.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "error.h"
#include "mutex.h"
#include "threading.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((wrt_qnx_lock *)0)->mutex),
               "a mutex fits its storage");

static pthread_mutex_t *mutex_of(wrt_qnx_lock *lock)
{
    return (pthread_mutex_t *)(void *)&lock->mutex;
}

static uint32_t own_number(void)
{
    return (uint32_t)pthread_self();
}

static wrt_status check(const char *operation, const wrt_qnx_lock *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lock is NULL");
    if (lock->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the lock is not initialised");
    }
    if (lock->self != lock) return wrt_fail(WRT_ERR_STATE, operation, "the lock was moved");
    if (lock->process == getpid()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the lock belongs to the process that forked this one; make a new one");
}

/* ---- Taking it ---- */

/* Waits for the mutex; returns an error number. */
static int take(wrt_qnx_lock *lock, uint64_t timeout_ns)
{
    if (wrt__load(&lock->lost) != 0) return ENOTRECOVERABLE;
    int code = pthread_mutex_trylock(mutex_of(lock));
    if (code != EBUSY) return code;
    if (wrt__load(&lock->owner) == own_number()) return EDEADLK;
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

static wrt_status lock_lock(void *self, uint64_t timeout_ns, bool *owner_died_out)
{
    static const char operation[] = "wrt_qnx_lock_lock";
    wrt_qnx_lock *lock = self;

    const wrt_status status = check(operation, lock);
    if (status != WRT_OK) return status;
    const int code = take(lock, timeout_ns);
    if (code != EOK && code != EOWNERDEAD) return fail_to_take(operation, lock, code, timeout_ns);
    wrt__store(&lock->owner, own_number());
    lock->owner_died = code == EOWNERDEAD;
    *owner_died_out = code == EOWNERDEAD;
    return WRT_OK;
}

/* ---- Giving it back ---- */

static wrt_status check_holder(const char *operation, const wrt_qnx_lock *lock)
{
    const wrt_status status = check(operation, lock);
    if (status != WRT_OK) return status;
    if (wrt__load(&lock->owner) == own_number()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "the caller does not hold the lock");
}

static wrt_status lock_unlock(void *self)
{
    static const char operation[] = "wrt_qnx_lock_unlock";
    wrt_qnx_lock *lock = self;

    const wrt_status status = check_holder(operation, lock);
    if (status != WRT_OK) return status;
    wrt__store(&lock->lost, lock->owner_died);
    wrt__store(&lock->owner, 0);
    const int code = pthread_mutex_unlock(mutex_of(lock));
    if (code == EOK) return WRT_OK;
    wrt__store(&lock->owner, own_number());
    return wrt__qnx_mutex_fail(operation, code);
}

static wrt_status lock_recover(void *self)
{
    static const char operation[] = "wrt_qnx_lock_recover";
    wrt_qnx_lock *lock = self;

    const wrt_status status = check_holder(operation, lock);
    if (status != WRT_OK) return status;
    if (lock->owner_died == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "no owner of the lock died");
    }
    const int code = pthread_mutex_consistent(mutex_of(lock));
    if (code != EOK) return wrt__qnx_mutex_fail(operation, code);
    lock->owner_died = 0;
    return WRT_OK;
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
    if (config->protocol > WRT_LOCK_PROTOCOL_CEILING) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "protocol is {0}, not one of wrt_lock_protocol", config->protocol,
                               0);
    }
    if (config->protocol == WRT_LOCK_PROTOCOL_DEFAULT) {
        config->protocol = WRT_LOCK_PROTOCOL_INHERIT;
    }
    const bool wants_ceiling = config->protocol == WRT_LOCK_PROTOCOL_CEILING;
    if (wants_ceiling != (config->ceiling != 0) || config->ceiling > WRT_QNX_CEILING_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "ceiling is {0}: it is 1 to {1} with the protocol CEILING, and 0 "
                               "with the others",
                               config->ceiling, WRT_QNX_CEILING_MAX);
    }
    return WRT_OK;
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
    *lock = (wrt_qnx_lock){.self = lock, .ceiling = known.ceiling, .process = getpid()};
    status = wrt__qnx_mutex_init(__func__, mutex_of(lock), &kind);
    if (status != WRT_OK) *lock = before;
    return status;
}

/* Whether nobody holds the mutex, by trying: of a robust one, destroying does not tell. */
static int make_sure_it_is_free(pthread_mutex_t *mutex)
{
    int code = pthread_mutex_trylock(mutex);

    if (code == EOWNERDEAD) code = pthread_mutex_consistent(mutex);
    return code == EOK ? pthread_mutex_unlock(mutex) : code;
}

wrt_status wrt_qnx_lock_deinit(wrt_qnx_lock *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lock is NULL");
    if (wrt__is_zero(lock, sizeof *lock)) return WRT_OK;
    const wrt_status status = check(__func__, lock);
    if (status != WRT_OK) return status;
    int code = wrt__load(&lock->lost) != 0 ? 0 : make_sure_it_is_free(mutex_of(lock));
    if (code == EBUSY || code == EDEADLK) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "thread {0} holds the lock",
                               wrt__load(&lock->owner), 0);
    }
    code = pthread_mutex_destroy(mutex_of(lock));
    if (code != EOK) return wrt__qnx_mutex_fail(__func__, code);
    *lock = (wrt_qnx_lock){0};
    return WRT_OK;
}
