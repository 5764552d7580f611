/* Internal: the lock of an object that several threads may use if its config names a thread
 * system, and that one caller at a time uses without one: then there is nothing to lock. */
#ifndef WRT_CORE_GUARD_H
#define WRT_CORE_GUARD_H

#include "wrt_platform/thread_system.h"

static inline wrt_status wrt__guard_init(const wrt_thread_system *system, wrt_system_lock *lock)
{
    return system->ops != NULL ? system->ops->lock_init(system->self, lock) : WRT_OK;
}

static inline wrt_status wrt__guard_enter(const wrt_thread_system *system, wrt_system_lock *lock)
{
    return system->ops != NULL ? system->ops->lock(system->self, lock) : WRT_OK;
}

/* Only who does not hold the lock can fail to give it back. */
static inline void wrt__guard_leave(const wrt_thread_system *system, wrt_system_lock *lock)
{
    if (system->ops == NULL) return;
    const wrt_status held = system->ops->unlock(system->self, lock);
    (void)held;
}

static inline wrt_status wrt__guard_deinit(const wrt_thread_system *system, wrt_system_lock *lock)
{
    return system->ops != NULL ? system->ops->lock_deinit(system->self, lock) : WRT_OK;
}

#endif
