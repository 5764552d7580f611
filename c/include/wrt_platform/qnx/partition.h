/** Memory partitions on QNX: who may use how much memory, and who can reach whose.
 *
 *     wrt_qnx_partition_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.name = "tenant1";
 *     config.minimum_bytes = 4u << 20;
 *     config.maximum_bytes = 16u << 20;
 *     wrt_qnx_partition tenant;
 *     wrt_status status = wrt_qnx_partition_init(&tenant, &config);
 *
 * Allocators take their partition in their config and charge it for all that they make accessible.
 * What a partition uses, all partitions above it use as well; what it has been promised is taken
 * from those above it when it is made, so that a greedy sibling can't have it.
 *
 * QNX's own partitions, where a system has them at all, count whole processes, from the moment
 * when they are spawned. So there are levels, and the report says which one was had:
 *
 *   ACCOUNTING  inside of this process: memory is counted and limited, nothing keeps one
 *               partition's code off another one's memory but the bounds checks of the engine;
 *   ADDRESS     the same, and while a partition is entered, the pages of all other partitions of
 *               this level are out of reach: a stray access faults. One is active at a time, for
 *               all threads of the process; while none is, all pages are within reach;
 *   PROCESS     for spawned processes, which have an address space of their own.
 *
 * Heap: none.  ISR: no.  Fork: a partition refuses every call in the child (STATE).
 * Threads: any; but a partition is ended when nobody else calls with it, and a token belongs to the
 * thread, or task, that entered.
 */
#ifndef WRT_PLATFORM_QNX_PARTITION_H
#define WRT_PLATFORM_QNX_PARTITION_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/memory_account.h"

WRT_BEGIN_DECLS

typedef struct wrt_qnx_partition wrt_qnx_partition;
typedef struct wrt_qnx_partition_token wrt_qnx_partition_token;

/** Sizes. */
enum wrt_qnx_partition_limit {
    WRT_QNX_PARTITION_NAME_SIZE = 32,    /* bytes of a name, the closing NUL included */
    WRT_QNX_PARTITION_PROCESSES_MAX = 16 /* spawned into one partition and not yet detached */
};

/** What a partition is to be; flags, to be combined. */
enum wrt_qnx_partition_flag {
    WRT_QNX_PARTITION_MEMORY_ISOLATION = 1, /* nobody else reaches its memory: needs the level
                                               ADDRESS or PROCESS, or allow_accounting_only */
    WRT_QNX_PARTITION_CONTAINER = 2,        /* for other partitions: it has no memory of its own */
    WRT_QNX_PARTITION_TERMINAL = 4          /* there can be no partition below it */
};

/** How far a partition's memory is apart from everybody else's. */
enum wrt_qnx_isolation {
    WRT_QNX_ISOLATION_DEFAULT = 0, /* that of the parent; ACCOUNTING without one */
    WRT_QNX_ISOLATION_ACCOUNTING = 1,
    WRT_QNX_ISOLATION_ADDRESS = 2,
    WRT_QNX_ISOLATION_PROCESS = 3
};

/** Who counts, and stops what is too much. */
enum wrt_qnx_partition_keeper {
    WRT_QNX_KEEPER_LIBRARY = 0, /* this library, and each spawned process's RLIMIT_AS */
    WRT_QNX_KEEPER_SYSTEM = 1   /* QNX's partition module */
};

/** What a partition is made of. Sizes are bytes. */
typedef struct wrt_qnx_partition_config {
    uint32_t struct_size;       /* sizeof(wrt_qnx_partition_config); 0 is refused */
    uint32_t flags;             /* wrt_qnx_partition_flag */
    uint32_t isolation;         /* one of wrt_qnx_isolation; PROCESS is not mixed with the others in
                                   one tree */
    bool allow_accounting_only; /* MEMORY_ISOLATION with the level ACCOUNTING is taken, and the
                                   report says that it is absent */
    uint8_t reserved[3];        /* zero */
    uint64_t minimum_bytes;     /* promised: taken from the parent at once; 0: nothing */
    uint64_t maximum_bytes;     /* never exceeded; 0: no limit but those above; else at least
                                   minimum_bytes */
    uint64_t reserved_bytes;    /* of the promised bytes, those that pages can't take: they are left
                                   for small blocks of arenas; at most minimum_bytes */
    wrt_qnx_partition *parent;  /* borrowed until deinit; NULL: none */
    const char *name; /* copied; 1 to 31 letters, digits, _ - . and no . first; may be NULL
                         but for the level PROCESS */
} wrt_qnx_partition_config;

/** What a partition has, uses, and holds. */
typedef struct wrt_qnx_partition_report {
    uint64_t used_bytes;      /* now, promises to the partitions below among them */
    uint64_t peak_bytes;      /* the most that ever were */
    uint64_t minimum_bytes;   /* as in the config */
    uint64_t maximum_bytes;   /* as in the config; UINT64_MAX: no limit of its own */
    uint64_t reserved_bytes;  /* as in the config */
    uint32_t level;           /* one of wrt_qnx_isolation, never DEFAULT */
    uint32_t keeper;          /* one of wrt_qnx_partition_keeper */
    uint32_t flags;           /* as in the config */
    uint32_t allocator_count; /* made with it and not yet ended */
    uint32_t child_count;     /* partitions right below */
    uint32_t process_count;   /* spawned into it and not yet detached */
    uint32_t entered_count;   /* entered and not yet left */
    uint32_t reserved;
    wrt_enforcement isolation; /* what keeps others off its memory */
    wrt_enforcement maximum;   /* what holds the limit */
    wrt_enforcement minimum;   /* what holds the promise */
} wrt_qnx_partition_report;

/** A process that was spawned into a partition; private. */
typedef struct wrt_qnx_partition_process {
    uint64_t charged_bytes;
    int32_t process_id; /* 0: free */
    uint32_t reserved;
} wrt_qnx_partition_process;

/** Caller-provided storage, not to be moved. Fields are private. */
struct wrt_qnx_partition {
    wrt_qnx_partition *self;
    wrt_qnx_partition *parent;
    wrt_qnx_partition *next; /* of the level ADDRESS */
    wrt_qnx_partition *previous;
    void *reservations; /* of its allocators, at the level ADDRESS */
    wrt_memory_account account;
    uint64_t page_bytes; /* charged by allocators for pages */
    uint64_t minimum_bytes;
    uint64_t maximum_bytes;
    uint64_t reserved_bytes;
    uint32_t flags;
    uint32_t level;
    uint32_t keeper;
    uint32_t allocator_count;
    uint32_t child_count;
    uint32_t entered_count;
    int32_t owner_process;
    uint32_t reserved0;
    wrt_qnx_partition_process processes[16]; /* WRT_QNX_PARTITION_PROCESSES_MAX */
    char name[32];                           /* WRT_QNX_PARTITION_NAME_SIZE */
    uint64_t reserved[8];
};

/** That a partition was entered: caller's storage, not to be moved until it is left; private. */
struct wrt_qnx_partition_token {
    wrt_qnx_partition_token *self;
    wrt_qnx_partition_token *outer;
    wrt_qnx_partition *partition;
    uint32_t inner_count; /* tokens that have this one as their outer one */
    uint32_t reserved;
};

/** A program to be spawned. */
typedef struct wrt_qnx_program {
    uint32_t struct_size;         /* sizeof(wrt_qnx_program); 0 is refused */
    uint32_t reserved;            /* zero */
    const char *path;             /* of the file; not NULL */
    const char *const *arguments; /* its argv, a NULL at the end; NULL: the path alone */
    const char *const
        *environment;      /* NAME=value, a NULL at the end; NULL: as this process has it */
    uint64_t memory_bytes; /* it may have; charged until it is detached. 0: what is left of
                              the partition. Where the system counts, the partition's own
                              limit stands instead and this must be 0 */
} wrt_qnx_program;

/** Makes a partition, and takes what it is promised from its parent. On error nothing has changed.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (MEMORY_ISOLATION that the
 * level can't give; reserved bytes), NO_MEMORY (the parent has not as much as is to be promised),
 * STATE (the parent is TERMINAL or not initialised; after fork), LIMIT (deeper than
 * WRT_MEMORY_ACCOUNT_DEPTH_MAX), BUSY (the
 * system has a partition of that name already), PERMISSION and SYSTEM (its refusal, os_code).
 * Cost: constant at the levels ACCOUNTING and ADDRESS; PROCESS asks the system.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_init(wrt_qnx_partition *partition,
                                                        const wrt_qnx_partition_config *config);

/** Reports what the partition has, uses and holds. Errors: STATE (not initialised, moved, after
 * fork), SYSTEM (os_code). Cost: constant; a call of the system where that is the keeper. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_query(wrt_qnx_partition *partition,
                                                         wrt_qnx_partition_report *report_out);

/** Enters a partition: at the level ADDRESS, the pages of all others of this level are out of
 * reach until it is left. A partition in use can't be removed.
 * outer: the token of the partition that is entered already and comes back afterwards; NULL: none.
 * Tokens are left last in, first out; nothing else is remembered, so that each thread or task of a
 * program passes on its own.
 * Errors: STATE (`outer` is not entered, was moved or left; not initialised; after fork), BUSY
 * (level ADDRESS: another partition is active that is not among the outer ones), UNSUPPORTED
 * (level PROCESS: a running process can't enter), NO_MEMORY and SYSTEM (mprotect, os_code: what
 * was active stays so).
 * Cost: constant; at the level ADDRESS one mprotect for each allocation of all
 * partitions of this level whose reach changes, and for each range that protect() set apart.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_enter(wrt_qnx_partition *partition,
                                                         wrt_qnx_partition_token *outer,
                                                         wrt_qnx_partition_token *token_out);

/** Leaves what was entered with this token, and brings the outer one back; *token is all zero
 * then. Zeroed tokens are accepted, so twice is harmless.
 * Errors: STATE (out of order: what was entered inside is not left yet; moved; after fork),
 * NO_MEMORY and SYSTEM (as in enter; it stays entered, and leaving can be tried again).
 * Cost: as enter.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_leave(wrt_qnx_partition_token *token);

/** Spawns a program into the partition: it is limited from its first instruction on. With the
 * system's partitions, it is associated with this one; elsewhere it gets `memory_bytes` of
 * addresses (RLIMIT_AS), which the partition is charged for until it is detached. A process can
 * raise the soft limit again that it was given; the report says so.
 * For the moment of the call the soft limit of this process is lowered: another thread that maps
 * memory meanwhile may be refused.
 * process_id_out: to be handed to detach.
 * Errors: INVALID_ARGUMENT (a rule of wrt_qnx_program), NO_MEMORY (the partition has not as much
 * left), NOT_FOUND (no such file), LIMIT (PROCESSES_MAX), STATE, PERMISSION and SYSTEM (os_code).
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_spawn(wrt_qnx_partition *partition,
                                                         const wrt_qnx_program *program,
                                                         int32_t *process_id_out);

/** Asks for a running process to be put into the partition, which QNX can't do: a process is
 * associated when it is spawned. For what the documents call attach, there is spawn.
 * Errors: UNSUPPORTED always; INVALID_ARGUMENT (process_id below 1), STATE.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_attach_process(wrt_qnx_partition *partition,
                                                                  int32_t process_id);

/** Collects a spawned process that has ended, and takes its charge off the partition.
 * wait_status_out: as waitpid() has it (exit code times 256, or the number of the signal); may be
 * NULL.
 * Errors: NOT_FOUND (not spawned into this partition, or detached already), BUSY (it runs on),
 * STATE, SYSTEM (os_code; somebody else has collected it: the charge is taken off all the same).
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_detach(wrt_qnx_partition *partition,
                                                          int32_t process_id,
                                                          int32_t *wait_status_out);

/** Removes the partition, and gives what it was promised back. A zeroed one is accepted, so twice
 * is harmless. Errors: BUSY (entered, or allocators, partitions or processes are left in it; or
 * the system says that it is in use), STATE (moved; after fork), SYSTEM (os_code; it can be tried
 * again). Cost: constant; level PROCESS asks the system. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_partition_deinit(wrt_qnx_partition *partition);

WRT_END_DECLS
#endif
