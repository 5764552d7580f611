/* The arena allocator: an allocator of pages, keys of mallopt(), and small blocks of the process's
 * heap. In front of a block stands what is needed to count it, to find it, and to see whether it is
 * one; behind it a word that a write beyond the end changes:
 *
 *     | ... | header | block | canary |
 *     ^ posix_memalign       ^ not aligned
 */
#include "arena.h"

#include "../core/bits.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/reservation.h"
#include "../core/verification.h"
#include "error.h"
#include "memory.h"
#include "partition.h"

typedef struct header {
    struct header *newer;
    struct header *older;
    wrt_qnx_arena_allocator *owner;
    uint64_t size;  /* of the block, bytes */
    uint64_t front; /* bytes in front of the block, the header's own included */
    uint64_t seal;  /* checksum over the three above */
    uint64_t reserved[2];
} header;

enum { FRONT_MIN = 64, CANARY_SIZE = 8 };

_Static_assert(sizeof(header) <= FRONT_MIN, "the header fits in front of the smallest alignment");

static wrt_status check_self(const char *operation, const wrt_qnx_arena_allocator *arena)
{
    if (arena == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "arena is NULL");
    const wrt_status status = wrt__qnx_allocator_check(operation, &arena->pages);
    if (status != WRT_OK) return status;
    if (arena->pages.self != &arena->pages && arena->block_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, operation, "arena was moved while {0} blocks are out",
                               arena->block_count, 0);
    }
    return WRT_OK;
}

/* ---- Config ---- */

static wrt_status check_arena_size(const char *operation, uint32_t size)
{
    if (size % WRT_QNX_ARENA_SIZE_STEP == 0 && size <= WRT_QNX_ARENA_SIZE_MAX) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "arena_size is {0}, not a multiple of 4096 up to {1} bytes", size,
                           WRT_QNX_ARENA_SIZE_MAX);
}

static wrt_status check_cache(const char *operation, const wrt_qnx_arena_allocator_config *config)
{
    if (config->arena_cache_max_blocks > INT32_MAX || config->arena_cache_max_size > INT32_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "arena_cache_max_blocks {0} or arena_cache_max_size {1} is more "
                               "than 2147483647",
                               config->arena_cache_max_blocks, config->arena_cache_max_size);
    }
    if (config->memory_hold &&
        (config->arena_cache_max_blocks != 0 || config->arena_cache_max_size != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "memory_hold keeps all free arenas: no limit of the cache can be set "
                        "beside it");
    }
    return WRT_OK;
}

static wrt_status read_config(const char *operation, const wrt_qnx_arena_allocator_config *given,
                              wrt_qnx_arena_allocator_config *config)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = check_arena_size(operation, config->arena_size);
    if (status == WRT_OK) status = check_cache(operation, config);
    if (status != WRT_OK) return status;
    if (config->lifo_free && !wrt__qnx_frees_lifo()) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "the order of free blocks is chosen when a process starts: set "
                        "MALLOC_FREE_LIFO=1 in its environment (QNX 8.0 has no such choice)");
    }
    return WRT_OK;
}

static wrt_qnx_allocator_config pages_config(const wrt_qnx_arena_allocator_config *config)
{
    return (wrt_qnx_allocator_config){.struct_size = sizeof(wrt_qnx_allocator_config),
                                      .maximum_pages = config->maximum_pages,
                                      .verification_level = config->verification_level,
                                      .sampling_interval = config->sampling_interval,
                                      .guard_bytes = config->guard_bytes,
                                      .partition = config->partition,
                                      .data_protection = config->data_protection,
                                      .guard_pages = config->guard_pages};
}

/* ---- Life ---- */

/* What has been opened is closed again; its error is not what counts. */
static void close_pages(const char *operation, wrt_qnx_allocator *pages)
{
    const wrt_error error = *wrt_error_last();

    if (wrt__qnx_allocator_close(operation, pages) == WRT_OK) return;
    const wrt_status status = wrt_fail_again(&error);
    (void)status;
}

wrt_status wrt_qnx_arena_allocator_init(wrt_qnx_arena_allocator *arena,
                                        const wrt_qnx_arena_allocator_config *config)
{
    wrt_qnx_arena_allocator_config known;
    wrt_qnx_arena_allocator made = {.lifo_free = false};

    if (arena == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "arena is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    const wrt_qnx_allocator_config pages = pages_config(&known);
    status = wrt__qnx_allocator_open(__func__, &made.pages, &pages);
    if (status != WRT_OK) return status;
    status = wrt__qnx_keys_take(__func__, &known, &made.keys);
    if (status != WRT_OK) {
        close_pages(__func__, &made.pages);
        return status;
    }
    made.verifier = made.pages.reserve.verifier;
    made.lifo_free = known.lifo_free;
    *arena = made;
    arena->pages.self = &arena->pages;
    return WRT_OK;
}

wrt_page_allocator wrt_qnx_arena_allocator_interface(wrt_qnx_arena_allocator *arena)
{
    return wrt_qnx_allocator_interface(arena != NULL ? &arena->pages : NULL);
}

wrt_status wrt_qnx_arena_allocator_deinit(wrt_qnx_arena_allocator *arena)
{
    if (arena == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "arena is NULL");
    if (wrt__is_zero(arena, sizeof *arena)) return WRT_OK;
    wrt_status status = check_self(__func__, arena);
    if (status != WRT_OK) return status;
    if (arena->block_count != 0 || arena->pages.reserve.allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "{0} blocks and {1} allocations of pages are still out",
                               arena->block_count, arena->pages.reserve.allocation_count);
    }
    status = wrt__qnx_keys_give_back(__func__, &arena->keys);
    if (status == WRT_OK) status = wrt__qnx_allocator_close(__func__, &arena->pages);
    if (status == WRT_OK) *arena = (wrt_qnx_arena_allocator){.lifo_free = false};
    return status;
}

/* ---- Small blocks ---- */

static uint8_t *block_of(header *of)
{
    return (uint8_t *)(void *)of + sizeof(header);
}

static header *header_of(void *block)
{
    return (header *)(void *)((uint8_t *)block - sizeof(header));
}

static uint64_t charge_of(const header *of)
{
    return of->front + of->size + CANARY_SIZE;
}

static uint64_t seal_of(const header *of)
{
    uint64_t sum = 0x626C6F636B;

    sum = wrt__seal_mix(sum, (uintptr_t)of);
    sum = wrt__seal_mix(sum, (uintptr_t)of->owner);
    sum = wrt__seal_mix(sum, of->size);
    return wrt__seal_mix(sum, of->front);
}

static void lay_canary(header *of)
{
    const uint64_t word = ~of->seal;

    memcpy(block_of(of) + of->size, &word, CANARY_SIZE);
}

static bool canary_is_whole(header *of)
{
    const uint64_t word = ~of->seal;

    return memcmp(block_of(of) + of->size, &word, CANARY_SIZE) == 0;
}

static void link_block(wrt_qnx_arena_allocator *arena, header *of)
{
    of->newer = NULL;
    of->older = arena->blocks;
    if (of->older != NULL) of->older->newer = of;
    arena->blocks = of;
    arena->block_count++;
    arena->block_bytes += of->size;
    if (arena->peak_block_bytes < arena->block_bytes) arena->peak_block_bytes = arena->block_bytes;
}

static void unlink_block(wrt_qnx_arena_allocator *arena, const header *of)
{
    if (of->older != NULL) of->older->newer = of->newer;
    if (of->newer != NULL) {
        of->newer->older = of->older;
    } else {
        arena->blocks = of->older;
    }
    arena->block_count--;
    arena->block_bytes -= of->size;
}

static wrt_status check_request(const char *operation, size_t size, size_t alignment)
{
    if (size == 0 || size > WRT_QNX_ARENA_BLOCK_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "size is {0}, not 1 to {1} bytes", size, WRT_QNX_ARENA_BLOCK_MAX);
    }
    if (alignment < WRT_QNX_ARENA_ALIGNMENT_MIN || alignment > WRT_QNX_ARENA_ALIGNMENT_MAX ||
        !wrt__is_power_of_two((uint32_t)alignment)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "alignment is {0}, not a power of two from 16 to {1} bytes",
                               alignment, WRT_QNX_ARENA_ALIGNMENT_MAX);
    }
    return WRT_OK;
}

static wrt_status charge(const char *operation, const wrt_qnx_arena_allocator *arena,
                         uint64_t bytes)
{
    wrt_qnx_partition *partition = arena->pages.partition;

    if (partition == NULL) return WRT_OK;
    wrt_status status = wrt__qnx_partitions_lock(operation);
    if (status != WRT_OK) return status;
    status = wrt__qnx_partition_charge_block(operation, partition, bytes);
    wrt__qnx_partitions_unlock();
    return status;
}

static wrt_status refund(const char *operation, const wrt_qnx_arena_allocator *arena,
                         uint64_t bytes)
{
    wrt_qnx_partition *partition = arena->pages.partition;

    if (partition == NULL) return WRT_OK;
    const wrt_status status = wrt__qnx_partitions_lock(operation);
    if (status != WRT_OK) return status;
    wrt__qnx_partition_refund_block(partition, bytes);
    wrt__qnx_partitions_unlock();
    return WRT_OK;
}

/* Takes a charged block from the heap; the header is all it has yet. */
static wrt_status take_block(const char *operation, const wrt_qnx_arena_allocator *arena,
                             size_t size, size_t alignment, header **header_out)
{
    const size_t front = alignment > FRONT_MIN ? alignment : FRONT_MIN;
    const size_t whole = front + size + CANARY_SIZE;
    void *start = NULL;
    wrt_status status = charge(operation, arena, whole);

    if (status != WRT_OK) return status;
    const int code = posix_memalign(&start, alignment, whole);
    if (code != EOK) {
        const wrt_status kind = wrt__qnx_status(code);
        status = refund(operation, arena, whole);
        if (status != WRT_OK) return status;
        return wrt_fail_system(kind, operation, "the heap has no {0} bytes for a block", code,
                               whole, 0);
    }
    memset(start, 0, whole);
    header *of = header_of((uint8_t *)start + front);
    of->size = size;
    of->front = front;
    *header_out = of;
    return WRT_OK;
}

wrt_status wrt_qnx_arena_allocate_block(wrt_qnx_arena_allocator *arena, size_t size,
                                        size_t alignment, void **block_out)
{
    header *of = NULL;

    if (block_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "block_out is NULL");
    *block_out = NULL;
    if (alignment == 0) alignment = WRT_QNX_ARENA_ALIGNMENT_MIN;
    wrt_status status = check_self(__func__, arena);
    if (status == WRT_OK) status = check_request(__func__, size, alignment);
    if (status != WRT_OK) return status;
    status = take_block(__func__, arena, size, alignment, &of);
    if (status != WRT_OK) {
        arena->refusal_count++;
        return status;
    }
    of->owner = arena;
    of->seal = seal_of(of);
    lay_canary(of);
    link_block(arena, of);
    arena->pages.self = &arena->pages;
    *block_out = block_of(of);
    return WRT_OK;
}

static bool is_out(const wrt_qnx_arena_allocator *arena, const header *wanted)
{
    const header *at = arena->blocks;

    while (at != NULL && at != wanted) at = at->older;
    return at != NULL;
}

/* As much as the level asks. What stands at a foreign pointer is read only at the lower levels. */
static wrt_status verify_block(const char *operation, wrt_qnx_arena_allocator *arena, header *of)
{
    static const char not_out[] = "no block of this arena is there: it was released already, "
                                  "belongs to another, or is none";
    const wrt__check check = wrt__verifier_next(&arena->verifier);

    if (check == WRT__CHECK_NOTHING) return WRT_OK;
    if (check == WRT__CHECK_ALL && !is_out(arena, of)) {
        return wrt_fail(WRT_ERR_STATE, operation, not_out);
    }
    if (arena->block_count == 0 || of->owner != arena || of->seal != seal_of(of)) {
        return wrt_fail(WRT_ERR_STATE, operation, not_out);
    }
    if (check == WRT__CHECK_ALL && !canary_is_whole(of)) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "somebody wrote behind the block's {0} bytes", of->size, 0);
    }
    return WRT_OK;
}

wrt_status wrt_qnx_arena_release_block(wrt_qnx_arena_allocator *arena, void *block)
{
    if (block == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "block is NULL");
    wrt_status status = check_self(__func__, arena);
    if (status != WRT_OK) return status;
    header *of = header_of(block);
    status = verify_block(__func__, arena, of);
    if (status == WRT_OK) status = refund(__func__, arena, charge_of(of));
    if (status != WRT_OK) return status;
    uint8_t *start = (uint8_t *)block - of->front;
    unlink_block(arena, of);
    *of = (header){.owner = NULL};
    free(start);
    return WRT_OK;
}

/* ---- Report ---- */

static wrt_enforcement report_key(const wrt_qnx_arena_allocator *arena, uint32_t key,
                                  const char *off)
{
    if ((arena->keys & 1u << key) == 0) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED, .reason = off};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                             .reason = "mallopt, for the whole process"};
}

static wrt_enforcement report_lifo(const wrt_qnx_arena_allocator *arena)
{
    if (!arena->lifo_free) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED, .reason = "lifo_free is off"};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                             .reason = "MALLOC_FREE_LIFO in the environment of the process"};
}

static void report_heap(wrt_qnx_arena_allocator_report *report)
{
    const struct mallinfo heap = mallinfo();

    report->arena_size = wrt__qnx_arena_size();
    report->heap_bytes = (uint64_t)heap.arena;
    report->heap_used_bytes = (uint64_t)heap.usmblks + (uint64_t)heap.uordblks;
    report->heap_free_bytes = (uint64_t)heap.fsmblks + (uint64_t)heap.fordblks;
}

wrt_status wrt_qnx_arena_allocator_query(const wrt_qnx_arena_allocator *arena,
                                         wrt_qnx_arena_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check_self(__func__, arena);
    if (status != WRT_OK) return status;
    const wrt_page_reserve *pages = &arena->pages.reserve;
    wrt_qnx_arena_allocator_report report = {
        .allocation_count = pages->allocation_count,
        .page_count = pages->page_count,
        .peak_pages = pages->peak_pages,
        .block_count = arena->block_count,
        .block_bytes = arena->block_bytes,
        .peak_block_bytes = arena->peak_block_bytes,
        .refusal_count = arena->refusal_count,
        .reserved_bytes = pages->reserved_bytes,
        .arena_size_key = report_key(arena, WRT__QNX_KEY_ARENA_SIZE, "arena_size is 0"),
        .arena_cache_max_blocks_key =
            report_key(arena, WRT__QNX_KEY_CACHE_BLOCKS, "arena_cache_max_blocks is 0"),
        .arena_cache_max_size_key =
            report_key(arena, WRT__QNX_KEY_CACHE_SIZE, "arena_cache_max_size is 0"),
        .memory_hold_key = report_key(arena, WRT__QNX_KEY_MEMORY_HOLD, "memory_hold is off"),
        .lifo_free = report_lifo(arena),
        .guard_pages = wrt__reserve_guards(pages),
        .canaries = wrt__reserve_canaries(pages),
        .partition = wrt__qnx_partition_charging(arena->pages.partition),
        .isolation = wrt__qnx_partition_isolation(arena->pages.partition)};
    report_heap(&report);
    *report_out = report;
    return WRT_OK;
}
