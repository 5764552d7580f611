/** QNX's arena allocator: settings of the process's heap, small blocks from it, and pages.
 *
 *     wrt_qnx_arena_allocator_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.arena_size = 64 * 1024;
 *     config.arena_cache_max_blocks = 8;
 *     wrt_qnx_arena_allocator arena;
 *     wrt_status status = wrt_qnx_arena_allocator_init(&arena, &config);
 *
 * QNX's malloc takes memory from the system in arenas, and mallopt() says how large they are and
 * how many are kept. That is one setting for the whole process: what two live arena allocators
 * ask of one key has to be the same, else the second one is BUSY. When the last one that asked is
 * ended, the key is what it was before. QNX 8.0 has another malloc, which knows none of the keys:
 * UNSUPPORTED, key by key; with none of them set, all else works there as well.
 *
 * Small blocks, for control structures, come from that heap (posix_memalign). Linear memory does
 * not: realloc() keeps neither guard pages nor alignment, so pages are reserved at once and made
 * accessible one by one, as in qnx/memory.h.
 *
 * Heap: the process's, for small blocks.  Threads: one caller at a time per allocator.  ISR: no.
 * Fork: the allocator refuses every call in the child (STATE).
 */
#ifndef WRT_PLATFORM_QNX_ARENA_H
#define WRT_PLATFORM_QNX_ARENA_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"
#include "wrt_platform/qnx/memory.h"
#include "wrt_platform/qnx/partition.h"

WRT_BEGIN_DECLS

typedef struct wrt_qnx_arena_allocator wrt_qnx_arena_allocator;

/** Sizes. */
enum wrt_qnx_arena_limit {
    WRT_QNX_ARENA_SIZE_DEFAULT = 32768,   /* bytes, of QNX itself */
    WRT_QNX_ARENA_SIZE_STEP = 4096,       /* bytes */
    WRT_QNX_ARENA_SIZE_MAX = 262144,      /* bytes */
    WRT_QNX_ARENA_ALIGNMENT_MIN = 16,     /* bytes, of a small block */
    WRT_QNX_ARENA_ALIGNMENT_MAX = 4096,   /* bytes */
    WRT_QNX_ARENA_BLOCK_MAX = 1073741824, /* bytes of a small block */
    WRT_QNX_ARENA_KEYS = 4                /* keys of mallopt that a config can set */
};

/** What an arena allocator is made of. */
typedef struct wrt_qnx_arena_allocator_config {
    uint32_t struct_size;            /* sizeof(wrt_qnx_arena_allocator_config); 0 is refused */
    uint32_t maximum_pages;          /* one allocation reserves no more; 0: 65536 (4 GiB) */
    uint32_t verification_level;     /* one of wrt_verification_level, of pages and blocks */
    uint32_t sampling_interval;      /* k of SAMPLING; 0: 16 */
    uint32_t arena_size;             /* bytes, a multiple of 4096 up to 262144; 0: as it is, 32768
                                        if nobody has changed it */
    uint32_t arena_cache_max_blocks; /* free arenas that are kept, up to 2147483647; 0: as it is */
    uint64_t arena_cache_max_size;   /* bytes of free arenas that are kept, up to 2147483647; 0: as
                                        it is */
    uint64_t guard_bytes;            /* as in wrt_qnx_allocator_config */
    wrt_qnx_partition *partition;    /* charged for accessible pages and for blocks; borrowed until
                                        deinit; NULL: none */
    uint32_t data_protection;        /* of accessible pages, one of wrt_qnx_protection */
    bool guard_pages;                /* no access before the memory and behind the reservation */
    bool lifo_free;                  /* freed blocks are used again last in, first out: an
                                        environment variable, MALLOC_FREE_LIFO=1, has to say so when
                                        the process starts, else UNSUPPORTED */
    bool memory_hold; /* free arenas are never given back to the system; not together with the two
                         limits of the cache, which it would take away */
    uint8_t reserved[1]; /* zero */
} wrt_qnx_arena_allocator_config;

/** What is out, what the process's heap holds, and what holds of what the config asks. */
typedef struct wrt_qnx_arena_allocator_report {
    uint32_t allocation_count; /* of pages, out now */
    uint32_t page_count;       /* accessible now, summed over all allocations */
    uint32_t peak_pages;       /* the most that ever were */
    uint32_t block_count;      /* small blocks out now */
    uint64_t block_bytes;      /* that were asked for, of the blocks that are out */
    uint64_t peak_block_bytes; /* the most that ever were */
    uint64_t refusal_count;    /* small blocks that were asked for and not had */
    uint64_t reserved_bytes;   /* of address space for pages, guards and canaries included */
    uint64_t arena_size;       /* bytes, in force in the process; 0: its malloc has none */
    uint64_t heap_bytes;       /* that the process's malloc has from the system */
    uint64_t heap_used_bytes;  /* of those, in blocks that are out, of the whole process */
    uint64_t heap_free_bytes;  /* of those, free, cached arenas among them */
    wrt_enforcement arena_size_key;
    wrt_enforcement arena_cache_max_blocks_key;
    wrt_enforcement arena_cache_max_size_key;
    wrt_enforcement memory_hold_key;
    wrt_enforcement lifo_free;
    wrt_enforcement guard_pages;
    wrt_enforcement canaries;
    wrt_enforcement partition; /* that what is accessible, and what is in blocks, is charged */
    wrt_enforcement isolation; /* that other partitions can't reach the pages */
} wrt_qnx_arena_allocator_report;

/** Caller-provided storage. Fields are private. It may be moved while nothing is out (else STATE);
 * then its interface is to be asked for again. */
struct wrt_qnx_arena_allocator {
    wrt_qnx_allocator pages;
    void *blocks; /* the newest of those that are out */
    uint64_t block_bytes;
    uint64_t peak_block_bytes;
    uint64_t refusal_count;
    wrt_verifier verifier; /* of blocks */
    uint32_t block_count;
    uint32_t keys; /* bits of those that it holds */
    bool lifo_free;
    uint8_t reserved_flags[7];
    uint64_t reserved[8];
};

/** Prepares `arena`, and sets what of mallopt() its config asks for. On error it is left as it was,
 * and the keys are as they were.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken; the partition is a CONTAINER),
 * UNSUPPORTED (a key that this system's malloc does not take: the text says which; lifo_free
 * without its environment variable; reserved bytes; a partition of the level PROCESS), BUSY (a
 * live arena allocator has set a key otherwise: the text says which), STATE (the partition is not
 * initialised or was moved; after fork), SYSTEM (a key that was set can't be taken back: os_code).
 * Cost: at most two calls of mallopt for each key.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_arena_allocator_init(
    wrt_qnx_arena_allocator *arena, const wrt_qnx_arena_allocator_config *config);

/** The allocator as wrt_page_allocator_allocate() and the others take it; see
 * wrt_qnx_allocator_interface(). Errors: none, it cannot fail itself. Cost: constant. */
WRT_API WRT_NODISCARD wrt_page_allocator
wrt_qnx_arena_allocator_interface(wrt_qnx_arena_allocator *arena);

/** Takes a small block from the process's heap, zeroed.
 * size: 1 to WRT_QNX_ARENA_BLOCK_MAX bytes. alignment: a power of two, WRT_QNX_ARENA_ALIGNMENT_MIN
 * to _MAX; 0: the smallest.
 * The block belongs to the caller until it is released. The partition is charged for `size`, for
 * what stands in front of the block (64 bytes, or `alignment` if that is more), and for 8 bytes
 * behind it.
 * Errors: INVALID_ARGUMENT (a rule above), NO_MEMORY (the heap or the partition has not that much;
 * the text says which), STATE (not initialised, moved while something is out, after fork).
 * Cost: posix_memalign, zeroing the block, one step for each partition above.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_arena_allocate_block(wrt_qnx_arena_allocator *arena,
                                                              size_t size, size_t alignment,
                                                              void **block_out);

/** Gives a block back to the heap.
 * Errors: INVALID_ARGUMENT (NULL), STATE (verification: not a block of this arena, released
 * already, or written beside; nothing is freed).
 * Cost: free; at verification FULL, and on the checked calls of SAMPLING, a walk over the blocks
 * that are out, which alone tells a foreign pointer for sure.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_arena_release_block(wrt_qnx_arena_allocator *arena,
                                                             void *block);

/** Reports what is out, what the heap holds, and what holds of what was asked for.
 * Errors: STATE (not initialised, moved while something is out, after fork). Cost: mallinfo(). */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_arena_allocator_query(
    const wrt_qnx_arena_allocator *arena, wrt_qnx_arena_allocator_report *report_out);

/** Ends the allocator, and gives back the keys that nobody else holds. A zeroed one is accepted, so
 * twice is harmless. Errors: STATE (pages or blocks are out; after fork), SYSTEM (a key can't be
 * set back, os_code; it can be tried again). Cost: mallopt for each key that goes back. */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_arena_allocator_deinit(wrt_qnx_arena_allocator *arena);

WRT_END_DECLS
#endif
