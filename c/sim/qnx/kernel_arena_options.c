/* What the heap is set to: by mallopt(), and by the environment when the process starts. */
#include "../common/host.h"

#include "kernel_environment.h"
#include "kernel_heap.h"
#include "kernel_memory.h"
#include "kernel_switch.h"

enum {
    DEFAULT_SIZE = 32 * 1024,
    DEFAULT_CACHE_ARENAS = 8,
    DEFAULT_CACHE_BYTES = DEFAULT_CACHE_ARENAS * DEFAULT_SIZE
};

/* Options. */

static qk_error set_size(intptr_t value, intptr_t *answer_out)
{
    *answer_out = (intptr_t)qk_heap.arena_size;
    if (value == 0) return QK_OK;
    if (value < QK_PAGE || (value > QK_ARENA_SIZE_MAX && !qk_switched(QK_BREAK_OPTION_RANGE))) {
        return QK_EINVAL;
    }
    if (qk_switched(QK_BREAK_PREVIOUS)) *answer_out = 0;
    qk_heap.arena_size = qk_heap_round_up((size_t)value, QK_PAGE);
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
    qk_heap.cache_bytes_max = forever ? UINT32_MAX : 0;
    qk_heap.cache_arenas_max = forever ? UINT32_MAX : 0;
}

static void free_now(bool everything)
{
    if (qk_switched(QK_BREAK_FREE_NOW)) return;
    qk_heap_shrink_cache(everything ? 0 : qk_heap.cache_arenas_max,
                         everything ? 0 : qk_heap.cache_bytes_max);
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
        return set_cache(&qk_heap.cache_bytes_max, value, answer_out);
    case QK_ARENA_CACHE_ARENAS:
        return set_cache(&qk_heap.cache_arenas_max, value, answer_out);
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
        qk_heap.cache_arenas_max = UINT32_MAX;
        qk_heap.cache_bytes_max = value < 0 ? UINT32_MAX : (uint64_t)value;
        qk_heap_shrink_cache(qk_heap.cache_arenas_max, qk_heap.cache_bytes_max);
        return QK_OK;
    case QK_ARENA_MAP_THRESHOLD:
        qk_heap.map_threshold = value < 0 ? 0 : (size_t)value;
        return QK_OK;
    case QK_ARENA_GRANULARITY:
        if (value < QK_PAGE || (value & (value - 1)) != 0) return QK_EINVAL;
        qk_heap.arena_size = (size_t)value;
        return QK_OK;
    default:
        return QK_EINVAL;
    }
}

qk_error qk_arena_option(enum qk_arena_option option, intptr_t value, intptr_t *answer_out)
{
    qk_arena_start();
    *answer_out = 0;
    if (qk_version() >= 800 && !qk_switched(QK_BREAK_MODERN)) {
        return modern_option(option, value);
    }
    return classic_option(option, value, answer_out);
}

/* The start. */

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
    struct qk_arena arena;

    while (bytes > 0 && qk_heap.counters.cached_bytes < (uint64_t)bytes) {
        if (qk_heap_take(qk_heap.arena_size, false, &arena) != QK_OK) return;
        if (!qk_heap_cache(arena.base, arena.size)) {
            qk_heap_give_back(arena.base, arena.size);
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
    qk_heap.lifo = qk_environment_get("MALLOC_FREE_LIFO") != NULL;
    if (read_number("MALLOC_MEMORY_PREALLOCATE", &value)) preallocate(value);
}

/* Before the heap is first used, as libc does: until then, the version can still be chosen. */
void qk_arena_start(void)
{
    if (qk_heap.started) return;
    qk_heap.started = true;
    qk_heap.arena_size = DEFAULT_SIZE;
    qk_heap.cache_arenas_max = DEFAULT_CACHE_ARENAS;
    qk_heap.cache_bytes_max = DEFAULT_CACHE_BYTES;
    qk_heap.map_threshold = 0;
    qk_heap.lifo = false;
    if (qk_version() < 800) read_environment();
}

void qk_arena_reset(void)
{
    qk_heap_forget();
    qk_heap.counters = (qk_arena_counters){0};
    qk_heap.started = false;
}
