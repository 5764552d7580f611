/** Semaphores, mutexes and conditions of Linux, each over one futex; and waits on several futexes.
 *
 *     wrt_linux_futex_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.initial_value = 3;
 *     wrt_linux_semaphore semaphore;
 *     wrt_status status = wrt_linux_semaphore_init(&semaphore, &config);
 *     status = wrt_linux_semaphore_acquire(&semaphore, 1000000000, NULL); // 1 s
 *     status = wrt_linux_semaphore_release(&semaphore, 1);
 *
 * They are made of a futex's config, with what it says of spinning, shared memory and clocks; what
 * means nothing to an object is refused. None makes a system call while nobody has to wait.
 *
 * Time-outs are nanoseconds on CLOCK_MONOTONIC: 0 does not wait, UINT64_MAX waits without limit.
 * Deadlines (`..._until`) are points in time on CLOCK_MONOTONIC, or CLOCK_REALTIME for an object
 * made with realtime_clock; UINT64_MAX is never. `cancel` ends a wait within 20 ms; NULL: nothing
 * does.
 *
 * Heap: none.  Threads: any, init and deinit aside.  ISR: no.
 * Fork: the objects refuse every call in the child (STATE); a shared one can be made anew there.
 */
#ifndef WRT_PLATFORM_LINUX_SYNC_OBJECTS_H
#define WRT_PLATFORM_LINUX_SYNC_OBJECTS_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/linux/sync.h"

WRT_BEGIN_DECLS

/** Bounds. */
enum wrt_linux_sync_object_limit {
    WRT_LINUX_SEMAPHORE_MAX = 2147483647, /* what a semaphore can count to */
    WRT_LINUX_WAIT_ANY_MAX = 128,         /* futexes in one wait */
    WRT_LINUX_STRATEGY_COUNT = 10         /* rows of wrt_linux_benchmark_futex_strategies() */
};

/* ---- Semaphore ---- */

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
typedef struct wrt_linux_semaphore {
    wrt_linux_futex futex;
} wrt_linux_semaphore;

/** Prepares a semaphore that counts from config->initial_value. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (more than WRT_LINUX_SEMAPHORE_MAX; a rule of the config is broken),
 * UNSUPPORTED (inheritance or robust: nobody owns a semaphore), and those of
 * wrt_linux_futex_init().
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_init(wrt_linux_semaphore *semaphore,
                                                          const wrt_linux_futex_config *config);

/** Takes one, and waits while there is none. Who comes at the right moment may be faster than who
 * waits. Errors: TIMED_OUT, INTERRUPTED (cancel), STATE (not initialised, deinitialised meanwhile,
 * after fork), SYSTEM. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_acquire(wrt_linux_semaphore *semaphore,
                                                             uint64_t timeout_ns,
                                                             wrt_cancel_token *cancel);

/** The same, until a point in time. Errors: as wrt_linux_semaphore_acquire(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_acquire_until(wrt_linux_semaphore *semaphore,
                                                                   uint64_t deadline_ns,
                                                                   wrt_cancel_token *cancel);

/** Gives `count` back, and wakes as many that wait. It need not be who took them. Errors:
 * INVALID_ARGUMENT (count 0), LIMIT (beyond WRT_LINUX_SEMAPHORE_MAX; nothing was added), STATE,
 * SYSTEM. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_release(wrt_linux_semaphore *semaphore,
                                                             uint32_t count);

/** How many there are now. Errors: STATE. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_value(const wrt_linux_semaphore *semaphore,
                                                           uint32_t *value_out);

/** Ends the semaphore; no release may be under way. Errors: as wrt_linux_futex_deinit(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_semaphore_deinit(wrt_linux_semaphore *semaphore);

/* ---- Mutex ---- */

/** The fastest lock here: its word holds the number of the thread that owns it. Misuse is refused
 * as by wrt_linux_lock, which has more protocols and notices owners that end. Caller-provided
 * storage, not to be moved from init to deinit. Fields are private. */
typedef struct wrt_linux_mutex {
    wrt_linux_futex futex;
} wrt_linux_mutex;

/** Prepares a mutex, free; with config->priority_inheritance its owner runs at the priority of the
 * most urgent waiter. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (an initial_value; a rule of the config is broken), UNSUPPORTED (robust:
 * wrt_linux_lock is), and those of wrt_linux_futex_init(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mutex_init(wrt_linux_mutex *mutex,
                                                      const wrt_linux_futex_config *config);

/** Takes the mutex. Errors: TIMED_OUT, INTERRUPTED (cancel), STATE (the caller holds it; the owner
 * ended without giving it back, noticed with inheritance only; not initialised, after fork),
 * UNSUPPORTED (a kernel without inheritance), SYSTEM.
 * Cost: one atomic exchange if it is free. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mutex_lock(wrt_linux_mutex *mutex, uint64_t timeout_ns,
                                                      wrt_cancel_token *cancel);

/** The same, until a point in time. Errors: as wrt_linux_mutex_lock(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mutex_lock_until(wrt_linux_mutex *mutex,
                                                            uint64_t deadline_ns,
                                                            wrt_cancel_token *cancel);

/** Gives the mutex back. Errors: STATE (the caller does not hold it), SYSTEM.
 * Cost: one atomic exchange if nobody waits. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mutex_unlock(wrt_linux_mutex *mutex);

/** The mutex as wrt_lock_lock() and the others take it. It cannot fail itself. */
WRT_API WRT_NODISCARD wrt_lock wrt_linux_mutex_interface(wrt_linux_mutex *mutex);

/** Ends the mutex; a shared one stays as it is for the others. Errors: STATE (it is held, and not
 * shared; the caller holds it; moved, after fork). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mutex_deinit(wrt_linux_mutex *mutex);

/* ---- Condition ---- */

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
typedef struct wrt_linux_condition {
    wrt_linux_futex futex;
} wrt_linux_condition;

/** Prepares a condition. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (an initial_value; a rule of the config is broken), UNSUPPORTED
 * (inheritance or robust: the mutex may have them), and those of wrt_linux_futex_init(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_condition_init(wrt_linux_condition *condition,
                                                          const wrt_linux_futex_config *config);

/** Gives `mutex`, which the caller holds, back, waits for a signal, and takes it again, however the
 * wait ends. A signal after the mutex was given back is never lost; look again at what you wait
 * for, the wait may end early. Errors: TIMED_OUT, INTERRUPTED (cancel), with the mutex held; STATE
 * (the caller does not hold it; not initialised, deinitialised meanwhile), INVALID_ARGUMENT (a
 * shared condition with a mutex that is not), SYSTEM. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_condition_wait(wrt_linux_condition *condition,
                                                          wrt_linux_mutex *mutex,
                                                          uint64_t timeout_ns,
                                                          wrt_cancel_token *cancel);

/** The same, until a point in time. Errors: as wrt_linux_condition_wait(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_condition_wait_until(wrt_linux_condition *condition,
                                                                wrt_linux_mutex *mutex,
                                                                uint64_t deadline_ns,
                                                                wrt_cancel_token *cancel);

/** Wakes at most `count` threads that wait; UINT32_MAX: all. The mutex may be held or not. Errors:
 * INVALID_ARGUMENT (count 0), STATE, SYSTEM. Cost: no system call while nobody waits. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_condition_signal(wrt_linux_condition *condition,
                                                            uint32_t count);

/** Ends the condition. Errors: as wrt_linux_futex_deinit(). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_condition_deinit(wrt_linux_condition *condition);

/* ---- Several futexes ---- */

/** One of the futexes that a wait is for. */
typedef struct wrt_linux_futex_wait {
    wrt_linux_futex *futex;
    uint32_t expected;
    uint32_t reserved; /* zero */
} wrt_linux_futex_wait;

/** Waits until one of `count` futexes is woken, or its word is not what is expected; *index_out is
 * which. waits: borrowed for the call; count: 1 to WRT_LINUX_WAIT_ANY_MAX.
 * Errors: TIMED_OUT, INTERRUPTED (cancel), UNSUPPORTED (one is a lock; reserved bytes), STATE,
 * INVALID_ARGUMENT, SYSTEM. Cost: one futex_waitv; where there is none, a wait on the first word
 * that looks at the others every 2 ms. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_wait_any(const wrt_linux_futex_wait *waits,
                                                          uint32_t count, uint64_t timeout_ns,
                                                          wrt_cancel_token *cancel,
                                                          uint32_t *index_out);

/** Asks the kernel whether it has futex_waitv: ENFORCED, or PARTIAL with the reason.
 * Errors: INVALID_ARGUMENT (NULL). Cost: one system call. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_futex_wait_any_query(wrt_enforcement *enforcement_out);

/* ---- What it costs here ---- */

/** One way to lock or to hand over, measured. */
typedef struct wrt_linux_futex_strategy {
    const char *name; /* static text */
    uint64_t operations;
    uint64_t nanoseconds; /* for all of them */
    uint64_t wait_calls;  /* of the system; UINT64_MAX: not counted */
} wrt_linux_futex_strategy;

/** Measures, in this process, what locks cost that nobody else wants, and what it takes two threads
 * to hand a word to and fro. operations: 1 to 10,000,000 of each, hand-overs are a hundredth of it.
 * Rows are written in one order, at most `capacity`; *count_out is how many.
 * Errors: INVALID_ARGUMENT, NO_MEMORY (for a thread), UNSUPPORTED (no inheritance here), SYSTEM.
 * Cost: as much as it measures, seconds where CPUs are busy. One thread, which is gone at the end.
 */
WRT_API WRT_NODISCARD wrt_status
wrt_linux_benchmark_futex_strategies(uint32_t operations, wrt_linux_futex_strategy *rows_out,
                                     uint32_t capacity, uint32_t *count_out);

WRT_END_DECLS
#endif
