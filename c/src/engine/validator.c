/* Validates a function body and writes its part of the side table: the instructions one after the
 * other, most of them by the letters of opcodes.inc. The first pass has decoded them all. */
#include "validator.h"

static uint8_t type_of_letter(char letter)
{
    switch (letter) {
    case 'i':
        return WRT_I32;
    case 'I':
        return WRT_I64;
    case 'f':
        return WRT_F32;
    default:
        return WRT_F64;
    }
}

static void apply_letters(wrt__validator *validator, const wrt__opcode *opcode)
{
    uint32_t count = 0;

    while (count < sizeof opcode->takes && opcode->takes[count] != '\0') count++;
    while (count > 0) (void)wrt__pop(validator, type_of_letter(opcode->takes[--count]));
    if (opcode->gives[0] != '\0') wrt__push(validator, type_of_letter(opcode->gives[0]));
}

static void require_memory(wrt__validator *validator)
{
    if (validator->loader->module.usage.memory_count == 0) {
        wrt__invalid_here(validator, "unknown memory 0 at byte {0}", 0);
    }
}

static void read_memarg(wrt__validator *validator, uint32_t alignment_max)
{
    const uint32_t alignment = wrt__read_u32(validator->reader);

    wrt__read_u32(validator->reader);
    require_memory(validator);
    if (alignment > alignment_max) {
        wrt__invalid_here(validator,
                          "alignment must not be larger than natural at byte {0}: 2 to "
                          "the power of {1}",
                          alignment);
    }
}

static void read_data_index(wrt__validator *validator)
{
    const uint32_t index = wrt__read_u32(validator->reader);

    if (index >= validator->loader->data_announced) {
        wrt__invalid_here(validator, "unknown data segment {1} at byte {0}", index);
    }
}

/* The segment's type, or WRT__UNKNOWN_TYPE after a failure; so with tables below. */
static uint8_t read_element_index(wrt__validator *validator)
{
    const wrt_module *module = &validator->loader->module;
    const uint32_t index = wrt__read_u32(validator->reader);

    if (index < module->usage.element_count) {
        return (uint8_t)wrt__elements(module)[index].element_type;
    }
    wrt__invalid_here(validator, "unknown elem segment {1} at byte {0}", index);
    return WRT__UNKNOWN_TYPE;
}

static uint8_t read_table_index(wrt__validator *validator)
{
    const wrt_module *module = &validator->loader->module;
    const uint32_t index = wrt__read_u32(validator->reader);

    if (index < module->usage.table_count) {
        return (uint8_t)wrt__tables(module)[index].element_type;
    }
    wrt__invalid_here(validator, "unknown table {1} at byte {0}", index);
    return WRT__UNKNOWN_TYPE;
}

static void require_same_type(wrt__validator *validator, uint8_t one, uint8_t other)
{
    if (one != other) wrt__invalid_here(validator, "type mismatch at byte {0}: of references", 0);
}

/* What follows an opcode whose types do not depend on it. */
static void read_immediates(wrt__validator *validator, uint8_t immediate)
{
    wrt__reader *reader = validator->reader;
    uint8_t type;

    switch (immediate) {
    case WRT__IMMEDIATE_MEMARG_1:
        read_memarg(validator, 0);
        break;
    case WRT__IMMEDIATE_MEMARG_2:
        read_memarg(validator, 1);
        break;
    case WRT__IMMEDIATE_MEMARG_4:
        read_memarg(validator, 2);
        break;
    case WRT__IMMEDIATE_MEMARG_8:
        read_memarg(validator, 3);
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
    case WRT__IMMEDIATE_MEMORY:
        wrt__skip_bytes(reader, 1);
        require_memory(validator);
        break;
    case WRT__IMMEDIATE_MEMORY_AND_MEMORY:
        wrt__skip_bytes(reader, 2);
        require_memory(validator);
        break;
    case WRT__IMMEDIATE_DATA:
        read_data_index(validator);
        break;
    case WRT__IMMEDIATE_DATA_AND_MEMORY:
        require_memory(validator);
        read_data_index(validator);
        wrt__skip_bytes(reader, 1);
        break;
    case WRT__IMMEDIATE_ELEMENT:
        (void)read_element_index(validator);
        break;
    case WRT__IMMEDIATE_ELEMENT_AND_TABLE:
        type = read_element_index(validator);
        require_same_type(validator, type, read_table_index(validator));
        break;
    case WRT__IMMEDIATE_TABLE_AND_TABLE:
        type = read_table_index(validator);
        require_same_type(validator, type, read_table_index(validator));
        break;
    case WRT__IMMEDIATE_TABLE:
        (void)read_table_index(validator);
        break;
    default:
        break;
    }
}

static void validate_select(wrt__validator *validator)
{
    (void)wrt__pop(validator, WRT_I32);
    const uint8_t second = wrt__pop(validator, WRT__UNKNOWN_TYPE);
    const uint8_t first = wrt__pop(validator, second);
    if (wrt__is_reference_type(first) || wrt__is_reference_type(second)) {
        wrt__invalid_here(validator, "type mismatch at byte {0}: select of references needs a type",
                          0);
    }
    wrt__push(validator, first == WRT__UNKNOWN_TYPE ? second : first);
}

static void validate_typed_select(wrt__validator *validator)
{
    const uint32_t count = wrt__read_count(validator->reader);

    if (count != 1) {
        wrt__invalid_here(validator,
                          "invalid result arity at byte {0}: select gives one value, "
                          "not {1}",
                          count);
        return;
    }
    const uint8_t type = wrt__read_value_type(validator->reader);
    (void)wrt__pop(validator, WRT_I32);
    (void)wrt__pop(validator, type);
    (void)wrt__pop(validator, type);
    wrt__push(validator, type);
}

static void validate_local(wrt__validator *validator, uint32_t opcode)
{
    const uint32_t local = wrt__read_u32(validator->reader);

    if (local >= validator->code->local_count) {
        wrt__invalid_here(validator, "unknown local {1} at byte {0}", local);
        return;
    }
    const uint8_t type = *wrt__value(validator, local);
    if (opcode != WRT__OP_LOCAL_GET) (void)wrt__pop(validator, type);
    if (opcode != WRT__OP_LOCAL_SET) wrt__push(validator, type);
}

static void validate_global(wrt__validator *validator, uint32_t opcode)
{
    const wrt_module *module = &validator->loader->module;
    const uint32_t index = wrt__read_u32(validator->reader);

    if (index >= module->usage.global_count) {
        wrt__invalid_here(validator, "unknown global {1} at byte {0}", index);
        return;
    }
    const wrt__global_type *global = &wrt__globals(module)[index];
    if (opcode == WRT__OP_GLOBAL_GET) {
        wrt__push(validator, (uint8_t)global->value_type);
    } else if (global->is_mutable == 0) {
        wrt__invalid_here(validator, "global {1} is immutable, but set at byte {0}", index);
    } else {
        (void)wrt__pop(validator, (uint8_t)global->value_type);
    }
}

static void validate_reference_to_function(wrt__validator *validator)
{
    const wrt__loader *loader = validator->loader;
    const uint32_t function = wrt__read_u32(validator->reader);

    if (function >= loader->module.usage.function_count) {
        wrt__invalid_here(validator, "unknown function {1} at byte {0}", function);
    } else if (!wrt__is_declared(loader, function)) {
        wrt__invalid_here(validator, "undeclared function reference at byte {0}: function {1}",
                          function);
    } else {
        wrt__push(validator, WRT_FUNCREF);
    }
}

static void validate_is_null(wrt__validator *validator)
{
    const uint8_t type = wrt__pop(validator, WRT__UNKNOWN_TYPE);

    if (type != WRT__UNKNOWN_TYPE && !wrt__is_reference_type(type)) {
        wrt__invalid_here(validator, "type mismatch at byte {0}: a reference is expected", 0);
    }
    wrt__push(validator, WRT_I32);
}

static void validate_table(wrt__validator *validator, uint32_t opcode)
{
    const uint8_t type = read_table_index(validator);

    switch (opcode) {
    case WRT__OP_TABLE_GET:
        (void)wrt__pop(validator, WRT_I32);
        wrt__push(validator, type);
        break;
    case WRT__OP_TABLE_SET:
        (void)wrt__pop(validator, type);
        (void)wrt__pop(validator, WRT_I32);
        break;
    case WRT__OP_TABLE_GROW:
        (void)wrt__pop(validator, WRT_I32);
        (void)wrt__pop(validator, type);
        wrt__push(validator, WRT_I32);
        break;
    default: /* table.fill */
        (void)wrt__pop(validator, WRT_I32);
        (void)wrt__pop(validator, type);
        (void)wrt__pop(validator, WRT_I32);
        break;
    }
}

static void validate_special(wrt__validator *validator, uint32_t opcode)
{
    switch (opcode) {
    case WRT__OP_DROP:
        (void)wrt__pop(validator, WRT__UNKNOWN_TYPE);
        break;
    case WRT__OP_SELECT:
        validate_select(validator);
        break;
    case WRT__OP_SELECT_TYPED:
        validate_typed_select(validator);
        break;
    case WRT__OP_LOCAL_GET:
    case WRT__OP_LOCAL_SET:
    case WRT__OP_LOCAL_TEE:
        validate_local(validator, opcode);
        break;
    case WRT__OP_GLOBAL_GET:
    case WRT__OP_GLOBAL_SET:
        validate_global(validator, opcode);
        break;
    case WRT__OP_REF_NULL:
        wrt__push(validator, wrt__read_reference_type(validator->reader));
        break;
    case WRT__OP_REF_IS_NULL:
        validate_is_null(validator);
        break;
    case WRT__OP_REF_FUNC:
        validate_reference_to_function(validator);
        break;
    default:
        if (!wrt__validate_control(validator, opcode)) validate_table(validator, opcode);
        break;
    }
}

/* Types of parameters and locals, as if they had been pushed. */
static void push_locals(wrt__validator *validator, const wrt__type *type)
{
    wrt__reader *reader = validator->reader;

    wrt__push_types(validator, type->parameters, type->parameter_count);
    const uint32_t groups = wrt__read_count(reader);
    for (uint32_t i = 0; i < groups && !wrt__reader_failed(reader); i++) {
        const uint32_t count = wrt__read_u32(reader);
        const uint8_t local_type = wrt__read_value_type(reader);
        if (count > WRT_MODULE_LOCAL_MAX - validator->height) {
            wrt__reader_fail(reader, WRT_ERR_UNSUPPORTED,
                             "function at byte {0} has more than the {1} locals this engine takes",
                             validator->position, WRT_MODULE_LOCAL_MAX);
        }
        for (uint32_t j = 0; j < count && !wrt__reader_failed(reader); j++) {
            wrt__push(validator, local_type);
        }
    }
}

/* Values that the buffer has room for, in this function. */
static uint32_t value_room(const wrt__loader *loader)
{
    const uint8_t *low = loader->buffer + wrt__long_branches_end(loader, loader->long_branch_count);
    const ptrdiff_t room = loader->values_top - low;

    return room < INT32_MAX ? (uint32_t)room : INT32_MAX;
}

static void begin_function(wrt__validator *validator, const wrt__type *type)
{
    wrt__code *code = validator->code;

    validator->position = validator->reader->at;
    validator->height_limit = value_room(validator->loader);
    push_locals(validator, type);
    code->local_count = (uint16_t)validator->height;
    code->parameter_count = type->parameter_count;
    code->result_count = type->result_count;
    code->start = validator->reader->at;
    code->entry = validator->loader->entry_count;
    if (validator->height_limit - validator->height > WRT_MODULE_STACK_MAX) {
        validator->height_limit = validator->height + WRT_MODULE_STACK_MAX;
    }
    wrt__push_function_frame(validator, type);
}

static void end_function(wrt__validator *validator)
{
    wrt__loader *loader = validator->loader;
    wrt__code *code = validator->code;
    const size_t low = wrt__long_branches_end(loader, loader->long_branch_count);

    code->end = validator->position;
    code->instructions = validator->instruction;
    code->cells = validator->height_peak;
    (void)wrt__reserve(loader, (uint64_t)low + validator->height_peak + loader->scratch_bytes);
    wrt__write_side_table(validator);
}

void wrt__validate_function(wrt__loader *loader, wrt__code *code)
{
    wrt__reader *reader = &loader->reader;
    wrt__validator validator = {.loader = loader,
                                .reader = reader,
                                .code = code,
                                .values_top = loader->values_top,
                                .frames = loader->frames,
                                .branches = loader->branches};

    begin_function(&validator, &wrt__types(&loader->module)[code->type]);
    while (validator.depth != 0 && !wrt__reader_failed(reader)) {
        validator.position = reader->at;
        const uint32_t number = wrt__read_opcode(reader);
        const wrt__opcode *opcode = &wrt__opcodes[number];
        if (opcode->takes[0] == WRT__SPECIAL) {
            validate_special(&validator, number);
        } else {
            read_immediates(&validator, opcode->immediate);
            apply_letters(&validator, opcode);
        }
        validator.instruction++;
    }
    if (!wrt__reader_failed(reader)) end_function(&validator);
}
