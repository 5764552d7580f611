/** Threads of Linux: what pools, watchdogs, thread managers and events run on.
 *
 *     wrt_linux_thread_system_config config = {0};
 *     config.struct_size = sizeof config;
 *     wrt_linux_thread_system linux_threads;
 *     wrt_status status = wrt_linux_thread_system_init(&linux_threads, &config);
 *     const wrt_thread_system system = wrt_linux_thread_system_interface(&linux_threads);
 *
 * Priorities:
 *
 *     LOW       SCHED_OTHER, nice_step above the base nice value (19 at most)
 *     NORMAL    SCHED_OTHER, the base: the nice value of the thread that called init
 *     HIGH      SCHED_OTHER, nice_step below the base (-20 at least)
 *     REALTIME  SCHED_FIFO or SCHED_RR, as realtime_policy says, at realtime_priority
 *
 * Any thread may give way; to go up takes a permission: RLIMIT_NICE (`ulimit -e`, LimitNICE=) for
 * nice values, RLIMIT_RTPRIO (`ulimit -r`, LimitRTPRIO=) for REALTIME, or CAP_SYS_NICE for both.
 * So a LOW thread without them can't become NORMAL again. Kernels with CONFIG_RT_GROUP_SCHED also
 * want a share of real time for the control group that the process is in, root's processes
 * included: without one REALTIME is refused whatever is permitted, and the error says so.
 *
 * A cpu set that is all zero means the CPUs that the thread calling init may use (taskset and
 * cpusets are kept). One that names CPUs beyond the process's cpuset comes to those within it, as
 * the report of the thread shows; where none is left, the error tells a CPU that the system lacks
 * from one that is switched off and from one that the cpuset keeps back. Threads start with all
 * signals blocked, but for those of faults: the process's signals go to its own threads.
 *
 * Waits are futexes of this process (FUTEX_WAIT_PRIVATE); the clock is CLOCK_MONOTONIC; locks are
 * mutexes with priority inheritance that notice misuse.
 *
 * Heap: none but what the C library takes to make a thread.  Threads: any.  ISR: no.
 * Fork: it refuses every call in the child (STATE), but for `wake`, which does nothing there.
 */
#ifndef WRT_PLATFORM_LINUX_THREADING_H
#define WRT_PLATFORM_LINUX_THREADING_H

#include "wrt_platform/thread_system.h"

WRT_BEGIN_DECLS

typedef struct wrt_linux_thread_system wrt_linux_thread_system;

/** Defaults of the config. */
enum wrt_linux_thread_system_default {
    WRT_LINUX_REALTIME_PRIORITY_DEFAULT = 10,
    WRT_LINUX_NICE_STEP_DEFAULT = 10
};

/** How REALTIME threads of one priority take turns on a CPU; the system's own numbers. */
enum wrt_linux_realtime_policy {
    WRT_LINUX_REALTIME_FIFO = 1,       /* SCHED_FIFO: one runs until it waits; the default */
    WRT_LINUX_REALTIME_ROUND_ROBIN = 2 /* SCHED_RR: in slices of sched_rr_timeslice_ms, 100 ms
                                          where nobody changed it */
};

/** What a thread system is made of. */
typedef struct wrt_linux_thread_system_config {
    uint32_t struct_size;       /* sizeof(wrt_linux_thread_system_config); 0 is refused */
    uint32_t realtime_priority; /* of REALTIME: 1 to 99; 0: 10 */
    uint32_t nice_step;         /* from NORMAL to LOW and to HIGH: 1 to 19; 0: 10 */
    uint32_t realtime_policy;   /* one of wrt_linux_realtime_policy; 0: FIFO */
} wrt_linux_thread_system_config;

/** Caller-provided storage. Fields are private. It may be moved while no thread of it is out; then
 * its interface is to be asked for again. */
struct wrt_linux_thread_system {
    wrt_linux_thread_system *self;
    uint64_t cpus[16];        /* "any": what init found, as many as Linux's cpu_set_t has */
    uint32_t thread_count;    /* atomic: started, neither joined nor detached */
    uint32_t fork_generation; /* of the process that made it */
    uint32_t realtime_priority;
    uint32_t nice_step;
    int32_t base_nice;
    uint32_t realtime_policy;
    uint64_t reserved[4];
};

/** Prepares `system`. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes),
 * NO_MEMORY (no room to register for forks). Cost: two system calls.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_thread_system_init(
    wrt_linux_thread_system *system, const wrt_linux_thread_system_config *config);

/** The system as thread pools and the others take it. It cannot fail itself; of a system that is
 * not initialised, the calls say STATE.
 * Cost: start takes the C library's time for a thread (40 to 60 microseconds) and two hand-overs;
 * wait and wake one system call each; now none (vDSO); a free lock none.
 */
WRT_API WRT_NODISCARD wrt_thread_system
wrt_linux_thread_system_interface(wrt_linux_thread_system *system);

/** Ends the system. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (threads of it are neither joined nor detached, or after fork). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_thread_system_deinit(wrt_linux_thread_system *system);

WRT_END_DECLS
#endif
