/* The first look at code: decodes every instruction, in constant memory, and adds up what the
 * validator will need. Depth of nesting and side-table entries come out exactly. Types are not
 * known here, so the height of the stack is bounded by what the instructions push, dead code
 * included; instructions whose types depend on the context push at most what the largest type of
 * the module has. */
#include "loader.h"

enum {
    BYTE_EMPTY_BLOCK = 0x40,
    MEMARG_FLAG = 32,               /* an alignment as large as this and more is not one */
    FUNCTION_BYTES_MAX = INT32_MAX, /* distances of long branches are signed */
    SHORT_DISTANCE_MAX = INT16_MAX,
    SHORT_ENTRIES_MAX = 2047
};

typedef struct tally {
    uint64_t entries;
    uint64_t branches; /* entries of br, br_if and br_table: those may have to drop values */
    uint64_t instructions;
    uint64_t pushes; /* of instructions that push the same everywhere */
    uint64_t ends;
    uint64_t conditional_branches;
    uint64_t typed_blocks; /* those with a type index */
    uint64_t calls;
    uint32_t depth;
    uint32_t depth_max;
} tally;

static uint64_t larger(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

static void skip_block_type(wrt__loader *loader, tally *sums)
{
    wrt__reader *reader = &loader->reader;
    const uint32_t start = reader->at;
    const uint8_t first = wrt__read_byte(reader);

    if (first == BYTE_EMPTY_BLOCK) return;
    reader->at = start;
    if ((first & 0xC0) == 0x40) { /* a negative number of one byte */
        wrt__read_value_type(reader);
        return;
    }
    if ((wrt__read_leb(reader, 33, true) >> 63) != 0) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed block type at byte {0}", start, 0);
    }
    sums->typed_blocks++;
    loader->module.usage.features |= WRT_FEATURE_MULTI_VALUE;
}

static void skip_labels(wrt__reader *reader, tally *sums)
{
    const uint32_t count = wrt__read_count(reader);

    for (uint32_t i = 0; i < count && !wrt__reader_failed(reader); i++) wrt__read_u32(reader);
    wrt__read_u32(reader);
    sums->entries += count;
    sums->branches += count;
}

static void skip_value_types(wrt__reader *reader)
{
    const uint32_t count = wrt__read_count(reader);

    for (uint32_t i = 0; i < count && !wrt__reader_failed(reader); i++)
        wrt__read_value_type(reader);
}

/* Alignment, as a power of two, and offset. */
static void skip_memarg(wrt__reader *reader)
{
    const uint32_t start = reader->at;

    if (wrt__read_u32(reader) >= MEMARG_FLAG) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "malformed memop flags at byte {0}", start, 0);
    }
    wrt__read_u32(reader);
}

/* Where more than one memory would be named. */
static void skip_zero(wrt__reader *reader)
{
    if (wrt__read_byte(reader) != 0) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "zero byte expected at byte {0}",
                         reader->at - 1, 0);
    }
}

static void skip_data_index(wrt__loader *loader)
{
    if (!loader->has_data_count) {
        wrt__malformed(&loader->reader, "data count section required by the instruction before "
                                        "byte {0}");
    }
    wrt__read_u32(&loader->reader);
}

static void skip_call_indirect(wrt__loader *loader)
{
    wrt__read_u32(&loader->reader);
    if (wrt__read_u32(&loader->reader) != 0) {
        loader->module.usage.features |= WRT_FEATURE_REFERENCE_TYPES;
    }
}

static void skip_immediates(wrt__loader *loader, uint8_t immediate, tally *sums)
{
    wrt__reader *reader = &loader->reader;

    switch (immediate) {
    case WRT__IMMEDIATE_NONE:
        break;
    case WRT__IMMEDIATE_BLOCK_TYPE:
        skip_block_type(loader, sums);
        break;
    case WRT__IMMEDIATE_LABELS:
        skip_labels(reader, sums);
        break;
    case WRT__IMMEDIATE_TYPE_AND_TABLE:
        skip_call_indirect(loader);
        break;
    case WRT__IMMEDIATE_TYPES:
        skip_value_types(reader);
        break;
    case WRT__IMMEDIATE_REFERENCE_TYPE:
        wrt__read_reference_type(reader);
        break;
    case WRT__IMMEDIATE_MEMORY:
        skip_zero(reader);
        break;
    case WRT__IMMEDIATE_MEMORY_AND_MEMORY:
        skip_zero(reader);
        skip_zero(reader);
        break;
    case WRT__IMMEDIATE_DATA:
        skip_data_index(loader);
        break;
    case WRT__IMMEDIATE_DATA_AND_MEMORY:
        skip_data_index(loader);
        skip_zero(reader);
        break;
    case WRT__IMMEDIATE_I32:
        wrt__skip_signed(reader, 32);
        break;
    case WRT__IMMEDIATE_I64:
        wrt__skip_signed(reader, 64);
        break;
    case WRT__IMMEDIATE_F32:
        wrt__skip_bytes(reader, 4);
        break;
    case WRT__IMMEDIATE_F64:
        wrt__skip_bytes(reader, 8);
        break;
    case WRT__IMMEDIATE_MEMARG_1:
    case WRT__IMMEDIATE_MEMARG_2:
    case WRT__IMMEDIATE_MEMARG_4:
    case WRT__IMMEDIATE_MEMARG_8:
        skip_memarg(reader);
        break;
    case WRT__IMMEDIATE_ELEMENT_AND_TABLE:
    case WRT__IMMEDIATE_TABLE_AND_TABLE:
        wrt__read_u32(reader);
        wrt__read_u32(reader);
        break;
    default:
        wrt__read_u32(reader);
        break; /* one index */
    }
}

static void count_special(uint32_t opcode, tally *sums)
{
    switch (opcode) {
    case WRT__OP_BLOCK:
    case WRT__OP_LOOP:
    case WRT__OP_IF:
        sums->entries += opcode == WRT__OP_IF;
        sums->depth++;
        if (sums->depth_max < sums->depth) sums->depth_max = sums->depth;
        break;
    case WRT__OP_ELSE:
        sums->entries++; /* what it pushes, `if` has pushed before */
        break;
    case WRT__OP_END:
        sums->ends++;
        sums->depth--;
        break;
    case WRT__OP_BR:
    case WRT__OP_BR_IF:
    case WRT__OP_BR_TABLE: /* its default */
        sums->entries++;
        sums->branches++;
        sums->conditional_branches += opcode == WRT__OP_BR_IF;
        break;
    case WRT__OP_RETURN:
        sums->entries++;
        break;
    case WRT__OP_CALL:
    case WRT__OP_CALL_INDIRECT:
        sums->calls++;
        break;
    default:
        sums->pushes++;
        break; /* no other pushes more than one */
    }
}

/* Decodes up to the `end` that belongs to where we are. */
static void scan_expression(wrt__loader *loader, tally *sums)
{
    wrt__reader *reader = &loader->reader;

    sums->depth = 1;
    sums->depth_max = 1;
    while (sums->depth != 0 && !wrt__reader_failed(reader)) {
        const uint32_t number = wrt__read_opcode(reader);
        const wrt__opcode *opcode = &wrt__opcodes[number];
        skip_immediates(loader, opcode->immediate, sums);
        loader->module.usage.features |= opcode->feature;
        sums->instructions++;
        if (opcode->takes[0] == WRT__SPECIAL) {
            count_special(number, sums);
        } else {
            sums->pushes += opcode->gives[0] != '\0';
        }
    }
}

/* Values that the function can have pushed at most, with no operand ever taken away. */
static uint64_t pushes_at_most(const wrt__figures *figures, const tally *sums)
{
    const uint64_t results = figures->results_max;
    const uint64_t parameters = sums->typed_blocks != 0 ? figures->parameters_max : 0;
    const uint64_t block_results = sums->typed_blocks != 0 ? larger(results, 1) : 1;
    const uint64_t label_types = larger(larger(parameters, results), 1);

    return sums->pushes + sums->typed_blocks * parameters + sums->ends * block_results +
           sums->conditional_branches * label_types + sums->calls * results;
}

/* In a small function every distance fits a side-table entry, and only the values that have to be
 * dropped can make a branch long. */
static bool distances_are_short(const tally *sums, uint32_t bytes)
{
    return bytes <= SHORT_DISTANCE_MAX && sums->instructions <= SHORT_DISTANCE_MAX &&
           sums->entries <= SHORT_ENTRIES_MAX;
}

static uint32_t scan_locals(wrt__reader *reader)
{
    const uint32_t start = reader->at;
    const uint32_t groups = wrt__read_count(reader);
    uint64_t locals = 0;

    for (uint32_t i = 0; i < groups && !wrt__reader_failed(reader); i++) {
        locals += wrt__read_u32(reader);
        wrt__read_value_type(reader);
    }
    if (wrt__reader_failed(reader)) return 0;
    if (locals > UINT32_MAX) {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "too many locals at byte {0}: {1}", start,
                         locals);
    } else if (locals > WRT_MODULE_LOCAL_MAX) {
        wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED,
                         "function at byte {0} has {1} locals, more than this engine takes", start,
                         locals);
    }
    return (uint32_t)locals;
}

void wrt__scan_function(wrt__loader *loader)
{
    wrt__reader *reader = &loader->reader;
    wrt__figures *figures = &loader->figures;
    const uint32_t bytes = reader->end - reader->at;
    tally sums = {0};

    if (bytes > FUNCTION_BYTES_MAX) {
        wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED,
                         "function at byte {0} has {1} bytes, more than this engine takes",
                         reader->at, bytes);
        return;
    }
    const uint32_t locals = scan_locals(reader);
    scan_expression(loader, &sums);
    if (wrt__reader_failed(reader)) return;
    if (reader->at != reader->end) {
        wrt__malformed(reader, "END opcode expected at the end of the function, not at byte {0}");
        return;
    }

    const uint64_t pushes = pushes_at_most(figures, &sums);
    const uint64_t operands = pushes < WRT_MODULE_STACK_MAX ? pushes : WRT_MODULE_STACK_MAX;
    const uint64_t values = figures->parameters_max + locals + operands;
    figures->entries += sums.entries;
    figures->long_entries += distances_are_short(&sums, bytes) ? sums.branches : sums.entries;
    if (figures->entries_max < sums.entries) figures->entries_max = (uint32_t)sums.entries;
    if (figures->depth_max < sums.depth_max) figures->depth_max = sums.depth_max;
    if (figures->values_max < values) figures->values_max = (uint32_t)values;
}

void wrt__scan_constant(wrt__loader *loader)
{
    tally sums = {0};

    scan_expression(loader, &sums);
}
