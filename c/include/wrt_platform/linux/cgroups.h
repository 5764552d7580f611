/** Control groups: limits for a group of processes, kept by the kernel.
 *
 *     wrt_linux_cgroup_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.name = "wasm_runtime";
 *     wrt_linux_cgroup group;
 *     wrt_status status = wrt_linux_cgroup_init(&group, &config);
 *     wrt_linux_cgroup_limits limits = {0};
 *     limits.struct_size = sizeof limits;
 *     limits.memory_max = 1u << 30;
 *     wrt_linux_cgroup_limits applied;
 *     status = wrt_linux_cgroup_set_limits(&group, &limits, &applied);
 *
 * Groups are those of version 2, wherever it is mounted: alone, beside version 1 (hybrid), or seen
 * from within a container. A limit needs its controller, and a controller has to be enabled in
 * each group above, from the top down. That is done where it is allowed; where not, the error says
 * why and what to do, and wrt_linux_cgroup_plan() names the group that is in the way.
 *
 * A limit is written and read back: what the kernel made of it is what `applied` says.
 *
 * Heap: none.  Threads: one caller at a time per group.  ISR: no.
 * Fork: the child can't use the object (STATE); the group itself belongs to no process.
 * Kernel: the files are those of Linux's Documentation/admin-guide/cgroup-v2.rst.
 */
#ifndef WRT_PLATFORM_LINUX_CGROUPS_H
#define WRT_PLATFORM_LINUX_CGROUPS_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

typedef struct wrt_linux_cgroup wrt_linux_cgroup;

/** Sizes. */
enum wrt_linux_cgroup_size {
    WRT_LINUX_CGROUP_PATH_SIZE = 1024, /* bytes of a path, the closing NUL included */
    WRT_LINUX_CGROUP_DEVICES_MAX = 16  /* that one call sets limits for */
};

/** Who keeps which limits; to be combined. */
enum wrt_linux_cgroup_controller {
    WRT_LINUX_CGROUP_CPU = 1,
    WRT_LINUX_CGROUP_IO = 2,
    WRT_LINUX_CGROUP_MEMORY = 4,
    WRT_LINUX_CGROUP_PIDS = 8
};

/** How control groups are set up here. */
enum wrt_linux_cgroup_layout {
    WRT_LINUX_CGROUP_NONE = 0,  /* none is mounted */
    WRT_LINUX_CGROUP_V1 = 1,    /* version 1 alone: limits can be read, not set */
    WRT_LINUX_CGROUP_V2 = 2,    /* version 2 alone */
    WRT_LINUX_CGROUP_HYBRID = 3 /* both: controllers of version 1 are missing in version 2 */
};

/** What keeps a controller from being enabled. */
enum wrt_linux_cgroup_obstacle {
    WRT_LINUX_CGROUP_FREE = 0,          /* nothing that can be seen */
    WRT_LINUX_CGROUP_NOT_OFFERED = 1,   /* the top group has no such controller */
    WRT_LINUX_CGROUP_HAS_PROCESSES = 2, /* the group has processes of its own */
    WRT_LINUX_CGROUP_NOT_PERMITTED = 3, /* its files are not ours to write */
    WRT_LINUX_CGROUP_THREADED = 4 /* the group is for threads, where the controller can't be */
};

/** Where this process stands. */
typedef struct wrt_linux_cgroup_location {
    uint32_t layout;       /* one of wrt_linux_cgroup_layout */
    uint32_t controllers;  /* of version 2 that own group may use; wrt_linux_cgroup_controller */
    uint32_t mount_length; /* bytes of `path` that are the place where version 2 is mounted */
    bool is_outside;       /* own group can't be seen from here: `path` is the mounted top */
    uint8_t reserved[3];
    char path[1024]; /* own group of version 2, WRT_LINUX_CGROUP_PATH_SIZE; empty: none */
} wrt_linux_cgroup_location;

/** What a group is made of. */
typedef struct wrt_linux_cgroup_config {
    uint32_t struct_size; /* sizeof(wrt_linux_cgroup_config); 0 is refused */
    uint32_t controllers; /* to be enabled at init; 0: when a limit first needs one */
    const char *name;     /* of the new group: 1 to 255 bytes without a slash; copied */
    const char *parent;   /* the group in which it is made; NULL: this process's own. One that
                             begins with the mount ("/sys/fs/cgroup/user.slice") or with a slash is
                             counted from the top, else from own group; copied */
    const char *root;     /* put before each absolute path, for trees that are not the system's;
                             NULL: nothing; copied */
    bool take_existing;   /* a group of that name that is there is taken, as it is */
    bool move_to_leaf;    /* processes of own group that are in the way are moved to a new group
                             `wrt-leaf` in it; where that fails they are moved back */
    uint8_t reserved[6];  /* zero */
} wrt_linux_cgroup_config;

/** What init would do. */
typedef struct wrt_linux_cgroup_plan {
    uint32_t enabled;            /* controllers that the new group would have already */
    uint32_t to_enable;          /* that would be enabled */
    uint32_t blocked;            /* that can't be had */
    uint32_t obstacle;           /* of the first that is blocked, or of the group itself if none
                                    is; wrt_linux_cgroup_obstacle */
    uint32_t blocked_controller; /* the first that is blocked */
    uint32_t reserved;
    const char *remedy; /* what to do about it; static text, never NULL */
    char path[1024];    /* of the new group, WRT_LINUX_CGROUP_PATH_SIZE */
    char blocker[1024]; /* the group that is in the way, the same; empty: none */
} wrt_linux_cgroup_plan;

/** Limits of one disk. 0: as it is; UINT64_MAX: none. */
typedef struct wrt_linux_cgroup_io {
    uint32_t major; /* of the whole disk: partitions have no limits of their own */
    uint32_t minor;
    uint64_t read_bytes;  /* a second */
    uint64_t write_bytes; /* a second */
    uint64_t reads;       /* a second */
    uint64_t writes;      /* a second */
} wrt_linux_cgroup_io;

/** Limits of a group. 0: as it is; UINT64_MAX (UINT32_MAX): none. */
typedef struct wrt_linux_cgroup_limits {
    uint32_t struct_size;          /* sizeof(wrt_linux_cgroup_limits); 0 is refused */
    uint32_t cpu_weight;           /* share beside others, 1 to 10000; the kernel's own is 100 */
    uint32_t pids_max;             /* processes and threads; beyond it fork says EAGAIN */
    uint32_t io_count;             /* at most WRT_LINUX_CGROUP_DEVICES_MAX */
    const wrt_linux_cgroup_io *io; /* borrowed for the call */
    uint64_t memory_max;           /* bytes; beyond it a process of the group is killed */
    uint64_t memory_high;          /* bytes; beyond it the group is slowed down, and reclaimed */
    uint64_t memory_swap_max;      /* bytes, with has_memory_swap_max; without swap counted it is
                                      taken as UNSUPPORTED, but 0 as kept */
    uint64_t cpu_quota_us;         /* microseconds of CPU time in each period, 1000 or more */
    uint64_t cpu_period_us;        /* 1000 to 1000000; 0: 100000 */
    bool has_memory_swap_max;      /* memory_swap_max counts, 0 too: nothing goes to swap */
    bool kill_together;            /* memory.oom.group: out of memory ends the whole group */
    uint8_t reserved[6];           /* zero */
} wrt_linux_cgroup_limits;

/** What a group has used. Numbers whose controller is not enabled are 0. */
typedef struct wrt_linux_cgroup_stats {
    uint32_t controllers;        /* that are enabled here */
    uint32_t is_populated;       /* 1: a process lives in it, or below */
    uint32_t is_frozen;          /* 1: all have stopped */
    uint32_t reserved;           /* zero */
    uint64_t memory_current;     /* bytes, now */
    uint64_t memory_peak;        /* bytes, the most that were; 0 before Linux 5.19 */
    uint64_t memory_swap;        /* bytes, now */
    uint64_t memory_anonymous;   /* bytes of memory_current that no file backs */
    uint64_t memory_file;        /* bytes of memory_current that are files' */
    uint64_t memory_high_events; /* how often memory_high slowed it down */
    uint64_t memory_max_events;  /* how often memory_max was about to be exceeded */
    uint64_t oom_kills;          /* processes killed for want of memory */
    uint64_t cpu_usage_us;       /* microseconds */
    uint64_t cpu_user_us;
    uint64_t cpu_system_us;
    uint64_t cpu_periods;      /* that have passed with a quota */
    uint64_t cpu_throttled;    /* of them, in which it had to wait */
    uint64_t cpu_throttled_us; /* microseconds that it waited */
    uint64_t io_read_bytes;    /* summed over all devices */
    uint64_t io_write_bytes;
    uint64_t io_reads;
    uint64_t io_writes;
    uint64_t pids_current;    /* processes and threads, now */
    uint64_t pids_max_events; /* forks that were refused */
} wrt_linux_cgroup_stats;

/** Caller-provided storage; it may be moved. Fields are private. */
struct wrt_linux_cgroup {
    uint32_t fork_generation; /* of the process that made it */
    uint32_t mount_length;    /* bytes of `path` that are the mount */
    int32_t directory;        /* its descriptor */
    bool is_initialised;
    bool move_to_leaf;
    bool is_removed;
    uint8_t reserved_flags;
    uint64_t reserved[2];
    char path[1024]; /* WRT_LINUX_CGROUP_PATH_SIZE */
};

/** Finds the group of this process. root: put before /proc and before each mounted path; "" is the
 * system itself. Where no group can be found the layout says so; that is no error.
 * Errors: INVALID_ARGUMENT, LIMIT (a path is longer than WRT_LINUX_CGROUP_PATH_SIZE), SYSTEM
 * (/proc/self can't be read). Threads: any. Cost: reads /proc/self/mountinfo and /proc/self/cgroup.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_locate(const char *root,
                                                         wrt_linux_cgroup_location *location_out);

/** Says what wrt_linux_cgroup_init() and the limits after it would meet, and changes nothing. With
 * `controllers` 0 it looks at all of them.
 * Errors: as wrt_linux_cgroup_init up to where the group would be made. Threads: any.
 * Cost: reads three files for each group above.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_plan_of(const wrt_linux_cgroup_config *config,
                                                          wrt_linux_cgroup_plan *plan_out);

/** Makes the group, with the controllers that the config asks for. On error there is none, and
 * `group` is left as it was; controllers that were enabled above stay so.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes; no
 * version 2 here; a controller is not offered), STATE (there is one of that name), PERMISSION (the
 * parent is not ours to write), BUSY (a controller is blocked by processes), LIMIT (a path is too
 * long), NOT_FOUND (no such parent), NO_MEMORY, SYSTEM.
 * Cost: a few system calls for each group above.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_init(wrt_linux_cgroup *group,
                                                       const wrt_linux_cgroup_config *config);

/** Its path, NUL-terminated, valid until deinit; NULL if it is not initialised. It cannot fail. */
WRT_API const char *wrt_linux_cgroup_path(const wrt_linux_cgroup *group);

/** Reads what `io` says of a device: device is "8:0", settings "rbps=1048576 wiops=max", the
 * kernel's own words rbps, wbps, riops and wiops. Errors: INVALID_ARGUMENT. Threads: any. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_io_parse(const char *device, const char *settings,
                                                           wrt_linux_cgroup_io *io_out);

/** Sets limits, all or none, enabling what controllers they need, and reads back what holds: bytes
 * of memory are rounded down to whole pages. *applied_out is as wrt_linux_cgroup_get_limits has it,
 * on error all zero. A limit below what is in use counts at once: the kernel reclaims, and kills if
 * it must.
 * Errors: INVALID_ARGUMENT (a number is out of its range, or the kernel does not take it),
 * UNSUPPORTED (a controller is not offered, or this kernel lacks the limit), PERMISSION, BUSY (a
 * controller is blocked), NOT_FOUND (no such disk, or a partition), STATE (not initialised,
 * removed, after fork), SYSTEM (another value holds than was written).
 * Cost: two reads and a write for each limit.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_set_limits(wrt_linux_cgroup *group,
                                                             const wrt_linux_cgroup_limits *limits,
                                                             wrt_linux_cgroup_limits *applied_out);

/** Reads the limits that hold; 0 where the controller is not enabled. `io` is NULL: see
 * wrt_linux_cgroup_get_io(). Errors: STATE, SYSTEM. Cost: a read for each limit.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_get_limits(const wrt_linux_cgroup *group,
                                                             wrt_linux_cgroup_limits *limits_out);

/** Reads the limits of one disk; all UINT64_MAX if it has none. Errors: STATE, UNSUPPORTED (the
 * controller is not enabled), SYSTEM. Cost: a read. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_get_io(const wrt_linux_cgroup *group,
                                                         uint32_t major, uint32_t minor,
                                                         wrt_linux_cgroup_io *io_out);

/** Moves a process, with all its threads, into the group; 0: this one. What it has used before
 * stays counted where it was.
 * Errors: INVALID_ARGUMENT (negative), NOT_FOUND (no such process), PERMISSION (the group that both
 * stand in is not ours to write), STATE, BUSY (the group has controllers enabled for groups below
 * it), SYSTEM. Cost: one write.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_add_process(wrt_linux_cgroup *group,
                                                              int32_t process);

/** Starts a program in the group from its first instruction on (CLONE_INTO_CGROUP; before Linux
 * 5.7, or where it is refused, the child moves itself before the program begins). The caller waits
 * for it, as for each child. arguments and environment: NULL-terminated, as of execve.
 * Errors: NOT_FOUND (no such program), PERMISSION (not to be run, or not into this group), STATE,
 * NO_MEMORY (a limit on processes, or memory), SYSTEM. On error there is no child, and *process_out
 * is 0. Cost: a fork.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_spawn(wrt_linux_cgroup *group,
                                                        const char *program,
                                                        const char *const *arguments,
                                                        const char *const *environment,
                                                        int32_t *process_out);

/** Reads what the group has used. Errors: STATE, SYSTEM. Cost: nine reads. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_get_stats(const wrt_linux_cgroup *group,
                                                            wrt_linux_cgroup_stats *stats_out);

/** Stops all processes in it and below, and waits until they stand. timeout_ns: nanoseconds, 0
 * just asks, UINT64_MAX waits without limit. Not for the group of the caller itself.
 * Errors: TIMED_OUT (they are still stopping), UNSUPPORTED (before Linux 5.2), PERMISSION, STATE,
 * SYSTEM. Cost: a write, and waits.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_freeze(wrt_linux_cgroup *group,
                                                         uint64_t timeout_ns);

/** Lets them run again. Errors: UNSUPPORTED, PERMISSION, STATE, SYSTEM. Cost: a write. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_thaw(wrt_linux_cgroup *group);

/** Kills all processes in it and below, frozen ones too, and waits until none is left; their
 * parents still have to wait for them. Before Linux 5.14, which has no cgroup.kill, one by one: the
 * group is frozen meanwhile, where Linux 5.2 or later has that and the caller is not in it, so that
 * nobody forks out of reach; groups more than 32 levels below it are not reached then (LIMIT).
 * timeout_ns: as of wrt_linux_cgroup_freeze.
 * Errors: TIMED_OUT (some are still there), PERMISSION, STATE, LIMIT, SYSTEM. Cost: a write, and
 * waits; one by one, linear in groups and processes.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_kill(wrt_linux_cgroup *group,
                                                       uint64_t timeout_ns);

/** Removes the group when the last process has left it, waiting for that. The object can then only
 * be ended. timeout_ns: as of wrt_linux_cgroup_freeze.
 * Errors: TIMED_OUT (processes are in it), BUSY (it has groups below it), PERMISSION, STATE,
 * SYSTEM. Cost: a call, and waits.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_remove(wrt_linux_cgroup *group,
                                                         uint64_t timeout_ns);

/** Ends the object; the group and its processes stay as they are. A zeroed one is accepted, so
 * twice is harmless; so is a forked child's, whose parent keeps its own. It cannot fail but for
 * Errors: INVALID_ARGUMENT. Cost: a system call.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_cgroup_deinit(wrt_linux_cgroup *group);

WRT_END_DECLS
#endif
