/* A heap of arenas, each a mapping of its own that is cut into blocks. What belongs to the heap's
 * bookkeeping is kept outside of the arenas, since a guest may take away the protection of their
 * pages; the headers that the real one has between the blocks are there as bytes nobody uses.
 *
 * Small requests are served by runs: blocks that are cut into pieces of one size. Free blocks wait
 * in bins by their size, the first that fits is taken, and a block joins its free neighbours at
 * once. An arena that has become one free block goes to the cache, or back to the system if that
 * is full. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_arena.h"
#include "kernel_environment.h"
#include "kernel_memory.h"
#include "kernel_switch.h"

enum {
    HEADER = 16,
    LEAST_BLOCK = 48,    /* a smaller rest stays with the block before it */
    ARENA_OVERHEAD = 32, /* at an arena's start, for the address */
    DEFAULT_SIZE = 32 * 1024,
    DEFAULT_CACHE_ARENAS = 8,
    DEFAULT_CACHE_BYTES = DEFAULT_CACHE_ARENAS * DEFAULT_SIZE,
    PIECES = 32,
    BINS = 24
};

static const size_t bands[] = {16, 24, 32, 48, 64, 80, 96, 128};
enum { BANDS = sizeof bands / sizeof bands[0] };

struct block {
    struct block *before, *behind; /* in the arena */
    struct block *sooner, *later;  /* in its bin, while it is free */
    struct arena *arena;
    uint8_t *base;
    size_t size;    /* with its header */
    size_t asked;   /* bytes that the guest asked for */
    uint32_t taken; /* a bit a piece, in a run */
    uint8_t band;   /* of a run, 1 up; 0: not a run */
    bool free;
};

struct arena {
    struct arena *next;
    uint8_t *base;
    size_t size;
    struct block *first;
    bool direct; /* for one block alone, and given back with it */
};

struct core {
    struct core *next;
    uint8_t *base;
    size_t size;
};

static struct arena *arenas;
static struct core *cache; /* the oldest first */
static struct bin {
    struct block *first, *last;
} bins[BINS]; /* of free blocks; each holds sizes up to twice that of the one before */
static qk_arena_counters counters;
static uint64_t cache_bytes_max, cache_arenas_max;
static size_t arena_size, map_threshold;
static bool lifo;
static bool started;

static size_t round_up(size_t value, size_t unit)
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

static void enqueue(struct block *block)
{
    const bool in_front = lifo != qk_switched(QK_BREAK_FREE_ORDER);
    struct bin *bin = bin_for(block->size);

    block->free = true;
    block->sooner = in_front ? NULL : bin->last;
    block->later = in_front ? bin->first : NULL;
    *(block->sooner != NULL ? &block->sooner->later : &bin->first) = block;
    *(block->later != NULL ? &block->later->sooner : &bin->last) = block;
    counters.free += block->size;
}

static void dequeue(struct block *block)
{
    struct bin *bin = bin_for(block->size);

    *(block->sooner != NULL ? &block->sooner->later : &bin->first) = block->later;
    *(block->later != NULL ? &block->later->sooner : &bin->last) = block->sooner;
    block->free = false;
    counters.free -= block->size;
}

/* Blocks of an arena. */

/* Cuts off what is behind `size` bytes; the new block is neither free nor used yet. */
static struct block *cut(struct block *block, size_t size)
{
    struct block *rest = calloc(1, sizeof *rest);

    if (rest == NULL) return NULL;
    rest->arena = block->arena;
    rest->base = block->base + size;
    rest->size = block->size - size;
    rest->before = block;
    rest->behind = block->behind;
    if (rest->behind != NULL) rest->behind->before = rest;
    block->behind = rest;
    block->size = size;
    counters.blocks++;
    return rest;
}

/* Joins the block behind `block` to it; both are out of their bins. */
static void join(struct block *block)
{
    struct block *rest = block->behind;

    block->size += rest->size;
    block->behind = rest->behind;
    if (block->behind != NULL) block->behind->before = block;
    counters.blocks--;
    free(rest);
}

/* How many bytes in front of a free block stay free so that what it lends is aligned. */
static size_t padding(const struct block *block, size_t alignment)
{
    const uintptr_t start = (uintptr_t)block->base + HEADER;
    size_t pad = round_up(start, alignment) - start;

    while (pad > 0 && pad < LEAST_BLOCK) pad += alignment;
    return pad;
}

/* Arenas and their cache. */

static void give_back(uint8_t *base, size_t size)
{
    (void)qk_memory_unmap(base, size);
    counters.heap -= size;
    counters.arenas_given_back++;
}

static void drop_oldest_core(void)
{
    struct core *core = cache;

    cache = core->next;
    counters.cached_arenas--;
    counters.cached_bytes -= core->size;
    give_back(core->base, core->size);
    free(core);
}

static void shrink_cache(uint64_t arenas_max, uint64_t bytes_max)
{
    while (counters.cached_arenas > arenas_max || counters.cached_bytes > bytes_max) {
        drop_oldest_core();
    }
}

static bool cache_core(uint8_t *base, size_t size)
{
    struct core **last = &cache;

    if (qk_switched(QK_BREAK_ARENA_CACHE)) return false;
    if (counters.cached_arenas >= cache_arenas_max) return false;
    if (size > cache_bytes_max || counters.cached_bytes > cache_bytes_max - size) return false;
    struct core *core = malloc(sizeof *core);
    if (core == NULL) return false;
    *core = (struct core){NULL, base, size};
    while (*last != NULL) last = &(*last)->next;
    *last = core;
    counters.cached_arenas++;
    counters.cached_bytes += size;
    return true;
}

/* Memory for an arena: from the cache, or from the system. */
static qk_error take_core(size_t bytes, bool from_cache, struct arena *arena)
{
    void *base;

    for (struct core **at = &cache; from_cache && *at != NULL; at = &(*at)->next) {
        struct core *core = *at;
        if (core->size < bytes) continue;
        *at = core->next;
        arena->base = core->base;
        arena->size = core->size;
        counters.cached_arenas--;
        counters.cached_bytes -= core->size;
        free(core);
        return QK_OK;
    }
    const qk_error error = qk_memory_map(NULL, bytes, QK_READ | QK_WRITE, QK_MAP_HEAP, &base);
    if (error != QK_OK) return error;
    arena->base = base;
    arena->size = bytes;
    counters.heap += bytes;
    counters.arenas_taken++;
    return QK_OK;
}

/* A new arena with one free block. */
static qk_error add_arena(size_t bytes, bool direct, struct block **block_out)
{
    struct arena *arena = calloc(1, sizeof *arena);
    struct block *block = calloc(1, sizeof *block);
    qk_error error = QK_ENOMEM;

    if (arena != NULL && block != NULL) error = take_core(bytes, !direct, arena);
    if (error != QK_OK) {
        free(arena);
        free(block);
        return error;
    }
    arena->direct = direct;
    arena->first = block;
    arena->next = arenas;
    arenas = arena;
    block->arena = arena;
    block->base = arena->base + ARENA_OVERHEAD;
    block->size = arena->size - ARENA_OVERHEAD;
    counters.overhead += ARENA_OVERHEAD;
    counters.blocks++;
    enqueue(block);
    *block_out = block;
    return QK_OK;
}

/* An arena that has become one free block, which is out of its bin. */
static void drop_arena(struct arena *arena)
{
    struct arena **at = &arenas;

    while (*at != arena) at = &(*at)->next;
    *at = arena->next;
    counters.overhead -= ARENA_OVERHEAD;
    counters.blocks--;
    if (arena->direct || !cache_core(arena->base, arena->size)) give_back(arena->base, arena->size);
    free(arena->first);
    free(arena);
}

/* Large blocks. */

static bool fits(const struct block *block, size_t need, size_t alignment)
{
    return !block->arena->direct && block->size >= padding(block, alignment) + need;
}

static struct block *first_fit(size_t need, size_t alignment)
{
    for (const struct bin *bin = bin_for(need); bin < bins + BINS; bin++) {
        struct block *block = bin->first;
        while (block != NULL && !fits(block, need, alignment)) block = block->later;
        if (block != NULL) return block;
    }
    return NULL;
}

/* Takes `need` bytes out of a free block. */
static struct block *carve(struct block *block, size_t need, size_t alignment)
{
    const size_t pad = padding(block, alignment);
    struct block *front = NULL;

    dequeue(block);
    if (pad > 0) {
        front = block;
        block = cut(front, pad);
        enqueue(front);
        if (block == NULL) return NULL;
    }
    if (block->size - need >= LEAST_BLOCK) {
        struct block *rest = cut(block, need);
        if (rest != NULL) enqueue(rest);
    }
    counters.used += block->size - HEADER;
    counters.overhead += HEADER;
    return block;
}

static qk_error allocate_block(size_t size, size_t alignment, struct block **block_out)
{
    const size_t need = round_up(size + HEADER, QK_ARENA_ALIGNMENT);
    const size_t slack = alignment > QK_ARENA_ALIGNMENT ? alignment + LEAST_BLOCK : 0;
    const bool direct = map_threshold > 0 && size >= map_threshold;
    struct block *block = direct ? NULL : first_fit(need, alignment);

    if (block == NULL) {
        const size_t bytes = round_up(need + slack + ARENA_OVERHEAD, arena_size);
        const qk_error error = add_arena(bytes, direct, &block);
        if (error != QK_OK) return error;
    }
    *block_out = carve(block, need, alignment);
    if (*block_out == NULL) return QK_ENOMEM;
    (*block_out)->asked = size;
    return QK_OK;
}

static void release_block(struct block *block)
{
    counters.used -= block->size - HEADER;
    counters.overhead -= HEADER;
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

/* Small blocks: pieces of a run. */

static struct block *run_with_room(uint8_t band)
{
    for (struct arena *arena = arenas; arena != NULL; arena = arena->next) {
        for (struct block *block = arena->first; block != NULL; block = block->behind) {
            if (!block->free && block->band == band && block->taken != UINT32_MAX) return block;
        }
    }
    return NULL;
}

static qk_error add_run(uint8_t band, struct block **run_out)
{
    const size_t bytes = PIECES * bands[band - 1];
    const qk_error error = allocate_block(bytes, QK_ARENA_ALIGNMENT, run_out);

    if (error != QK_OK) return error;
    (*run_out)->band = band;
    (*run_out)->taken = 0;
    counters.used -= (*run_out)->size - HEADER;
    counters.overhead -= HEADER;
    counters.small_overhead += (*run_out)->size - bytes;
    counters.small_free += bytes;
    counters.small_blocks += PIECES;
    counters.small_runs++;
    return QK_OK;
}

static void drop_run(struct block *run)
{
    const size_t bytes = PIECES * bands[run->band - 1];

    counters.small_free -= bytes;
    counters.small_overhead -= run->size - bytes;
    counters.small_blocks -= PIECES;
    counters.small_runs--;
    counters.used += run->size - HEADER;
    counters.overhead += HEADER;
    release_block(run);
}

static qk_error allocate_piece(uint8_t band, void **block_out)
{
    struct block *run = run_with_room(band);
    uint32_t piece = 0;

    if (run == NULL) {
        const qk_error error = add_run(band, &run);
        if (error != QK_OK) return error;
    }
    while ((run->taken >> piece & 1) != 0) piece++;
    run->taken |= UINT32_C(1) << piece;
    counters.small_free -= bands[band - 1];
    counters.small_used += bands[band - 1];
    counters.small_blocks_used++;
    *block_out = run->base + HEADER + piece * bands[band - 1];
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
static struct block *find_block(const void *address, uint32_t *piece_out)
{
    const uint8_t *at = address;

    for (struct arena *arena = arenas; arena != NULL; arena = arena->next) {
        if (at < arena->base || at >= arena->base + arena->size) continue;
        struct block *block = arena->first;
        while (block != NULL && block->base + block->size <= at) block = block->behind;
        if (block == NULL || block->free || at < block->base + HEADER) return NULL;
        const size_t offset = (size_t)(at - block->base) - HEADER;
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

static void start(void);

static qk_error allocate(size_t size, size_t alignment, void **block_out)
{
    struct block *block;
    const uint8_t band = band_for(size > 0 ? size : 1, alignment);

    if (size > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4) return QK_ENOMEM;
    if (band > 0) return allocate_piece(band, block_out);
    const qk_error error = allocate_block(size > 0 ? size : 1, alignment, &block);
    if (error == QK_OK) *block_out = block->base + HEADER;
    return error;
}

static void release(struct block *block, uint32_t piece)
{
    if (block->band == 0) {
        release_block(block);
        return;
    }
    block->taken &= ~(UINT32_C(1) << piece);
    counters.small_used -= bands[block->band - 1];
    counters.small_free += bands[block->band - 1];
    counters.small_blocks_used--;
    if (block->taken == 0) drop_run(block);
}

qk_error qk_arena_allocate(size_t size, size_t alignment, void **block_out)
{
    start();
    const qk_error error = allocate(size, alignment, block_out);
    counters.allocations++;
    if (error == QK_OK) sim_census_count("heap block", 1);
    return error;
}

void qk_arena_release(void *block)
{
    uint32_t piece;
    struct block *found = find_block(block, &piece);

    counters.releases++;
    if (found == NULL) {
        counters.bad_releases++;
        return;
    }
    release(found, piece);
    sim_census_count("heap block", -1);
}

size_t qk_arena_usable(const void *block)
{
    uint32_t piece;
    const struct block *found = find_block(block, &piece);

    if (found == NULL) return 0;
    return found->band > 0 ? bands[found->band - 1] : found->size - HEADER;
}

void qk_arena_clear(void *block, size_t size)
{
    memset(qk_memory_host(block, size), 0, size);
}

/* Makes a large block hold `size` bytes where it is, by its free neighbour behind or by cutting. */
static bool resize_in_place(struct block *block, size_t size)
{
    const size_t need = round_up(size + HEADER, QK_ARENA_ALIGNMENT);
    struct block *behind = block->behind;
    const size_t room = block->size + (behind != NULL && behind->free ? behind->size : 0);

    if (room < need) return false;
    counters.used -= block->size;
    if (behind != NULL && behind->free) {
        dequeue(behind);
        join(block);
    }
    if (block->size - need >= LEAST_BLOCK) {
        struct block *rest = cut(block, need);
        if (rest != NULL) enqueue(rest);
    }
    counters.used += block->size;
    block->asked = size;
    return true;
}

/* Copies as the real one would, but by the host's aliases, which have no protection. */
static void copy(void *to, const void *from, size_t size)
{
    if (size == 0) return;
    if (!qk_memory_may(from, size, QK_READ) || !qk_memory_may(to, size, QK_WRITE)) {
        counters.protected_copies++;
    }
    memmove(qk_memory_host(to, size), qk_memory_host(from, size), size);
}

qk_error qk_arena_resize(void *block, size_t size, void **block_out)
{
    uint32_t piece;
    struct block *found = find_block(block, &piece);

    counters.moves++;
    if (found == NULL) {
        counters.bad_releases++;
        return QK_EINVAL;
    }
    *block_out = block;
    const size_t usable = found->band > 0 ? bands[found->band - 1] : found->size - HEADER;
    if (found->band > 0 && size <= usable) return QK_OK;
    if (found->band == 0 && resize_in_place(found, size)) return QK_OK;
    const size_t alignment = qk_switched(QK_BREAK_REALLOC) ? QK_PAGE : QK_ARENA_ALIGNMENT;
    const qk_error error = allocate(size, alignment, block_out);
    if (error != QK_OK) return error;
    copy(*block_out, block,
         found->band > 0 || found->asked > size ? (usable < size ? usable : size) : found->asked);
    found = find_block(block, &piece);
    if (found != NULL) release(found, piece);
    return QK_OK;
}

/* Options. */

static qk_error set_size(intptr_t value, intptr_t *answer_out)
{
    *answer_out = (intptr_t)arena_size;
    if (value == 0) return QK_OK;
    if (value < QK_PAGE || (value > QK_ARENA_SIZE_MAX && !qk_switched(QK_BREAK_OPTION_RANGE))) {
        return QK_EINVAL;
    }
    if (qk_switched(QK_BREAK_PREVIOUS)) *answer_out = 0;
    arena_size = round_up((size_t)value, QK_PAGE);
    return QK_OK;
}

static qk_error set_cache(uint64_t *limit, intptr_t value, intptr_t *answer_out)
{
    if (value < 0) return QK_EINVAL;
    *answer_out = qk_switched(QK_BREAK_PREVIOUS) ? 0 : (intptr_t)(int32_t)*limit;
    *limit = (uint64_t)value;
    return QK_OK;
}

static void hold(bool forever)
{
    cache_bytes_max = forever ? UINT32_MAX : 0;
    cache_arenas_max = forever ? UINT32_MAX : 0;
}

static void free_now(bool everything)
{
    if (qk_switched(QK_BREAK_FREE_NOW)) return;
    shrink_cache(everything ? 0 : cache_arenas_max, everything ? 0 : cache_bytes_max);
}

/* What all systems before 8.0 know. */
static qk_error classic_option(enum qk_arena_option option, intptr_t value, intptr_t *answer_out)
{
    switch (option) {
    case QK_ARENA_SIZE:
        return set_size(value, answer_out);
    case QK_ARENA_HOLD:
        hold(value > 0);
        return QK_OK;
    case QK_ARENA_CACHE_BYTES:
        return set_cache(&cache_bytes_max, value, answer_out);
    case QK_ARENA_CACHE_ARENAS:
        return set_cache(&cache_arenas_max, value, answer_out);
    case QK_ARENA_FREE_NOW:
        if (value < 0) return QK_EINVAL;
        free_now(value > 0);
        return QK_OK;
    case QK_ARENA_GROWTH:
        return QK_OK;
    default:
        return QK_EINVAL;
    }
}

/* The three that 8.0 has left. */
static qk_error modern_option(enum qk_arena_option option, intptr_t value)
{
    switch (option) {
    case QK_ARENA_TRIM_THRESHOLD:
        cache_arenas_max = UINT32_MAX;
        cache_bytes_max = value < 0 ? UINT32_MAX : (uint64_t)value;
        shrink_cache(cache_arenas_max, cache_bytes_max);
        return QK_OK;
    case QK_ARENA_MAP_THRESHOLD:
        map_threshold = value < 0 ? 0 : (size_t)value;
        return QK_OK;
    case QK_ARENA_GRANULARITY:
        if (value < QK_PAGE || (value & (value - 1)) != 0) return QK_EINVAL;
        arena_size = (size_t)value;
        return QK_OK;
    default:
        return QK_EINVAL;
    }
}

qk_error qk_arena_option(enum qk_arena_option option, intptr_t value, intptr_t *answer_out)
{
    start();
    *answer_out = 0;
    if (qk_version() >= 800 && !qk_switched(QK_BREAK_MODERN)) {
        return modern_option(option, value);
    }
    return classic_option(option, value, answer_out);
}

qk_arena_counters qk_arena_count(void)
{
    start();
    counters.arena_size = arena_size;
    counters.cache_arenas_max = cache_arenas_max;
    counters.cache_bytes_max = cache_bytes_max;
    counters.lifo = lifo;
    return counters;
}

/* The start. */

static void forget_blocks(void)
{
    while (arenas != NULL) {
        struct arena *arena = arenas;
        arenas = arena->next;
        while (arena->first != NULL) {
            struct block *block = arena->first;
            arena->first = block->behind;
            free(block);
        }
        free(arena);
    }
    while (cache != NULL) {
        struct core *core = cache;
        cache = core->next;
        free(core);
    }
    memset(bins, 0, sizeof bins);
}

static bool read_number(const char *name, intptr_t *value_out)
{
    const char *text = qk_environment_get(name);
    char *end;

    if (text == NULL) return false;
    *value_out = strtol(text, &end, 0);
    return end != text && *end == '\0';
}

/* Arenas that the cache holds from the start. */
static void preallocate(intptr_t bytes)
{
    struct arena arena;

    while (bytes > 0 && counters.cached_bytes < (uint64_t)bytes) {
        if (take_core(arena_size, false, &arena) != QK_OK) return;
        if (!cache_core(arena.base, arena.size)) {
            give_back(arena.base, arena.size);
            return;
        }
    }
}

static void read_environment(void)
{
    static const struct {
        const char *name;
        enum qk_arena_option option;
    } names[] = {{"MALLOC_ARENA_SIZE", QK_ARENA_SIZE},
                 {"MALLOC_ARENA_CACHE_MAXSZ", QK_ARENA_CACHE_BYTES},
                 {"MALLOC_ARENA_CACHE_MAXBLK", QK_ARENA_CACHE_ARENAS},
                 {"MALLOC_MEMORY_HOLD", QK_ARENA_HOLD}};
    intptr_t value, unused;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (read_number(names[i].name, &value)) {
            (void)classic_option(names[i].option, value, &unused);
        }
    }
    lifo = qk_environment_get("MALLOC_FREE_LIFO") != NULL;
    if (read_number("MALLOC_MEMORY_PREALLOCATE", &value)) preallocate(value);
}

/* Before the heap is first used, as libc does: until then, the version can still be chosen. */
static void start(void)
{
    if (started) return;
    started = true;
    arena_size = DEFAULT_SIZE;
    cache_arenas_max = DEFAULT_CACHE_ARENAS;
    cache_bytes_max = DEFAULT_CACHE_BYTES;
    map_threshold = 0;
    lifo = false;
    if (qk_version() < 800) read_environment();
}

void qk_arena_reset(void)
{
    forget_blocks();
    counters = (qk_arena_counters){0};
    started = false;
}
