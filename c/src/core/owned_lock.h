/* Internal: locks over the mutexes of an operating system, the part that is the same on each. Who
 * holds one is remembered beside the mutex, for what the mutex does not tell. A backend says how
 * to take a mutex; this says when, and what it means. */
#ifndef WRT_CORE_OWNED_LOCK_H
#define WRT_CORE_OWNED_LOCK_H

#include "wrt_platform/lock.h"

/* What a backend does. `lock` is what its own lock begins with. Each call that returns a status
 * fails through wrt_fail() in the name of `operation`. */
typedef struct wrt__mutex_ops {
    /* Number of the process, another one in a forked child; and of the calling thread, never 0. */
    uint32_t (*process)(void);
    uint32_t (*thread)(void);

    /* As wrt_lock_lock(). */
    wrt_status (*take)(const char *operation, wrt_lock_base *lock, uint64_t timeout_ns,
                       bool *owner_died_out);
    wrt_status (*give)(const char *operation, wrt_lock_base *lock);
    /* Makes a mutex usable on whose owner died. */
    wrt_status (*mend)(const char *operation, wrt_lock_base *lock);

    /* Whether somebody holds the mutex, by trying: of a robust one, `end` does not tell. */
    bool (*is_held)(wrt_lock_base *lock);
    wrt_status (*end)(const char *operation, wrt_lock_base *lock);
} wrt__mutex_ops;

/* Reads what all configs of locks have; DEFAULT is INHERIT then. Errors: INVALID_ARGUMENT. */
wrt_status wrt__lock_protocol_read(const char *operation, uint32_t *protocol, uint32_t ceiling,
                                   uint32_t ceiling_max);

/* The calls of wrt_lock_ops, and the end of a lock, which is as it was if that fails. */
wrt_status wrt__owned_lock_lock(const char *operation, const wrt__mutex_ops *ops,
                                wrt_lock_base *lock, uint64_t timeout_ns, bool *owner_died_out);
wrt_status wrt__owned_lock_unlock(const char *operation, const wrt__mutex_ops *ops,
                                  wrt_lock_base *lock);
wrt_status wrt__owned_lock_recover(const char *operation, const wrt__mutex_ops *ops,
                                   wrt_lock_base *lock);
wrt_status wrt__owned_lock_end(const char *operation, const wrt__mutex_ops *ops,
                               wrt_lock_base *lock);

#endif
