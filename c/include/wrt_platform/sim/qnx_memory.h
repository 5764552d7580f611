/** The simulated QNX's memory: maps, heap, partitions, budgets and processes, to look at and to
 * set.
 *
 *     wrt_sim_qnx_install_memory_partitions(true);
 *     wrt_sim_qnx_partition_view view;
 *     for (uint32_t i = 0; wrt_sim_qnx_partition_query(i, &view) == WRT_OK; i++) show(&view);
 *
 * QNX's own calls change all this; what stands here is the view from outside, for tests and
 * notebooks. Sizes are bytes.
 *
 * Heap: the process's.  Threads: any.  ISR: no.  Fork: the child's calls are refused (STATE).
 */
#ifndef WRT_PLATFORM_SIM_QNX_MEMORY_H
#define WRT_PLATFORM_SIM_QNX_MEMORY_H

#include "wrt_platform/status.h"

#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes of names, the closing NUL included. */
enum wrt_sim_qnx_name_size {
    WRT_SIM_QNX_PARTITION_NAME_SIZE = 48,
    WRT_SIM_QNX_BUDGET_NAME_SIZE = 16,
    WRT_SIM_QNX_ENVIRONMENT_TEXT_SIZE = 64
};

/** What may be done with pages; flags. */
enum wrt_sim_qnx_access { WRT_SIM_QNX_READ = 1, WRT_SIM_QNX_WRITE = 2, WRT_SIM_QNX_EXECUTE = 4 };

/** What a mapping is; flags. */
enum wrt_sim_qnx_mapping_flag {
    WRT_SIM_QNX_LAZY = 2, /* its pages count from their first touch on */
    WRT_SIM_QNX_STACK = 4,
    WRT_SIM_QNX_SHARED = 8,
    WRT_SIM_QNX_HEAP = 16 /* an arena of malloc */
};

/** A run of pages with one protection. */
typedef struct wrt_sim_qnx_mapping_view {
    void *address;        /* where QNX's calls have it */
    void *host_address;   /* the same bytes, readable and writable whatever the protection */
    uint64_t size;        /* bytes */
    uint64_t paid_bytes;  /* that count as memory */
    uint32_t access;      /* wrt_sim_qnx_access */
    uint32_t flags;       /* wrt_sim_qnx_mapping_flag */
    uint64_t reserved[2]; /* zero */
} wrt_sim_qnx_mapping_view;

/** The memory of the simulated process, and of the system. */
typedef struct wrt_sim_qnx_memory_view {
    uint64_t mapped_bytes;      /* against RLIMIT_AS */
    uint64_t data_bytes;        /* of them private: against RLIMIT_DATA */
    uint64_t paid_bytes;        /* memory behind them */
    uint64_t owed_bytes;        /* of lazy memory, touched where no more was to be had */
    uint64_t system_bytes;      /* that the system has */
    uint64_t system_free_bytes; /* that nobody uses or has reserved: against RLIMIT_FREEMEM */
    uint32_t mapping_count;     /* runs of pages */
    uint32_t reserved;          /* zero */
    uint64_t protected_copies;  /* that realloc() made of pages which the real one can't read */
    uint64_t bad_frees;         /* of addresses that are no block */
} wrt_sim_qnx_memory_view;

/** What the process's malloc has done. */
typedef struct wrt_sim_qnx_arena_view {
    uint64_t heap_bytes;         /* from the system, cached arenas included */
    uint64_t used_bytes;         /* in large blocks that are out */
    uint64_t free_bytes;         /* in large blocks that are free, cached arenas not included */
    uint64_t small_used_bytes;   /* in small blocks that are out */
    uint64_t small_free_bytes;   /* in small blocks that are free */
    uint64_t arenas_taken;       /* from the system, ever */
    uint64_t arenas_given_back;  /* to the system, ever */
    uint64_t cached_arenas;      /* free ones that are kept, now */
    uint64_t cached_bytes;       /* of those */
    uint64_t arena_size;         /* as it is set */
    uint64_t cache_arenas_limit; /* as it is set; UINT32_MAX: none */
    uint64_t cache_bytes_limit;  /* as it is set; UINT32_MAX: none */
    uint64_t allocations;        /* calls, ever */
    uint64_t frees;
    uint64_t reallocations;
    bool lifo;           /* freed blocks are used again last in, first out */
    uint8_t reserved[7]; /* zero */
} wrt_sim_qnx_arena_view;

/** A memory partition. */
typedef struct wrt_sim_qnx_partition_view {
    uint32_t id;            /* part_id_t */
    uint32_t parent_id;     /* 0: of a class */
    uint32_t child_count;   /* right below */
    uint32_t process_count; /* that belong to it */
    uint64_t used_bytes;    /* reservations below it included */
    uint64_t peak_bytes;
    uint64_t minimum_bytes;
    uint64_t maximum_bytes; /* UINT64_MAX: none */
    char name[48];          /* WRT_SIM_QNX_PARTITION_NAME_SIZE */
    bool terminal;
    bool locked;
    bool permanent;
    bool hierarchical;
    uint8_t reserved[4]; /* zero */
} wrt_sim_qnx_partition_view;

/** A budget of processor time. */
typedef struct wrt_sim_qnx_budget_view {
    char name[16]; /* WRT_SIM_QNX_BUDGET_NAME_SIZE */
    int32_t id;
    int32_t parent_id;
    uint32_t percent;     /* that it has left after what it gave on */
    uint32_t critical_ms; /* milliseconds a window */
    uint32_t wanted;      /* percent that its threads would use */
    uint32_t used;        /* hundredths of a percent that they get */
} wrt_sim_qnx_budget_view;

/** A process. */
typedef struct wrt_sim_qnx_process_view {
    int32_t id;            /* pid_t */
    uint32_t partition_id; /* it belongs to */
    uint64_t used_bytes;   /* that are counted for it */
    bool ended;            /* and nobody has waited for it */
    uint8_t reserved[7];   /* zero */
} wrt_sim_qnx_process_view;

/** Puts the module of memory partitions into the simulated system, as 6.4 could have it, or takes
 * it out, as 7.x and 8.0 are; out is how a reset leaves it. Partitions stay as they are.
 * Errors: STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_install_memory_partitions(bool present);

/** Puts the adaptive-partition scheduler in or out. A reset puts it in, but for 8.0.
 * Errors: STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_install_adaptive_partitions(bool present);

/** Sets the memory that the simulated system has; 1 GiB if nobody does.
 * bytes: a multiple of 4096, not less than what is in use. It outlasts a reset.
 * Errors: INVALID_ARGUMENT (a rule above), STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_set_system_memory(uint64_t bytes);

/** Sets a name of the environment for the process's next start, which a reset is; libc reads some
 * of them there (MALLOC_FREE_LIFO, MALLOC_ARENA_SIZE, ...). They hold for that one start.
 * name, value: copied; shorter than WRT_SIM_QNX_ENVIRONMENT_TEXT_SIZE. value NULL takes it out.
 * Errors: INVALID_ARGUMENT (a rule above), NO_MEMORY (16 names are set), STATE (forked child).
 * Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_set_environment(const char *name, const char *value);

/** Reports the process's memory and the system's. Errors: STATE (forked child). Cost: one step a
 * page of lazy memory. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_memory_query(wrt_sim_qnx_memory_view *view_out);

/** Reports a run of pages, in the order of addresses.
 * Errors: NOT_FOUND (beyond the last), STATE (forked child). Cost: one step a page. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_mapping_query(uint32_t index,
                                                           wrt_sim_qnx_mapping_view *view_out);

/** The other address of memory that QNX's calls mapped: its bytes can be read and written there
 * whatever the protection is. It holds until the memory is unmapped.
 * Errors: NOT_FOUND (the range is not mapped, or not by one mmap), STATE (forked child).
 * Cost: a search. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_host_address(const void *address, size_t size,
                                                          void **host_address_out);

/** Reports the process's heap. Errors: STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_arena_query(wrt_sim_qnx_arena_view *view_out);

/** Reports a memory partition, in the order in which they were made; 0 is the one of the class.
 * Errors: NOT_FOUND (beyond the last), STATE (forked child). Cost: a walk. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_partition_query(uint32_t index,
                                                             wrt_sim_qnx_partition_view *view_out);

/** Reports a budget of processor time by its number; 0 is the system's.
 * Errors: NOT_FOUND (there is none of that number), STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_budget_query(int32_t id,
                                                          wrt_sim_qnx_budget_view *view_out);

/** Says how much of the processor the threads of a budget would use if they could. What they get
 * is worked out from these figures, not from the threads that run here.
 * percent: 0 to 100. Errors: INVALID_ARGUMENT, NOT_FOUND, STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_budget_want(int32_t id, uint32_t percent);

/** Reports a process, the caller's own first, then its children in the order of their start.
 * Errors: NOT_FOUND (beyond the last), STATE (forked child). Cost: a system call a child. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_process_query(uint32_t index,
                                                           wrt_sim_qnx_process_view *view_out);

/** Says how much memory a child uses now: it is a program of this machine, and the simulated
 * kernel can't see it. Rounded up to pages.
 * Errors: NOT_FOUND (no such child, or it has ended), NO_MEMORY (its partition has not as much),
 * STATE (forked child). Cost: a step a partition above. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_process_use(int32_t id, uint64_t bytes);

/** Sets what a process counts for when it starts, rounded up to pages; 128 KiB after a reset.
 * Errors: STATE (forked child). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_set_process_memory(uint64_t bytes);

WRT_END_DECLS
#endif
