/** Threads of QNX: what pools, watchdogs, thread managers and events run on.
 *
 *     wrt_qnx_thread_system_config config = {0};
 *     config.struct_size = sizeof config;
 *     wrt_qnx_thread_system qnx_threads;
 *     wrt_status status = wrt_qnx_thread_system_init(&qnx_threads, &config);
 *     const wrt_thread_system system = wrt_qnx_thread_system_interface(&qnx_threads);
 *
 * Priorities, each a number of the config's, 1 to 255 and never falling from LOW to REALTIME:
 *
 *     LOW       SCHED_RR    8
 *     NORMAL    SCHED_RR   10, what QNX gives a process
 *     HIGH      SCHED_RR   15
 *     REALTIME  SCHED_FIFO 40
 *
 * Numbers above 63 take the ability PROCMGR_AID_PRIORITY, or root.
 *
 * A cpu set becomes the thread's run mask and what its own threads inherit; one that is all zero
 * means the run mask that the thread calling init has.
 *
 * QNX has no wait on a word: a waiter compares the word under the mutex of one of a few buckets,
 * in which it waits on a condition variable of its own. So nothing is lost, the most urgent waiter
 * of a word is woken first, and nobody is woken for another's sake.
 *
 * stack_size in a report is what was asked for, 0 the system's default: QNX tells it to a
 * debugger only. A thread that has ended is described until it has been joined, as far as the
 * kernel keeps it.
 *
 * Heap: none but what the C library takes to make a thread.  Threads: any.  ISR: no.
 * Fork: it refuses every call in the child (STATE), but for `wake`, which does nothing there.
 */
#ifndef WRT_PLATFORM_QNX_THREADING_H
#define WRT_PLATFORM_QNX_THREADING_H

#include "wrt_platform/thread_system.h"

WRT_BEGIN_DECLS

typedef struct wrt_qnx_thread_system wrt_qnx_thread_system;

/** Defaults of the config, and sizes. */
enum wrt_qnx_thread_system_limit {
    WRT_QNX_LOW_PRIORITY_DEFAULT = 8,
    WRT_QNX_NORMAL_PRIORITY_DEFAULT = 10,
    WRT_QNX_HIGH_PRIORITY_DEFAULT = 15,
    WRT_QNX_REALTIME_PRIORITY_DEFAULT = 40,
    WRT_QNX_BUCKET_COUNT = 8
};

/** What a thread system is made of. Priorities: 1 to 255; 0: the default. */
typedef struct wrt_qnx_thread_system_config {
    uint32_t struct_size; /* sizeof(wrt_qnx_thread_system_config); 0 is refused */
    uint32_t low_priority;
    uint32_t normal_priority;
    uint32_t high_priority;
    uint32_t realtime_priority;
    uint8_t reserved[4]; /* zero */
} wrt_qnx_thread_system_config;

/** Where waiters lie whose words have the same hash. Fields are private. */
typedef struct wrt_qnx_bucket {
    uint64_t mutex;
    void *first; /* waiter */
} wrt_qnx_bucket;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_qnx_thread_system {
    wrt_qnx_thread_system *self;
    wrt_qnx_bucket buckets[8]; /* WRT_QNX_BUCKET_COUNT */
    wrt_cpu_set cpus;          /* "any": what init found */
    uint32_t bucket_count;     /* whose mutex is made */
    uint32_t thread_count;     /* atomic: started, neither joined nor detached */
    int32_t process;           /* that made it */
    uint32_t cpu_count;
    uint32_t priorities[4]; /* LOW to REALTIME */
    uint64_t reserved[4];
};

/** Prepares `system`. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes),
 * NO_MEMORY (no room for eight mutexes), SYSTEM. Cost: a few calls of the kernel.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_thread_system_init(
    wrt_qnx_thread_system *system, const wrt_qnx_thread_system_config *config);

/** The system as thread pools and the others take it. It cannot fail itself; of a system that is
 * not initialised, the calls say STATE.
 * Cost: a wait makes and destroys a condition variable beside the wait itself; a wake that finds
 * nobody makes no call of the kernel, but for a bucket that is in use this moment.
 */
WRT_API WRT_NODISCARD wrt_thread_system
wrt_qnx_thread_system_interface(wrt_qnx_thread_system *system);

/** Ends the system. A zeroed one is accepted, so twice is harmless; after SYSTEM it may be called
 * again and goes on where it failed.
 * Errors: STATE (threads of it are neither joined nor detached, or wait; after fork), SYSTEM.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_thread_system_deinit(wrt_qnx_thread_system *system);

WRT_END_DECLS
#endif
