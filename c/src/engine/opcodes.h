/* Internal: opcodes by number, and a table of what opcodes.inc says about each. One behind the
 * prefix 0xFC has the number 0x100 and more. */
#ifndef WRT_ENGINE_OPCODES_H
#define WRT_ENGINE_OPCODES_H

#include "reader.h"

enum wrt__opcode_number {
#define OPCODE(code, identifier, ...)    WRT__OP_##identifier = (code),
#define OPCODE_FC(code, identifier, ...) WRT__OP_##identifier = 0x100 + (code),
#include "opcodes.inc"
#undef OPCODE
#undef OPCODE_FC
    WRT__OP_COUNT /* the one behind the last */
};

/* What follows an opcode. */
enum wrt__immediate {
    WRT__IMMEDIATE_ILLEGAL, /* there is no such opcode */
    WRT__IMMEDIATE_PREFIX,  /* another opcode: up to here, wrt__read_opcode must look closer */
    WRT__IMMEDIATE_NONE,
    WRT__IMMEDIATE_BLOCK_TYPE,
    WRT__IMMEDIATE_LABEL,
    WRT__IMMEDIATE_LABELS,
    WRT__IMMEDIATE_FUNCTION,
    WRT__IMMEDIATE_FUNCTION_REFERENCE,
    WRT__IMMEDIATE_TYPE_AND_TABLE,
    WRT__IMMEDIATE_TYPES,
    WRT__IMMEDIATE_REFERENCE_TYPE,
    WRT__IMMEDIATE_LOCAL,
    WRT__IMMEDIATE_GLOBAL,
    WRT__IMMEDIATE_TABLE,
    WRT__IMMEDIATE_TABLE_AND_TABLE,
    WRT__IMMEDIATE_ELEMENT,
    WRT__IMMEDIATE_ELEMENT_AND_TABLE,
    WRT__IMMEDIATE_MEMORY,
    WRT__IMMEDIATE_MEMORY_AND_MEMORY,
    WRT__IMMEDIATE_DATA,
    WRT__IMMEDIATE_DATA_AND_MEMORY,
    WRT__IMMEDIATE_MEMARG_1,
    WRT__IMMEDIATE_MEMARG_2,
    WRT__IMMEDIATE_MEMARG_4,
    WRT__IMMEDIATE_MEMARG_8,
    WRT__IMMEDIATE_I32,
    WRT__IMMEDIATE_I64,
    WRT__IMMEDIATE_F32,
    WRT__IMMEDIATE_F64
};

enum { WRT__SPECIAL = '*' }; /* first letter of `takes` if the types depend on the context */

typedef struct wrt__opcode {
    char takes[4]; /* a letter a value, as in opcodes.inc */
    char gives[2];
    uint8_t immediate; /* of wrt__immediate */
    uint8_t feature;   /* of wrt_feature, 0 for WebAssembly 1.0 */
} wrt__opcode;

extern const wrt__opcode wrt__opcodes[WRT__OP_COUNT];

/* The same for an opcode behind a prefix, for one that there is not, and at the end. */
uint32_t wrt__read_rare_opcode(wrt__reader *reader);

/* Reads an opcode, prefix and all; fails on one that there is not. */
static inline uint32_t wrt__read_opcode(wrt__reader *reader)
{
    if (reader->at < reader->end) {
        const uint8_t code = reader->bytes[reader->at];
        if (wrt__opcodes[code].immediate > WRT__IMMEDIATE_PREFIX) {
            reader->at++;
            return code;
        }
    }
    return wrt__read_rare_opcode(reader);
}

#endif
