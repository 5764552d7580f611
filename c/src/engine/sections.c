/* Walks the sections, in either pass, and reads those that only declare. */
#include "loader.h"

#include <string.h>

enum {
    SECTION_CUSTOM,
    SECTION_TYPE,
    SECTION_IMPORT,
    SECTION_FUNCTION,
    SECTION_TABLE,
    SECTION_MEMORY,
    SECTION_GLOBAL,
    SECTION_EXPORT,
    SECTION_START,
    SECTION_ELEMENT,
    SECTION_CODE,
    SECTION_DATA,
    SECTION_DATA_COUNT,
    SECTION_COUNT
};

enum { HEADER_BYTES = 8, TYPE_FUNCTION = 0x60, MEMORY_PAGES_MAX = 65536 };

static void read_header(wrt__reader *reader)
{
    static const uint8_t header[HEADER_BYTES] = {0x00, 'a', 's', 'm', 0x01, 0x00, 0x00, 0x00};

    for (uint32_t i = 0; i < HEADER_BYTES && !wrt__reader_failed(reader); i++) {
        if (wrt__read_byte(reader) == header[i] || wrt__reader_failed(reader)) continue;
        wrt__reader_fail(reader, WRT_ERR_MALFORMED,
                         i < 4 ? "magic header not detected at byte {0}"
                               : "unknown binary version at byte {0}",
                         i, 0);
    }
}

/* Reads `count` value types and leaves the reader behind them. */
static void skip_result_type(wrt__loader *loader, uint32_t *offset_out, uint16_t *count_out)
{
    wrt__reader *reader = &loader->reader;
    const uint32_t start = reader->at;
    const uint32_t count = wrt__read_count(reader);

    *offset_out = reader->at;
    *count_out = (uint16_t)count;
    for (uint32_t i = 0; i < count && !wrt__reader_failed(reader); i++) {
        if (wrt__read_value_type(reader) == WRT_EXTERNREF) {
            loader->module.usage.features |= WRT_FEATURE_REFERENCE_TYPES;
        }
    }
    if (count > WRT_MODULE_PARAMETER_MAX) {
        wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED,
                         "function type at byte {0} has {1} parameters or results, more than this "
                         "engine takes",
                         start, count);
    }
}

static wrt__type read_type(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__type type = {0};

    if (wrt__read_byte(reader) != TYPE_FUNCTION) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed type at byte {0}", reader->at - 1,
                         0);
    }
    skip_result_type(loader, &type.parameters, &type.parameter_count);
    skip_result_type(loader, &type.results, &type.result_count);
    return type;
}

static int compare_numbers(uint32_t one, uint32_t other)
{
    return one < other ? -1 : one > other;
}

/* Orders types by what they hold. */
static int compare_types(const wrt_module *module, uint32_t one, uint32_t other)
{
    const wrt_function_type a = wrt__function_type(module, one);
    const wrt_function_type b = wrt__function_type(module, other);
    int order = compare_numbers(a.parameter_count, b.parameter_count);

    if (order == 0) order = compare_numbers(a.result_count, b.result_count);
    if (order == 0) order = memcmp(a.parameters, b.parameters, a.parameter_count);
    if (order == 0) order = memcmp(a.results, b.results, a.result_count);
    return order;
}

static bool type_is_less(const void *module, uint32_t one, uint32_t other)
{
    const int order = compare_types(module, one, other);

    return order == 0 ? one < other : order < 0;
}

/* Equal types get the index of the first of them. Sorted, they stand in a row, the first first. */
static void find_equal_types(wrt__loader *loader)
{
    wrt_module *module = &loader->module;
    wrt__type *types = module->types;
    uint32_t *sorted = wrt__sort_area(loader);
    const uint32_t count = module->usage.type_count;

    for (uint32_t i = 0; i < count; i++) sorted[i] = i;
    wrt__sort(sorted, count, type_is_less, module);
    for (uint32_t i = 0; i < count; i++) {
        const bool is_first = i == 0 || compare_types(module, sorted[i - 1], sorted[i]) != 0;
        types[sorted[i]].canonical = is_first ? sorted[i] : types[sorted[i - 1]].canonical;
    }
}

void wrt__read_types(wrt__loader *loader)
{
    wrt__figures *figures = &loader->figures;
    wrt__type *types = loader->module.types;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        const wrt__type type = read_type(loader);
        if (loader->is_building) types[i] = type;
        if (figures->parameters_max < type.parameter_count) {
            figures->parameters_max = type.parameter_count;
        }
        if (figures->results_max < type.result_count) figures->results_max = type.result_count;
        if (type.result_count > 1) loader->module.usage.features |= WRT_FEATURE_MULTI_VALUE;
    }
    loader->module.usage.type_count = count;
    if (loader->is_building) find_equal_types(loader);
}

void wrt__read_functions(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__code *codes = loader->module.functions;
    const uint32_t count = wrt__read_count(reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        const uint32_t start = reader->at;
        const uint32_t type = wrt__read_u32(reader);
        if (!loader->is_building) continue;
        if (type >= loader->module.usage.type_count) {
            wrt__invalid(loader, "unknown type {1} at byte {0}", start, type);
            return;
        }
        codes[i].type = type;
    }
    loader->functions_declared = count;
    loader->seen[WRT_EXTERN_FUNCTION] += count;
}

/* Both kinds of limits: with and without a maximum. */
static void read_limits(wrt__reader *reader, uint32_t *minimum_out, uint32_t *maximum_out)
{
    const uint32_t start = reader->at;
    const uint8_t flags = wrt__read_byte(reader);

    if (flags > 1) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed limits flags {1} at byte {0}", start,
                         flags);
    }
    *minimum_out = wrt__read_u32(reader);
    *maximum_out = flags == 1 ? wrt__read_u32(reader) : UINT32_MAX;
}

wrt__table_type wrt__read_table_type(wrt__reader *reader)
{
    wrt__table_type type = {0};

    type.element_type = wrt__read_reference_type(reader);
    read_limits(reader, &type.minimum, &type.maximum);
    return type;
}

void wrt__read_memory_type(wrt__reader *reader, uint32_t *minimum_out, uint32_t *maximum_out)
{
    const uint32_t start = reader->at;

    read_limits(reader, minimum_out, maximum_out);
    if (*maximum_out == UINT32_MAX && start < reader->at && reader->bytes[start] == 1) {
        *maximum_out = UINT32_MAX - 1; /* declared, and refused later: not the same as none */
    }
}

void wrt__add_table(wrt__loader *loader)
{
    const uint32_t start = loader->reader.at;
    const wrt__table_type type = wrt__read_table_type(&loader->reader);
    const uint32_t index = loader->seen[WRT_EXTERN_TABLE]++;

    if (index != 0 || type.element_type == WRT_EXTERNREF) {
        loader->module.usage.features |= WRT_FEATURE_REFERENCE_TYPES;
    }
    if (!loader->is_building) return;
    if (type.minimum > type.maximum) {
        wrt__invalid(loader, "size minimum must not be greater than maximum at byte {0}", start, 0);
        return;
    }
    ((wrt__table_type *)loader->module.tables)[index] = type;
}

void wrt__add_memory(wrt__loader *loader)
{
    wrt_module *module = &loader->module;
    const uint32_t start = loader->reader.at;

    wrt__read_memory_type(&loader->reader, &module->memory_minimum, &module->memory_maximum);
    loader->seen[WRT_EXTERN_MEMORY]++;
    if (!loader->is_building) return;
    if (loader->seen[WRT_EXTERN_MEMORY] > 1) {
        wrt__invalid(loader, "multiple memories: the second is at byte {0}", start, 0);
    } else if (module->memory_minimum > MEMORY_PAGES_MAX ||
               (module->memory_maximum > MEMORY_PAGES_MAX &&
                module->memory_maximum != UINT32_MAX)) {
        wrt__invalid(loader, "memory size must be at most 65536 pages (4GiB) at byte {0}", start,
                     0);
    } else if (module->memory_minimum > module->memory_maximum) {
        wrt__invalid(loader, "size minimum must not be greater than maximum at byte {0}", start, 0);
    }
}

void wrt__read_tables(wrt__loader *loader)
{
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) wrt__add_table(loader);
}

void wrt__read_memories(wrt__loader *loader)
{
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) wrt__add_memory(loader);
}

wrt__global_type wrt__read_global_type(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__global_type type = {0};

    type.value_type = wrt__read_value_type(reader);
    type.is_mutable = wrt__read_byte(reader);
    if (type.is_mutable > 1) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed mutability at byte {0}",
                         reader->at - 1, 0);
    }
    if (wrt__is_reference_type((uint8_t)type.value_type)) {
        loader->module.usage.features |= WRT_FEATURE_REFERENCE_TYPES;
    }
    return type;
}

void wrt__read_globals(wrt__loader *loader)
{
    wrt__global_type *globals = loader->module.globals;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        wrt__global_type type = wrt__read_global_type(loader);
        type.initializer = wrt__read_constant(loader, (uint8_t)type.value_type);
        if (loader->is_building) globals[loader->seen[WRT_EXTERN_GLOBAL]] = type;
        loader->seen[WRT_EXTERN_GLOBAL]++;
    }
}

void wrt__read_start(wrt__loader *loader)
{
    const uint32_t start = loader->reader.at;
    const uint32_t function = wrt__read_u32(&loader->reader);

    loader->module.usage.start_function = function;
    if (!loader->is_building || wrt__failed(loader)) return;
    if (function >= loader->module.usage.function_count) {
        wrt__invalid(loader, "unknown function {1} at byte {0}", start, function);
        return;
    }
    const wrt_function_type type =
        wrt__function_type(&loader->module, wrt__function_type_index(&loader->module, function));
    if (type.parameter_count != 0 || type.result_count != 0) {
        wrt__invalid(loader, "start function {1} at byte {0} has parameters or results", start,
                     function);
    }
}

static void read_data_count(wrt__loader *loader)
{
    loader->data_announced = wrt__read_u32(&loader->reader);
    loader->has_data_count = true;
    loader->module.usage.features |= WRT_FEATURE_BULK_MEMORY;
}

static void read_custom(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    const wrt_name name = wrt__read_name(reader);

    if (name.size == 4 && memcmp(name.text, "name", 4) == 0) {
        loader->module.name_offset = reader->at;
        loader->module.name_size = reader->end - reader->at;
    }
    reader->at = reader->end;
}

static void read_contents(wrt__loader *loader, uint8_t section)
{
    wrt_module *module = &loader->module;

    switch (section) {
    case SECTION_CUSTOM:
        read_custom(loader);
        break;
    case SECTION_TYPE:
        wrt__read_types(loader);
        break;
    case SECTION_IMPORT:
        module->import_offset = loader->reader.at;
        wrt__read_imports(loader);
        break;
    case SECTION_FUNCTION:
        wrt__read_functions(loader);
        break;
    case SECTION_TABLE:
        wrt__read_tables(loader);
        break;
    case SECTION_MEMORY:
        wrt__read_memories(loader);
        break;
    case SECTION_GLOBAL:
        wrt__read_globals(loader);
        break;
    case SECTION_EXPORT:
        module->export_offset = loader->reader.at;
        wrt__read_exports(loader);
        break;
    case SECTION_START:
        wrt__read_start(loader);
        break;
    case SECTION_ELEMENT:
        wrt__read_elements(loader);
        break;
    case SECTION_DATA_COUNT:
        read_data_count(loader);
        break;
    case SECTION_CODE:
        module->code_offset = loader->reader.at;
        module->usage.code_bytes = loader->reader.end - loader->reader.at;
        wrt__read_code(loader);
        break;
    default:
        module->usage.data_bytes = loader->reader.end - loader->reader.at;
        wrt__read_data(loader);
        break;
    }
}

/* Reads one section; `place_inout` is the place in the prescribed order of the last one. */
static void read_section(wrt__loader *loader, uint8_t *place_inout)
{
    static const uint8_t places[SECTION_COUNT] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10};
    wrt__reader *reader = &loader->reader;
    const uint32_t start = reader->at;
    const uint32_t end = reader->end;
    const uint8_t section = wrt__read_byte(reader);

    if (section >= SECTION_COUNT) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed section id {1} at byte {0}", start,
                         section);
        return;
    }
    if (section != SECTION_CUSTOM) {
        if (places[section] <= *place_inout) {
            wrt__reader_fail(reader, WRT_ERR_MALFORMED,
                             "unexpected content at byte {0}: section {1} is out of order or "
                             "there twice",
                             start, section);
            return;
        }
        *place_inout = places[section];
    }
    const uint32_t bytes = wrt__read_count(reader);
    if (wrt__reader_failed(reader)) return;
    reader->end = reader->at + bytes;
    read_contents(loader, section);
    if (wrt__reader_failed(reader)) return;
    if (reader->at != reader->end) {
        wrt__malformed(reader, "section size mismatch at byte {0}");
        return;
    }
    reader->end = end;
}

/* Counts that sections tell of each other; a section that is not there has none. */
static void check_counts(wrt__loader *loader)
{
    if (wrt__failed(loader)) return;
    if (loader->bodies != loader->functions_declared) {
        wrt__malformed(&loader->reader,
                       "function and code section have inconsistent lengths; end at byte {0}");
    }
    if (loader->has_data_count && loader->data_announced != loader->module.usage.data_count) {
        wrt__malformed(&loader->reader,
                       "data count and data section have inconsistent lengths; end at byte {0}");
    }
}

static void walk(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    uint8_t place = 0;

    reader->at = 0;
    memset(loader->seen, 0, sizeof loader->seen);
    read_header(reader);
    while (reader->at < reader->end) read_section(loader, &place);
}

void wrt__measure(wrt__loader *loader)
{
    wrt_module_usage *usage = &loader->module.usage;

    usage->start_function = UINT32_MAX;
    walk(loader);
    check_counts(loader);
    usage->function_count = loader->seen[WRT_EXTERN_FUNCTION];
    usage->imported_function_count = usage->function_count - loader->functions_declared;
    usage->table_count = loader->seen[WRT_EXTERN_TABLE];
    usage->memory_count = loader->seen[WRT_EXTERN_MEMORY];
    usage->global_count = loader->seen[WRT_EXTERN_GLOBAL];
}

void wrt__build(wrt__loader *loader)
{
    loader->is_building = true;
    walk(loader);
}
