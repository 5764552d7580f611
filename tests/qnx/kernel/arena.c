/* malloc and its arenas. A process of a real QNX has other blocks in its heap, so the checks look
 * at differences, and at blocks that are large enough to have an arena of their own. */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, LARGE = 600 * 1024 };

static struct malloc_stats stats(void)
{
    struct malloc_stats now;

    memset(&now, 0, sizeof now);
    CHECK_EQUAL(mallopt(MALLOC_STATS, (intptr_t)&now), 0);
    return now;
}

static void blocks_hold_what_is_written(void)
{
    static const size_t sizes[] = {0, 1, 16, 100, 128, 129, 5000, 32768, 100000};
    uint8_t *blocks[sizeof sizes / sizeof sizes[0]];

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        blocks[i] = malloc(sizes[i]);
        if (!CHECK(blocks[i] != NULL)) return;
        CHECK((uintptr_t)blocks[i] % 8 == 0);
        memset(blocks[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t at = 0; at < sizes[i]; at++) {
            if (!CHECK(blocks[i][at] == i + 1)) break;
        }
        free(blocks[i]);
    }
    free(NULL);
}

static void calloc_clears_blocks_that_were_used(void)
{
    uint8_t *first = malloc(2000);

    if (!CHECK(first != NULL)) return;
    memset(first, 0xff, 2000);
    free(first);
    uint8_t *second = calloc(20, 100);
    if (!CHECK(second != NULL)) return;
    for (size_t i = 0; i < 2000; i++) {
        if (!CHECK(second[i] == 0)) break;
    }
    free(second);
    errno = 0;
    CHECK(calloc(SIZE_MAX / 2, 3) == NULL);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(malloc(SIZE_MAX / 2) == NULL);
}

static void aligned_blocks_are_aligned(void)
{
    void *block = &block;

    for (size_t alignment = sizeof(void *); alignment <= 65536; alignment *= 2) {
        CHECK_EQUAL(posix_memalign(&block, alignment, 300), EOK);
        CHECK((uintptr_t)block % alignment == 0);
        memset(block, 1, 300);
        free(block);
    }
    block = NULL;
    CHECK_EQUAL(posix_memalign(&block, 24, 8), EINVAL);
    CHECK_EQUAL(posix_memalign(&block, sizeof(void *) / 2, 8), EINVAL);
    CHECK(block == NULL);
}

/* What the documents' way of growing memory would lose. */
static void realloc_keeps_content_but_not_alignment(void)
{
    void *block;
    bool lost = false;

    for (int round = 0; round < 8 && !lost; round++) {
        if (!CHECK(posix_memalign(&block, PAGE, PAGE) == EOK)) return;
        void *behind = malloc(PAGE); /* so that it can't grow in its place */
        memset(block, 0x42, PAGE);
        uint8_t *moved = realloc(block, (size_t)(8 + round) * PAGE);
        if (!CHECK(moved != NULL)) return;
        CHECK(moved[0] == 0x42 && moved[PAGE - 1] == 0x42);
        lost = (uintptr_t)moved % PAGE != 0;
        free(moved);
        free(behind);
    }
    CHECK(lost);
}

static void realloc_leaves_guard_pages_behind(void)
{
    void *block;

    if (!CHECK(posix_memalign(&block, PAGE, 3 * PAGE) == EOK)) return;
    uint8_t *guard = (uint8_t *)block + 2 * PAGE;
    void *behind = malloc(PAGE);
    memset(block, 1, 2 * PAGE);
    CHECK(mprotect(guard, PAGE, PROT_READ) == 0);
    uint8_t *moved = realloc(block, 12 * PAGE);
    if (!CHECK(moved != NULL && moved != block)) return;
    CHECK(can_write(moved + 2 * PAGE) && can_write(moved + 3 * PAGE - 1));
    CHECK(!can_write(guard)); /* somebody else's block, one day */
    CHECK(mprotect(guard, PAGE, PROT_READ | PROT_WRITE) == 0);
    free(moved);
    free(behind);
}

static void small_changes_stay_in_place(void)
{
    uint8_t *block = malloc(5000);

    if (!CHECK(block != NULL)) return;
    CHECK(realloc(block, 4000) == block);
    CHECK(realloc(block, 4500) == block);
    CHECK(malloc_usable_size(block) >= 4500);
    free(block);
    block = realloc(NULL, 10);
    CHECK(block != NULL);
    free(block);
}

static void options_answer_with_the_previous_value(void)
{
    const int size = mallopt(MALLOC_ARENA_SIZE, 0);

    CHECK(size >= PAGE && size <= 256 * 1024 && size % PAGE == 0);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 64 * 1024), size);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 0), 64 * 1024);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 256 * 1024), 64 * 1024);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, size), 256 * 1024);

    const int blocks = mallopt(MALLOC_ARENA_CACHE_MAXBLK, 3);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_CACHE_MAXBLK, blocks), 3);
    const int bytes = mallopt(MALLOC_ARENA_CACHE_MAXSZ, 123456);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_CACHE_MAXSZ, bytes), 123456);
}

static void options_out_of_range_are_refused(void)
{
    static const struct {
        int command;
        intptr_t value;
    } wrong[] = {{MALLOC_ARENA_SIZE, 256 * 1024 + 1},
                 {MALLOC_ARENA_SIZE, 100},
                 {MALLOC_ARENA_SIZE, -1},
                 {MALLOC_ARENA_CACHE_MAXBLK, -1},
                 {MALLOC_ARENA_CACHE_MAXSZ, -1},
                 {MALLOC_ARENA_CACHE_FREE_NOW, -1},
                 {MALLOC_VERIFY_ON, 1},
                 {MALLOC_FREE_CHECK, 1},
                 {12345, 0}};
    const int size = mallopt(MALLOC_ARENA_SIZE, 0);

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        errno = 0;
        CHECK_EQUAL(mallopt(wrong[i].command, wrong[i].value), -1);
        CHECK_EQUAL(errno, EINVAL);
    }
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 0), size);
}

static void free_arenas_stay_in_the_cache_as_long_as_they_fit(void)
{
    CHECK(mallopt(MALLOC_ARENA_CACHE_FREE_NOW, 1) == 0);
    const int blocks = mallopt(MALLOC_ARENA_CACHE_MAXBLK, 1);
    const int bytes = mallopt(MALLOC_ARENA_CACHE_MAXSZ, 8 * LARGE);
    const struct malloc_stats before = stats();
    void *first = malloc(LARGE), *second = malloc(LARGE);
    const struct malloc_stats taken = stats();
    CHECK_EQUAL((int64_t)(taken.m_coreallocs - before.m_coreallocs), 2);
    CHECK(taken.m_heapsize >= before.m_heapsize + 2 * LARGE);

    free(first); /* is kept */
    CHECK_EQUAL((int64_t)(stats().m_corefrees - before.m_corefrees), 0);
    free(second); /* finds the cache full */
    CHECK_EQUAL((int64_t)(stats().m_corefrees - before.m_corefrees), 1);
    first = malloc(LARGE); /* is the kept one */
    CHECK_EQUAL((int64_t)(stats().m_coreallocs - taken.m_coreallocs), 0);
    free(first);

    CHECK(mallinfo().arena >= LARGE);
    CHECK(mallopt(MALLOC_ARENA_CACHE_FREE_NOW, 1) == 0);
    CHECK_EQUAL((int64_t)(stats().m_corefrees - before.m_corefrees), 2);
    CHECK_EQUAL((int64_t)(stats().m_heapsize - before.m_heapsize), 0);

    CHECK(mallopt(MALLOC_ARENA_CACHE_MAXSZ, LARGE / 2) == 8 * LARGE);
    first = malloc(LARGE);
    free(first); /* is larger than the whole cache */
    CHECK_EQUAL((int64_t)(stats().m_heapsize - before.m_heapsize), 0);
    (void)mallopt(MALLOC_ARENA_CACHE_MAXBLK, blocks);
    (void)mallopt(MALLOC_ARENA_CACHE_MAXSZ, bytes);
}

static void a_smaller_cache_shrinks_when_told_so(void)
{
    const int blocks = mallopt(MALLOC_ARENA_CACHE_MAXBLK, 4);
    const int bytes = mallopt(MALLOC_ARENA_CACHE_MAXSZ, 8 * LARGE);
    void *first = malloc(LARGE), *second = malloc(LARGE);

    free(first);
    free(second);
    const struct malloc_stats kept = stats();
    CHECK_EQUAL(mallopt(MALLOC_ARENA_CACHE_MAXBLK, 0), 4);
    CHECK_EQUAL((int64_t)(stats().m_corefrees - kept.m_corefrees), 0);
    CHECK(mallopt(MALLOC_ARENA_CACHE_FREE_NOW, 0) == 0);
    CHECK(stats().m_corefrees - kept.m_corefrees >= 2);
    (void)mallopt(MALLOC_ARENA_CACHE_MAXBLK, blocks);
    (void)mallopt(MALLOC_ARENA_CACHE_MAXSZ, bytes);
}

static void held_memory_never_goes_back(void)
{
    const struct malloc_stats before = stats();

    CHECK(mallopt(MALLOC_MEMORY_HOLD, 1) == 0);
    for (int i = 0; i < 20; i++) {
        void *block = malloc(LARGE + (size_t)i * 64 * 1024);
        CHECK(block != NULL);
        free(block);
    }
    CHECK_EQUAL((int64_t)(stats().m_corefrees - before.m_corefrees), 0);
    CHECK(mallopt(MALLOC_MEMORY_HOLD, 0) == 0);
    CHECK(mallopt(MALLOC_ARENA_CACHE_FREE_NOW, 0) == 0);
    CHECK(stats().m_corefrees > before.m_corefrees);
}

/* Two blocks of one size become free, apart from each other; which one is used again? */
static bool last_freed_comes_first(void)
{
    enum { SIZE = 3000 };
    void *first = malloc(SIZE), *wall = malloc(SIZE), *second = malloc(SIZE), *end = malloc(SIZE);

    free(first);
    free(second);
    void *again = malloc(SIZE);
    const bool is_last = again == second;
    CHECK(is_last || again == first);
    free(again);
    free(wall);
    free(end);
    return is_last;
}

static void freed_blocks_are_used_in_order(void)
{
    CHECK(!last_freed_comes_first());
    CHECK(getenv("MALLOC_FREE_LIFO") == NULL);
}

/* In a process that was started with MALLOC_FREE_LIFO. */
static void freed_blocks_are_used_last_in_first_out(void)
{
    CHECK(last_freed_comes_first());
    CHECK(getenv("MALLOC_FREE_LIFO") != NULL);
}

/* In a process that was started with MALLOC_ARENA_SIZE=65536. */
static void the_environment_sets_options_at_the_start(void)
{
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 0), 65536);
}

/* On 8.0. */
static void old_options_are_gone(void)
{
    errno = 0;
    CHECK_EQUAL(mallopt(MALLOC_ARENA_SIZE, 0), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(mallopt(MALLOC_ARENA_CACHE_MAXBLK, 3), -1);
    CHECK_EQUAL(mallopt(MALLOC_MEMORY_HOLD, 1), -1);
    CHECK(mallopt(M_TRIM_THRESHOLD, 1024 * 1024) != -1);
    CHECK(mallopt(M_GRANULARITY, 64 * 1024) != -1);
    CHECK(mallopt(M_MMAP_THRESHOLD, 256 * 1024) != -1);
}

/* Before 8.0. */
static void new_options_are_not_there_yet(void)
{
    CHECK_EQUAL(mallopt(M_TRIM_THRESHOLD, 1024 * 1024), -1);
    CHECK_EQUAL(mallopt(M_GRANULARITY, 64 * 1024), -1);
}

static void counters_follow_blocks(void)
{
    const struct malloc_stats before = stats();
    const struct mallinfo info = mallinfo();
    void *small = malloc(40), *large = malloc(2000);
    const struct malloc_stats used = stats();

    CHECK(used.m_small_allocmem >= before.m_small_allocmem + 40);
    CHECK(used.m_allocmem >= before.m_allocmem + 2000);
    CHECK_EQUAL((int64_t)(used.m_allocs - before.m_allocs), 2);
    CHECK_EQUAL(mallinfo().smblks - info.smblks, 1);
    free(small);
    free(large);
    CHECK_EQUAL((int64_t)(stats().m_allocmem - before.m_allocmem), 0);
    CHECK_EQUAL((int64_t)(stats().m_frees - before.m_frees), 2);
    CHECK_EQUAL((int64_t)(stats().m_small_allocmem - before.m_small_allocmem), 0);
    const struct malloc_stats end = stats();
    CHECK_EQUAL((int64_t)end.m_heapsize,
                (int64_t)(end.m_small_freemem + end.m_freemem + end.m_small_overhead +
                          end.m_overhead + end.m_small_allocmem + end.m_allocmem));
}

const struct check arena_checks[] = {
    {"blocks hold what is written", blocks_hold_what_is_written},
    {"calloc clears blocks that were used", calloc_clears_blocks_that_were_used},
    {"aligned blocks are aligned", aligned_blocks_are_aligned},
    {"realloc keeps content but not alignment", realloc_keeps_content_but_not_alignment},
    {"realloc leaves guard pages behind", realloc_leaves_guard_pages_behind},
    {"small changes stay in place", small_changes_stay_in_place},
    {"options answer with the previous value", options_answer_with_the_previous_value},
    {"options out of range are refused", options_out_of_range_are_refused},
    {"free arenas stay in the cache as long as they fit",
     free_arenas_stay_in_the_cache_as_long_as_they_fit},
    {"a smaller cache shrinks when told so", a_smaller_cache_shrinks_when_told_so},
    {"held memory never goes back", held_memory_never_goes_back},
    {"freed blocks are used in order", freed_blocks_are_used_in_order},
    {"new options are not there yet", new_options_are_not_there_yet},
    {"counters follow blocks", counters_follow_blocks},
    {NULL, NULL},
};

const struct check arena_lifo_checks[] = {
    {"freed blocks are used last in, first out", freed_blocks_are_used_last_in_first_out},
    {NULL, NULL},
};

const struct check arena_start_checks[] = {
    {"the environment sets options at the start", the_environment_sets_options_at_the_start},
    {NULL, NULL},
};

const struct check arena_8_checks[] = {
    {"blocks hold what is written", blocks_hold_what_is_written},
    {"aligned blocks are aligned", aligned_blocks_are_aligned},
    {"old options are gone", old_options_are_gone},
    {NULL, NULL},
};
