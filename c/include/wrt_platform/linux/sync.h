/** Futexes, locks and wake hooks of Linux.
 *
 *     wrt_linux_futex_config config = {0};
 *     config.struct_size = sizeof config;
 *     wrt_linux_futex linux_futex;
 *     wrt_status status = wrt_linux_futex_init(&linux_futex, &config);
 *     const wrt_futex futex = wrt_linux_futex_interface(&linux_futex);
 *     status = wrt_futex_wait(&futex, 0, 1000000000, NULL); // 1 s
 *
 * A futex made with priority inheritance, or robust, has no word to wait on: it is a lock, and
 * wrt_linux_futex_lock_interface() gives it out as one.
 *
 * Objects made `shared` keep what counts in a wrt_linux_shared, which several processes map, each
 * wherever it likes; each process makes an object of its own over it. The first to come prepares
 * it, so all zero is how it has to begin. Processes must see the same thread numbers: one namespace
 * of processes. What a process writes there the others believe: share with whom you trust.
 *
 * Time-outs are on CLOCK_MONOTONIC. Before Linux 5.14 a lock with inheritance can't wait on it:
 * there it waits in slices of at most 20 ms on CLOCK_REALTIME and counts the time on the other.
 *
 * Heap: none.  Threads: any, init and deinit aside.  ISR: no.
 * Fork: the objects refuse every call in the child (STATE); a shared one can be made anew there,
 * over the same memory.
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
    WRT_LINUX_SPIN_MAX = 100000,      /* looks at the word; about 4 ms at most */
    WRT_LINUX_BACKOFF_MAX_NS = 10000, /* between two looks */
    WRT_LINUX_CEILING_MAX = 99        /* the highest priority of SCHED_FIFO */
};

/* ---- Shared memory ---- */

/** What the processes have in common of one object. It lies in a shared mapping (MAP_SHARED), at a
 * multiple of 8; all zero at first. Fields are private. */
typedef struct wrt_linux_shared {
    uint32_t stage;   /* atomic: whether it is prepared */
    uint32_t kind;    /* of what */
    uint32_t word;    /* atomic */
    uint32_t waiting; /* atomic: threads in a wait now; a process that died leaves its own */
    uint64_t mutex[6];
    uint64_t reserved[8];
} wrt_linux_shared;

/* ---- Lock ---- */

/** What a lock is made of. */
typedef struct wrt_linux_lock_config {
    uint32_t struct_size; /* sizeof(wrt_linux_lock_config); 0 is refused */
    uint32_t protocol;    /* one of wrt_lock_protocol */
    uint32_t ceiling;     /* 1 to 99, with WRT_LOCK_PROTOCOL_CEILING; else 0. Owners run at it;
                             only threads of SCHED_FIFO or SCHED_RR at most as urgent as it may
                             take the lock (others: INVALID_ARGUMENT) */
    bool robust; /* an owner that ends is noticed; not with a ceiling (UNSUPPORTED). Without
                    it, what a thread held when it ended stays locked */
    bool shared; /* between processes; without a ceiling (UNSUPPORTED) */
    uint8_t reserved[10];     /* zero */
    wrt_linux_shared *memory; /* borrowed until deinit; with `shared`. NULL: deinit unmaps what init
                                 maps, for this process and those that it forks */
} wrt_linux_lock_config;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_linux_lock {
    wrt_lock_base base;
    uint64_t mutex[6];
    uint32_t protocol;
    uint32_t ceiling;
    wrt_linux_shared *memory; /* NULL: the mutex is the one above */
    uint32_t is_mapped;       /* by init */
    uint32_t padding;
    uint64_t reserved[1];
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

/** What a shared lock has in common with other processes, for those that were forked to make theirs
 * over it. Borrowed until deinit. Errors: STATE (not shared). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lock_shared(const wrt_linux_lock *lock,
                                                       wrt_linux_shared **memory_out);

/** Ends the lock; what is shared stays as it is, for the other processes. A zeroed one is accepted,
 * so twice is harmless.
 * Errors: STATE (somebody holds it, moved, or after fork), SYSTEM. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lock_deinit(wrt_linux_lock *lock);

/* ---- Futex ---- */

/** What a futex is made of; so is what waits on one (sync_objects.h). */
typedef struct wrt_linux_futex_config {
    uint32_t struct_size;   /* sizeof(wrt_linux_futex_config); 0 is refused */
    uint32_t initial_value; /* of the word; who comes second to shared memory finds what is there */
    uint32_t spin;          /* looks at the word before the system's wait, at most
                               WRT_LINUX_SPIN_MAX; 0: none. Worth it if the waker runs on
                               another CPU and comes within microseconds. It adapts: fewer
                               while looking is in vain, none where there is one CPU only */
    bool priority_inheritance; /* a lock instead of a word */
    bool robust;               /* a lock instead of a word, which notices an owner that ended */
    bool shared;               /* between processes */
    bool realtime_clock;       /* deadlines are on CLOCK_REALTIME; not for a lock (UNSUPPORTED) */
    uint32_t backoff_ns;      /* nanoseconds between two looks, at most WRT_LINUX_BACKOFF_MAX_NS; 0:
                                 one pause of the processor */
    uint8_t reserved[4];      /* zero */
    wrt_linux_shared *memory; /* borrowed until deinit; with `shared`. NULL: deinit unmaps what init
                                 maps, for this process and those that it forks */
} wrt_linux_futex_config;

/** How a futex has been used since init, by this process; the counters wrap. */
typedef struct wrt_linux_futex_usage {
    uint32_t waiting;    /* threads in a wait now */
    uint32_t wait_calls; /* of the system */
    uint32_t wake_calls; /* of the system: none is made while nobody waits */
    uint32_t spins;      /* waits that looked at the word for a while first */
    uint32_t spin_hits;  /* of these, those that needed no call of the system */
    uint32_t reserved;
} wrt_linux_futex_usage;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_linux_futex {
    wrt_linux_futex *self;
    wrt_linux_shared *state; /* `own`, or what processes share */
    wrt_linux_shared own;
    uint32_t waiting;    /* atomic: of this process */
    uint32_t wait_calls; /* atomic */
    uint32_t wake_calls; /* atomic */
    uint32_t closing;    /* atomic: deinit has begun */
    uint32_t spin;
    uint32_t backoff_ns;
    uint32_t window;    /* atomic: how many looks were of use of late */
    uint32_t spins;     /* atomic */
    uint32_t spin_hits; /* atomic */
    uint32_t probe;     /* atomic: how rarely the whole window is tried */
    uint32_t padding;
    uint32_t spin_turns;      /* atomic: counts the waits that might look */
    uint32_t may_spin;        /* atomic: there is a second CPU */
    uint32_t fork_generation; /* of the process that made it */
    uint32_t is_lock;
    uint32_t is_mapped; /* by init */
    uint32_t realtime;
    uint32_t inherits;   /* of a mutex */
    wrt_linux_lock lock; /* with priority inheritance, or robust */
    uint64_t reserved[4];
};

/** Prepares a futex. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken; the memory is another object's),
 * UNSUPPORTED (reserved bytes; a kernel without inheritance), STATE (who prepared the memory never
 * finished), NO_MEMORY, SYSTEM. Cost: no system call; one to map, two to count CPUs for spinning.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_init(wrt_linux_futex *futex,
                                                      const wrt_linux_futex_config *config);

/** The futex as wrt_futex_wait() and the others take it. It cannot fail itself; of a futex that is
 * not initialised, the calls say STATE.
 * Cost: wait is one FUTEX_WAIT, wake one FUTEX_WAKE if a thread waits, else nothing.
 */
WRT_API WRT_NODISCARD wrt_futex wrt_linux_futex_interface(wrt_linux_futex *futex);

/** Waits like wrt_futex_wait(), until a point in time. deadline_ns: nanoseconds of the futex's
 * clock, CLOCK_MONOTONIC or CLOCK_REALTIME; one that is past does not wait, UINT64_MAX waits
 * without limit. When the realtime clock is set, such waits end by the new time. Errors: those of
 * wrt_futex_wait(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_wait_until(wrt_linux_futex *futex,
                                                            uint32_t expected, uint64_t deadline_ns,
                                                            wrt_cancel_token *cancel);

/** What a shared futex has in common with other processes, for those that were forked to make
 * theirs over it. Borrowed until deinit. Errors: STATE (not shared). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_shared(const wrt_linux_futex *futex,
                                                        wrt_linux_shared **memory_out);

/** The lock of a futex made with priority inheritance, or robust. It cannot fail itself; of another
 * futex, the calls say STATE. */
WRT_API WRT_NODISCARD wrt_lock wrt_linux_futex_lock_interface(wrt_linux_futex *futex);

/** Reports how the futex has been used. Errors: INVALID_ARGUMENT, STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_query(const wrt_linux_futex *futex,
                                                       wrt_linux_futex_usage *usage_out);

/** Ends the futex: who waits leaves with STATE, and the call returns when they are gone. What is
 * shared stays as it is, for the other processes. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (its lock is held, moved, or after fork).
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
