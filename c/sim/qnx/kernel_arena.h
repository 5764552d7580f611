/* Internal: the arena allocator of the simulated process's libc. All of it under the kernel's
 * lock. */
#ifndef SIM_QNX_KERNEL_ARENA_H
#define SIM_QNX_KERNEL_ARENA_H

#include "kernel.h"

enum { QK_ARENA_ALIGNMENT = 16, QK_ARENA_SIZE_MAX = 256 * 1024 };

enum qk_arena_option {
    QK_ARENA_SIZE,
    QK_ARENA_HOLD,
    QK_ARENA_CACHE_BYTES,
    QK_ARENA_CACHE_ARENAS,
    QK_ARENA_FREE_NOW,
    QK_ARENA_GROWTH,
    QK_ARENA_TRIM_THRESHOLD,
    QK_ARENA_MAP_THRESHOLD,
    QK_ARENA_GRANULARITY,
    QK_ARENA_DEBUG /* any of those that only the debugging library has */
};

/* Bytes, blocks and calls, as malloc_stats counts them. */
typedef struct qk_arena_counters {
    uint64_t small_free, small_used, small_overhead;
    uint64_t free, used, overhead;
    uint64_t heap; /* bytes that came from the system */
    uint64_t arenas_taken, arenas_given_back;
    uint64_t allocations, releases, moves;
    uint64_t small_blocks, small_blocks_used, blocks, small_runs;
    uint64_t cached_arenas, cached_bytes;
    uint64_t arena_size, cache_arenas_max, cache_bytes_max; /* as they are set */
    uint64_t bad_releases;     /* of addresses that are no block: the real heap would be broken */
    uint64_t protected_copies; /* by realloc(), of pages that the real one could not have read */
    bool lifo;
} qk_arena_counters;

/* `alignment` is a power of two. */
qk_error qk_arena_allocate(size_t size, size_t alignment, void **block_out);
qk_error qk_arena_resize(void *block, size_t size, void **block_out);
void qk_arena_release(void *block);
size_t qk_arena_usable(const void *block);
void qk_arena_clear(void *block, size_t size);

/* The answer is mallopt's: mostly the value from before. */
qk_error qk_arena_option(enum qk_arena_option option, intptr_t value, intptr_t *answer_out);

qk_arena_counters qk_arena_count(void);

/* Sets the heap up before its first use; later it does nothing. */
void qk_arena_start(void);

/* Forgets the heap; the next use starts an empty one, set up by the environment. The pages of the
 * old one are the memory map's to drop. */
void qk_arena_reset(void);

#endif
