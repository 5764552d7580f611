/* Looks things up in the bytes of a module that has been validated: imports, exports, names. */
#include "loader.h"

#include <string.h>

enum { SUBSECTION_FUNCTION_NAMES = 1 };

static wrt__reader reader_at(const wrt_module *module, uint32_t offset)
{
    return (wrt__reader){.bytes = module->bytes, .at = offset, .end = module->bytes_size};
}

/* An empty list may be NULL, which memcmp must not be given. */
static bool lists_are_equal(const uint8_t *one, const uint8_t *other, uint32_t count)
{
    return count == 0 || memcmp(one, other, count) == 0;
}

bool wrt__function_types_equal(const wrt_function_type *one, const wrt_function_type *other)
{
    return one->parameter_count == other->parameter_count &&
           one->result_count == other->result_count &&
           lists_are_equal(one->parameters, other->parameters, one->parameter_count) &&
           lists_are_equal(one->results, other->results, one->result_count);
}

wrt_extern_type wrt__extern_type(const wrt_module *module, uint32_t kind, uint32_t index)
{
    wrt_extern_type type = {.kind = kind, .index = index};

    switch (kind) {
    case WRT_EXTERN_FUNCTION:
        type.function = wrt__function_type(module, wrt__function_type_index(module, index));
        break;
    case WRT_EXTERN_TABLE:
        type.value_type = wrt__tables(module)[index].element_type;
        type.minimum = wrt__tables(module)[index].minimum;
        type.maximum = wrt__tables(module)[index].maximum;
        break;
    case WRT_EXTERN_MEMORY:
        type.minimum = module->memory_minimum;
        type.maximum = module->memory_maximum;
        break;
    default:
        type.value_type = wrt__globals(module)[index].value_type;
        type.is_mutable = wrt__globals(module)[index].is_mutable;
        break;
    }
    return type;
}

/* Steps over an import's description; what it says is in the arrays by now. */
static void skip_description(wrt__reader *reader, uint8_t kind)
{
    uint32_t minimum;
    uint32_t maximum;

    switch (kind) {
    case WRT_EXTERN_FUNCTION:
        wrt__read_u32(reader);
        break;
    case WRT_EXTERN_TABLE:
        (void)wrt__read_table_type(reader);
        break;
    case WRT_EXTERN_MEMORY:
        wrt__read_memory_type(reader, &minimum, &maximum);
        break;
    default:
        wrt__skip_bytes(reader, 2);
        break;
    }
}

void wrt__next_import(const wrt_module *module, wrt__import_cursor *cursor,
                      wrt_name *module_name_out, wrt_name *name_out, wrt_extern_type *type_out)
{
    wrt__reader reader = reader_at(module, cursor->offset);

    if (cursor->index == 0) (void)wrt__read_count(&reader);
    *module_name_out = wrt__read_name(&reader);
    *name_out = wrt__read_name(&reader);
    const uint8_t kind = wrt__read_byte(&reader);
    skip_description(&reader, kind);
    *type_out = wrt__extern_type(module, kind, cursor->counts[kind]);
    cursor->counts[kind]++;
    cursor->index++;
    cursor->offset = reader.at;
}

void wrt__next_export(const wrt_module *module, wrt__export_cursor *cursor, wrt_name *name_out,
                      uint32_t *kind_out, uint32_t *index_out)
{
    wrt__reader reader = reader_at(module, cursor->offset);

    if (cursor->index == 0) (void)wrt__read_count(&reader);
    const uint32_t size = wrt__read_count(&reader); /* UTF-8 has been checked */
    *name_out = (wrt_name){(const char *)module->bytes + reader.at, size};
    wrt__skip_bytes(&reader, size);
    *kind_out = wrt__read_byte(&reader);
    *index_out = wrt__read_u32(&reader);
    cursor->index++;
    cursor->offset = reader.at;
}

bool wrt__find_export(const wrt_module *module, const char *name, size_t name_size,
                      uint32_t *kind_out, uint32_t *index_out)
{
    wrt__export_cursor cursor = {.offset = module->export_offset};
    wrt_name candidate;

    while (cursor.index < module->usage.export_count) {
        wrt__next_export(module, &cursor, &candidate, kind_out, index_out);
        if (candidate.size == name_size && memcmp(candidate.text, name, name_size) == 0) {
            return true;
        }
    }
    return false;
}

/* In the subsection between reader->at and reader->end. Read to its end even if the name has been
 * found, so that damage behind it counts too. */
static bool find_in_function_names(wrt__reader *reader, uint32_t function, wrt_name *name_out)
{
    const uint32_t count = wrt__read_count(reader);
    bool is_found = false;

    for (uint32_t i = 0; i < count && !wrt__reader_failed(reader); i++) {
        const uint32_t index = wrt__read_u32(reader);
        const wrt_name name = wrt__read_name(reader);
        if (index != function || wrt__reader_failed(reader)) continue;
        *name_out = name;
        is_found = true;
    }
    if (reader->at != reader->end) wrt__malformed(reader, "subsection size mismatch");
    return is_found;
}

static bool find_in_name_section(const wrt_module *module, uint32_t function, wrt_name *name_out)
{
    wrt__reader reader = {.bytes = module->bytes,
                          .at = module->name_offset,
                          .end = module->name_offset + module->name_size};
    wrt_name name = {0};
    bool is_found = false;

    while (reader.at < reader.end) {
        const uint32_t end = reader.end;
        const uint8_t subsection = wrt__read_byte(&reader);
        const uint32_t bytes = wrt__read_count(&reader);
        if (wrt__reader_failed(&reader)) return false;
        if (subsection != SUBSECTION_FUNCTION_NAMES) {
            wrt__skip_bytes(&reader, bytes);
            continue;
        }
        reader.end = reader.at + bytes;
        is_found = find_in_function_names(&reader, function, &name);
        if (wrt__reader_failed(&reader)) return false;
        reader.end = end;
    }
    if (is_found) *name_out = name;
    return is_found;
}

static bool find_in_exports(const wrt_module *module, uint32_t function, wrt_name *name_out)
{
    wrt__export_cursor cursor = {.offset = module->export_offset};
    wrt_name name;
    uint32_t kind;
    uint32_t index;

    while (cursor.index < module->usage.export_count) {
        wrt__next_export(module, &cursor, &name, &kind, &index);
        if (kind != WRT_EXTERN_FUNCTION || index != function) continue;
        *name_out = name;
        return true;
    }
    return false;
}

static bool find_in_imports(const wrt_module *module, uint32_t function, wrt_name *name_out)
{
    wrt__import_cursor cursor = {.offset = module->import_offset};
    wrt_name module_name;
    wrt_extern_type type;

    if (function >= module->usage.imported_function_count) return false;
    while (cursor.counts[WRT_EXTERN_FUNCTION] <= function) {
        wrt__next_import(module, &cursor, &module_name, name_out, &type);
    }
    return true;
}

bool wrt__find_function_name(const wrt_module *module, uint32_t function, wrt_name *name_out)
{
    return find_in_name_section(module, function, name_out) ||
           find_in_exports(module, function, name_out) ||
           find_in_imports(module, function, name_out);
}
