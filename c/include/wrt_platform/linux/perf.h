/** Counters of what the processor and the kernel do for a thread (perf_event_open).
 *
 *     wrt_perf_event_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.type = WRT_PERF_INSTRUCTIONS;
 *     wrt_perf_event instructions;
 *     wrt_status status = wrt_perf_event_init(&instructions, &config); // UNSUPPORTED: no PMU
 *     status = wrt_perf_event_enable(&instructions);
 *     run();
 *     wrt_perf_reading reading;
 *     status = wrt_perf_event_read(&instructions, &reading);
 *     if (reading.state == WRT_PERF_NOT_COUNTED) // it never had a place: not the same as 0
 *
 * An event counts the thread that made it. A machine has few places for hardware events: where more
 * are enabled, they take turns, and what is read is scaled up and says so. Many virtual machines
 * have no such places at all; the software events are the kernel's own counts and always there.
 *
 * Heap: none.  Threads: one at a time for an event; any thread may read it.  ISR: no.
 * Fork: the child can't use them (STATE).  Source: perf_event_open(2).
 */
#ifndef WRT_PLATFORM_LINUX_PERF_H
#define WRT_PLATFORM_LINUX_PERF_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** What can be counted. */
enum wrt_perf_counter {
    WRT_PERF_CPU_CYCLES = 1, /* of the processor, from here */
    WRT_PERF_INSTRUCTIONS = 2,
    WRT_PERF_CACHE_REFERENCES = 3, /* of the last level, as a rule */
    WRT_PERF_CACHE_MISSES = 4,
    WRT_PERF_BRANCHES = 5,
    WRT_PERF_BRANCH_MISSES = 6,
    WRT_PERF_TASK_CLOCK = 7, /* of the kernel, from here; ns of CPU time */
    WRT_PERF_PAGE_FAULTS = 8,
    WRT_PERF_MINOR_FAULTS = 9,      /* without reading from a disk */
    WRT_PERF_MAJOR_FAULTS = 10,     /* with it */
    WRT_PERF_CONTEXT_SWITCHES = 11, /* another thread got the CPU */
    WRT_PERF_CPU_MIGRATIONS = 12,   /* the thread went to another CPU */
    WRT_PERF_RAW = 13               /* the processor's own number, see `config` */
};

/** Bounds. */
enum wrt_perf_limit {
    WRT_PERF_GROUP_MAX = 16, /* events in a group */
    WRT_PERF_ROWS = 12       /* of a profile: one for each counter but RAW */
};

/** How a count came about. */
enum wrt_perf_state {
    WRT_PERF_NOT_COUNTED = 0, /* it never had a place on the processor, or was not enabled */
    WRT_PERF_EXACT = 1,       /* it had one all the time */
    WRT_PERF_SCALED = 2       /* it had one for a part of the time, and is scaled up */
};

/** What has been counted. */
typedef struct wrt_perf_reading {
    uint64_t value;      /* scaled, if it is; 0 if nothing was counted */
    uint64_t raw;        /* as it was counted */
    uint64_t enabled_ns; /* time that it was enabled while the thread ran */
    uint64_t running_ns; /* of it, with a place on the processor */
    uint32_t state;      /* one of wrt_perf_state */
    uint32_t reserved;
} wrt_perf_reading;

typedef struct wrt_perf_event wrt_perf_event;

/** What an event is made of. */
typedef struct wrt_perf_event_config {
    uint32_t struct_size;   /* sizeof(wrt_perf_event_config); 0 is refused */
    uint32_t type;          /* one of wrt_perf_counter */
    uint64_t config;        /* with RAW: what the processor's manual says; else 0 */
    wrt_perf_event *leader; /* of the group that it joins: all of a group have a place at the
                                     same time, or none; NULL: it begins one */
    bool inherit;           /* threads and processes that the thread makes from now on count
                               as well; not in a group (UNSUPPORTED) */
    bool include_kernel;    /* what the kernel does for the thread counts as well */
    uint8_t reserved[6];    /* zero */
} wrt_perf_event_config;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
struct wrt_perf_event {
    wrt_perf_event *self;
    wrt_perf_event *leader; /* itself, if it leads */
    uint64_t id;            /* the kernel's */
    int32_t descriptor;
    uint32_t fork_generation; /* of the process that made it */
    uint32_t type;
    uint32_t member_count; /* of a leader: the others */
    bool inherit;
    uint8_t reserved[7];
};

/** Opens an event for the calling thread, not yet counting. On error `event` is left as it was.
 * Errors: INVALID_ARGUMENT (type, config, a leader of another process), UNSUPPORTED (the machine,
 * or its kernel, has no such counter), PERMISSION (the reason says what is in the way: the sysctl
 * kernel.perf_event_paranoid, or a container's filter), LIMIT (the group is full), BUSY (another
 * holds the counter for itself), NO_MEMORY (descriptors), SYSTEM.
 * Cost: some 10 us.
 */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_init(wrt_perf_event *event,
                                                     const wrt_perf_event_config *config);

/** Counts from now on; of a leader, the whole group. Again does nothing. Errors: STATE (not
 * initialised, moved, or after fork), SYSTEM. Cost: one system call. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_enable(wrt_perf_event *event);

/** Counts no longer, and keeps the count; of a leader, the whole group. Errors: as enable. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_disable(wrt_perf_event *event);

/** Sets the count to 0, not the times; of a leader, the whole group. Errors: as enable. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_reset(wrt_perf_event *event);

/** Reads the count, running or not. Errors: as enable. Cost: one system call. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_read(const wrt_perf_event *event,
                                                     wrt_perf_reading *reading_out);

/** Reads a whole group at one moment: the leader first, then the others in the order in which they
 * joined. *count_out: how many there are. readings_out: `capacity` of them.
 * Errors: as enable; INVALID_ARGUMENT (the event leads no group; capacity is too small).
 * Cost: one system call. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_read_group(const wrt_perf_event *leader,
                                                           wrt_perf_reading *readings_out,
                                                           uint32_t capacity, uint32_t *count_out);

/** Closes the event. A zeroed one is accepted, so twice is harmless. Errors: STATE (it leads others
 * that are still open, moved, or after fork). */
WRT_API WRT_NODISCARD wrt_status wrt_perf_event_deinit(wrt_perf_event *event);

/** The counter's name as the perf tool has it, "cpu-cycles" for instance; "unknown" for a number
 * that is none. Static text. Errors: none, it cannot fail.  ISR: yes. */
WRT_API const char *wrt_perf_counter_name(uint32_t counter);

/** What a count stands for that was taken for `running_ns` of `enabled_ns`, for whoever reads
 * counters in a way of his own. Errors: INVALID_ARGUMENT (NULL).  ISR: yes.  Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_scale(uint64_t raw, uint64_t enabled_ns,
                                                uint64_t running_ns, wrt_perf_reading *reading_out);

/* ---- All at once ---- */

/** A line of a profile. */
typedef struct wrt_perf_row {
    uint32_t counter; /* one of wrt_perf_counter */
    uint32_t reserved;
    wrt_error error; /* status WRT_OK: it was there; else why it was not, for wrt_error_format() */
    wrt_perf_reading reading;
} wrt_perf_row;

/** What a profile counts. */
typedef struct wrt_perf_profile_config {
    uint32_t struct_size; /* sizeof(wrt_perf_profile_config); 0 is refused */
    bool inherit;         /* as of an event */
    bool include_kernel;  /* as of an event */
    uint8_t reserved[2];  /* zero */
} wrt_perf_profile_config;

/** Caller-provided storage, not to be moved from start to stop. Fields are private. */
typedef struct wrt_perf_profile {
    wrt_perf_event events[WRT_PERF_ROWS];
    wrt_perf_row rows[WRT_PERF_ROWS];
} wrt_perf_profile;

/** Begins to count, for the calling thread, all that can be counted here. What can't be had is no
 * failure: its row says why. On error `profile` is left as it was.
 * Errors: as wrt_perf_event_init(), if there is nothing at all.
 * Cost: some 100 us. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_profile_start(wrt_perf_profile *profile,
                                                        const wrt_perf_profile_config *config);

/** Ends the count and closes the events; a row for each counter, in their order, even on error.
 * Errors: as wrt_perf_event_read(). */
WRT_API WRT_NODISCARD wrt_status wrt_perf_profile_stop(wrt_perf_profile *profile,
                                                       wrt_perf_row rows_out[WRT_PERF_ROWS]);

/** Instructions by cycles. Errors: UNSUPPORTED (one of the two was not counted, or there were no
 * cycles). Cost: linear in `count`. */
WRT_API WRT_NODISCARD wrt_status wrt_perf_instructions_per_cycle(const wrt_perf_row *rows,
                                                                 uint32_t count, double *ratio_out);

WRT_END_DECLS
#endif
