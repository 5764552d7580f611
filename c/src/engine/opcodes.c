#include "opcodes.h"

enum {
    FEATURE_CORE = 0,
    FEATURE_SIGN_EXTENSION = WRT_FEATURE_SIGN_EXTENSION,
    FEATURE_SATURATING_CONVERSION = WRT_FEATURE_SATURATING_CONVERSION,
    FEATURE_BULK_MEMORY = WRT_FEATURE_BULK_MEMORY,
    FEATURE_REFERENCE_TYPES = WRT_FEATURE_REFERENCE_TYPES
};

enum { SIMD_PREFIX = 0xFD };

#define SPECIAL "*"
#define OPCODE(code, identifier, text, immediates, takes, gives, traps, feature, ...)              \
    [code] = {takes, gives, WRT__IMMEDIATE_##immediates, FEATURE_##feature},
#define OPCODE_FC(code, identifier, text, immediates, takes, gives, traps, feature, ...)           \
    [0x100 + (code)] = {takes, gives, WRT__IMMEDIATE_##immediates, FEATURE_##feature},

const wrt__opcode wrt__opcodes[WRT__OP_COUNT] = {
#include "opcodes.inc"
};

static uint32_t read_prefixed(wrt__reader *reader, uint32_t start)
{
    const uint32_t code = wrt__read_u32(reader);

    if (code < WRT__OP_COUNT - 0x100) return 0x100 + code;
    wrt__reader_fail(reader, WRT_ERR_MALFORMED, "illegal opcode 0xFC {1} at byte {0}", start, code);
    return WRT__OP_NOP;
}

uint32_t wrt__read_rare_opcode(wrt__reader *reader)
{
    const uint32_t start = reader->at;
    const uint32_t code = wrt__read_byte(reader);

    if (code == WRT__OP_PREFIX) return read_prefixed(reader, start);
    if (code == SIMD_PREFIX) {
        wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED, "SIMD instruction at byte {0}", start, 0);
    } else {
        wrt__reader_fail(reader, WRT_ERR_MALFORMED, "illegal opcode {1} at byte {0}", start, code);
    }
    return WRT__OP_NOP;
}
