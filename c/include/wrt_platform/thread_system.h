/** Thread systems: what concurrency asks of an operating system.
 *
 * Thread pools, watchdogs, thread managers and events are written once, in portable code. What
 * they need of the system below stands here: threads, priorities, clocks, locks, and waiting on a
 * word. Each backend gives out a wrt_thread_system (`wrt_linux_thread_system_interface()`, ...);
 * a port of your own fills in the ops by the rules below.
 *
 * Times are nanoseconds. A `timeout_ns` of 0 does not wait at all, UINT64_MAX waits without limit.
 *
 * Heap: none but what the system itself takes to make or to describe a thread.  Threads: any, a
 * thread's own start and join aside.  ISR: no, where nothing else is said.
 */
#ifndef WRT_PLATFORM_THREAD_SYSTEM_H
#define WRT_PLATFORM_THREAD_SYSTEM_H

#include "wrt_platform/status.h"
#include <stdbool.h>
#include <stddef.h>

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_thread_limit {
    WRT_THREAD_NAME_SIZE = 16, /* bytes of a name, the closing NUL included */
    WRT_THREAD_CPU_MAX = 256   /* CPUs 0 to 255 can be named */
};

/** How urgent work is; each backend maps these four on its own range, and says how. */
enum wrt_thread_priority {
    WRT_THREAD_PRIORITY_DEFAULT = 0, /* NORMAL, or what the surrounding config says */
    WRT_THREAD_PRIORITY_LOW = 1,
    WRT_THREAD_PRIORITY_NORMAL = 2,
    WRT_THREAD_PRIORITY_HIGH = 3,
    WRT_THREAD_PRIORITY_REALTIME = 4 /* before every thread of the three others */
};

/** Which CPUs a thread may use: bit c % 64 of words[c / 64] stands for CPU c. All zero: any. */
typedef struct wrt_cpu_set {
    uint64_t words[4]; /* WRT_THREAD_CPU_MAX / 64 */
} wrt_cpu_set;

/** What a thread runs; the thread ends when it returns. */
typedef void (*wrt_thread_entry_fn)(void *context);

/** What a thread is made of. */
typedef struct wrt_thread_config {
    uint32_t struct_size; /* sizeof(wrt_thread_config); 0 is refused */
    uint32_t priority;    /* one of wrt_thread_priority */
    wrt_cpu_set cpus;
    wrt_thread_entry_fn entry;
    void *context;
    const char *name;      /* copied; at most 15 bytes, a longer one is cut; NULL: none */
    void *stack;           /* borrowed until the thread has been joined; NULL: the system's own */
    uint64_t stack_size;   /* bytes; 0: the system's default */
    bool require_priority; /* a priority that this process may not have is PERMISSION; otherwise
                              the thread starts with the nearest one that it may have */
    uint8_t reserved[7];   /* zero */
} wrt_thread_config;

/** A thread: caller's storage, not to be moved from start to join or detach; private. */
typedef struct wrt_thread {
    uint64_t opaque[8];
} wrt_thread;

/** A thread as the system describes it: read back, not remembered. */
typedef struct wrt_thread_report {
    uint64_t system_id;      /* number that the system's own tools show */
    uint64_t stack_size;     /* bytes */
    uint64_t cpu_time_ns;    /* that it has used so far */
    wrt_cpu_set cpus;        /* it may use */
    int32_t system_policy;   /* the system's own number of its scheduling policy */
    int32_t system_priority; /* in the system's own range; on Linux without realtime the nice
                                value */
    uint32_t priority;       /* one of wrt_thread_priority: what the two above come to */
    char name[16];           /* WRT_THREAD_NAME_SIZE */
    uint32_t reserved;
} wrt_thread_report;

/** A lock of the system's own, with priority inheritance where the system has it; caller's
 * storage, not to be moved; private. For the library's portable parts; wrt_lock is the public
 * one. */
typedef struct wrt_system_lock {
    uint64_t opaque[6];
} wrt_system_lock;

/** A thread that does one thing again and again, and how far it has been stopped; private: a part
 * of the objects that have one. */
typedef struct wrt_repeating_thread {
    wrt_thread thread;
    uint32_t phase;    /* atomic */
    uint32_t stopping; /* atomic: the thread waits on it */
} wrt_repeating_thread;

/** Starts a thread. Errors: INVALID_ARGUMENT (CPU or stack size out of range), PERMISSION (see
 * require_priority; the text says what to do), NO_MEMORY (the system has no room for one more),
 * SYSTEM. On error `thread` is left as it was. */
typedef wrt_status (*wrt_thread_start_fn)(void *self, wrt_thread *thread,
                                          const wrt_thread_config *config);
/** Waits until the thread has ended, and frees what the system keeps of it.
 * Errors: TIMED_OUT (it runs on), STATE (joined or detached already, or it is the caller). */
typedef wrt_status (*wrt_thread_join_fn)(void *self, wrt_thread *thread, uint64_t timeout_ns);
/** Gives up the right to join; the system frees the thread when it ends. Errors: STATE. */
typedef wrt_status (*wrt_thread_detach_fn)(void *self, wrt_thread *thread);
/** Changes the calling thread's priority. Errors: PERMISSION, INVALID_ARGUMENT, SYSTEM. */
typedef wrt_status (*wrt_thread_set_priority_fn)(void *self, uint32_t priority);
/** Changes the CPUs of the calling thread; all zero: any. Errors: INVALID_ARGUMENT (none of them
 * exists), SYSTEM. */
typedef wrt_status (*wrt_thread_set_cpus_fn)(void *self, const wrt_cpu_set *cpus);
/** Describes a thread; NULL: the caller. Errors: STATE (it has ended), SYSTEM. */
typedef wrt_status (*wrt_thread_query_fn)(void *self, const wrt_thread *thread,
                                          wrt_thread_report *report_out);
/** Processor time that a thread has used; NULL: the caller. Any thread may ask.
 * Errors: STATE (it has ended). */
typedef wrt_status (*wrt_thread_cpu_time_fn)(void *self, const wrt_thread *thread,
                                             uint64_t *nanoseconds_out);
/** A clock that only goes forward. Errors: SYSTEM. */
typedef wrt_status (*wrt_thread_now_fn)(void *self, uint64_t *nanoseconds_out);
/** Waits while *word is `expected`. It may return early for no reason: look again.
 * Errors: TIMED_OUT. Cost: one wait of the system; none if *word is something else. */
typedef wrt_status (*wrt_thread_wait_fn)(void *self, const uint32_t *word, uint32_t expected,
                                         uint64_t timeout_ns);
/** Wakes up to `count` threads that wait on `word`, which was changed before; UINT32_MAX: all.
 * The memory behind `word` is not touched. It cannot fail. */
typedef void (*wrt_thread_wake_fn)(void *self, const uint32_t *word, uint32_t count);
/** Prepares a lock. Errors: NO_MEMORY, SYSTEM. */
typedef wrt_status (*wrt_thread_lock_init_fn)(void *self, wrt_system_lock *lock);
/** Takes a lock, waiting without limit. Errors: STATE (the caller holds it). */
typedef wrt_status (*wrt_thread_lock_fn)(void *self, wrt_system_lock *lock);
/** Gives a lock back. Errors: STATE (the caller does not hold it). */
typedef wrt_status (*wrt_thread_unlock_fn)(void *self, wrt_system_lock *lock);
/** Ends a lock. Errors: STATE (somebody holds it). */
typedef wrt_status (*wrt_thread_lock_deinit_fn)(void *self, wrt_system_lock *lock);

/** The calls of a thread system; none may be NULL. */
typedef struct wrt_thread_system_ops {
    wrt_thread_start_fn start;
    wrt_thread_join_fn join;
    wrt_thread_detach_fn detach;
    wrt_thread_set_priority_fn set_priority;
    wrt_thread_set_cpus_fn set_cpus;
    wrt_thread_query_fn query;
    wrt_thread_cpu_time_fn cpu_time;
    wrt_thread_now_fn now;
    wrt_thread_wait_fn wait;
    wrt_thread_wake_fn wake;
    wrt_thread_lock_init_fn lock_init;
    wrt_thread_lock_fn lock;
    wrt_thread_unlock_fn unlock;
    wrt_thread_lock_deinit_fn lock_deinit;
} wrt_thread_system_ops;

/** A thread system of any backend. Copy it freely; `self` must outlive all copies. All zero: none,
 * where a config says that it may be. */
typedef struct wrt_thread_system {
    const wrt_thread_system_ops *ops;
    void *self;
} wrt_thread_system;

WRT_END_DECLS
#endif
