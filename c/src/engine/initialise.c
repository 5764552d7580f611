/* Initialising tables, memories and globals: segments are read from the module's bytes each time
 * they are used, so nothing of them is kept but a bit that says "dropped". */
#include "execution.h"
#include "leb.h"
#include "opcodes.h"
#include <string.h>

/* A validated constant expression is one instruction and `end`. */
wrt_value wrt__evaluate(const wrt_instance *instance, uint32_t offset)
{
    const uint8_t *const opcode = instance->module->bytes + offset;
    const uint8_t *const operand = opcode + 1;
    wrt_value value = {.i64 = 0};

    switch (*opcode) {
    case WRT__OP_I32_CONST:
        value.i32 = (uint32_t)wrt__read_signed(operand).value;
        break;
    case WRT__OP_I64_CONST:
        value.i64 = (uint64_t)wrt__read_signed(operand).value;
        break;
    case WRT__OP_F32_CONST:
        memcpy(&value.i32, operand, sizeof value.i32);
        break;
    case WRT__OP_F64_CONST:
        memcpy(&value.i64, operand, sizeof value.i64);
        break;
    case WRT__OP_GLOBAL_GET:
        return instance->globals[wrt__read_unsigned(operand).value]->value;
    case WRT__OP_REF_FUNC:
        value.reference =
            wrt__reference_to(wrt__function_at(instance, wrt__read_unsigned(operand).value));
        break;
    default:
        break; /* ref.null */
    }
    return value;
}

static bool is_dropped(const wrt_instance *instance, uint32_t bit)
{
    return (instance->dropped[bit / 8] >> bit % 8 & 1) != 0;
}

static void drop(wrt_instance *instance, uint32_t bit)
{
    instance->dropped[bit / 8] = (uint8_t)(instance->dropped[bit / 8] | 1u << bit % 8);
}

/* Data segments' bits follow those of the elements. */
static uint32_t data_bit(const wrt_instance *instance, uint32_t segment)
{
    return instance->module->usage.element_count + segment;
}

void wrt__drop_element(wrt_instance *instance, uint32_t segment)
{
    drop(instance, segment);
}

void wrt__drop_data(wrt_instance *instance, uint32_t segment)
{
    drop(instance, data_bit(instance, segment));
}

static const uint8_t *behind_expression(const uint8_t *opcode)
{
    switch (*opcode) {
    case WRT__OP_F32_CONST:
        return opcode + 1 + 4 + 1;
    case WRT__OP_F64_CONST:
        return opcode + 1 + 8 + 1;
    default:
        return wrt__skip_number(opcode + 1) + 1;
    }
}

/* The item at *next as a reference; *next moves behind it. */
static uint64_t read_item(const wrt_instance *instance, const wrt__element_segment *segment,
                          const uint8_t **next)
{
    const uint8_t *const item = *next;

    if (segment->has_expressions) {
        *next = behind_expression(item);
        return wrt__evaluate(instance, (uint32_t)(item - instance->module->bytes)).reference;
    }
    const wrt__unsigned function = wrt__read_unsigned(item);
    *next = function.next;
    return wrt__reference_to(wrt__function_at(instance, function.value));
}

bool wrt__copy_elements(wrt_instance *instance, uint32_t segment_index, uint32_t table_index,
                        uint32_t to, uint32_t from, uint32_t count)
{
    const wrt__element_segment *const segment = &wrt__elements(instance->module)[segment_index];
    const wrt_table *const table = instance->tables[table_index];
    const uint32_t available = is_dropped(instance, segment_index) ? 0 : segment->count;
    const uint8_t *next = instance->module->bytes + segment->items;

    if ((uint64_t)from + count > available || (uint64_t)to + count > table->element_count) {
        return false;
    }
    if (count == 0) return true;
    for (uint32_t i = 0; i < from; i++) (void)read_item(instance, segment, &next);
    for (uint32_t i = 0; i < count; i++) {
        table->elements[to + i] = read_item(instance, segment, &next);
    }
    return true;
}

bool wrt__copy_data(wrt_instance *instance, uint32_t segment_index, uint32_t to, uint32_t from,
                    uint32_t count)
{
    const wrt__data_segment *const segment = &wrt__data(instance->module)[segment_index];
    const wrt_memory *const memory = instance->memory;
    const uint32_t available =
        is_dropped(instance, data_bit(instance, segment_index)) ? 0 : segment->size;

    if ((uint64_t)from + count > available || (uint64_t)to + count > memory->bytes) return false;
    if (count != 0) {
        memcpy(memory->base + to, instance->module->bytes + segment->bytes + from, count);
    }
    return true;
}
