/* What malloc() and its like do. Small requests are served by runs: large blocks that are cut into
 * pieces of one size. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_heap.h"
#include "kernel_memory.h"
#include "kernel_switch.h"

enum { PIECES = 32 };

static const size_t bands[] = {16, 24, 32, 48, 64, 80, 96, 128};
enum { BANDS = sizeof bands / sizeof bands[0] };

/* Small blocks: pieces of a run. */

static struct qk_block *run_with_room(uint8_t band)
{
    for (struct qk_arena *arena = qk_heap.arenas; arena != NULL; arena = arena->next) {
        for (struct qk_block *block = arena->first; block != NULL; block = block->behind) {
            if (!block->free && block->band == band && block->taken != UINT32_MAX) return block;
        }
    }
    return NULL;
}

static qk_error add_run(uint8_t band, struct qk_block **run_out)
{
    const size_t bytes = PIECES * bands[band - 1];
    const qk_error error = qk_heap_allocate(bytes, QK_ARENA_ALIGNMENT, run_out);

    if (error != QK_OK) return error;
    (*run_out)->band = band;
    (*run_out)->taken = 0;
    qk_heap.counters.used -= (*run_out)->size - QK_BLOCK_HEADER;
    qk_heap.counters.overhead -= QK_BLOCK_HEADER;
    qk_heap.counters.small_overhead += (*run_out)->size - bytes;
    qk_heap.counters.small_free += bytes;
    qk_heap.counters.small_blocks += PIECES;
    qk_heap.counters.small_runs++;
    return QK_OK;
}

static void drop_run(struct qk_block *run)
{
    const size_t bytes = PIECES * bands[run->band - 1];

    qk_heap.counters.small_free -= bytes;
    qk_heap.counters.small_overhead -= run->size - bytes;
    qk_heap.counters.small_blocks -= PIECES;
    qk_heap.counters.small_runs--;
    qk_heap.counters.used += run->size - QK_BLOCK_HEADER;
    qk_heap.counters.overhead += QK_BLOCK_HEADER;
    qk_heap_release(run);
}

static qk_error allocate_piece(uint8_t band, void **block_out)
{
    struct qk_block *run = run_with_room(band);
    uint32_t piece = 0;

    if (run == NULL) {
        const qk_error error = add_run(band, &run);
        if (error != QK_OK) return error;
    }
    while ((run->taken >> piece & 1) != 0) piece++;
    run->taken |= UINT32_C(1) << piece;
    qk_heap.counters.small_free -= bands[band - 1];
    qk_heap.counters.small_used += bands[band - 1];
    qk_heap.counters.small_blocks_used++;
    *block_out = run->base + QK_BLOCK_HEADER + piece * bands[band - 1];
    return QK_OK;
}

/* Only bands that are multiples of it keep the alignment. */
static uint8_t band_for(size_t size, size_t alignment)
{
    for (uint8_t band = 1; band <= BANDS && alignment <= QK_ARENA_ALIGNMENT; band++) {
        if (bands[band - 1] >= size && bands[band - 1] % alignment == 0) return band;
    }
    return 0;
}

/* The block that `address` was lent from, and its piece if it is a run; NULL if there is none. */
static struct qk_block *find_block(const void *address, uint32_t *piece_out)
{
    const uint8_t *at = address;

    for (struct qk_arena *arena = qk_heap.arenas; arena != NULL; arena = arena->next) {
        if (at < arena->base || at >= arena->base + arena->size) continue;
        struct qk_block *block = arena->first;
        while (block != NULL && block->base + block->size <= at) block = block->behind;
        if (block == NULL || block->free || at < block->base + QK_BLOCK_HEADER) return NULL;
        const size_t offset = (size_t)(at - block->base) - QK_BLOCK_HEADER;
        *piece_out = 0;
        if (block->band == 0) return offset == 0 ? block : NULL;
        const size_t size = bands[block->band - 1];
        *piece_out = (uint32_t)(offset / size);
        const bool lent = *piece_out < PIECES && (block->taken >> *piece_out & 1) != 0;
        return lent && offset % size == 0 ? block : NULL;
    }
    return NULL;
}

/* The calls. */

static qk_error allocate(size_t size, size_t alignment, void **block_out)
{
    struct qk_block *block;
    const uint8_t band = band_for(size > 0 ? size : 1, alignment);

    if (size > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4) return QK_ENOMEM;
    if (band > 0) return allocate_piece(band, block_out);
    const qk_error error = qk_heap_allocate(size > 0 ? size : 1, alignment, &block);
    if (error == QK_OK) *block_out = block->base + QK_BLOCK_HEADER;
    return error;
}

static void release(struct qk_block *block, uint32_t piece)
{
    if (block->band == 0) {
        qk_heap_release(block);
        return;
    }
    block->taken &= ~(UINT32_C(1) << piece);
    qk_heap.counters.small_used -= bands[block->band - 1];
    qk_heap.counters.small_free += bands[block->band - 1];
    qk_heap.counters.small_blocks_used--;
    if (block->taken == 0) drop_run(block);
}

qk_error qk_arena_allocate(size_t size, size_t alignment, void **block_out)
{
    qk_arena_start();
    const qk_error error = allocate(size, alignment, block_out);
    qk_heap.counters.allocations++;
    if (error == QK_OK) sim_census_count("heap block", 1);
    return error;
}

void qk_arena_release(void *block)
{
    uint32_t piece;
    struct qk_block *found = find_block(block, &piece);

    qk_heap.counters.releases++;
    if (found == NULL) {
        qk_heap.counters.bad_releases++;
        return;
    }
    release(found, piece);
    sim_census_count("heap block", -1);
}

size_t qk_arena_usable(const void *block)
{
    uint32_t piece;
    const struct qk_block *found = find_block(block, &piece);

    if (found == NULL) return 0;
    return found->band > 0 ? bands[found->band - 1] : found->size - QK_BLOCK_HEADER;
}

void qk_arena_clear(void *block, size_t size)
{
    memset(qk_memory_host(block, size), 0, size);
}

/* Copies as the real one would, but by the host's aliases, which have no protection. */
static void copy(void *to, const void *from, size_t size)
{
    if (size == 0) return;
    if (!qk_memory_may(from, size, QK_READ) || !qk_memory_may(to, size, QK_WRITE)) {
        qk_heap.counters.protected_copies++;
    }
    memmove(qk_memory_host(to, size), qk_memory_host(from, size), size);
}

qk_error qk_arena_resize(void *block, size_t size, void **block_out)
{
    uint32_t piece;
    struct qk_block *found = find_block(block, &piece);

    qk_heap.counters.moves++;
    if (found == NULL) {
        qk_heap.counters.bad_releases++;
        return QK_EINVAL;
    }
    *block_out = block;
    const size_t usable = found->band > 0 ? bands[found->band - 1] : found->size - QK_BLOCK_HEADER;
    if (found->band > 0 && size <= usable) return QK_OK;
    if (found->band == 0 && qk_heap_resize(found, size)) return QK_OK;
    const size_t alignment = qk_switched(QK_BREAK_REALLOC) ? QK_PAGE : QK_ARENA_ALIGNMENT;
    const qk_error error = allocate(size, alignment, block_out);
    if (error != QK_OK) return error;
    copy(*block_out, block,
         found->band > 0 || found->asked > size ? (usable < size ? usable : size) : found->asked);
    found = find_block(block, &piece);
    if (found != NULL) release(found, piece);
    return QK_OK;
}

qk_arena_counters qk_arena_count(void)
{
    qk_arena_start();
    qk_heap.counters.arena_size = qk_heap.arena_size;
    qk_heap.counters.cache_arenas_max = qk_heap.cache_arenas_max;
    qk_heap.counters.cache_bytes_max = qk_heap.cache_bytes_max;
    qk_heap.counters.lifo = qk_heap.lifo;
    return qk_heap.counters;
}
