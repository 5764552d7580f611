/* The sections of element segments, code and data segments. */
#include "loader.h"

enum {
    ELEMENT_IS_NOT_ACTIVE = 1,
    ELEMENT_HAS_INDEX = 2, /* of its table; declarative, if it is not active */
    ELEMENT_HAS_EXPRESSIONS = 4,
    ELEMENT_FLAGS_MAX = 7,
    ELEMENT_KIND_FUNCTION = 0
};

enum { DATA_PASSIVE = 1, DATA_HAS_INDEX = 2, DATA_FLAGS_MAX = 2 };

static uint32_t element_mode(uint32_t flags)
{
    if ((flags & ELEMENT_IS_NOT_ACTIVE) == 0) return WRT__ACTIVE;
    return (flags & ELEMENT_HAS_INDEX) != 0 ? WRT__DECLARATIVE : WRT__PASSIVE;
}

/* Forms 0 and 4 leave the type out; forms with indices tell a kind instead. */
static uint16_t read_element_type(wrt__reader *reader, uint32_t flags)
{
    if ((flags & (ELEMENT_IS_NOT_ACTIVE | ELEMENT_HAS_INDEX)) == 0) return WRT_FUNCREF;
    if ((flags & ELEMENT_HAS_EXPRESSIONS) != 0) return wrt__read_reference_type(reader);
    if (wrt__read_byte(reader) != ELEMENT_KIND_FUNCTION) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed element kind at byte {0}",
                         reader->at - 1, 0);
    }
    return WRT_FUNCREF;
}

static void read_items(wrt__loader *loader, wrt__element_segment *segment)
{
    wrt__reader *reader = &loader->reader;

    segment->count = wrt__read_count(reader);
    segment->items = reader->at;
    for (uint32_t i = 0; i < segment->count && !wrt__failed(loader); i++) {
        const uint32_t start = reader->at;
        if (segment->has_expressions != 0) {
            wrt__read_constant(loader, (uint8_t)segment->element_type);
            continue;
        }
        const uint32_t function = wrt__read_u32(reader);
        if (loader->is_building) wrt__declare_function(loader, function, start);
    }
}

static void check_element_table(wrt__loader *loader, const wrt__element_segment *segment,
                                uint32_t start)
{
    if (segment->mode != WRT__ACTIVE) return;
    if (segment->table >= loader->module.usage.table_count) {
        wrt__invalid(loader, "unknown table {1} of the element segment at byte {0}", start,
                     segment->table);
        return;
    }
    if (wrt__tables(&loader->module)[segment->table].element_type != segment->element_type) {
        wrt__invalid(loader, "type mismatch of table {1} and the element segment at byte {0}",
                     start, segment->table);
    }
}

static wrt__element_segment read_element(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__element_segment segment = {0};
    const uint32_t start = reader->at;
    const uint32_t flags = wrt__read_u32(reader);

    if (flags > ELEMENT_FLAGS_MAX) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED,
                         "malformed elements segment kind {1} at byte {0}", start, flags);
        return segment;
    }
    if (flags != 0) {
        loader->module.usage.features |= WRT_FEATURE_BULK_MEMORY;
        if (flags >= ELEMENT_HAS_EXPRESSIONS) {
            loader->module.usage.features |= WRT_FEATURE_REFERENCE_TYPES;
        }
    }
    segment.mode = element_mode(flags);
    segment.has_expressions = (flags & ELEMENT_HAS_EXPRESSIONS) != 0;
    if (segment.mode == WRT__ACTIVE) {
        if ((flags & ELEMENT_HAS_INDEX) != 0) segment.table = wrt__read_u32(reader);
        segment.offset = wrt__read_constant(loader, WRT_I32);
    }
    segment.element_type = read_element_type(reader, flags);
    if (loader->is_building && !wrt__failed(loader)) check_element_table(loader, &segment, start);
    read_items(loader, &segment);
    return segment;
}

void wrt__read_elements(wrt__loader *loader)
{
    wrt__element_segment *elements = loader->module.elements;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        const wrt__element_segment segment = read_element(loader);
        if (loader->is_building) elements[i] = segment;
    }
    loader->module.usage.element_count = count;
}

static wrt__data_segment read_data(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__data_segment segment = {0};
    const uint32_t start = reader->at;
    const uint32_t flags = wrt__read_u32(reader);
    uint32_t memory = 0;

    if (flags > DATA_FLAGS_MAX) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed data segment kind {1} at byte {0}",
                         start, flags);
        return segment;
    }
    if (flags != 0) loader->module.usage.features |= WRT_FEATURE_BULK_MEMORY;
    segment.mode = flags == DATA_PASSIVE ? WRT__PASSIVE : WRT__ACTIVE;
    if (segment.mode == WRT__ACTIVE) {
        if (flags == DATA_HAS_INDEX) memory = wrt__read_u32(reader);
        if (loader->is_building && memory >= loader->module.usage.memory_count) {
            wrt__invalid(loader, "unknown memory {1} of the data segment at byte {0}", start,
                         memory);
            return segment;
        }
        segment.offset = wrt__read_constant(loader, WRT_I32);
    }
    segment.size = wrt__read_count(reader);
    segment.bytes = reader->at;
    wrt__skip_bytes(reader, segment.size);
    return segment;
}

void wrt__read_data(wrt__loader *loader)
{
    wrt__data_segment *data = loader->module.data;
    const uint32_t count = wrt__read_count(&loader->reader);

    for (uint32_t i = 0; i < count && !wrt__failed(loader); i++) {
        const wrt__data_segment segment = read_data(loader);
        if (loader->is_building) data[i] = segment;
    }
    loader->module.usage.data_count = count;
}

void wrt__read_code(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__code *codes = loader->module.functions;
    const uint32_t end = reader->end;
    const uint32_t start = reader->at;

    loader->bodies = wrt__read_count(reader);
    if (loader->bodies != loader->functions_declared) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED,
                         "function and code section have inconsistent lengths: {1} bodies at "
                         "byte {0}",
                         start, loader->bodies);
    }
    for (uint32_t i = 0; i < loader->bodies && !wrt__failed(loader); i++) {
        const uint32_t bytes = wrt__read_count(reader);
        if (wrt__failed(loader)) return;
        reader->end = reader->at + bytes;
        if (loader->is_building) {
            wrt__validate_function(loader, &codes[i]);
        } else {
            wrt__scan_function(loader);
        }
        if (wrt__failed(loader)) return;
        reader->end = end;
    }
}
