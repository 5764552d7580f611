/* The public calls of locks: the checks, and the waits with a cancel token, cut into slices. */
#include "wrt_platform/lock.h"

#include "fail.h"
#include "slices.h"

static wrt_status check_lock(const char *operation, const wrt_lock *lock)
{
    if (lock != NULL && lock->ops != NULL) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lock is NULL or all zero");
}

/* Takes the lock in slices. */
static wrt_status lock_with_token(const wrt_lock *lock, uint64_t timeout_ns,
                                  const wrt_cancel_token *cancel, bool *owner_died)
{
    wrt__slices slices;

    wrt_status status =
        wrt__slices_begin(&slices, "wrt_lock_lock", lock->ops->now, lock->self, timeout_ns, cancel);
    while (status == WRT_OK) {
        status = lock->ops->lock(lock->self, slices.next_ns, owner_died);
        if (status != WRT_ERR_TIMED_OUT) return status;
        status = wrt__slices_next(&slices);
    }
    return status;
}

wrt_status wrt_lock_lock(const wrt_lock *lock, uint64_t timeout_ns, wrt_cancel_token *cancel,
                         bool *owner_died_out)
{
    bool owner_died = false;

    wrt_status status = check_lock(__func__, lock);
    if (status != WRT_OK) return status;
    status = cancel == NULL ? lock->ops->lock(lock->self, timeout_ns, &owner_died)
                            : lock_with_token(lock, timeout_ns, cancel, &owner_died);
    if (owner_died_out != NULL) *owner_died_out = owner_died;
    return status;
}

wrt_status wrt_lock_try_lock(const wrt_lock *lock, bool *owner_died_out)
{
    bool owner_died = false;

    wrt_status status = check_lock(__func__, lock);
    if (status != WRT_OK) return status;
    status = lock->ops->lock(lock->self, 0, &owner_died);
    if (owner_died_out != NULL) *owner_died_out = owner_died;
    if (status != WRT_ERR_TIMED_OUT) return status;
    return wrt_fail(WRT_ERR_BUSY, __func__, "another thread holds the lock");
}

wrt_status wrt_lock_recover(const wrt_lock *lock)
{
    const wrt_status status = check_lock(__func__, lock);

    return status == WRT_OK ? lock->ops->recover(lock->self) : status;
}

wrt_status wrt_lock_unlock(const wrt_lock *lock)
{
    const wrt_status status = check_lock(__func__, lock);

    return status == WRT_OK ? lock->ops->unlock(lock->self) : status;
}
