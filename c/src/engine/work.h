/* Internal: the words in which opcodes.inc describes each opcode's work. They come on top of the
 * few that a form of the interpreter (dispatch_goto.h, dispatch_tail.h) provides:
 *
 *     DISPATCH        goes to the handler of the opcode at pc
 *     STOP(outcome)   writes the registers back and leaves; STOP_SAVED leaves without
 *     DISPATCH_PREFIXED(number)   goes to the handler of a prefixed opcode
 *     WRITE_BACK, READ_AGAIN     write the registers back; read them again
 *
 * In every handler pc is its opcode, `operands` its immediates, sp the first free cell, fp the
 * first local, memory the base of linear memory and x the execution. */
#ifndef WRT_ENGINE_WORK_H
#define WRT_ENGINE_WORK_H

#include "leb.h"
#include "opcodes.h"

enum { EMPTY_TYPE = 0x40 }; /* of a block: no parameters and no results */

typedef uint32_t cell_i32;
typedef uint64_t cell_i64;
typedef float cell_f32;
typedef double cell_f64;

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define NEXT_AT(place)                                                                             \
    do {                                                                                           \
        pc = (place);                                                                              \
        DISPATCH;                                                                                  \
    } while (0)
#define NEXT(length) NEXT_AT(pc + (length))

#define TRAP(why)                                                                                  \
    do {                                                                                           \
        x->trap.code = (why);                                                                      \
        STOP(WRT__TRAPPED);                                                                        \
    } while (0)
#define TRAP_IF(condition, why)                                                                    \
    if (UNLIKELY(condition)) TRAP(why)

/* Immediates. Nearly all numbers take one byte, most of the others two. */
#define READ_INDEX                                                                                 \
    const uint8_t *next = operands + 1;                                                            \
    uint32_t index = operands[0];                                                                  \
    if (UNLIKELY(index >= 0x80)) {                                                                 \
        const wrt__unsigned number = wrt__read_unsigned(operands);                                 \
        next = number.next;                                                                        \
        index = number.value;                                                                      \
    }
#define READ_TWO_INDICES                                                                           \
    READ_INDEX;                                                                                    \
    uint32_t second = *next++;                                                                     \
    if (UNLIKELY(second >= 0x80)) {                                                                \
        const wrt__unsigned other = wrt__read_unsigned(next - 1);                                  \
        second = other.value;                                                                      \
        next = other.next;                                                                         \
    }
#define READ_CONSTANT(type)                                                                        \
    const uint8_t *next = operands + 1;                                                            \
    type constant = (type)((int32_t)((uint32_t)operands[0] << 25) >> 25);                          \
    if (operands[0] >= 0x80) {                                                                     \
        const uint32_t two = (operands[0] & 0x7Fu) | (uint32_t)operands[1] << 7;                   \
        next = operands + 2;                                                                       \
        constant = (type)((int32_t)(two << 18) >> 18);                                             \
        if (UNLIKELY(operands[1] >= 0x80)) {                                                       \
            const wrt__signed number = wrt__read_signed(operands);                                 \
            next = number.next;                                                                    \
            constant = (type)number.value;                                                         \
        }                                                                                          \
    }
#define READ_I32 READ_CONSTANT(int32_t)
#define READ_I64 READ_CONSTANT(int64_t)
#define READ_OFFSET                                                                                \
    const uint8_t *next = operands + 2;                                                            \
    uint64_t offset = operands[1];                                                                 \
    if (offset >= 0x80) {                                                                          \
        next = operands + 3;                                                                       \
        offset = (offset & 0x7F) | (uint64_t)operands[2] << 7;                                     \
    }                                                                                              \
    if (UNLIKELY(((operands[0] | next[-1]) & 0x80) != 0)) {                                        \
        const wrt__unsigned number = wrt__read_unsigned(wrt__skip_number(operands));               \
        next = number.next;                                                                        \
        offset = number.value;                                                                     \
    }

/* Numbers: a is the lower operand, b the top one. */
#define UNARY(from, to, result)                                                                    \
    const cell_##from a = sp[-1].from;                                                             \
    sp[-1].to = (cell_##to)(result);                                                               \
    VALUE_AT(pc + 1)
#define OPERANDS(kind) const cell_##kind b = sp[-1].kind, a = sp[-2].kind
#define RESULT(kind, result)                                                                       \
    sp--;                                                                                          \
    sp[-1].kind = (cell_##kind)(result);                                                           \
    VALUE_AT(pc + 1)
#define BINARY(from, to, result)                                                                   \
    OPERANDS(from);                                                                                \
    RESULT(to, result)
#define COMPARE(from, condition)                                                                   \
    OPERANDS(from);                                                                                \
    const bool holds = (condition);                                                                \
    sp -= 2;                                                                                       \
    CONDITION
#define TEST(from, condition)                                                                      \
    const cell_##from a = sp[-1].from;                                                             \
    const bool holds = (condition);                                                                \
    sp--;                                                                                          \
    CONDITION
#define TRUNCATE(from, to, type, above, below)                                                     \
    const cell_##from a = sp[-1].from;                                                             \
    TRAP_IF(a != a, WRT_TRAP_INVALID_CONVERSION);                                                  \
    TRAP_IF(!(a > (above) && a < (below)), WRT_TRAP_INTEGER_OVERFLOW);                             \
    sp[-1].to = (cell_##to)(type)a;                                                                \
    NEXT(1)
#define SATURATE(from, to, type, least, below, minimum, maximum)                                   \
    const cell_##from a = sp[-1].from;                                                             \
    const type result = a != a ? 0 : a < (least) ? (minimum) : a >= (below) ? (maximum) : (type)a; \
    sp[-1].to = (cell_##to)result;                                                                 \
    NEXT_AT(operands)
#define CHOOSE                                                                                     \
    sp -= 2;                                                                                       \
    sp[-1] = sp[1].i32 != 0 ? sp[-1] : sp[0]

/* Memory: addresses are summed in 64 bits, where they cannot wrap. */
#define LOAD(to, type)                                                                             \
    READ_OFFSET;                                                                                   \
    const uint64_t address = sp[-1].i32 + offset;                                                  \
    type value;                                                                                    \
    TRAP_IF(address + sizeof value > x->memory_bytes, WRT_TRAP_MEMORY_OUT_OF_BOUNDS);              \
    memcpy(&value, memory + address, sizeof value);                                                \
    sp[-1].to = (cell_##to)value;                                                                  \
    VALUE_AT(next)
#define STORE(from, type)                                                                          \
    READ_OFFSET;                                                                                   \
    const uint64_t address = sp[-2].i32 + offset;                                                  \
    const type value = (type)sp[-1].from;                                                          \
    TRAP_IF(address + sizeof value > x->memory_bytes, WRT_TRAP_MEMORY_OUT_OF_BOUNDS);              \
    memcpy(memory + address, &value, sizeof value);                                                \
    sp -= 2;                                                                                       \
    STATEMENT_AT(next)
#define GROW_MEMORY                                                                                \
    sp[-1].i32 = wrt__memory_grow(x->instance->memory, sp[-1].i32);                                \
    x->memory_bytes = x->instance->memory->bytes

#define BULK(call)                                                                                 \
    WRITE_BACK;                                                                                    \
    const enum wrt__outcome outcome = (call);                                                      \
    if (UNLIKELY(outcome != WRT__GO_ON)) STOP(outcome);                                            \
    sp -= 3
#define INITIALISE_MEMORY(segment)       BULK(wrt__memory_init(x, segment))
#define COPY_MEMORY                      BULK(wrt__memory_copy(x))
#define FILL_MEMORY                      BULK(wrt__memory_fill(x))
#define INITIALISE_TABLE(segment, table) BULK(wrt__table_init(x, segment, table))
#define COPY_TABLE(to, from)             BULK(wrt__table_copy(x, to, from))
#define FILL_TABLE(table)                BULK(wrt__table_fill(x, table))
#define DROP_DATA(segment)               wrt__drop_data(x->instance, segment)
#define DROP_ELEMENT(segment)            wrt__drop_element(x->instance, segment)

/* Tables and references. */
#define GET_ELEMENT(table_index)                                                                   \
    const wrt_table *table = x->instance->tables[table_index];                                     \
    TRAP_IF(sp[-1].i32 >= table->element_count, WRT_TRAP_TABLE_OUT_OF_BOUNDS);                     \
    sp[-1].reference = table->elements[sp[-1].i32]
#define SET_ELEMENT(table_index)                                                                   \
    const wrt_table *table = x->instance->tables[table_index];                                     \
    TRAP_IF(sp[-2].i32 >= table->element_count, WRT_TRAP_TABLE_OUT_OF_BOUNDS);                     \
    table->elements[sp[-2].i32] = sp[-1].reference;                                                \
    sp -= 2
#define GROW_TABLE(table_index)                                                                    \
    sp--;                                                                                          \
    sp[-1].i32 = wrt__table_grow(x->instance->tables[table_index], sp[0].i32, sp[-1].reference)
#define REFERENCE_TO(function) wrt__reference_to(wrt__function_at(x->instance, function))

/* Control. */
#define DISPATCH_PREFIX                                                                            \
    READ_INDEX;                                                                                    \
    x->operands = next;                                                                            \
    DISPATCH_PREFIXED(index)
#define CHECKPOINT_IF_DUE                                                                          \
    if (UNLIKELY(x->account < x->floor || wrt__is_interrupted(x))) STOP(WRT__CHECKPOINT)
#define SKIP_ENTRY x->entry += WRT__ENTRY_WORDS
#define SKIP_INDEX NEXT_AT(wrt__skip_number(operands))

#define BRANCH                                                                                     \
    do {                                                                                           \
        const uint16_t *const entry = x->entry;                                                    \
        const uint32_t shape = entry[2] & 15;                                                      \
        const int32_t distance = (int16_t)entry[0];                                                \
        if (UNLIKELY(shape != 0)) {                                                                \
            if (UNLIKELY(shape == WRT__ENTRY_LONG)) {                                              \
                WRITE_BACK;                                                                        \
                wrt__branch_long(x);                                                               \
                READ_AGAIN;                                                                        \
                CHECKPOINT_IF_DUE;                                                                 \
                DISPATCH;                                                                          \
            }                                                                                      \
            if (shape > 7) sp[-1 - (int32_t)(shape - 7)] = sp[-1];                                 \
            sp -= shape > 7 ? shape - 7 : shape;                                                   \
        }                                                                                          \
        x->account += (int16_t)entry[1];                                                           \
        x->entry = entry + WRT__ENTRY_WORDS * ((int16_t)entry[2] >> 4);                            \
        pc += distance;                                                                            \
        if (distance <= 0) CHECKPOINT_IF_DUE; /* 0: a loop of nothing but the branch */            \
        DISPATCH;                                                                                  \
    } while (0)

#define BRANCH_TABLE(choice)                                                                       \
    const uint32_t last = wrt__read_unsigned(operands).value;                                      \
    x->entry += WRT__ENTRY_WORDS * ((choice) < last ? (choice) : last);                            \
    BRANCH

#define ENTER(callee, behind)                                                                      \
    do {                                                                                           \
        const wrt__code *const code = (callee);                                                    \
        wrt_value *const locals = sp - code->parameter_count;                                      \
        wrt__frame *const record = x->frame - 1;                                                   \
        TRAP_IF((uintptr_t)(locals + code->cells) > (uintptr_t)record, WRT_TRAP_STACK_EXHAUSTED);  \
        record->instance = x->instance;                                                            \
        record->pc = (uint32_t)((behind)-x->bytes);                                                \
        record->entry = (uint32_t)(x->entry - x->side_table);                                      \
        record->fp = (uint32_t)(fp - x->stack);                                                    \
        record->function = (uint32_t)(x->code - x->codes);                                         \
        x->frame = record;                                                                         \
        if (UNLIKELY(locals + code->cells > x->peak_cell)) {                                       \
            x->peak_cell = locals + code->cells;                                                   \
            x->peak_frame = record;                                                                \
        }                                                                                          \
        for (fp = locals + code->local_count; sp < fp; sp++) sp->i64 = 0;                          \
        fp = locals;                                                                               \
        x->code = code;                                                                            \
        x->code_end = x->bytes + code->end;                                                        \
        x->entry = x->side_table + WRT__ENTRY_WORDS * (size_t)code->entry;                         \
        x->account -= code->instructions;                                                          \
        pc = x->bytes + code->start;                                                               \
        CHECKPOINT_IF_DUE;                                                                         \
        DISPATCH;                                                                                  \
    } while (0)

/* Calls that may leave the instance, or the guest. */
#define CALL_ELSEWHERE(function, behind)                                                           \
    do {                                                                                           \
        WRITE_BACK;                                                                                \
        const enum wrt__outcome outcome = wrt__call_function(x, function, behind);                 \
        if (UNLIKELY(outcome != WRT__GO_ON)) STOP_SAVED(outcome);                                  \
        READ_AGAIN;                                                                                \
        CHECKPOINT_IF_DUE;                                                                         \
        DISPATCH;                                                                                  \
    } while (0)

#define CALL_FUNCTION                                                                              \
    READ_INDEX;                                                                                    \
    if (LIKELY(index >= x->imported_functions)) {                                                  \
        ENTER(x->codes + (index - x->imported_functions), next);                                   \
    }                                                                                              \
    CALL_ELSEWHERE(x->instance->imported_functions[index], next)

#define CALL_ELEMENT                                                                               \
    READ_TWO_INDICES;                                                                              \
    const wrt_table *const table = x->instance->tables[second];                                    \
    const uint32_t element = sp[-1].i32;                                                           \
    TRAP_IF(element >= table->element_count, WRT_TRAP_UNDEFINED_ELEMENT);                          \
    wrt_function *const callee = (wrt_function *)(uintptr_t)table->elements[element];              \
    TRAP_IF(callee == NULL, WRT_TRAP_UNINITIALIZED_ELEMENT);                                       \
    if (LIKELY(callee->owner == x->instance)) {                                                    \
        const wrt__type *const types = wrt__types(x->instance->module);                            \
        const wrt__code *const target = x->codes + callee->index;                                  \
        TRAP_IF(types[target->type].canonical != types[index].canonical,                           \
                WRT_TRAP_CALL_TYPE_MISMATCH);                                                      \
        sp--;                                                                                      \
        ENTER(target, next);                                                                       \
    }                                                                                              \
    TRAP_IF(!wrt__has_type(x, callee, index), WRT_TRAP_CALL_TYPE_MISMATCH);                        \
    CALL_INDIRECT_ELSEWHERE(callee, next)

/* The element's number stays on the stack until the callee is known not to wait. */
#define CALL_INDIRECT_ELSEWHERE(function, behind)                                                  \
    do {                                                                                           \
        WRITE_BACK;                                                                                \
        x->sp--;                                                                                   \
        const enum wrt__outcome outcome = wrt__call_function(x, function, behind);                 \
        if (UNLIKELY(outcome != WRT__GO_ON)) {                                                     \
            if (outcome == WRT__WAITING) x->sp = sp;                                               \
            STOP_SAVED(outcome);                                                                   \
        }                                                                                          \
        READ_AGAIN;                                                                                \
        CHECKPOINT_IF_DUE;                                                                         \
        DISPATCH;                                                                                  \
    } while (0)

#define LEAVE_FUNCTION                                                                             \
    do {                                                                                           \
        const uint32_t results = x->code->result_count;                                            \
        wrt_value *const from = sp - results;                                                      \
        for (uint32_t i = 0; i < results; i++) fp[i] = from[i];                                    \
        sp = fp + results;                                                                         \
        const wrt__frame *const record = x->frame++;                                               \
        if (LIKELY(record->instance == x->instance)) {                                             \
            pc = x->bytes + record->pc;                                                            \
            fp = x->stack + record->fp;                                                            \
            x->entry = x->side_table + record->entry;                                              \
            x->code = x->codes + record->function;                                                 \
            x->code_end = x->bytes + x->code->end;                                                 \
            DISPATCH;                                                                              \
        }                                                                                          \
        if (record->instance == NULL) STOP(WRT__FINISHED);                                         \
        WRITE_BACK;                                                                                \
        wrt__return_to(x, record);                                                                 \
        READ_AGAIN;                                                                                \
        DISPATCH;                                                                                  \
    } while (0)

/* Look-ahead: what handlers do that know what often comes next, so that several instructions take
 * one jump. Handlers are made twice, PLAIN and FAST, and MODE says which is being made; PLAIN ones
 * do one instruction each, for runs that count. Indices of more than one byte, and constants of
 * more than two, are not looked at. */
#define IN_MODE_(mode, word) mode##_##word
#define IN_MODE(mode, word)  IN_MODE_(mode, word)
#define VALUE_AT             IN_MODE(MODE, VALUE_AT)     /* a value has been computed */
#define LOCAL_AT             IN_MODE(MODE, LOCAL_AT)     /* a local has been pushed */
#define CONSTANT_AT          IN_MODE(MODE, CONSTANT_AT)  /* an i32 constant has been pushed */
#define STATEMENT_AT         IN_MODE(MODE, STATEMENT_AT) /* a value has been stored away */
#define CONDITION            IN_MODE(MODE, CONDITION)    /* `holds` is to be pushed */
#define ENTER_BLOCK          IN_MODE(MODE, ENTER_BLOCK)
#define LEAVE_BLOCK          IN_MODE(MODE, LEAVE_BLOCK)

#define PLAIN_VALUE_AT     NEXT_AT
#define PLAIN_LOCAL_AT     NEXT_AT
#define PLAIN_CONSTANT_AT  NEXT_AT
#define PLAIN_STATEMENT_AT NEXT_AT
#define PLAIN_CONDITION                                                                            \
    sp->i32 = holds;                                                                               \
    sp++;                                                                                          \
    NEXT(1)
#define PLAIN_ENTER_BLOCK NEXT_AT(wrt__skip_number(operands))
#define PLAIN_LEAVE_BLOCK                                                                          \
    if (pc == x->code_end) LEAVE_FUNCTION;                                                         \
    NEXT(1)

#define FOLLOWS(opcode) (pc[0] == WRT__OP_##opcode && pc[1] < 0x80)
#define PUSH_LOCAL_IF_IT_FOLLOWS                                                                   \
    if (FOLLOWS(LOCAL_GET)) {                                                                      \
        *sp++ = fp[pc[1]];                                                                         \
        pc += 2;                                                                                   \
    }
#define FAST_VALUE_AT(place)                                                                       \
    do {                                                                                           \
        pc = (place);                                                                              \
        if ((uint8_t)(pc[0] - WRT__OP_LOCAL_GET) > 2 || pc[1] >= 0x80) DISPATCH;                   \
        if (pc[0] == WRT__OP_LOCAL_GET) {                                                          \
            *sp++ = fp[pc[1]];                                                                     \
            pc += 2;                                                                               \
        } else {                                                                                   \
            fp[pc[1]] = sp[-1];                                                                    \
            sp -= pc[0] == WRT__OP_LOCAL_SET;                                                      \
            pc += 2;                                                                               \
            PUSH_LOCAL_IF_IT_FOLLOWS                                                               \
        }                                                                                          \
        DISPATCH;                                                                                  \
    } while (0)
#define FAST_LOCAL_AT(place)                                                                       \
    do {                                                                                           \
        pc = (place);                                                                              \
        if (FOLLOWS(LOCAL_GET)) {                                                                  \
            *sp++ = fp[pc[1]];                                                                     \
            pc += 2;                                                                               \
        } else if (pc[0] == WRT__OP_I32_CONST && (pc[1] & pc[2]) < 0x80) {                         \
            const uint32_t one = pc[1], two = (one & 0x7F) | (uint32_t)pc[2] << 7;                 \
            const uint32_t constant = one < 0x80 ? (uint32_t)((int32_t)(one << 25) >> 25)          \
                                                 : (uint32_t)((int32_t)(two << 18) >> 18);         \
            pc += one < 0x80 ? 2 : 3;                                                              \
            if (pc[0] == WRT__OP_I32_ADD) {                                                        \
                sp[-1].i32 += constant;                                                            \
                FAST_VALUE_AT(pc + 1);                                                             \
            }                                                                                      \
            sp->i32 = constant;                                                                    \
            sp++;                                                                                  \
        }                                                                                          \
        DISPATCH;                                                                                  \
    } while (0)
#define FAST_CONSTANT_AT(place)                                                                    \
    do {                                                                                           \
        pc = (place);                                                                              \
        if (pc[0] == WRT__OP_I32_ADD) {                                                            \
            sp--;                                                                                  \
            sp[-1].i32 += sp->i32;                                                                 \
            pc++;                                                                                  \
        }                                                                                          \
        FAST_VALUE_AT(pc);                                                                         \
    } while (0)
#define FAST_STATEMENT_AT(place)                                                                   \
    do {                                                                                           \
        pc = (place);                                                                              \
        PUSH_LOCAL_IF_IT_FOLLOWS                                                                   \
        DISPATCH;                                                                                  \
    } while (0)
#define FAST_CONDITION                                                                             \
    pc++;                                                                                          \
    if (pc[0] == WRT__OP_BR_IF) {                                                                  \
        if (holds) BRANCH;                                                                         \
        SKIP_ENTRY;                                                                                \
        FAST_STATEMENT_AT(wrt__skip_number(pc + 1));                                               \
    }                                                                                              \
    if (pc[0] == WRT__OP_IF) {                                                                     \
        if (!holds) BRANCH;                                                                        \
        SKIP_ENTRY;                                                                                \
        FAST_STATEMENT_AT(wrt__skip_number(pc + 1));                                               \
    }                                                                                              \
    sp->i32 = holds;                                                                               \
    sp++;                                                                                          \
    DISPATCH
#define FAST_ENTER_BLOCK                                                                           \
    pc = wrt__skip_number(operands);                                                               \
    while ((pc[0] == WRT__OP_BLOCK || pc[0] == WRT__OP_LOOP) && pc[1] == EMPTY_TYPE) pc += 2;      \
    DISPATCH
#define FAST_LEAVE_BLOCK                                                                           \
    do {                                                                                           \
        if (pc == x->code_end) LEAVE_FUNCTION;                                                     \
        pc++;                                                                                      \
    } while (pc[0] == WRT__OP_END);                                                                \
    DISPATCH

#endif
