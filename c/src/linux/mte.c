/* Tagged memory. Tags are drawn here and not by the processor's own instruction, whose mask belongs
 * to the thread: so each allocator keeps to its own mask in all threads, and the neighbours' tags
 * can be left out. */
#include "mte.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"

enum { TAG_SHIFT = 56, TAG_COUNT = 16, ALL_TAGS = 0xFFFF, PAGE_BYTES = 65536, PAGES_MAX = 65536 };

/* ---- Pointers ---- */

#define TAG_BITS (UINT64_C(15) << TAG_SHIFT)

uint32_t wrt_linux_mte_tag_of(const void *pointer)
{
    return (uint32_t)((uint64_t)(uintptr_t)pointer >> TAG_SHIFT) & 15u;
}

void *wrt_linux_mte_with_tag(void *pointer, uint32_t tag)
{
    const uint64_t address = (uintptr_t)pointer;

    return (void *)(uintptr_t)((address & ~TAG_BITS) | ((uint64_t)(tag & 15u) << TAG_SHIFT));
}

/* ---- Checks ---- */

wrt_status wrt_linux_mte_is_available(void)
{
    switch (wrt__mte_support()) {
    case WRT__MTE_IS_THERE:
        return WRT_OK;
    case WRT__MTE_NOT_ON_THIS_ONE:
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "this processor, or its kernel, has no tagged memory: no MTE in HWCAP2 "
                        "(CONFIG_ARM64_MTE, Armv8.5)");
    default:
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "tagged memory is of 64-bit Arm processors (Armv8.5, MTE); this is another "
                        "one");
    }
}

static wrt_status check(const char *operation, const wrt_linux_mte_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL");
    }
    if (allocator->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "allocator is not initialised");
    }
    if (allocator->self != allocator) {
        return wrt_fail(WRT_ERR_STATE, operation, "allocator was moved");
    }
    if (allocator->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "allocator belongs to the process that forked this one; make a new one");
}

/* ---- Config ---- */

static wrt_status read_config(const char *operation, const wrt_linux_mte_allocator_config *given,
                              wrt_linux_mte_allocator_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->mte_mode > WRT_LINUX_MTE_ASYMMETRIC) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "mte_mode {0} is none of wrt_linux_mte_mode", config->mte_mode, 0);
    }
    if ((config->tag_mask & ~(uint32_t)ALL_TAGS) != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "tag_mask is {0}: there are 16 tags, so at most {1}",
                               config->tag_mask, ALL_TAGS);
    }
    if (config->maximum_pages > PAGES_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_pages is {0}, not 0 to {1}", config->maximum_pages,
                               PAGES_MAX);
    }
    if (config->tag_mask == 0) config->tag_mask = WRT_LINUX_MTE_TAG_MASK_DEFAULT;
    if (config->maximum_pages == 0) config->maximum_pages = WRT_LINUX_MTE_PAGES_DEFAULT;
    return WRT_OK;
}

/* ---- Threads ---- */

/* Both modes ask the kernel for the one that it prefers on each CPU. */
static uint32_t modes_of(uint32_t mte_mode)
{
    const uint32_t both = 3;

    return mte_mode == WRT_LINUX_MTE_ASYMMETRIC ? both : UINT32_C(1) << mte_mode;
}

static wrt_status enter(const char *operation, const wrt_linux_mte_allocator *allocator)
{
    if (wrt__sys_mte_set(modes_of(allocator->mte_mode), allocator->tag_mask) == 0) return WRT_OK;
    if (errno == EINVAL) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "prctl(PR_SET_TAGGED_ADDR_CTRL): this kernel has not the mode {0}",
                               EINVAL, allocator->mte_mode, 0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "prctl(PR_SET_TAGGED_ADDR_CTRL) failed",
                           errno, 0, 0);
}

wrt_status wrt_linux_mte_allocator_enter(const wrt_linux_mte_allocator *allocator)
{
    const wrt_status status = check(__func__, allocator);

    return status != WRT_OK ? status : enter(__func__, allocator);
}

/* ---- Life ---- */

static wrt_status map(const char *operation, wrt_linux_mte_allocator *allocator)
{
    void *memory = wrt__sys_mte_mmap((size_t)allocator->memory_bytes);

    if (memory == MAP_FAILED) {
        return wrt_fail_system(errno == EINVAL ? WRT_ERR_UNSUPPORTED : WRT_ERR_NO_MEMORY, operation,
                               "mmap of {0} bytes with PROT_MTE failed", errno,
                               allocator->memory_bytes, 0);
    }
    allocator->memory = memory;
    void *table = wrt__sys_mmap((size_t)allocator->table_bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (table == MAP_FAILED) {
        const int code = errno;
        (void)munmap(memory, (size_t)allocator->memory_bytes);
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "mmap of {0} bytes for the table of blocks failed", code,
                               allocator->table_bytes, 0);
    }
    allocator->table = table;
    return WRT_OK;
}

static uint64_t first_random(const void *place)
{
    uint64_t seed = 0;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        seed = (uint64_t)now.tv_nsec ^ (uintptr_t)place;
    }
    return seed;
}

wrt_status wrt_linux_mte_allocator_init(wrt_linux_mte_allocator *allocator,
                                        const wrt_linux_mte_allocator_config *config)
{
    wrt_linux_mte_allocator_config known;

    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    }
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt_linux_mte_is_available();
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    const uint64_t bytes = (uint64_t)known.maximum_pages * PAGE_BYTES;
    wrt_linux_mte_allocator made = {.self = allocator,
                                    .memory_bytes = bytes,
                                    .table_bytes =
                                        bytes / WRT_LINUX_MTE_GRANULE * sizeof(wrt__mte_block),
                                    .random = first_random(allocator),
                                    .mte_mode = known.mte_mode,
                                    .tag_mask = known.tag_mask,
                                    .fork_generation = wrt__fork_generation(),
                                    .checks_on_free = known.tag_check_on_free};
    status = enter(__func__, &made);
    if (status == WRT_OK) status = map(__func__, &made);
    if (status != WRT_OK) return status;
    wrt__mte_blocks_init(&made);
    *allocator = made;
    return WRT_OK;
}

wrt_status wrt_linux_mte_allocator_deinit(wrt_linux_mte_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    }
    if (wrt__is_zero(allocator, sizeof *allocator)) return WRT_OK;
    const wrt_status status = check(__func__, allocator);
    if (status != WRT_OK) return status;
    if (allocator->allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "{0} blocks are still out",
                               allocator->allocation_count, 0);
    }
    if (wrt__sys_munmap(allocator->memory, (size_t)allocator->memory_bytes) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "munmap of {0} bytes failed", errno,
                               allocator->memory_bytes, 0);
    }
    (void)munmap(allocator->table, (size_t)allocator->table_bytes);
    *allocator = (wrt_linux_mte_allocator){0};
    return WRT_OK;
}

/* ---- Tags ---- */

/* The next of a row of numbers that looks random (splitmix64). */
static uint64_t next_random(wrt_linux_mte_allocator *allocator)
{
    allocator->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = allocator->random;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static uint32_t bit_of(uint32_t tag)
{
    return UINT32_C(1) << tag;
}

/* One of the tags in `from`, which has some. */
static uint32_t draw(wrt_linux_mte_allocator *allocator, uint32_t from)
{
    const uint32_t count = (uint32_t)__builtin_popcount(from);
    uint32_t skipped = (uint32_t)((next_random(allocator) >> 32) % count);
    uint32_t tag = 0;

    while ((from >> tag & 1u) == 0 || skipped-- != 0) tag++;
    return tag;
}

/* For a new block: a tag of the mask, other than `first` and than `second`, as far as it has one.
 */
static uint32_t draw_for_block(wrt_linux_mte_allocator *allocator, uint32_t first, uint32_t second)
{
    const uint32_t mask = allocator->tag_mask;

    if ((mask & ~(first | second)) != 0) return draw(allocator, mask & ~(first | second));
    if ((mask & ~first) != 0) return draw(allocator, mask & ~first);
    return draw(allocator, mask);
}

/* For memory that is nobody's: never `tag`, even if the mask has no other; and not 0 then, which
 * pointers without a tag have. */
static uint32_t draw_other(wrt_linux_mte_allocator *allocator, uint32_t tag)
{
    const uint32_t others = allocator->tag_mask & ~bit_of(tag);

    return draw(allocator, others != 0 ? others : (ALL_TAGS & ~bit_of(tag) & ~bit_of(0)));
}

static uint8_t *place_of(const wrt_linux_mte_allocator *allocator, uint32_t index)
{
    return allocator->memory + (uint64_t)index * WRT_LINUX_MTE_GRANULE;
}

/* The tags of the granule before a block and of the one behind it, as bits. */
static uint32_t tags_beside(const wrt_linux_mte_allocator *allocator, uint32_t index, uint64_t end)
{
    uint32_t tags = 0;

    if (index != 0) tags |= bit_of(wrt__mte_tag_at(place_of(allocator, index - 1)));
    if (end * WRT_LINUX_MTE_GRANULE < allocator->memory_bytes) {
        tags |= bit_of(wrt__mte_tag_at(place_of(allocator, (uint32_t)end)));
    }
    return tags;
}

static void set_tag(const wrt_linux_mte_allocator *allocator, uint32_t index, uint64_t end,
                    uint32_t tag)
{
    void *start = wrt_linux_mte_with_tag(place_of(allocator, index), tag);

    wrt__mte_tag(start, (size_t)((end - index) * WRT_LINUX_MTE_GRANULE));
}

/* ---- Blocks ---- */

enum { ANY_TAG = TAG_COUNT };

/* The rest of a block, which is larger than was asked for, gets another tag than its beginning. */
static void part_from_rest(wrt_linux_mte_allocator *allocator, uint32_t index, uint64_t end,
                           uint32_t tag)
{
    const wrt__mte_block *block = wrt__mte_block_at(allocator, index);
    const uint64_t block_end = index + (UINT64_C(1) << block->order);

    if (end < block_end && wrt__mte_tag_at(place_of(allocator, (uint32_t)end)) == tag) {
        set_tag(allocator, (uint32_t)end, block_end, draw_other(allocator, tag));
    }
}

static wrt_status allocate(const char *operation, wrt_linux_mte_allocator *allocator, size_t size,
                           uint32_t tag, void **pointer_out, size_t *size_out)
{
    if (pointer_out == NULL || size_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pointer_out or size_out is NULL");
    }
    const wrt_status status = check(operation, allocator);
    if (status != WRT_OK) return status;
    if (size == 0) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "size is 0");
    const uint32_t index = size <= allocator->memory_bytes ? wrt__mte_block_take(allocator, size)
                                                           : (uint32_t)WRT__NO_BLOCK;
    if (index == WRT__NO_BLOCK) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "no free part has room for {0} bytes; {1} of all are out", size,
                               allocator->used_bytes);
    }
    wrt__mte_block *block = wrt__mte_block_at(allocator, index);
    block->granules = (uint32_t)((size + WRT_LINUX_MTE_GRANULE - 1) / WRT_LINUX_MTE_GRANULE);
    const uint64_t end = (uint64_t)index + block->granules;
    if (tag == ANY_TAG) {
        const uint32_t before = bit_of(wrt__mte_tag_at(place_of(allocator, index)));
        tag = draw_for_block(allocator, tags_beside(allocator, index, end), before);
    }
    void *pointer = wrt_linux_mte_with_tag(place_of(allocator, index), tag);
    wrt__mte_clear(pointer, (size_t)block->granules * WRT_LINUX_MTE_GRANULE);
    part_from_rest(allocator, index, end, tag);
    allocator->allocation_count++;
    allocator->used_bytes += UINT64_C(16) << block->order;
    *pointer_out = pointer;
    *size_out = (size_t)block->granules * WRT_LINUX_MTE_GRANULE;
    return WRT_OK;
}

wrt_status wrt_linux_mte_allocator_allocate(wrt_linux_mte_allocator *allocator, size_t size,
                                            void **pointer_out, size_t *size_out)
{
    return allocate(__func__, allocator, size, ANY_TAG, pointer_out, size_out);
}

wrt_status wrt_linux_mte_allocator_allocate_tagged(wrt_linux_mte_allocator *allocator, size_t size,
                                                   uint32_t tag, void **pointer_out,
                                                   size_t *size_out)
{
    if (tag > WRT_LINUX_MTE_TAG_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__, "tag is {0}, not 0 to 15", tag,
                               0);
    }
    return allocate(__func__, allocator, size, tag, pointer_out, size_out);
}

/* The granule that a pointer points to. Errors: INVALID_ARGUMENT. */
static wrt_status find(const char *operation, const wrt_linux_mte_allocator *allocator,
                       const void *pointer, uint32_t *index_out)
{
    const uint64_t address = (uintptr_t)pointer & ~TAG_BITS;
    const uint64_t offset = address - (uintptr_t)allocator->memory;

    if (offset >= allocator->memory_bytes) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "pointer is outside of the allocator's memory");
    }
    *index_out = (uint32_t)(offset / WRT_LINUX_MTE_GRANULE);
    return WRT_OK;
}

static wrt_status check_block(const char *operation, const wrt_linux_mte_allocator *allocator,
                              const void *pointer, uint32_t *index_out)
{
    wrt_status status = check(operation, allocator);
    if (status == WRT_OK) status = find(operation, allocator, pointer, index_out);
    if (status != WRT_OK) return status;
    const wrt__mte_block *block = wrt__mte_block_at(allocator, *index_out);
    const uint32_t tag = wrt__mte_tag_at(place_of(allocator, *index_out));
    const bool is_start = (uintptr_t)pointer % WRT_LINUX_MTE_GRANULE == 0;

    if (allocator->checks_on_free != 0 && tag != wrt_linux_mte_tag_of(pointer)) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "the pointer's tag is {0}, its memory has {1}: it was freed before, "
                               "or is not the one that was given out",
                               wrt_linux_mte_tag_of(pointer), tag);
    }
    if (block->state == WRT__BLOCK_FREE && is_start) {
        return wrt_fail(WRT_ERR_STATE, operation, "the block is free already");
    }
    if (block->state == WRT__BLOCK_OUT && is_start) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "no block begins at the pointer");
}

wrt_status wrt_linux_mte_allocator_free(wrt_linux_mte_allocator *allocator, void *pointer)
{
    uint32_t index = 0;
    const wrt_status status = check_block(__func__, allocator, pointer, &index);

    if (status != WRT_OK) return status;
    const wrt__mte_block *block = wrt__mte_block_at(allocator, index);
    const uint32_t order = block->order;
    const uint32_t tag = wrt__mte_tag_at(place_of(allocator, index));
    set_tag(allocator, index, (uint64_t)index + block->granules, draw_other(allocator, tag));
    wrt__mte_block_give(allocator, index);
    allocator->allocation_count--;
    allocator->used_bytes -= UINT64_C(16) << order;
    return WRT_OK;
}

/* ---- Report ---- */

wrt_status wrt_linux_mte_allocator_tag_at(const wrt_linux_mte_allocator *allocator,
                                          const void *pointer, uint32_t *tag_out)
{
    uint32_t index = 0;

    if (tag_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "tag_out is NULL");
    wrt_status status = check(__func__, allocator);
    if (status == WRT_OK) status = find(__func__, allocator, pointer, &index);
    if (status != WRT_OK) return status;
    *tag_out = wrt__mte_tag_at(place_of(allocator, index));
    return WRT_OK;
}

wrt_status wrt_linux_mte_allocator_query(const wrt_linux_mte_allocator *allocator,
                                         wrt_linux_mte_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check(__func__, allocator);
    if (status != WRT_OK) return status;
    const int control = wrt__sys_mte_get();
    *report_out = (wrt_linux_mte_allocator_report){
        .allocation_count = allocator->allocation_count,
        .mte_mode = allocator->mte_mode,
        .tag_mask = allocator->tag_mask,
        .thread_mode = control >= 0 ? wrt__mte_modes_of(control) : 0,
        .used_bytes = allocator->used_bytes,
        .capacity_bytes = allocator->memory_bytes};
    return WRT_OK;
}
