/* Validation of blocks, branches and calls; the branches leave their mark for the side table. */
#include "validator.h"

#include <string.h>

enum { BYTE_EMPTY_BLOCK = 0x40 };

/* A block type is empty, one value type (which then stands there as a list of one), or an index. */
static wrt__type read_block_type(wrt__validator *validator)
{
    wrt__reader *reader = validator->reader;
    const uint32_t start = reader->at;
    const uint8_t first = wrt__read_byte(reader);

    if (first == BYTE_EMPTY_BLOCK) return (wrt__type){0};
    if ((first & 0xC0) == 0x40) return (wrt__type){.results = start, .result_count = 1};
    reader->at = start;
    const uint64_t index = wrt__read_leb(reader, 33, true);
    if (index >= validator->loader->module.usage.type_count) {
        wrt__invalid_here(validator, "unknown type {1} of the block at byte {0}", (uint32_t)index);
        return (wrt__type){0};
    }
    return wrt__types(&validator->loader->module)[index];
}

static wrt__frame *push_frame(wrt__validator *validator, uint8_t kind, const wrt__type *type)
{
    wrt__frame *frame = &validator->frames[validator->depth++];

    *frame = (wrt__frame){.height = validator->height,
                          .parameters = type->parameters,
                          .results = type->results,
                          .parameter_count = type->parameter_count,
                          .result_count = type->result_count,
                          .kind = kind};
    validator->frame = frame;
    return frame;
}

void wrt__push_function_frame(wrt__validator *validator, const wrt__type *type)
{
    (void)push_frame(validator, WRT__FRAME_BLOCK, type);
}

static void enter_block(wrt__validator *validator, uint8_t kind)
{
    if (kind == WRT__FRAME_IF) (void)wrt__pop(validator, WRT_I32);
    const wrt__type type = read_block_type(validator);
    wrt__pop_types(validator, type.parameters, type.parameter_count);
    wrt__frame *frame = push_frame(validator, kind, &type);
    if (kind == WRT__FRAME_IF) {
        frame->entry = wrt__add_branch(validator, 0, 0);
    } else {
        frame->position = validator->reader->at;
        frame->instruction = validator->instruction + 1;
        frame->entry = validator->branch_count;
    }
    wrt__push_types(validator, type.parameters, type.parameter_count);
}

/* The results are there and nothing else is. */
static void pop_results(wrt__validator *validator)
{
    const wrt__frame *frame = validator->frame;

    wrt__pop_types(validator, frame->results, frame->result_count);
    if (validator->height != frame->height) {
        wrt__invalid_here(validator,
                          "type mismatch at byte {0}: values remain at the end of the "
                          "block",
                          0);
    }
}

/* The instruction behind the present one, which is one byte long. */
static wrt__target next_instruction(const wrt__validator *validator)
{
    return (wrt__target){validator->position + 1, validator->instruction + 1,
                         validator->branch_count};
}

static void enter_else(wrt__validator *validator)
{
    wrt__frame *frame = validator->frame;

    if (frame->kind != WRT__FRAME_IF) {
        wrt__reader_fail(validator->reader, WRT_ERR_MALFORMED, "else without if at byte {0}",
                         validator->position, 0);
        return;
    }
    pop_results(validator);
    wrt__chain_branch(validator, frame, wrt__add_branch(validator, 0, 0));
    const wrt__target target = next_instruction(validator);
    wrt__resolve_branch(validator, frame->entry, &target);
    frame->kind = WRT__FRAME_ELSE;
    frame->is_unreachable = false;
    validator->height = frame->height;
    wrt__push_types(validator, frame->parameters, frame->parameter_count);
}

/* Without `else`, what goes in must be what comes out. */
static void end_if_without_else(wrt__validator *validator, const wrt__frame *frame,
                                const wrt__target *target)
{
    const uint8_t *bytes = validator->reader->bytes;

    if (frame->parameter_count != frame->result_count ||
        memcmp(bytes + frame->parameters, bytes + frame->results, frame->result_count) != 0) {
        wrt__invalid_here(validator, "type mismatch at byte {0}: if without else", 0);
        return;
    }
    wrt__resolve_branch(validator, frame->entry, target);
}

/* Branches to a block land behind its `end`; those to the function, on it. */
static void leave_block(wrt__validator *validator)
{
    const wrt__frame *frame = validator->frame;
    const bool is_function = validator->depth == 1;
    wrt__target target = next_instruction(validator);

    pop_results(validator);
    if (wrt__reader_failed(validator->reader)) return;
    if (is_function) {
        target.position--;
        target.instruction--;
    }
    if (frame->kind == WRT__FRAME_IF) end_if_without_else(validator, frame, &target);
    wrt__resolve_chain(validator, frame, &target);
    validator->depth--;
    if (is_function) return;
    validator->frame--;
    wrt__push_types(validator, frame->results, frame->result_count);
}

/* The frame that a label means; NULL if there is none. */
static wrt__frame *read_label(wrt__validator *validator)
{
    const uint32_t label = wrt__read_u32(validator->reader);

    if (label >= validator->depth) {
        wrt__invalid_here(validator, "unknown label {1} at byte {0}", label);
        return NULL;
    }
    return validator->frame - label;
}

/* Types of the values that a branch to the frame takes along. */
static uint32_t label_types(const wrt__frame *frame, uint32_t *count_out)
{
    if (frame->kind == WRT__FRAME_LOOP) {
        *count_out = frame->parameter_count;
        return frame->parameters;
    }
    *count_out = frame->result_count;
    return frame->results;
}

/* Notes a branch that keeps the top of the stack, which has been checked but is still there. */
static void add_branch_to(wrt__validator *validator, wrt__frame *frame, uint32_t keep)
{
    const bool nothing_drops = validator->frame->is_unreachable || frame == &validator->frames[0];
    const uint32_t drop = nothing_drops ? 0 : validator->height - keep - frame->height;
    const uint32_t branch = wrt__add_branch(validator, drop, keep);

    if (frame->kind == WRT__FRAME_LOOP) {
        const wrt__target target = {frame->position, frame->instruction, frame->entry};
        wrt__resolve_branch(validator, branch, &target);
    } else {
        wrt__chain_branch(validator, frame, branch);
    }
}

static void branch_always(wrt__validator *validator)
{
    wrt__frame *frame = read_label(validator);
    uint32_t count;

    if (frame == NULL) return;
    const uint32_t types = label_types(frame, &count);
    wrt__check_types(validator, types, count);
    if (wrt__reader_failed(validator->reader)) return;
    add_branch_to(validator, frame, count);
    wrt__set_unreachable(validator);
}

static void branch_if(wrt__validator *validator)
{
    wrt__frame *frame = read_label(validator);
    uint32_t count;

    if (frame == NULL) return;
    const uint32_t types = label_types(frame, &count);
    (void)wrt__pop(validator, WRT_I32);
    wrt__check_types(validator, types, count);
    if (wrt__reader_failed(validator->reader)) return;
    add_branch_to(validator, frame, count);
    wrt__pop_types(validator, types, count); /* unknown types become known by this */
    wrt__push_types(validator, types, count);
}

static void branch_by_table(wrt__validator *validator)
{
    wrt__reader *reader = validator->reader;
    uint32_t first_count = 0;

    (void)wrt__pop(validator, WRT_I32);
    const uint32_t labels = wrt__read_count(reader);
    for (uint32_t i = 0; i <= labels && !wrt__reader_failed(reader); i++) {
        wrt__frame *frame = read_label(validator);
        uint32_t count;
        if (frame == NULL) return;
        const uint32_t types = label_types(frame, &count);
        if (i == 0) first_count = count;
        if (count != first_count) {
            wrt__invalid_here(validator,
                              "type mismatch at byte {0}: label {1} takes another number"
                              " of values than those before",
                              i);
        }
        wrt__check_types(validator, types, count);
        if (wrt__reader_failed(reader)) return;
        add_branch_to(validator, frame, count);
    }
    wrt__set_unreachable(validator);
}

static void return_from_function(wrt__validator *validator)
{
    wrt__frame *function = &validator->frames[0];

    wrt__check_types(validator, function->results, function->result_count);
    if (wrt__reader_failed(validator->reader)) return;
    add_branch_to(validator, function, function->result_count);
    wrt__set_unreachable(validator);
}

static void apply_type(wrt__validator *validator, uint32_t index)
{
    const wrt__type *type = &wrt__types(&validator->loader->module)[index];

    wrt__pop_types(validator, type->parameters, type->parameter_count);
    wrt__push_types(validator, type->results, type->result_count);
}

static void call(wrt__validator *validator)
{
    const wrt_module *module = &validator->loader->module;
    const uint32_t function = wrt__read_u32(validator->reader);

    if (function >= module->usage.function_count) {
        wrt__invalid_here(validator, "unknown function {1} at byte {0}", function);
        return;
    }
    apply_type(validator, wrt__function_type_index(module, function));
}

static void call_indirect(wrt__validator *validator)
{
    const wrt_module *module = &validator->loader->module;
    const uint32_t type = wrt__read_u32(validator->reader);
    const uint32_t table = wrt__read_u32(validator->reader);

    if (table >= module->usage.table_count) {
        wrt__invalid_here(validator, "unknown table {1} at byte {0}", table);
    } else if (wrt__tables(module)[table].element_type != WRT_FUNCREF) {
        wrt__invalid_here(validator, "type mismatch at byte {0}: table {1} holds no functions",
                          table);
    } else if (type >= module->usage.type_count) {
        wrt__invalid_here(validator, "unknown type {1} at byte {0}", type);
    } else {
        (void)wrt__pop(validator, WRT_I32);
        apply_type(validator, type);
    }
}

bool wrt__validate_control(wrt__validator *validator, uint32_t opcode)
{
    switch (opcode) {
    case WRT__OP_UNREACHABLE:
        wrt__set_unreachable(validator);
        return true;
    case WRT__OP_BLOCK:
        enter_block(validator, WRT__FRAME_BLOCK);
        return true;
    case WRT__OP_LOOP:
        enter_block(validator, WRT__FRAME_LOOP);
        return true;
    case WRT__OP_IF:
        enter_block(validator, WRT__FRAME_IF);
        return true;
    case WRT__OP_ELSE:
        enter_else(validator);
        return true;
    case WRT__OP_END:
        leave_block(validator);
        return true;
    case WRT__OP_BR:
        branch_always(validator);
        return true;
    case WRT__OP_BR_IF:
        branch_if(validator);
        return true;
    case WRT__OP_BR_TABLE:
        branch_by_table(validator);
        return true;
    case WRT__OP_RETURN:
        return_from_function(validator);
        return true;
    case WRT__OP_CALL:
        call(validator);
        return true;
    case WRT__OP_CALL_INDIRECT:
        call_indirect(validator);
        return true;
    default:
        return false;
    }
}
