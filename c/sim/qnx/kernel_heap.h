/* Internal: arenas, and the large blocks that they are cut into. Under the kernel's lock. */
#ifndef SIM_QNX_KERNEL_HEAP_H
#define SIM_QNX_KERNEL_HEAP_H

#include "kernel_arena.h"

enum { QK_BLOCK_HEADER = 16 }; /* bytes before what a block lends */

struct qk_block {
    struct qk_block *before, *behind; /* in the arena */
    struct qk_block *sooner, *later;  /* in its bin, while it is free */
    struct qk_arena *arena;
    uint8_t *base;
    size_t size;    /* with its header */
    size_t asked;   /* bytes that the guest asked for */
    uint32_t taken; /* a bit a piece, in a run */
    uint8_t band;   /* of a run, 1 up; 0: not a run */
    bool free;
};

struct qk_arena {
    struct qk_arena *next;
    uint8_t *base;
    size_t size;
    struct qk_block *first;
    bool direct; /* for one block alone, and given back with it */
};

struct qk_core {
    struct qk_core *next;
    uint8_t *base;
    size_t size;
};

/* The one heap: what it has, and how it is set. */
struct qk_heap {
    qk_arena_counters counters;
    struct qk_arena *arenas;
    struct qk_core *cache; /* the oldest first */
    uint64_t cache_bytes_max, cache_arenas_max;
    size_t arena_size;
    size_t map_threshold; /* a block of so many bytes has an arena of its own; 0: none */
    bool lifo;
    bool started;
};

extern struct qk_heap qk_heap;

size_t qk_heap_round_up(size_t value, size_t unit);

/* Large blocks. */
qk_error qk_heap_allocate(size_t size, size_t alignment, struct qk_block **block_out);
void qk_heap_release(struct qk_block *block);

/* Makes one hold `size` bytes where it is, if its free neighbour behind allows. */
bool qk_heap_resize(struct qk_block *block, size_t size);

/* Memory for arenas: from the cache or the system, and back to them. */
qk_error qk_heap_take(size_t bytes, bool from_cache, struct qk_arena *arena);
bool qk_heap_cache(uint8_t *base, size_t size);
void qk_heap_give_back(uint8_t *base, size_t size);
void qk_heap_shrink_cache(uint64_t arenas_max, uint64_t bytes_max);

/* Forgets all blocks; the pages are the memory map's. */
void qk_heap_forget(void);

#endif
