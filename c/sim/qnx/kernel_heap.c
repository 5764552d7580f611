/* A heap of arenas, each a mapping of its own that is cut into blocks. What belongs to the heap's
 * bookkeeping is kept outside of the arenas, since a guest may take away the protection of their
 * pages; the headers that the real one has between the blocks are there as bytes nobody uses.
 *
 * Free blocks wait in bins by their size, the first that fits is taken, and a block joins its free
 * neighbours at once. An arena that has become one free block goes to the cache, or back to the
 * system if that is full. */
#include "../common/host.h"

#include "kernel_heap.h"
#include "kernel_memory.h"
#include "kernel_switch.h"

enum {
    LEAST_BLOCK = 48,    /* a smaller rest stays with the block before it */
    ARENA_OVERHEAD = 32, /* at an arena's start, for the address */
    BINS = 24
};

struct qk_heap qk_heap;

static struct bin {
    struct qk_block *first, *last;
} bins[BINS]; /* of free blocks; each holds sizes up to twice that of the one before */

size_t qk_heap_round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* The bins of free blocks. */

static struct bin *bin_for(size_t size)
{
    struct bin *bin = bins;

    while (size >= 2 * LEAST_BLOCK && bin < bins + BINS - 1) {
        size /= 2;
        bin++;
    }
    return bin;
}

static void enqueue(struct qk_block *block)
{
    const bool in_front = qk_heap.lifo != qk_switched(QK_BREAK_FREE_ORDER);
    struct bin *bin = bin_for(block->size);

    block->free = true;
    block->sooner = in_front ? NULL : bin->last;
    block->later = in_front ? bin->first : NULL;
    *(block->sooner != NULL ? &block->sooner->later : &bin->first) = block;
    *(block->later != NULL ? &block->later->sooner : &bin->last) = block;
    qk_heap.counters.free += block->size;
}

static void dequeue(struct qk_block *block)
{
    struct bin *bin = bin_for(block->size);

    *(block->sooner != NULL ? &block->sooner->later : &bin->first) = block->later;
    *(block->later != NULL ? &block->later->sooner : &bin->last) = block->sooner;
    block->free = false;
    qk_heap.counters.free -= block->size;
}

/* Blocks of an arena. */

/* Cuts off what is behind `size` bytes; the new block is neither free nor used yet. */
static struct qk_block *cut(struct qk_block *block, size_t size)
{
    struct qk_block *rest = calloc(1, sizeof *rest);

    if (rest == NULL) return NULL;
    rest->arena = block->arena;
    rest->base = block->base + size;
    rest->size = block->size - size;
    rest->before = block;
    rest->behind = block->behind;
    if (rest->behind != NULL) rest->behind->before = rest;
    block->behind = rest;
    block->size = size;
    qk_heap.counters.blocks++;
    return rest;
}

/* Joins the block behind `block` to it; both are out of their bins. */
static void join(struct qk_block *block)
{
    struct qk_block *rest = block->behind;

    block->size += rest->size;
    block->behind = rest->behind;
    if (block->behind != NULL) block->behind->before = block;
    qk_heap.counters.blocks--;
    free(rest);
}

/* How many bytes in front of a free block stay free so that what it lends is aligned. */
static size_t padding(const struct qk_block *block, size_t alignment)
{
    const uintptr_t start = (uintptr_t)block->base + QK_BLOCK_HEADER;
    size_t pad = qk_heap_round_up(start, alignment) - start;

    while (pad > 0 && pad < LEAST_BLOCK) pad += alignment;
    return pad;
}

/* Arenas and their cache. */

void qk_heap_give_back(uint8_t *base, size_t size)
{
    (void)qk_memory_unmap(base, size);
    qk_heap.counters.heap -= size;
    qk_heap.counters.arenas_given_back++;
}

static void drop_oldest_core(void)
{
    struct qk_core *core = qk_heap.cache;

    qk_heap.cache = core->next;
    qk_heap.counters.cached_arenas--;
    qk_heap.counters.cached_bytes -= core->size;
    qk_heap_give_back(core->base, core->size);
    free(core);
}

void qk_heap_shrink_cache(uint64_t arenas_max, uint64_t bytes_max)
{
    while (qk_heap.counters.cached_arenas > arenas_max ||
           qk_heap.counters.cached_bytes > bytes_max) {
        drop_oldest_core();
    }
}

bool qk_heap_cache(uint8_t *base, size_t size)
{
    struct qk_core **last = &qk_heap.cache;

    if (qk_switched(QK_BREAK_ARENA_CACHE)) return false;
    if (qk_heap.counters.cached_arenas >= qk_heap.cache_arenas_max) return false;
    if (size > qk_heap.cache_bytes_max ||
        qk_heap.counters.cached_bytes > qk_heap.cache_bytes_max - size)
        return false;
    struct qk_core *core = malloc(sizeof *core);
    if (core == NULL) return false;
    *core = (struct qk_core){NULL, base, size};
    while (*last != NULL) last = &(*last)->next;
    *last = core;
    qk_heap.counters.cached_arenas++;
    qk_heap.counters.cached_bytes += size;
    return true;
}

/* Memory for an arena: from the cache, or from the system. */
qk_error qk_heap_take(size_t bytes, bool from_cache, struct qk_arena *arena)
{
    void *base;

    for (struct qk_core **at = &qk_heap.cache; from_cache && *at != NULL; at = &(*at)->next) {
        struct qk_core *core = *at;
        if (core->size < bytes) continue;
        *at = core->next;
        arena->base = core->base;
        arena->size = core->size;
        qk_heap.counters.cached_arenas--;
        qk_heap.counters.cached_bytes -= core->size;
        free(core);
        return QK_OK;
    }
    const qk_error error = qk_memory_map(NULL, bytes, QK_READ | QK_WRITE, QK_MAP_HEAP, &base);
    if (error != QK_OK) return error;
    arena->base = base;
    arena->size = bytes;
    qk_heap.counters.heap += bytes;
    qk_heap.counters.arenas_taken++;
    return QK_OK;
}

/* A new arena with one free block. */
static qk_error add_arena(size_t bytes, bool direct, struct qk_block **block_out)
{
    struct qk_arena *arena = calloc(1, sizeof *arena);
    struct qk_block *block = calloc(1, sizeof *block);
    qk_error error = QK_ENOMEM;

    if (arena != NULL && block != NULL) error = qk_heap_take(bytes, !direct, arena);
    if (error != QK_OK) {
        free(arena);
        free(block);
        return error;
    }
    arena->direct = direct;
    arena->first = block;
    arena->next = qk_heap.arenas;
    qk_heap.arenas = arena;
    block->arena = arena;
    block->base = arena->base + ARENA_OVERHEAD;
    block->size = arena->size - ARENA_OVERHEAD;
    qk_heap.counters.overhead += ARENA_OVERHEAD;
    qk_heap.counters.blocks++;
    enqueue(block);
    *block_out = block;
    return QK_OK;
}

/* An arena that has become one free block, which is out of its bin. */
static void drop_arena(struct qk_arena *arena)
{
    struct qk_arena **at = &qk_heap.arenas;

    while (*at != arena) at = &(*at)->next;
    *at = arena->next;
    qk_heap.counters.overhead -= ARENA_OVERHEAD;
    qk_heap.counters.blocks--;
    if (arena->direct || !qk_heap_cache(arena->base, arena->size))
        qk_heap_give_back(arena->base, arena->size);
    free(arena->first);
    free(arena);
}

/* Large blocks. */

static bool fits(const struct qk_block *block, size_t need, size_t alignment)
{
    return !block->arena->direct && block->size >= padding(block, alignment) + need;
}

static struct qk_block *first_fit(size_t need, size_t alignment)
{
    for (const struct bin *bin = bin_for(need); bin < bins + BINS; bin++) {
        struct qk_block *block = bin->first;
        while (block != NULL && !fits(block, need, alignment)) block = block->later;
        if (block != NULL) return block;
    }
    return NULL;
}

/* Takes `need` bytes out of a free block. */
static struct qk_block *carve(struct qk_block *block, size_t need, size_t alignment)
{
    const size_t pad = padding(block, alignment);
    struct qk_block *front = NULL;

    dequeue(block);
    if (pad > 0) {
        front = block;
        block = cut(front, pad);
        enqueue(front);
        if (block == NULL) return NULL;
    }
    if (block->size - need >= LEAST_BLOCK) {
        struct qk_block *rest = cut(block, need);
        if (rest != NULL) enqueue(rest);
    }
    qk_heap.counters.used += block->size - QK_BLOCK_HEADER;
    qk_heap.counters.overhead += QK_BLOCK_HEADER;
    return block;
}

qk_error qk_heap_allocate(size_t size, size_t alignment, struct qk_block **block_out)
{
    const size_t need = qk_heap_round_up(size + QK_BLOCK_HEADER, QK_ARENA_ALIGNMENT);
    const size_t slack = alignment > QK_ARENA_ALIGNMENT ? alignment + LEAST_BLOCK : 0;
    const bool direct = qk_heap.map_threshold > 0 && size >= qk_heap.map_threshold;
    struct qk_block *block = direct ? NULL : first_fit(need, alignment);

    if (block == NULL) {
        const size_t bytes = qk_heap_round_up(need + slack + ARENA_OVERHEAD, qk_heap.arena_size);
        const qk_error error = add_arena(bytes, direct, &block);
        if (error != QK_OK) return error;
    }
    *block_out = carve(block, need, alignment);
    if (*block_out == NULL) return QK_ENOMEM;
    (*block_out)->asked = size;
    return QK_OK;
}

void qk_heap_release(struct qk_block *block)
{
    qk_heap.counters.used -= block->size - QK_BLOCK_HEADER;
    qk_heap.counters.overhead -= QK_BLOCK_HEADER;
    block->band = 0;
    if (block->behind != NULL && block->behind->free) {
        dequeue(block->behind);
        join(block);
    }
    if (block->before != NULL && block->before->free) {
        block = block->before;
        dequeue(block);
        join(block);
    }
    if (block->before == NULL && block->behind == NULL) {
        drop_arena(block->arena);
    } else {
        enqueue(block);
    }
}

/* Makes a large block hold `size` bytes where it is, by its free neighbour behind or by cutting. */
bool qk_heap_resize(struct qk_block *block, size_t size)
{
    const size_t need = qk_heap_round_up(size + QK_BLOCK_HEADER, QK_ARENA_ALIGNMENT);
    struct qk_block *behind = block->behind;
    const size_t room = block->size + (behind != NULL && behind->free ? behind->size : 0);

    if (room < need) return false;
    qk_heap.counters.used -= block->size;
    if (behind != NULL && behind->free) {
        dequeue(behind);
        join(block);
    }
    if (block->size - need >= LEAST_BLOCK) {
        struct qk_block *rest = cut(block, need);
        if (rest != NULL) enqueue(rest);
    }
    qk_heap.counters.used += block->size;
    block->asked = size;
    return true;
}

void qk_heap_forget(void)
{
    while (qk_heap.arenas != NULL) {
        struct qk_arena *arena = qk_heap.arenas;
        qk_heap.arenas = arena->next;
        while (arena->first != NULL) {
            struct qk_block *block = arena->first;
            arena->first = block->behind;
            free(block);
        }
        free(arena);
    }
    while (qk_heap.cache != NULL) {
        struct qk_core *core = qk_heap.cache;
        qk_heap.cache = core->next;
        free(core);
    }
    memset(bins, 0, sizeof bins);
}
