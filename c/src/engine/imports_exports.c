/* The sections of imports and exports. */
#include "loader.h"

#include <string.h>

static void import_function(wrt__loader *loader)
{
    const uint32_t start = loader->reader.at;
    const uint32_t type = wrt__read_u32(&loader->reader);
    const uint32_t index = loader->seen[WRT_EXTERN_FUNCTION]++;

    if (!loader->is_building) return;
    if (type >= loader->module.usage.type_count) {
        wrt__invalid(loader, "unknown type {1} at byte {0}", start, type);
        return;
    }
    ((uint32_t *)loader->module.imported_functions)[index] = type;
}

static void import_global(wrt__loader *loader)
{
    const wrt__global_type type = wrt__read_global_type(loader);
    const uint32_t index = loader->seen[WRT_EXTERN_GLOBAL]++;

    if (loader->is_building) ((wrt__global_type *)loader->module.globals)[index] = type;
}

static void read_import(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;

    (void)wrt__read_name(reader);
    (void)wrt__read_name(reader);
    const uint32_t start = reader->at;
    const uint8_t kind = wrt__read_byte(reader);
    switch (kind) {
    case WRT_EXTERN_FUNCTION:
        import_function(loader);
        break;
    case WRT_EXTERN_TABLE:
        wrt__add_table(loader);
        break;
    case WRT_EXTERN_MEMORY:
        wrt__add_memory(loader);
        break;
    case WRT_EXTERN_GLOBAL:
        import_global(loader);
        break;
    default:
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed import kind {1} at byte {0}", start,
                         kind);
    }
}

void wrt__read_imports(wrt__loader *loader)
{
    wrt_module *module = &loader->module;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) read_import(loader);
    module->usage.import_count = count;
    module->imported_table_count = loader->seen[WRT_EXTERN_TABLE];
    module->imported_memory_count = loader->seen[WRT_EXTERN_MEMORY];
    module->imported_global_count = loader->seen[WRT_EXTERN_GLOBAL];
}

static void check_export(wrt__loader *loader, uint8_t kind, uint32_t index, uint32_t offset)
{
    const wrt_module_usage *usage = &loader->module.usage;

    switch (kind) {
    case WRT_EXTERN_FUNCTION:
        wrt__declare_function(loader, index, offset);
        break;
    case WRT_EXTERN_TABLE:
        if (index >= usage->table_count) {
            wrt__invalid(loader, "unknown table {1} at byte {0}", offset, index);
        }
        break;
    case WRT_EXTERN_MEMORY:
        if (index >= usage->memory_count) {
            wrt__invalid(loader, "unknown memory {1} at byte {0}", offset, index);
        }
        break;
    default:
        if (index >= usage->global_count) {
            wrt__invalid(loader, "unknown global {1} at byte {0}", offset, index);
        }
        break;
    }
}

static void read_export(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;

    (void)wrt__read_name(reader);
    const uint32_t start = reader->at;
    const uint8_t kind = wrt__read_byte(reader);
    const uint32_t index_at = reader->at;
    const uint32_t index = wrt__read_u32(reader);
    if (kind > WRT_EXTERN_GLOBAL) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed export kind {1} at byte {0}", start,
                         kind);
    }
    if (loader->is_building && !wrt__failed(loader)) check_export(loader, kind, index, index_at);
}

/* The name that starts at `offset`; it has been read before. */
static wrt_name name_at(const wrt_module *module, uint32_t offset)
{
    wrt__reader reader = {.bytes = module->bytes, .at = offset, .end = module->bytes_size};
    const uint32_t size = wrt__read_u32(&reader);

    return (wrt_name){(const char *)module->bytes + reader.at, size};
}

static int compare_names(const wrt_module *module, uint32_t one, uint32_t other)
{
    const wrt_name a = name_at(module, one);
    const wrt_name b = name_at(module, other);
    const int order = memcmp(a.text, b.text, a.size < b.size ? a.size : b.size);

    if (order != 0 || a.size == b.size) return order;
    return a.size < b.size ? -1 : 1;
}

static bool name_is_less(const void *module, uint32_t one, uint32_t other)
{
    const int order = compare_names(module, one, other);

    return order == 0 ? one < other : order < 0;
}

/* Names are known by the offsets at which they start. Sorted, equal ones are neighbours. */
static void check_names_are_unique(wrt__loader *loader, uint32_t *names, uint32_t count)
{
    const wrt_module *module = &loader->module;

    wrt__sort(names, count, name_is_less, module);
    for (uint32_t i = 1; i < count; i++) {
        if (compare_names(module, names[i - 1], names[i]) == 0) {
            wrt__invalid(loader, "duplicate export name at byte {0}, as at byte {1}", names[i],
                         names[i - 1]);
            return;
        }
    }
}

void wrt__read_exports(wrt__loader *loader)
{
    uint32_t *names = loader->is_building ? wrt__sort_area(loader) : NULL;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        if (loader->is_building) names[i] = loader->reader.at;
        read_export(loader);
    }
    loader->module.usage.export_count = count;
    if (loader->is_building && !wrt__failed(loader)) check_names_are_unique(loader, names, count);
}
