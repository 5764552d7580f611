/* Locks that know their owner. An owner that died leaves what the lock guards half-changed: who
 * takes the lock next must say that it is whole again, or the lock is lost. */
#include "owned_lock.h"

#include "atomic.h"
#include "fail.h"

/* ---- Config ---- */

wrt_status wrt__lock_protocol_read(const char *operation, uint32_t *protocol, uint32_t ceiling,
                                   uint32_t ceiling_max)
{
    if (*protocol > WRT_LOCK_PROTOCOL_CEILING) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "protocol is {0}, not one of wrt_lock_protocol", *protocol, 0);
    }
    if (*protocol == WRT_LOCK_PROTOCOL_DEFAULT) *protocol = WRT_LOCK_PROTOCOL_INHERIT;
    const bool wants_ceiling = *protocol == WRT_LOCK_PROTOCOL_CEILING;
    if (wants_ceiling == (ceiling != 0) && ceiling <= ceiling_max) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "ceiling is {0}: it is 1 to {1} with the protocol CEILING, and 0 with "
                           "the others",
                           ceiling, ceiling_max);
}

/* ---- Who may do what ---- */

static wrt_status check(const char *operation, const wrt__mutex_ops *ops, const wrt_lock_base *lock)
{
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lock is NULL");
    if (lock->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the lock is not initialised");
    }
    if (lock->self != lock) return wrt_fail(WRT_ERR_STATE, operation, "the lock was moved");
    if (lock->process == ops->process()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the lock belongs to the process that forked this one; make a new one");
}

static wrt_status check_holder(const char *operation, const wrt__mutex_ops *ops,
                               const wrt_lock_base *lock)
{
    const wrt_status status = check(operation, ops, lock);
    if (status != WRT_OK) return status;
    if (wrt__load(&lock->owner) == ops->thread()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "the caller does not hold the lock");
}

/* ---- The calls ---- */

wrt_status wrt__owned_lock_lock(const char *operation, const wrt__mutex_ops *ops,
                                wrt_lock_base *lock, uint64_t timeout_ns, bool *owner_died_out)
{
    bool owner_died = false;

    wrt_status status = check(operation, ops, lock);
    if (status == WRT_OK) status = ops->take(operation, lock, timeout_ns, &owner_died);
    if (status != WRT_OK) return status;
    wrt__store(&lock->owner, ops->thread());
    lock->owner_died = owner_died;
    *owner_died_out = owner_died;
    return WRT_OK;
}

wrt_status wrt__owned_lock_unlock(const char *operation, const wrt__mutex_ops *ops,
                                  wrt_lock_base *lock)
{
    wrt_status status = check_holder(operation, ops, lock);
    if (status != WRT_OK) return status;
    wrt__store(&lock->lost, lock->owner_died);
    wrt__store(&lock->owner, 0);
    status = ops->give(operation, lock);
    if (status != WRT_OK) wrt__store(&lock->owner, ops->thread());
    return status;
}

wrt_status wrt__owned_lock_recover(const char *operation, const wrt__mutex_ops *ops,
                                   wrt_lock_base *lock)
{
    wrt_status status = check_holder(operation, ops, lock);
    if (status != WRT_OK) return status;
    if (lock->owner_died == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "no owner of the lock died");
    }
    status = ops->mend(operation, lock);
    if (status == WRT_OK) lock->owner_died = 0;
    return status;
}

wrt_status wrt__owned_lock_end(const char *operation, const wrt__mutex_ops *ops,
                               wrt_lock_base *lock)
{
    const wrt_status status = check(operation, ops, lock);
    if (status != WRT_OK) return status;
    if (wrt__load(&lock->lost) == 0 && ops->is_held(lock)) {
        return wrt_fail_detail(WRT_ERR_STATE, operation, "thread {0} holds the lock",
                               wrt__load(&lock->owner), 0);
    }
    return ops->end(operation, lock);
}
