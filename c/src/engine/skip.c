/* Most immediates are a few numbers in LEB128, signed or not: skipping does not tell them apart. */
#include "skip.h"

#include "leb.h"
#include "opcodes.h"

static const uint8_t *skip_numbers(const uint8_t *bytes, uint32_t count)
{
    for (; count > 0; count--) bytes = wrt__skip_number(bytes);
    return bytes;
}

static const uint8_t *skip_immediates(const uint8_t *bytes, uint8_t immediate)
{
    switch (immediate) {
    case WRT__IMMEDIATE_NONE:
        return bytes;
    case WRT__IMMEDIATE_F32:
        return bytes + 4;
    case WRT__IMMEDIATE_F64:
        return bytes + 8;
    case WRT__IMMEDIATE_TYPES: {
        const wrt__unsigned count = wrt__read_unsigned(bytes);
        return count.next + count.value;
    }
    case WRT__IMMEDIATE_LABELS: {
        const wrt__unsigned count = wrt__read_unsigned(bytes);
        return skip_numbers(count.next, count.value + 1); /* the default label is one more */
    }
    case WRT__IMMEDIATE_TYPE_AND_TABLE:
    case WRT__IMMEDIATE_TABLE_AND_TABLE:
    case WRT__IMMEDIATE_ELEMENT_AND_TABLE:
    case WRT__IMMEDIATE_MEMORY_AND_MEMORY:
    case WRT__IMMEDIATE_DATA_AND_MEMORY:
    case WRT__IMMEDIATE_MEMARG_1:
    case WRT__IMMEDIATE_MEMARG_2:
    case WRT__IMMEDIATE_MEMARG_4:
    case WRT__IMMEDIATE_MEMARG_8:
        return skip_numbers(bytes, 2);
    default:
        return skip_numbers(bytes, 1);
    }
}

const uint8_t *wrt__skip_instruction(const uint8_t *pc)
{
    if (wrt__opcodes[*pc].immediate != WRT__IMMEDIATE_PREFIX) {
        return skip_immediates(pc + 1, wrt__opcodes[*pc].immediate);
    }
    const wrt__unsigned prefixed = wrt__read_unsigned(pc + 1);
    return skip_immediates(prefixed.next, wrt__opcodes[0x100 + prefixed.value].immediate);
}
