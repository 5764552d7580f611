/** Futexes, locks and wake hooks of Linux.
 *
 *     wrt_linux_futex_config config = {0};
 *     config.struct_size = sizeof config;
 *     wrt_linux_futex linux_futex;
 *     wrt_status status = wrt_linux_futex_init(&linux_futex, &config);
 *     const wrt_futex futex = wrt_linux_futex_interface(&linux_futex);
 *     status = wrt_futex_wait(&futex, 0, 1000000000, NULL); // 1 s
 *
 * A futex made with priority inheritance has no word to wait on: it is a lock, and
 * wrt_linux_futex_lock_interface() gives it out as one.
 *
 * Deadlines are on CLOCK_MONOTONIC. Before Linux 5.14 a lock with inheritance can't wait on it:
 * there it waits in slices of at most 20 ms on CLOCK_REALTIME and counts the time on the other.
 *
 * Heap: none.  Threads: any, init and deinit aside.  ISR: no.
 * Fork: the objects refuse every call in the child (STATE).
 */
#ifndef WRT_PLATFORM_LINUX_SYNC_H
#define WRT_PLATFORM_LINUX_SYNC_H

#include "wrt_platform/lock.h"
#include "wrt_platform/sync.h"

WRT_BEGIN_DECLS

typedef struct wrt_linux_lock wrt_linux_lock;
typedef struct wrt_linux_futex wrt_linux_futex;
typedef struct wrt_linux_wake wrt_linux_wake;

/** Bounds of configs. */
enum wrt_linux_sync_limit {
    WRT_LINUX_SPIN_MAX = 100000, /* looks at the word; about 4 ms at most */
    WRT_LINUX_CEILING_MAX = 99   /* the highest priority of SCHED_FIFO */
};

/* ---- Lock ---- */

/** What a lock is made of. */
typedef struct wrt_linux_lock_config {
    uint32_t struct_size; /* sizeof(wrt_linux_lock_config); 0 is refused */
    uint32_t protocol;    /* one of wrt_lock_protocol */
    uint32_t ceiling;     /* 1 to 99, with WRT_LOCK_PROTOCOL_CEILING; else 0. Owners run at it;
                             only threads of SCHED_FIFO or SCHED_RR at most as urgent as it may
                             take the lock (others: INVALID_ARGUMENT) */
    bool robust;         /* an owner that ends is noticed; not with a ceiling (UNSUPPORTED). Without
                            it, what a thread held when it ended stays locked */
    uint8_t reserved[3]; /* zero */
} wrt_linux_lock_config;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_linux_lock {
    wrt_lock_base base;
    uint64_t mutex[6];
    uint32_t protocol;
    uint32_t ceiling;
    uint64_t reserved[3];
};

/** Prepares a lock, free. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes; a robust
 * ceiling; a kernel without inheritance), NO_MEMORY, SYSTEM. Cost: no system call.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lock_init(wrt_linux_lock *lock,
                                                     const wrt_linux_lock_config *config);

/** The lock as wrt_lock_lock() and the others take it. It cannot fail itself; of a lock that is
 * not initialised, the calls say STATE. */
WRT_API WRT_NODISCARD wrt_lock wrt_linux_lock_interface(wrt_linux_lock *lock);

/** Ends the lock. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (somebody holds it, moved, or after fork), SYSTEM. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lock_deinit(wrt_linux_lock *lock);

/* ---- Futex ---- */

/** What a futex is made of. */
typedef struct wrt_linux_futex_config {
    uint32_t struct_size;      /* sizeof(wrt_linux_futex_config); 0 is refused */
    uint32_t initial_value;    /* of the word */
    uint32_t spin;             /* looks at the word before the system's wait, at most
                                  WRT_LINUX_SPIN_MAX; 0: none. Worth it if the waker runs on
                                  another CPU and comes within microseconds */
    bool priority_inheritance; /* a lock instead of a word */
    uint8_t reserved[3];       /* zero */
} wrt_linux_futex_config;

/** How a futex has been used since init; the counters wrap. */
typedef struct wrt_linux_futex_usage {
    uint32_t waiting;    /* threads in a wait now */
    uint32_t wait_calls; /* of the system */
    uint32_t wake_calls; /* of the system: none is made while nobody waits */
    uint32_t reserved;
} wrt_linux_futex_usage;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_linux_futex {
    wrt_linux_futex *self;
    uint32_t word;       /* atomic */
    uint32_t waiting;    /* atomic */
    uint32_t wait_calls; /* atomic */
    uint32_t wake_calls; /* atomic */
    uint32_t closing;    /* atomic: deinit has begun */
    uint32_t spin;
    uint32_t fork_generation; /* of the process that made it */
    uint32_t priority_inheritance;
    wrt_linux_lock lock; /* with priority inheritance */
    uint64_t reserved[8];
};

/** Prepares a futex. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes; a kernel
 * without inheritance), NO_MEMORY, SYSTEM. Cost: no system call.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_init(wrt_linux_futex *futex,
                                                      const wrt_linux_futex_config *config);

/** The futex as wrt_futex_wait() and the others take it. It cannot fail itself; of a futex that is
 * not initialised, the calls say STATE.
 * Cost: wait is one FUTEX_WAIT, wake one FUTEX_WAKE if a thread waits, else nothing.
 */
WRT_API WRT_NODISCARD wrt_futex wrt_linux_futex_interface(wrt_linux_futex *futex);

/** The lock of a futex made with priority inheritance. It cannot fail itself; of another futex,
 * the calls say STATE. */
WRT_API WRT_NODISCARD wrt_lock wrt_linux_futex_lock_interface(wrt_linux_futex *futex);

/** Reports how the futex has been used. Errors: INVALID_ARGUMENT, STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_query(const wrt_linux_futex *futex,
                                                       wrt_linux_futex_usage *usage_out);

/** Ends the futex: who waits leaves with STATE, and the call returns when they are gone. A zeroed
 * one is accepted, so twice is harmless. Errors: STATE (its lock is held, moved, or after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_deinit(wrt_linux_futex *futex);

/* ---- Wake hook ---- */

/** An eventfd, as a wake hook for events.h: its descriptor gets readable. Caller-provided storage;
 * not to be moved while it is somebody's hook. Fields are private. */
struct wrt_linux_wake {
    wrt_linux_wake *self;
    int32_t descriptor;
    uint32_t fork_generation; /* of the process that made it */
    uint64_t reserved[2];
};

/** Makes the eventfd; exec closes it. On error `wake` is left as it was.
 * Errors: NO_MEMORY (no descriptors left: ulimit -n), SYSTEM.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_wake_init(wrt_linux_wake *wake);

/** The hook itself, a wrt_wake_fn: `wake` is a wrt_linux_wake. It cannot fail; of one that is not
 * initialised, and after fork, it does nothing. Cost: one system call. */
WRT_API void wrt_linux_wake_call(void *wake);

/** The descriptor, for poll, epoll or asyncio; borrowed until deinit. Errors: STATE. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_wake_descriptor(const wrt_linux_wake *wake,
                                                           int32_t *descriptor_out);

/** Makes the descriptor unreadable again; *count_out, if not NULL, is how often the hook was called
 * since. Never waits. Errors: STATE, SYSTEM. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_wake_take(wrt_linux_wake *wake, uint64_t *count_out);

/** Closes the eventfd. A zeroed one is accepted, so twice is harmless. Errors: STATE (after fork:
 * exec or the end of the child closes its copy). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_wake_deinit(wrt_linux_wake *wake);

WRT_END_DECLS
#endif
