/** Memory pressure: the kernel tells when processes wait for memory, before it is used up.
 *
 *     wrt_linux_pressure_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.events = &events;
 *     config.cgroup = &group; // NULL: the whole system
 *     wrt_linux_pressure pressure;
 *     wrt_status status = wrt_linux_pressure_init(&pressure, &config);
 *     uint32_t count;
 *     status = wrt_linux_pressure_collect(&pressure, 1000000000, &count);
 *
 * The kernel measures how long processes could not run for want of memory (pressure stall
 * information). A level is reached when that time exceeds its share of a window:
 *
 *     LOW       some process waited for 5 % of the window
 *     MEDIUM    some process waited for 20 %
 *     CRITICAL  all processes that wanted to run waited at the same time, for 10 %
 *
 * so LOW and MEDIUM say that memory costs time, CRITICAL that nothing else gets done. Each level is
 * told at most once a window while it holds; there is no event when it ends.
 *
 * Each is an event WRT_EVENT_MEMORY_PRESSURE in the caller's ring: `source` as the config has it,
 * detail[0] one of wrt_linux_pressure_level, detail[1] the microseconds that some process has
 * waited since the group was made. No thread is started: a thread of the caller's waits in
 * wrt_linux_pressure_collect(), which posts them; everybody else waits on the ring.
 *
 * Heap: none.  Threads: one caller at a time.  ISR: no.
 * Fork: the child can't use the object (STATE).
 * Kernel: Linux's Documentation/accounting/psi.rst.
 */
#ifndef WRT_PLATFORM_LINUX_PRESSURE_H
#define WRT_PLATFORM_LINUX_PRESSURE_H

#include "wrt_platform/events.h"
#include "wrt_platform/linux/cgroups.h"

WRT_BEGIN_DECLS

typedef struct wrt_linux_pressure wrt_linux_pressure;

/** How bad it is; each has a share of the window, see above. */
enum wrt_linux_pressure_level {
    WRT_LINUX_PRESSURE_LOW = 1,
    WRT_LINUX_PRESSURE_MEDIUM = 2,
    WRT_LINUX_PRESSURE_CRITICAL = 3
};

/** Thresholds, in thousandths of a window, and the window. */
enum wrt_linux_pressure_default {
    WRT_LINUX_PRESSURE_LOW_SHARE = 50,
    WRT_LINUX_PRESSURE_MEDIUM_SHARE = 200,
    WRT_LINUX_PRESSURE_CRITICAL_SHARE = 100,
    WRT_LINUX_PRESSURE_WINDOW_NS = 2000000000 /* without rights the kernel takes multiples of 2 s */
};

/** What to watch. */
typedef struct wrt_linux_pressure_config {
    uint32_t struct_size;           /* sizeof(wrt_linux_pressure_config); 0 is refused */
    uint32_t low_share;             /* thousandths of the window, 1 to 1000; 0: 50 */
    uint32_t medium_share;          /* the same; 0: 200 */
    uint32_t critical_share;        /* the same; 0: 100 */
    uint64_t window_ns;             /* nanoseconds, 0.5 s to 10 s; 0: 2 s */
    uint64_t source;                /* of the events */
    const wrt_linux_cgroup *cgroup; /* borrowed for init; NULL: the whole system */
    wrt_events *events;             /* borrowed until deinit */
} wrt_linux_pressure_config;

/** Caller-provided storage; it may be moved. Fields are private. */
struct wrt_linux_pressure {
    wrt_events *events;
    uint64_t source;
    uint32_t fork_generation; /* of the process that made it */
    int32_t triggers[3];      /* descriptors, by level */
    uint64_t reserved[2];
};

/** Begins to watch. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (the kernel measures no
 * pressure: before Linux 5.2, or booted with psi=0; the remedy is psi=1), PERMISSION (before Linux
 * 6.4 it takes CAP_SYS_RESOURCE; later a window that is not a multiple of 2 s does), STATE (the
 * group), NO_MEMORY, SYSTEM. Cost: a dozen system calls.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_pressure_init(wrt_linux_pressure *pressure,
                                                         const wrt_linux_pressure_config *config);

/** Waits for a level to be reached, and posts an event for each that was. timeout_ns: nanoseconds,
 * 0 does not wait, UINT64_MAX waits without limit. *count_out: events posted; one that the ring
 * had no room for is counted there as lost.
 * Errors: TIMED_OUT (there was none), STATE (not initialised, after fork, or the group was
 * removed), SYSTEM. Cost: one wait, and a read.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_pressure_collect(wrt_linux_pressure *pressure,
                                                            uint64_t timeout_ns,
                                                            uint32_t *count_out);

/** Ends the watch. A zeroed one is accepted, so twice is harmless. It cannot fail but for
 * Errors: INVALID_ARGUMENT. Cost: three system calls. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_pressure_deinit(wrt_linux_pressure *pressure);

WRT_END_DECLS
#endif
