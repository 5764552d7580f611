/* What lies where in the module's buffer; see the picture in loader.h. */
#include "validator.h"

#include <string.h>

enum { ENTRY_BYTES = WRT__ENTRY_WORDS * sizeof(uint16_t), WORD_BYTES = 4, WORD_BITS = 32 };

_Static_assert(sizeof(wrt__branch) == sizeof(wrt__long_branch), "a branch is resolved in place");

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + WORD_BYTES - 1) & ~(uint64_t)(WORD_BYTES - 1);
}

static uint64_t larger(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

static uint64_t arrays_bytes(const wrt_module_usage *usage)
{
    const uint64_t defined = usage->function_count - usage->imported_function_count;

    return usage->type_count * (uint64_t)sizeof(wrt__type) + defined * sizeof(wrt__code) +
           usage->imported_function_count * (uint64_t)sizeof(uint32_t) +
           usage->table_count * (uint64_t)sizeof(wrt__table_type) +
           usage->global_count * (uint64_t)sizeof(wrt__global_type) +
           usage->element_count * (uint64_t)sizeof(wrt__element_segment) +
           usage->data_count * (uint64_t)sizeof(wrt__data_segment);
}

static uint64_t declared_bytes(const wrt_module_usage *usage)
{
    return (usage->function_count + (uint64_t)WORD_BITS - 1) / WORD_BITS * WORD_BYTES;
}

static uint64_t scratch_bytes(const wrt__loader *loader)
{
    return declared_bytes(&loader->module.usage) +
           loader->figures.entries_max * (uint64_t)sizeof(wrt__branch) +
           loader->figures.depth_max * (uint64_t)sizeof(wrt__frame);
}

/* What is needed at the same time as the sections before the code are read. */
static uint64_t bytes_for_sorting(const wrt__loader *loader)
{
    const wrt_module_usage *usage = &loader->module.usage;

    return arrays_bytes(usage) + larger(usage->type_count, usage->export_count) * WORD_BYTES +
           scratch_bytes(loader);
}

/* Without the long branches and the types of values. */
static uint64_t bytes_for_code(const wrt__loader *loader)
{
    return arrays_bytes(&loader->module.usage) + loader->figures.entries * ENTRY_BYTES +
           scratch_bytes(loader);
}

uint64_t wrt__buffer_bytes(const wrt__loader *loader)
{
    const wrt__figures *figures = &loader->figures;
    uint64_t growing = figures->values_max;

    if (figures->long_entries != 0) {
        growing += WORD_BYTES + figures->long_entries * sizeof(wrt__long_branch);
    }
    return round_up(larger(bytes_for_sorting(loader), bytes_for_code(loader) + growing));
}

bool wrt__reserve(wrt__loader *loader, uint64_t bytes)
{
    const uint64_t needed = round_up(bytes);

    if (needed > loader->buffer_size) {
        wrt__reader_fail(&loader->reader, WRT_ERR_NO_MEMORY,
                         "buffer has {0} bytes, the module needs {1} at least", loader->buffer_size,
                         needed);
        return false;
    }
    if (loader->needed_bytes < needed) loader->needed_bytes = (size_t)needed;
    return true;
}

/* Takes `bytes` from the lower end. */
static void *take(uint8_t **next_inout, size_t bytes)
{
    uint8_t *taken = *next_inout;

    *next_inout += bytes;
    return taken;
}

static void place_arrays(wrt__loader *loader)
{
    wrt_module *module = &loader->module;
    const wrt_module_usage *usage = &module->usage;
    const size_t defined = usage->function_count - usage->imported_function_count;
    uint8_t *next = loader->buffer;

    module->types = take(&next, usage->type_count * sizeof(wrt__type));
    module->functions = take(&next, defined * sizeof(wrt__code));
    module->imported_functions = take(&next, usage->imported_function_count * sizeof(uint32_t));
    module->tables = take(&next, usage->table_count * sizeof(wrt__table_type));
    module->globals = take(&next, usage->global_count * sizeof(wrt__global_type));
    module->elements = take(&next, usage->element_count * sizeof(wrt__element_segment));
    module->data = take(&next, usage->data_count * sizeof(wrt__data_segment));
    module->side_table = (uint16_t *)(void *)next;
    loader->arrays_bytes = (size_t)(next - loader->buffer);
    memset(loader->buffer, 0, loader->arrays_bytes);
}

static void place_scratch(wrt__loader *loader)
{
    const size_t declared = (size_t)declared_bytes(&loader->module.usage);
    uint8_t *top = loader->buffer + (loader->buffer_size & ~(size_t)(WORD_BYTES - 1));

    loader->scratch_bytes = (size_t)scratch_bytes(loader);
    loader->declared = (uint32_t *)(void *)(top - declared);
    memset(loader->declared, 0, declared);
    loader->branches =
        (uint8_t *)loader->declared - loader->figures.entries_max * sizeof(wrt__branch);
    loader->frames = (uint8_t *)loader->branches - loader->figures.depth_max * sizeof(wrt__frame);
    loader->values_top = loader->frames;
}

void wrt__place(wrt__loader *loader)
{
    if (loader->buffer_size == 0) loader->buffer = (uint8_t *)&loader->nothing;
    if (!wrt__reserve(loader, bytes_for_sorting(loader))) return;
    if (!wrt__reserve(loader, bytes_for_code(loader))) return;
    place_arrays(loader);
    place_scratch(loader);
}

uint32_t *wrt__sort_area(const wrt__loader *loader)
{
    return (uint32_t *)(void *)(loader->buffer + loader->arrays_bytes);
}

/* Offset at which the side table ends, once its last entry is written. */
static size_t side_table_end(const wrt__loader *loader)
{
    return loader->arrays_bytes + (size_t)loader->figures.entries * ENTRY_BYTES;
}

/* Only if there are long branches, which are words, half a word may lie between. */
size_t wrt__long_branches_end(const wrt__loader *loader, uint32_t count)
{
    const size_t start = side_table_end(loader);

    return count == 0 ? start : (size_t)round_up(start) + count * sizeof(wrt__long_branch);
}

void wrt__finish(wrt__loader *loader)
{
    wrt_module *module = &loader->module;
    const size_t start = side_table_end(loader);
    const size_t used = wrt__long_branches_end(loader, loader->long_branch_count);

    if (loader->long_branch_count != 0) {
        memset(loader->buffer + start, 0, (size_t)round_up(start) - start);
        module->long_branches = (uint32_t *)(void *)(loader->buffer + round_up(start));
    }
    module->usage.buffer_bytes = used;
    module->usage.init_bytes = loader->needed_bytes;
    module->usage.side_table_bytes = used - loader->arrays_bytes;
    module->magic = WRT__MODULE_MAGIC;
}
