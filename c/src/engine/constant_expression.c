/* Constant expressions: initial values of globals, offsets of segments, items of element segments.
 * What counts as constant is little, so they are checked apart from function bodies. */
#include "loader.h"

/* Type of global `index` in a constant expression: imported and immutable ones only. */
static uint8_t constant_global(wrt__loader *loader, uint32_t index, uint32_t offset)
{
    const wrt__global_type *globals = wrt__globals(&loader->module);

    if (index >= loader->module.imported_global_count) {
        wrt__invalid(loader, "unknown global {1} at byte {0} of a constant expression", offset,
                     index);
        return 0;
    }
    if (globals[index].is_mutable != 0) {
        wrt__invalid(loader, "constant expression required: global {1} at byte {0} is mutable",
                     offset, index);
    }
    return (uint8_t)globals[index].value_type;
}

/* Reads one instruction behind its opcode; answers the type of its value. */
static uint8_t read_constant_instruction(wrt__loader *loader, uint32_t opcode, uint32_t offset)
{
    wrt__reader *reader = &loader->reader;
    uint32_t index;

    switch (opcode) {
    case WRT__OP_I32_CONST:
        wrt__skip_signed(reader, 32);
        return WRT_I32;
    case WRT__OP_I64_CONST:
        wrt__skip_signed(reader, 64);
        return WRT_I64;
    case WRT__OP_F32_CONST:
        wrt__skip_bytes(reader, 4);
        return WRT_F32;
    case WRT__OP_F64_CONST:
        wrt__skip_bytes(reader, 8);
        return WRT_F64;
    case WRT__OP_REF_NULL:
        return wrt__read_reference_type(reader);
    case WRT__OP_REF_FUNC:
        index = wrt__read_u32(reader);
        wrt__declare_function(loader, index, offset);
        return WRT_FUNCREF;
    case WRT__OP_GLOBAL_GET:
        index = wrt__read_u32(reader);
        return constant_global(loader, index, offset);
    default:
        wrt__invalid(loader, "constant expression required at byte {0}", offset, 0);
        return 0;
    }
}

static void check_constant(wrt__loader *loader, uint8_t type)
{
    wrt__reader *reader = &loader->reader;
    const uint32_t start = reader->at;
    uint32_t values = 0;
    uint8_t given = 0;

    while (!wrt__failed(loader)) {
        const uint32_t offset = reader->at;
        const uint32_t opcode = wrt__read_opcode(reader);
        if (opcode == WRT__OP_END) break;
        given = read_constant_instruction(loader, opcode, offset);
        values++;
    }
    if (values != 1 || given != type) {
        wrt__invalid(loader, "type mismatch in the constant expression at byte {0}", start, 0);
    }
}

uint32_t wrt__read_constant(wrt__loader *loader, uint8_t type)
{
    const uint32_t start = loader->reader.at;

    if (loader->is_building) {
        check_constant(loader, type);
    } else {
        wrt__scan_constant(loader);
    }
    return start;
}

void wrt__declare_function(wrt__loader *loader, uint32_t function, uint32_t offset)
{
    if (wrt__failed(loader)) return;
    if (function >= loader->module.usage.function_count) {
        wrt__invalid(loader, "unknown function {1} at byte {0}", offset, function);
        return;
    }
    loader->declared[function / 32] |= UINT32_C(1) << (function % 32);
}

bool wrt__is_declared(const wrt__loader *loader, uint32_t function)
{
    return (loader->declared[function / 32] >> (function % 32) & 1) != 0;
}
