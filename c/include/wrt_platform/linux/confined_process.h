/** An ordinary program in a process that has given up nearly all: the profile `strict`.
 *
 *     const char *arguments[] = {"python3", "job.py", NULL};
 *     wrt_landlock_rule files[1] = {{"/srv/job", WRT_LANDLOCK_READ, 0}};
 *     wrt_confined_process_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.executable = "/usr/bin/python3";
 *     config.arguments = arguments;
 *     config.files = files;
 *     config.file_count = 1;
 *     config.system_files = true; // the program's libraries
 *     config.memory_bytes = 512 << 20;
 *     wrt_confined_process process;
 *     wrt_status status = wrt_confined_process_start(&process, &config);
 *     wrt_confined_result result;
 *     status = wrt_confined_process_wait(&process, 5000000000, &result);
 *     status = wrt_confined_process_deinit(&process); // kills it, if it still runs
 *
 * The walls go up in the new process, before the program's first instruction, in the one order that
 * works: control group, namespaces, mounts, root, user, limits, capabilities, no new privileges,
 * SELinux, Landlock, descriptors, filter. Each is preferred or required; the report says of each
 * what holds. A step that fails where it is required ends the process before the program starts,
 * and start() says why.
 *
 * With a PID namespace, the program is process 1 there. Signals that it does not handle are then
 * ignored, but for those that the system sends for its faults, and SIGKILL; when it ends, what it
 * left running ends too.
 *
 * The process starts on a copy of nothing: it costs the same in a large process as in a small one,
 * and works with any number of threads.
 *
 * SIGCHLD may be handled, ignored, or its children waited for by somebody else: how the process
 * ended is then asked of the kernel another way (Linux 6.15), or told to be unknown, never to be
 * well.
 *
 * Heap: none; start() maps 64 KiB for a moment.  ISR: no.
 * Threads: one caller at a time per process object, but for kill(), which any thread may call.
 * Fork: the child's copy can be deinitialised, which leaves the process alone; else STATE.
 */
#ifndef WRT_PLATFORM_LINUX_CONFINED_PROCESS_H
#define WRT_PLATFORM_LINUX_CONFINED_PROCESS_H

#include "wrt_platform/linux/landlock.h"
#include "wrt_platform/linux/seccomp.h"

WRT_BEGIN_DECLS

/** How much a wall is wanted. */
enum wrt_confined_wall {
    WRT_CONFINED_DEFAULT = 0,   /* as the field says */
    WRT_CONFINED_OFF = 1,       /* not asked */
    WRT_CONFINED_PREFERRED = 2, /* where the system has it; the report says */
    WRT_CONFINED_REQUIRED = 3   /* or start() fails */
};

/** Descriptors that are none. */
enum wrt_confined_descriptor {
    WRT_CONFINED_NULL = -1 /* /dev/null */
};

/** Sizes. */
enum wrt_confined_limit {
    WRT_CONFINED_FILE_MAX = 256,         /* rules for files */
    WRT_CONFINED_OPEN_FILES_DEFAULT = 64 /* descriptors that the program may have */
};

/** How a program ended. */
enum wrt_confined_end {
    WRT_CONFINED_RUNS = 0,      /* it has not */
    WRT_CONFINED_EXITED = 1,    /* by itself, with exit code `code` */
    WRT_CONFINED_SIGNALLED = 2, /* by signal `code`: 31 (SIGSYS) is the filter's, 24 and 9 may be
                                   limits', 9 the control group's */
    WRT_CONFINED_KILLED = 3,    /* by wrt_confined_process_kill() */
    WRT_CONFINED_UNKNOWN = 4    /* it has ended, and somebody else took its status */
};

/** A program and its walls. All pointers are borrowed for start(). */
typedef struct wrt_confined_process_config {
    uint32_t struct_size;           /* sizeof(wrt_confined_process_config); 0 is refused */
    uint32_t file_count;            /* 0 to WRT_CONFINED_FILE_MAX */
    const char *executable;         /* its path, as seen from the new root */
    const char *const *arguments;   /* up to a NULL; the first is the program's name for itself;
                                       NULL: the path alone */
    const char *const *environment; /* "NAME=value", up to a NULL; NULL: nothing */
    const char *working_directory;  /* NULL: the root */
    const char *root;               /* a folder that becomes the root (pivot_root), which takes a
                                       mount namespace; NULL: the root stays */
    const wrt_landlock_rule *files; /* what the program reaches, seen from the new root, beside its
                                       own file, which it may read and execute */
    const wrt_seccomp_instruction *filter; /* NULL: WRT_SECCOMP_PROFILE_STRICT; one of its own has
                                              to allow execve */
    const char *selinux_context;           /* NULL: the context stays */
    uint64_t kept_capabilities;            /* mask; what is not there already is not gained */
    uint64_t memory_bytes;                 /* of addresses (RLIMIT_AS); 0: no limit */
    uint64_t file_bytes;      /* of a file that it writes (RLIMIT_FSIZE); 0: no limit */
    uint32_t filter_count;    /* instructions of `filter` */
    uint32_t cpu_seconds;     /* of processor time, then the kernel kills it; 0: no limit */
    uint32_t open_files;      /* descriptors (RLIMIT_NOFILE); 0: 64 */
    uint32_t processes;       /* of this user, threads too (RLIMIT_NPROC); 0: no limit */
    uint32_t namespaces;      /* bits of wrt_namespace; 0: USER, MOUNT, PID, IPC and UTS;
                                 NETWORK costs 0.4 ms, and the strict filter has no sockets */
    uint32_t user_id;         /* with has_user: the program's user and group; takes root, and */
    uint32_t group_id;        /* leaves out the user namespace, whose only user is its maker */
    int32_t standard_input;   /* 0: that of this process; WRT_CONFINED_NULL; or a descriptor */
    int32_t standard_output;  /* 0: that of this process; the same */
    int32_t standard_error;   /* 0: that of this process; the same */
    int32_t cgroup;           /* with has_cgroup: descriptor of a control group's folder */
    uint32_t cgroup_wall;     /* wrt_confined_wall; default: required, if has_cgroup */
    uint32_t namespace_wall;  /* default: preferred; required if `root` is set */
    uint32_t capability_wall; /* default: preferred */
    uint32_t selinux_wall;    /* default: required, if there is a context */
    uint32_t file_wall;       /* Landlock; default: preferred */
    uint32_t filter_wall;     /* default: required */
    bool has_user;            /* user_id and group_id are set */
    bool has_cgroup;          /* cgroup is set */
    bool system_files;        /* the program may read and execute /usr, /lib, /lib64, /bin,
                                 /sbin, and read /etc/ld.so.cache and /dev/null */
    bool end_with_thread;     /* the kernel kills it when the thread that called start() ends */
    uint8_t reserved[8];      /* zero */
} wrt_confined_process_config;

/** What holds of each wall. */
typedef struct wrt_confined_report {
    wrt_enforcement cgroup;
    wrt_enforcement namespaces;
    wrt_enforcement root;
    wrt_enforcement limits;
    wrt_enforcement capabilities;
    wrt_enforcement privileges; /* none are gained by exec (PR_SET_NO_NEW_PRIVS) */
    wrt_enforcement selinux;
    wrt_enforcement files;
    wrt_enforcement descriptors; /* none but 0, 1 and 2 */
    wrt_enforcement filter;
} wrt_confined_report;

/** How the program ended. */
typedef struct wrt_confined_result {
    uint32_t end; /* one of wrt_confined_end */
    int32_t code; /* exit code or signal; 0 if unknown */
} wrt_confined_result;

/** Caller-provided storage. Fields are private. It may be moved between two calls. */
typedef struct wrt_confined_process {
    int32_t descriptor; /* of the process; 0 before start and after deinit */
    int32_t process;    /* its number, here */
    uint32_t fork_generation;
    uint32_t killed; /* by kill(): 1 */
    wrt_confined_result result;
    wrt_confined_report report;
    uint64_t reserved[4];
} wrt_confined_process;

/** Starts the program behind its walls. On error there is no process, and `process` is left as it
 * was.
 * Errors: INVALID_ARGUMENT (a rule above is broken), UNSUPPORTED, PERMISSION, LIMIT, STATE (a wall
 * that is required can't be put up; the text says which and what to do), NOT_FOUND (the program, a
 * folder or a file rule {0} is not there), NO_MEMORY, SYSTEM (os_code).
 * Cost: some 300 us, and what the program itself needs to start.
 */
WRT_API WRT_NODISCARD wrt_status wrt_confined_process_start(
    wrt_confined_process *process, const wrt_confined_process_config *config);

/** Waits until the program has ended. timeout_ns: from now; 0: looks only; UINT64_MAX: no limit.
 * Errors: TIMED_OUT (it still runs), STATE (not started, after fork), SYSTEM (os_code). An end that
 * somebody else took the status of is no error but UNKNOWN.
 * Cost: two system calls, and the wait.
 */
WRT_API WRT_NODISCARD wrt_status wrt_confined_process_wait(wrt_confined_process *process,
                                                           uint64_t timeout_ns,
                                                           wrt_confined_result *result_out);

/** Kills the program with all its threads, and with a PID namespace all that it has started. It
 * has then to be waited for. One that has ended is no error.
 * Errors: STATE (not started, after fork), SYSTEM (os_code). Cost: a system call.  Threads: any.
 */
WRT_API WRT_NODISCARD wrt_status wrt_confined_process_kill(wrt_confined_process *process);

/** Reports what holds of each wall. Errors: INVALID_ARGUMENT (NULL), STATE (not started).
 * Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_confined_process_query(const wrt_confined_process *process,
                                                            wrt_confined_report *report_out);

/** Ends the object: kills the program if it still runs, and waits for that. A zeroed one is
 * accepted, so twice is harmless. After fork the program is left alone.
 * Errors: SYSTEM (os_code; the object is ended all the same). Cost: two system calls.
 */
WRT_API WRT_NODISCARD wrt_status wrt_confined_process_deinit(wrt_confined_process *process);

WRT_END_DECLS
#endif
