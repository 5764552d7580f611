/** Futexes, locks and wake hooks of QNX.
 *
 *     wrt_qnx_futex_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.priority = WRT_QNX_SYNC_PRIORITY_HIGH;
 *     wrt_qnx_futex qnx_futex;
 *     wrt_status status = wrt_qnx_futex_init(&qnx_futex, &config);
 *     const wrt_futex futex = wrt_qnx_futex_interface(&qnx_futex);
 *     status = wrt_futex_wait(&futex, 0, 1000000000, NULL); // 1 s
 *
 * A futex is made of pulses. It has a few places for waiters, each a channel with a pulse of its
 * own set aside and a side-channel connection to it; all are made by init, so that neither wait
 * nor wake takes memory. A list under a mutex says who waits: the most urgent thread is woken
 * first, of equals the one that came first, and its pulse is no more than a kick: a thread whose
 * time is over while it is being woken takes the pulse with it.
 *
 * A futex made with priority inheritance has no word to wait on: it is a lock, and
 * wrt_qnx_futex_lock_interface() gives it out as one.
 *
 * Deadlines are on CLOCK_MONOTONIC, by TimerTimeout().
 *
 * Heap: none.  Threads: any, init and deinit aside.  ISR: no.
 * Fork: the objects refuse every call in the child (STATE).
 */
#ifndef WRT_PLATFORM_QNX_SYNC_H
#define WRT_PLATFORM_QNX_SYNC_H

#include "wrt_platform/lock.h"
#include "wrt_platform/sync.h"

WRT_BEGIN_DECLS

typedef struct wrt_qnx_lock wrt_qnx_lock;
typedef struct wrt_qnx_futex wrt_qnx_futex;
typedef struct wrt_qnx_wake wrt_qnx_wake;

/** Bounds of configs. */
enum wrt_qnx_sync_limit {
    WRT_QNX_FUTEX_WAITERS_DEFAULT = 8,
    WRT_QNX_FUTEX_WAITERS_MAX = 16,
    WRT_QNX_CEILING_MAX = 255,
    WRT_QNX_PULSE_CODE_MAX = 127
};

/** At which priority a woken thread returns from its wait: that of the pulse, as every receiver of
 * QNX has it. With the return it has its own again. */
enum wrt_qnx_sync_priority {
    WRT_QNX_SYNC_PRIORITY_DEFAULT = 0, /* its own all the time (_NTO_CHF_FIXED_PRIORITY) */
    WRT_QNX_SYNC_PRIORITY_LOW = 1,     /*  8, */
    WRT_QNX_SYNC_PRIORITY_NORMAL = 2,  /* 10, */
    WRT_QNX_SYNC_PRIORITY_HIGH = 3,    /* 15, */
    WRT_QNX_SYNC_PRIORITY_REALTIME = 4 /* 40: the defaults of threading.h */
};

/* ---- Lock ---- */

/** What a lock is made of. */
typedef struct wrt_qnx_lock_config {
    uint32_t struct_size; /* sizeof(wrt_qnx_lock_config); 0 is refused */
    uint32_t protocol;    /* one of wrt_lock_protocol */
    uint32_t ceiling;     /* 1 to 255, with WRT_LOCK_PROTOCOL_CEILING; else 0. More urgent threads
                             may not take the lock (INVALID_ARGUMENT) */
    bool robust;          /* an owner that ends is noticed. Without it, what a thread held when it
                             ended stays locked */
    uint8_t reserved[3];  /* zero */
} wrt_qnx_lock_config;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_qnx_lock {
    wrt_lock_base base;
    uint64_t mutex;
    uint32_t ceiling;
    uint32_t reserved_padding;
    uint64_t reserved[3];
};

/** Prepares a lock, free. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes),
 * NO_MEMORY, SYSTEM. Cost: one call of the kernel.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_lock_init(wrt_qnx_lock *lock,
                                                   const wrt_qnx_lock_config *config);

/** The lock as wrt_lock_lock() and the others take it. It cannot fail itself; of a lock that is
 * not initialised, the calls say STATE. */
WRT_API WRT_NODISCARD wrt_lock wrt_qnx_lock_interface(wrt_qnx_lock *lock);

/** Ends the lock. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (somebody holds it, moved, or after fork), SYSTEM. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_lock_deinit(wrt_qnx_lock *lock);

/* ---- Futex ---- */

/** What a futex is made of. */
typedef struct wrt_qnx_futex_config {
    uint32_t struct_size;      /* sizeof(wrt_qnx_futex_config); 0 is refused */
    uint32_t initial_value;    /* of the word */
    uint32_t priority;         /* one of wrt_qnx_sync_priority */
    uint32_t maximum_waiters;  /* at a time, 1 to WRT_QNX_FUTEX_WAITERS_MAX; 0: 8. One more is LIMIT
                                  from its wait */
    bool priority_inheritance; /* a lock instead of a word */
    uint8_t reserved[7];       /* zero */
} wrt_qnx_futex_config;

/** How a futex has been used since init; the counters wrap. */
typedef struct wrt_qnx_futex_usage {
    uint32_t waiting;    /* threads in a wait now */
    uint32_t wait_calls; /* of the kernel: one a park */
    uint32_t wake_calls; /* of the kernel: none is made while nobody waits */
    uint32_t reserved;
} wrt_qnx_futex_usage;

/** A place for a waiter. Fields are private. */
typedef struct wrt_qnx_futex_place {
    int32_t channel;
    int32_t connection; /* -1: none */
    uint32_t state;     /* free, waits, or is being woken */
    int32_t priority;   /* of its thread */
    uint32_t arrival;   /* the lower, the earlier; it wraps */
    uint32_t has_channel;
} wrt_qnx_futex_place;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_qnx_futex {
    wrt_qnx_futex *self;
    uint32_t word;       /* atomic */
    uint32_t waiting;    /* atomic */
    uint32_t wait_calls; /* atomic */
    uint32_t wake_calls; /* atomic */
    uint32_t closing;    /* atomic: deinit has begun */
    uint32_t arrivals;
    int32_t process; /* that made it */
    uint32_t priority_inheritance;
    uint32_t place_count;
    int32_t pulse_priority; /* 0: that of the waker */
    uint64_t mutex;         /* over the places */
    uint64_t left;          /* condition variable: the last waiter has left */
    uint32_t made;          /* which of the two are there */
    uint32_t reserved_padding;
    wrt_qnx_futex_place places[16]; /* WRT_QNX_FUTEX_WAITERS_MAX */
    wrt_qnx_lock lock;              /* with priority inheritance */
    uint64_t reserved[4];
};

/** Prepares a futex. On error it is left as it was, and nothing stays in the kernel.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes),
 * NO_MEMORY, SYSTEM. Cost: two calls of the kernel a place.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_futex_init(wrt_qnx_futex *futex,
                                                    const wrt_qnx_futex_config *config);

/** The futex as wrt_futex_wait() and the others take it. It cannot fail itself; of a futex that is
 * not initialised, the calls say STATE. Errors of wait beside its own: LIMIT (maximum_waiters
 * wait).
 * Cost: wait is one MsgReceivePulse beside what reads the clock and the thread's priority, wake one
 * MsgSendPulse for each waiter, without waiters nothing.
 */
WRT_API WRT_NODISCARD wrt_futex wrt_qnx_futex_interface(wrt_qnx_futex *futex);

/** The lock of a futex made with priority inheritance. It cannot fail itself; of another futex,
 * the calls say STATE. */
WRT_API WRT_NODISCARD wrt_lock wrt_qnx_futex_lock_interface(wrt_qnx_futex *futex);

/** Reports how the futex has been used. Errors: INVALID_ARGUMENT, STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_futex_query(const wrt_qnx_futex *futex,
                                                     wrt_qnx_futex_usage *usage_out);

/** Ends the futex: who waits leaves with STATE, and the call returns when they are gone. A zeroed
 * one is accepted, so twice is harmless; after SYSTEM it may be called again and goes on where it
 * failed. Errors: STATE (its lock is held, moved, or after fork), SYSTEM.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_futex_deinit(wrt_qnx_futex *futex);

/* ---- Wake hook ---- */

/** What a wake hook is made of: a pulse to a channel of the caller's. */
typedef struct wrt_qnx_wake_config {
    uint32_t struct_size; /* sizeof(wrt_qnx_wake_config); 0 is refused */
    int32_t connection;   /* to that channel; borrowed until deinit */
    int32_t priority;     /* of the pulse, 1 to 255; 0: that of whoever calls the hook */
    int32_t code;         /* of the pulse, 0 to 127 */
    int32_t value;        /* of the pulse */
    uint8_t reserved[4];  /* zero */
} wrt_qnx_wake_config;

/** A pulse, as a wake hook for events.h. Caller-provided storage; not to be moved while it is
 * somebody's hook. Fields are private. */
struct wrt_qnx_wake {
    wrt_qnx_wake *self;
    int32_t connection;
    int32_t priority;
    int32_t code;
    int32_t value;
    int32_t process; /* that made it */
    uint32_t reserved_padding;
    uint64_t reserved[2];
};

/** Prepares a hook. On error it is left as it was. Errors: INVALID_ARGUMENT (a rule of the config
 * is broken), UNSUPPORTED (reserved bytes). Cost: no call of the kernel. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_wake_init(wrt_qnx_wake *wake,
                                                   const wrt_qnx_wake_config *config);

/** The hook itself, a wrt_wake_fn: `wake` is a wrt_qnx_wake. A pulse that the kernel refuses is
 * lost: who receives looks for what there is, and does not count pulses. Of a hook that is not
 * initialised, and after fork, it does nothing. Errors: none, it cannot fail. Threads: any.
 * Cost: one call of the kernel. */
WRT_API void wrt_qnx_wake_call(void *wake);

/** Ends the hook. A zeroed one is accepted, so twice is harmless. Errors: INVALID_ARGUMENT. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_wake_deinit(wrt_qnx_wake *wake);

WRT_END_DECLS
#endif
