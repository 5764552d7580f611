/** Sandboxes: a module runs in a process of its own that has given up nearly every system call.
 *
 *     wrt_sandbox_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.maximum_pages = 1024; // 64 MiB
 *     wrt_sandbox sandbox;
 *     wrt_status status = wrt_sandbox_init(&sandbox, &config); // it runs, sealed, and waits
 *
 *     wrt_sandbox_guest guest = {0};
 *     guest.struct_size = sizeof guest;
 *     guest.bytes = bytes;
 *     guest.bytes_size = size;
 *     guest.imports = imports; // of wrt_wasi_imports(), and host functions
 *     guest.import_count = import_count;
 *     status = wrt_sandbox_load(&sandbox, &guest, 0);
 *     wrt_sandbox_call call = {0};
 *     call.struct_size = sizeof call;
 *     call.name = "_start";
 *     call.name_size = 6;
 *     call.timeout_ns = 5000000000;
 *     status = wrt_sandbox_run(&sandbox, &call); // ERR_EXIT: the program ended itself
 *     status = wrt_sandbox_deinit(&sandbox);
 *
 * The process holds this library's engine and no C library. It maps what it will need, and seals
 * itself before it looks at a byte of the module: four system calls are left (read from and write
 * to its socket, the clock, and its end), with checked arguments. A module that breaks out of the
 * engine has gained nothing but those. Whatever a guest imports is asked of this process and
 * answered here, by the very functions that an instance in this process would call: files are
 * reached through wrt_wasi alone.
 *
 * The guest's memory is shared with this process. A host function reaches it as always, by
 * wrt_instance_memory(); but a guest that has broken out can change it while it is read: copy
 * first, check the copy. wrt_wasi does. What the sealed process says (results, usage, sentences)
 * is a guest's word: it decides nothing but the outcome that is reported of that guest.
 *
 * One sandbox is for one instance, and ends with it. A trap, an exit or a lack of fuel leaves it
 * usable; a crash, a time-out and wrt_sandbox_kill() end the process.
 *
 * A process that dies takes its sandboxes along: the kernel kills them when the pipe to it closes.
 * SIGCHLD may be handled, ignored, or its children waited for by somebody else: how a sandbox ended
 * is then asked of the kernel another way (Linux 6.15), or told to be unknown, never to be well.
 *
 * Memory: maps what it shares with the process, and 32 KiB. Heap: none.
 * Threads: one caller at a time per sandbox, but for wrt_sandbox_kill().  ISR: no.
 * Fork: the child's copy can be deinitialised, not used (STATE).
 */
#ifndef WRT_PLATFORM_LINUX_SANDBOX_H
#define WRT_PLATFORM_LINUX_SANDBOX_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/instance.h"
#include "wrt_platform/layout.h"
#include "wrt_platform/linux/confined_process.h"

WRT_BEGIN_DECLS

/** Sizes and defaults. */
enum wrt_sandbox_limit {
    WRT_SANDBOX_PAGES_DEFAULT = 4096,             /* 256 MiB of linear memory */
    WRT_SANDBOX_MODULE_BYTES_DEFAULT = 16777216,  /* 16 MiB */
    WRT_SANDBOX_WORKING_BYTES_DEFAULT = 67108864, /* 64 MiB */
    WRT_SANDBOX_BYTES_MAX = 1073741824,           /* of a module, or for the engine: 1 GiB */
    WRT_SANDBOX_IMPORTS_MAX = 512,                /* functions that a guest may be lent */
    WRT_SANDBOX_NAME_MAX = 4096,                  /* bytes of an export's name */
    WRT_SANDBOX_FRAMES = 16,                      /* of a trap, that are reported */
    WRT_SANDBOX_POOL_MAX = 1024                   /* sandboxes of a pool */
};

/** How a guest is confined. */
enum wrt_sandbox_profile {
    WRT_SANDBOX_SEALED = 0, /* a module, by the engine in a process with four system calls, as
                               above: wrt_sandbox_init() */
    WRT_SANDBOX_STRICT = 1  /* an ordinary program, with the forty-odd system calls that one needs:
                               wrt_sandbox_confine(), and then linux/confined_process.h. There is no
                               wrt_sandbox of it: a program has no exports to call. */
};

/** How much a wall that the system may lack is wanted. */
enum wrt_sandbox_wall {
    WRT_SANDBOX_WALL_DEFAULT = 0,   /* as the field says */
    WRT_SANDBOX_WALL_OFF = 1,       /* not asked */
    WRT_SANDBOX_WALL_PREFERRED = 2, /* where the system has it; the report says */
    WRT_SANDBOX_WALL_REQUIRED = 3   /* or init fails */
};

/** What a sandbox is made of. The filter, no-new-privileges, the way to its end and the limits of
 * resources are always there. The further walls below stand behind the filter: they would matter
 * if the kernel did not keep it. With the profile STRICT they are what holds besides the filter:
 * then their default is preferred, but for the network's, and one that is required makes all
 * namespaces that are asked for required. */
typedef struct wrt_sandbox_config {
    uint32_t struct_size;          /* sizeof(wrt_sandbox_config); 0 is refused */
    uint32_t profile;              /* one of wrt_sandbox_profile */
    uint32_t maximum_pages;        /* of linear memory, 1 to 65536; 0: 4096 (256 MiB); SEALED only,
                                      as the two sizes and program_path */
    uint32_t cpu_seconds;          /* of processor time, then the kernel kills it; 0: no limit */
    uint32_t landlock;             /* wrt_sandbox_wall: no file at all; default: preferred */
    uint32_t user_namespace;       /* the same: no user, no capability; default: off */
    uint32_t mount_namespace;      /* the same: a view of files of its own; default: off */
    uint32_t ipc_namespace;        /* the same: no System V objects; default: off */
    uint32_t network_namespace;    /* the same: no network; default: off, costs 0.4 ms */
    uint8_t reserved[4];           /* zero */
    uint64_t maximum_module_bytes; /* bytes: room for a module and its imports' names; at most
                                     1 GiB; 0: 16 MiB; taken when it is used */
    uint64_t working_bytes;        /* for the engine's tables and the guest's stack; at most 1 GiB;
                                      0: 64 MiB; taken when it is used */
    const char *program_path;      /* borrowed for the call; a file that holds the program, as
                                      wrt_sandbox_program() gives it, for systems that execute
                                      nothing from memory (vm.memfd_noexec=2); NULL: from memory */
} wrt_sandbox_config;

/** A module, and what it gets. Everything is borrowed for the call, but what `imports` point to:
 * that until wrt_sandbox_deinit. */
typedef struct wrt_sandbox_guest {
    uint32_t struct_size;            /* sizeof(wrt_sandbox_guest); 0 is refused */
    uint32_t import_count;           /* of `imports` */
    const uint8_t *bytes;            /* the module */
    size_t bytes_size;               /* bytes */
    const wrt_import *imports;       /* functions of the host, whose types hold no references; of
                                        two with the same names the last one counts */
    uint32_t maximum_pages;          /* the guest's; 0, or more than the sandbox has: as that */
    uint32_t maximum_table_elements; /* as in wrt_instance_config */
    uint32_t stack_size;             /* the same */
    bool has_fuel;                   /* the same */
    uint8_t reserved[3];             /* zero */
    uint64_t fuel;                   /* the same */
} wrt_sandbox_guest;

/** A call of the guest. */
typedef struct wrt_sandbox_call {
    uint32_t struct_size;       /* sizeof(wrt_sandbox_call); 0 is refused */
    uint32_t argument_count;    /* as the function's type has it */
    const char *name;           /* of the exported function; NULL: the start function, if any */
    size_t name_size;           /* bytes, at most WRT_SANDBOX_NAME_MAX */
    const wrt_value *arguments; /* read before the call begins */
    wrt_value *results;         /* for wrt_sandbox_run(): written on WRT_OK only */
    uint32_t result_count;      /* the same: as the function's type has it */
    uint8_t reserved[4];        /* zero */
    uint64_t timeout_ns;        /* from now; then the process is killed; 0: none */
} wrt_sandbox_call;

/** How the process of a sandbox ended. */
enum wrt_sandbox_end {
    WRT_SANDBOX_RUNS = 0,      /* it has not */
    WRT_SANDBOX_KILLED = 1,    /* by this library: time-out, wrt_sandbox_kill() */
    WRT_SANDBOX_SIGNALLED = 2, /* by signal `end_number`; 31 (SIGSYS) is the filter's */
    WRT_SANDBOX_EXITED = 3,    /* by itself, with code `end_number`: it should not */
    WRT_SANDBOX_UNKNOWN = 4    /* somebody else took its status */
};

/** A frame of a trap. */
typedef struct wrt_sandbox_frame {
    uint32_t function; /* index in the module */
    uint32_t offset;   /* of the instruction, from the start of the module's bytes */
} wrt_sandbox_frame;

/** What holds, and what has been used. The numbers of the guest are the guest's word. */
typedef struct wrt_sandbox_report {
    int32_t process;            /* its id; 0 once it has ended */
    uint32_t end;               /* one of wrt_sandbox_end */
    int32_t end_number;         /* signal or exit code */
    uint32_t memory_pages;      /* of the guest's memory */
    uint32_t memory_peak_pages; /* the most there ever were */
    uint32_t refused_growths;   /* memory.grow answered -1 */
    uint32_t stack_peak_bytes;  /* the deepest the guest stack has been */
    uint32_t host_calls;        /* answered by this process; wraps */
    uint32_t declared_maximum;  /* pages, of its memory's type; UINT32_MAX: none, or no memory */
    uint8_t reserved[4];
    uint64_t cpu_ns;       /* processor time of the process: nanoseconds */
    uint64_t fuel_used;    /* instructions; of a guest that was killed: some 4 million late */
    uint64_t fuel_left;    /* UINT64_MAX if without bound */
    uint64_t engine_bytes; /* of working_bytes, used */
    uint32_t trap_code;    /* one of wrt_trap_code: of the last call */
    uint32_t frame_count;  /* of `frames` */
    wrt_sandbox_frame frames[16]; /* WRT_SANDBOX_FRAMES: of the trap, innermost first */
    wrt_enforcement system_calls; /* the filter */
    wrt_enforcement no_new_privileges;
    wrt_enforcement unobservable; /* other processes of this user can't look inside */
    wrt_enforcement resource_limits;
    wrt_enforcement life_line; /* it does not outlive this process */
    wrt_enforcement landlock;
    wrt_enforcement user_namespace;
    wrt_enforcement mount_namespace;
    wrt_enforcement ipc_namespace;
    wrt_enforcement network_namespace;
} wrt_sandbox_report;

/** Caller-provided storage. Fields are private. It may be moved between two calls; of two copies
 * only one may be used from then on. */
typedef struct wrt_sandbox {
    void *state; /* NULL before init and after deinit */
    uint32_t fork_generation;
    uint32_t reserved[5];
} wrt_sandbox;

/** Starts the process and waits until it is sealed; nothing of a guest has reached it then.
 * On error `sandbox` is left as it was, and nothing is left of the process.
 * Errors: INVALID_ARGUMENT (a rule of the config), UNSUPPORTED (reserved bytes; profile STRICT, for
 * which there is wrt_sandbox_confine(); a machine that the program is not built for; a required
 * wall that is missing; a system that executes nothing from memory, or has no seccomp filters),
 * NO_MEMORY, PERMISSION, NOT_FOUND (program_path), LIMIT (descriptors, processes, RLIMIT_FSIZE),
 * SYSTEM (os_code), TIMED_OUT (not sealed within 10 s). Cost: some 0.15 ms, independent of this
 * process's size.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_init(wrt_sandbox *sandbox,
                                                  const wrt_sandbox_config *config);

/** What the profile STRICT is of a program: sets all of *program_out, its walls and processor time
 * as `config` has them, everything else zero but struct_size. The caller adds the program, its
 * arguments and files, and starts it with wrt_confined_process_start(). To limit its memory there
 * is memory_bytes, or a control group. On error *program_out is left as it was.
 * Errors: UNSUPPORTED (profile SEALED, which is for modules; reserved bytes), INVALID_ARGUMENT (a
 * rule of the config; a setting that only an engine has). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_confine(const wrt_sandbox_config *config,
                                                     wrt_confined_process_config *program_out);

/** Hands over a module; the process validates, links and instantiates it. No code of it runs: a
 * start function waits for a call without a name. timeout_ns: nanoseconds, 0: none.
 * Errors: MALFORMED, INVALID_MODULE (detail[0]: byte offset), UNSUPPORTED, LINK (detail[0]: the
 * first import that is not there or of another type), LIMIT (more memory, or imports, than there
 * are), NO_MEMORY (maximum_module_bytes, working_bytes), TRAP (a segment does not fit): see
 * wrt_sandbox_sentence(); INVALID_ARGUMENT (a rule above), STATE (something was loaded before),
 * TIMED_OUT, CRASHED, INTERRUPTED (as wrt_sandbox_serve).
 * Cost: a copy of the module; the process's work is linear in its size.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_load(wrt_sandbox *sandbox,
                                                  const wrt_sandbox_guest *guest,
                                                  uint64_t timeout_ns);

/** Type of an exported function; borrowed until the next call of this for the same sandbox.
 * Errors: NOT_FOUND (no function of that name), INVALID_ARGUMENT (name), STATE (nothing is loaded,
 * or a call is under way), CRASHED, INTERRUPTED. Cost: a question to the process.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_function(wrt_sandbox *sandbox, const char *name,
                                                      size_t name_size,
                                                      wrt_function_type *type_out);

/** Begins a call; wrt_sandbox_serve() sees it to its end. `results` is not looked at.
 * Errors: INVALID_ARGUMENT (a rule of the call), UNSUPPORTED (reserved bytes), STATE (nothing is
 * loaded, a call is under way, the process has ended). Cost: a copy of the arguments.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_begin(wrt_sandbox *sandbox,
                                                   const wrt_sandbox_call *call);

/** Answers what the guest asks, on this thread, until its call has ended or `slice_ns` nanoseconds
 * are over (a host function that takes longer is waited for); *done_out says which. 0 does what
 * there is to do and returns.
 * Errors: all of which end the call (*done_out is true): TRAP, OUT_OF_FUEL, EXIT, HOST or what else
 * a host function returned; NOT_FOUND, INVALID_ARGUMENT (the function, its arguments); TIMED_OUT
 * (the process was killed), INTERRUPTED (wrt_sandbox_kill()), CRASHED (the process died: detail[0]
 * is the signal, 0 if there is none). STATE (no call is under way).
 * Cost: to the guest, a question takes 0.2 us while both look, some 50 us if one has to be woken.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_serve(wrt_sandbox *sandbox, uint64_t slice_ns,
                                                   bool *done_out);

/** Results of the call that ended well. result_count: at most WRT_MODULE_PARAMETER_MAX; as the
 * function's type has it. Errors: STATE (none ended well), INVALID_ARGUMENT. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_results(wrt_sandbox *sandbox, wrt_value *results,
                                                     uint32_t result_count);

/** Begins a call, serves it to its end, and reads its results. Errors: as those. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_run(wrt_sandbox *sandbox,
                                                 const wrt_sandbox_call *call);

/** Kills the process; a call that is under way ends INTERRUPTED. Of one that has ended it does
 * nothing. Threads: any, while nobody deinitialises the sandbox.
 * Errors: STATE (not initialised, after fork). Cost: one system call. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_kill(wrt_sandbox *sandbox);

/** Where the guest's memory lies in this process, and how much of it the guest has now, by its own
 * word; all of maximum_pages may be read and written. The guest can change it at any time.
 * Errors: STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_memory(wrt_sandbox *sandbox, uint8_t **base_out,
                                                    uint64_t *bytes_out);

/** A descriptor that becomes readable when there may be something to serve: for poll and its like.
 * To be neither read nor closed. Errors: STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_descriptor(const wrt_sandbox *sandbox,
                                                        int32_t *descriptor_out);

/** What the process said about its last failure: one sentence in ASCII, empty if there was none.
 * It is a guest's word. At most `text_size` bytes are written, the closing NUL among them.
 * Errors: STATE, INVALID_ARGUMENT (NULL). Cost: linear in the text. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_sentence(const wrt_sandbox *sandbox, char *text_out,
                                                      size_t text_size);

/** Reports what holds, what has been used, and how the process ended, if it has.
 * Errors: STATE, INVALID_ARGUMENT. Cost: one system call at most. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_query(wrt_sandbox *sandbox,
                                                   wrt_sandbox_report *report_out);

/** Kills the process if it still runs, waits until it is gone, and gives everything back. A zeroed
 * sandbox is accepted, so twice is harmless; in a forked child only the child's copies are closed.
 * Errors: INVALID_ARGUMENT (NULL), STATE (called by a host function of the guest). Cost: the
 * kernel's, for giving back the guest's memory.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_deinit(wrt_sandbox *sandbox);

/** The program that runs in the process: a static ELF file for this machine. Static memory.
 * Errors: UNSUPPORTED (it is not built for this machine). Threads: any. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_program(const uint8_t **bytes_out, size_t *size_out);

/** What a pool of waiting sandboxes is made of. */
typedef struct wrt_sandbox_pool_config {
    uint32_t struct_size;       /* sizeof(wrt_sandbox_pool_config); 0 is refused */
    uint32_t ready;             /* sandboxes that wait, 1 to WRT_SANDBOX_POOL_MAX */
    wrt_sandbox_config sandbox; /* what each is made of; program_path is borrowed until deinit */
    void *buffer;               /* 8-byte aligned; borrowed until deinit */
    size_t buffer_size;         /* bytes, as wrt_sandbox_pool_layout() asks */
} wrt_sandbox_pool_config;

/** What a pool has. */
typedef struct wrt_sandbox_pool_report {
    uint32_t ready;    /* waiting now */
    uint32_t wanted;   /* as the config says */
    uint64_t taken;    /* handed out since init */
    uint64_t missed;   /* of these, started on demand, because none was ready */
    uint64_t replaced; /* found dead while they waited */
} wrt_sandbox_pool_report;

/** Caller-provided storage. Fields are private. It may be moved between two calls. */
typedef struct wrt_sandbox_pool {
    void *ready; /* in the buffer */
    wrt_sandbox_config config;
    uint32_t ready_count;
    uint32_t wanted;
    uint64_t taken;
    uint64_t missed;
    uint64_t replaced;
    uint32_t fork_generation;
    uint32_t magic;
} wrt_sandbox_pool;

/** Says what buffer the config needs; exact. Errors: INVALID_ARGUMENT (ready), UNSUPPORTED. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_layout(const wrt_sandbox_pool_config *config,
                                                         wrt_layout *layout_out);

/** Starts the sandboxes; on error nothing is left of them. Errors: as wrt_sandbox_init. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_init(wrt_sandbox_pool *pool,
                                                       const wrt_sandbox_pool_config *config);

/** Hands out a sandbox that nobody has used: one that waits, or else a new one. From then on it is
 * the caller's, who deinitialises it; it never comes back. Threads: one caller at a time per pool.
 * Errors: as wrt_sandbox_init. Cost: constant, if one is ready. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_take(wrt_sandbox_pool *pool,
                                                       wrt_sandbox *sandbox_out);

/** Starts as many as are missing: when there is time for it, since no thread of this library does.
 * Errors: as wrt_sandbox_init; those that were started stay. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_fill(wrt_sandbox_pool *pool);

/** Reports what is there. Errors: STATE, INVALID_ARGUMENT. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_query(const wrt_sandbox_pool *pool,
                                                        wrt_sandbox_pool_report *report_out);

/** Ends the sandboxes that wait; those that were handed out are not the pool's any more. A zeroed
 * pool is accepted. Errors: INVALID_ARGUMENT. */
WRT_API WRT_NODISCARD wrt_status wrt_sandbox_pool_deinit(wrt_sandbox_pool *pool);

WRT_END_DECLS
#endif
