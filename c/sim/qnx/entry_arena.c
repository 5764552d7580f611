/* QNX: libc's allocator and its settings. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "entry_answer.h"
#include "kernel_arena.h"
#include "kernel_environment.h"
#include "kernel_memory.h"

static qk_error allocate(const char *call, size_t alignment, size_t size, void **block_out)
{
    qk_error error = qk_enter(call);

    *block_out = NULL;
    if (error == QK_OK) error = qk_arena_allocate(size, alignment, block_out);
    return qk_leave(error);
}

void *malloc(size_t size)
{
    void *block;

    (void)sim_answer(allocate("malloc", QK_ARENA_ALIGNMENT, size, &block));
    return block;
}

void *calloc(size_t count, size_t size)
{
    void *block = NULL;
    qk_error error = qk_enter("calloc");

    if (error == QK_OK && size > 0 && count > SIZE_MAX / size) error = QK_ENOMEM;
    if (error == QK_OK) error = qk_arena_allocate(count * size, QK_ARENA_ALIGNMENT, &block);
    if (error == QK_OK) qk_arena_clear(block, count * size);
    (void)sim_answer(qk_leave(error));
    return block;
}

void *realloc(void *block, size_t size)
{
    void *moved = NULL;
    qk_error error = qk_enter("realloc");

    if (error == QK_OK) {
        error = block == NULL ? qk_arena_allocate(size, QK_ARENA_ALIGNMENT, &moved)
                              : qk_arena_resize(block, size, &moved);
    }
    return sim_answer(qk_leave(error)) == 0 ? moved : NULL;
}

/* Whether the call has begun, be it that a test wants it to fail: for calls that can't. */
static bool has_begun(qk_error error)
{
    return error == QK_OK || error >= QK_ERROR_RAW;
}

void free(void *block)
{
    if (has_begun(qk_enter("free")) && block != NULL) qk_arena_release(block);
    (void)qk_leave(QK_OK);
}

static bool is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

int posix_memalign(void **block_out, size_t alignment, size_t size)
{
    void *block = NULL;
    qk_error error = qk_enter("posix_memalign");

    if (error == QK_OK && !qk_may_write(block_out, sizeof *block_out)) error = QK_EFAULT;
    if (error == QK_OK && (!is_power_of_two(alignment) || alignment < sizeof(void *))) {
        error = QK_EINVAL;
    }
    if (error == QK_OK) {
        error = qk_arena_allocate(
            size, alignment > QK_ARENA_ALIGNMENT ? alignment : QK_ARENA_ALIGNMENT, &block);
    }
    if (error == QK_OK) *block_out = block;
    return sim_number(qk_leave(error));
}

void *memalign(size_t alignment, size_t size)
{
    void *block = NULL;

    if (!is_power_of_two(alignment)) {
        (void)sim_answer(QK_EINVAL);
    } else {
        (void)sim_answer(allocate("memalign",
                                  alignment > QK_ARENA_ALIGNMENT ? alignment : QK_ARENA_ALIGNMENT,
                                  size, &block));
    }
    return block;
}

size_t malloc_usable_size(void *block)
{
    const bool begun = has_begun(qk_enter("malloc_usable_size"));
    const size_t size = begun && block != NULL ? qk_arena_usable(block) : 0;
    (void)qk_leave(QK_OK);
    return size;
}

/* Settings. */

static bool option_of(int cmd, enum qk_arena_option *option_out)
{
    static const struct {
        int cmd;
        enum qk_arena_option option;
    } options[] = {{MALLOC_ARENA_SIZE, QK_ARENA_SIZE},
                   {MALLOC_MONOTONIC_GROWTH, QK_ARENA_GROWTH},
                   {MALLOC_MEMORY_HOLD, QK_ARENA_HOLD},
                   {MALLOC_ARENA_CACHE_MAXSZ, QK_ARENA_CACHE_BYTES},
                   {MALLOC_ARENA_CACHE_MAXBLK, QK_ARENA_CACHE_ARENAS},
                   {MALLOC_ARENA_CACHE_FREE_NOW, QK_ARENA_FREE_NOW},
                   {M_TRIM_THRESHOLD, QK_ARENA_TRIM_THRESHOLD},
                   {M_MMAP_THRESHOLD, QK_ARENA_MAP_THRESHOLD},
                   {M_GRANULARITY, QK_ARENA_GRANULARITY}};

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        *option_out = options[i].option;
        if (options[i].cmd == cmd) return true;
    }
    return false;
}

static qk_error fill_stats(struct malloc_stats *stats)
{
    if (qk_version() >= 800) return QK_EINVAL;
    if (!qk_may_write(stats, sizeof *stats)) return QK_EFAULT;
    const qk_arena_counters counted = qk_arena_count();
    *stats = (struct malloc_stats){.m_small_freemem = counted.small_free,
                                   .m_freemem = counted.free + counted.cached_bytes,
                                   .m_small_overhead = counted.small_overhead,
                                   .m_overhead = counted.overhead,
                                   .m_small_allocmem = counted.small_used,
                                   .m_allocmem = counted.used,
                                   .m_coreallocs = counted.arenas_taken,
                                   .m_corefrees = counted.arenas_given_back,
                                   .m_heapsize = counted.heap,
                                   .m_frees = counted.releases,
                                   .m_allocs = counted.allocations,
                                   .m_reallocs = counted.moves,
                                   .m_small_blocks = counted.small_blocks,
                                   .m_blocks = counted.blocks,
                                   .m_hblocks = counted.small_runs};
    return QK_OK;
}

int mallopt(int cmd, intptr_t value)
{
    enum qk_arena_option option;
    intptr_t answer = 0;
    qk_error error = qk_enter("mallopt");

    if (error == QK_OK) {
        error = cmd == MALLOC_STATS       ? fill_stats((struct malloc_stats *)value)
                : option_of(cmd, &option) ? qk_arena_option(option, value, &answer)
                                          : QK_EINVAL;
    }
    return sim_answer(qk_leave(error)) == 0 ? (int)answer : -1;
}

struct mallinfo mallinfo(void)
{
    const qk_arena_counters none = {0};
    const qk_arena_counters counted = has_begun(qk_enter("mallinfo")) ? qk_arena_count() : none;
    (void)qk_leave(QK_OK);

    return (struct mallinfo){.arena = (__mallinfo_t)counted.heap,
                             .ordblks = (__mallinfo_t)counted.blocks,
                             .smblks = (__mallinfo_t)counted.small_blocks_used,
                             .hblks = (__mallinfo_t)counted.small_runs,
                             .hblkhd = (__mallinfo_t)counted.small_overhead,
                             .usmblks = (__mallinfo_t)counted.small_used,
                             .fsmblks = (__mallinfo_t)counted.small_free,
                             .uordblks = (__mallinfo_t)counted.used,
                             .fordblks = (__mallinfo_t)(counted.free + counted.cached_bytes)};
}

char *getenv(const char *name)
{
    const char *value = NULL;

    if (has_begun(qk_enter("getenv")) && qk_may_read(name, 1)) value = qk_environment_get(name);
    (void)qk_leave(QK_OK);
    return (char *)(uintptr_t)value;
}
