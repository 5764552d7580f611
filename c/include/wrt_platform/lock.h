/** Locks: one owner at a time, with bounded priority inversion.
 *
 * wrt_lock is the interface; each backend has an object behind it (`wrt_linux_lock`,
 * `wrt_qnx_lock`), whose config says what it does about inversion and about owners that die.
 * Misuse is refused: to lock again what one holds, to unlock what another holds, to deinitialise
 * what is held (STATE in each case).
 *
 * Times are nanoseconds: a `timeout_ns` of 0 does not wait, UINT64_MAX waits without limit.
 *
 * Heap: none.  Threads: any.  ISR: no.
 */
#ifndef WRT_PLATFORM_LOCK_H
#define WRT_PLATFORM_LOCK_H

#include "wrt_platform/cancel.h"

WRT_BEGIN_DECLS

/** What a lock does while a more urgent thread waits for it. */
enum wrt_lock_protocol {
    WRT_LOCK_PROTOCOL_DEFAULT = 0, /* INHERIT */
    WRT_LOCK_PROTOCOL_NONE = 1,    /* nothing: a thread of middle priority delays an urgent one */
    WRT_LOCK_PROTOCOL_INHERIT = 2, /* the owner runs at the priority of the most urgent waiter */
    WRT_LOCK_PROTOCOL_CEILING = 3  /* the owner runs at the config's ceiling, waiters or not */
};

/** As wrt_lock_lock(); owner_died_out is not NULL, and the token is not its affair. */
typedef wrt_status (*wrt_lock_lock_fn)(void *self, uint64_t timeout_ns, bool *owner_died_out);
/** As wrt_lock_unlock(). */
typedef wrt_status (*wrt_lock_unlock_fn)(void *self);
/** As wrt_lock_recover(). */
typedef wrt_status (*wrt_lock_recover_fn)(void *self);
/** The system's clock, see wrt_thread_now_fn. */
typedef wrt_status (*wrt_lock_now_fn)(void *self, uint64_t *nanoseconds_out);

/** The calls of a backend; none may be NULL. */
typedef struct wrt_lock_ops {
    wrt_lock_lock_fn lock;
    wrt_lock_unlock_fn unlock;
    wrt_lock_recover_fn recover;
    wrt_lock_now_fn now;
} wrt_lock_ops;

/** A lock of any backend. Copy it freely; `self` must outlive all copies. */
typedef struct wrt_lock {
    const wrt_lock_ops *ops;
    void *self;
} wrt_lock;

/** What the locks of all backends begin with. Fields are private. */
typedef struct wrt_lock_base {
    void *self;          /* its own address */
    uint32_t process;    /* that made it */
    uint32_t owner;      /* atomic: number of the thread that holds it, 0 if it is free */
    uint32_t owner_died; /* the holder has not recovered yet */
    uint32_t lost;       /* atomic: given back without recovery */
} wrt_lock_base;

/** Takes the lock. *owner_died_out, if not NULL, says that the last owner ended while it held it:
 * the lock is held now, what it guards may be half-changed; wrt_lock_recover() before the unlock
 * makes it usable on, without that it refuses everybody from then on.
 * Errors: TIMED_OUT, INTERRUPTED (cancel), STATE (the caller holds it; not initialised; not
 * recovered; after fork), INVALID_ARGUMENT, PERMISSION (the ceiling may not be had), SYSTEM.
 * Cost: no system call if it is free (a ceiling takes two). */
WRT_API WRT_NODISCARD wrt_status wrt_lock_lock(const wrt_lock *lock, uint64_t timeout_ns,
                                               wrt_cancel_token *cancel, bool *owner_died_out);

/** Takes the lock if it is free. Errors: BUSY (another thread holds it), and those of
 * wrt_lock_lock. */
WRT_API WRT_NODISCARD wrt_status wrt_lock_try_lock(const wrt_lock *lock, bool *owner_died_out);

/** Says that what the lock guards is whole again, after its owner died. Errors: STATE (no owner
 * died, or the caller does not hold it). */
WRT_API WRT_NODISCARD wrt_status wrt_lock_recover(const wrt_lock *lock);

/** Gives the lock back; the most urgent waiter gets it. Errors: STATE (the caller does not hold
 * it), SYSTEM. */
WRT_API WRT_NODISCARD wrt_status wrt_lock_unlock(const wrt_lock *lock);

WRT_END_DECLS
#endif
