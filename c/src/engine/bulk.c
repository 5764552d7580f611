/* memory.fill, memory.copy, memory.init and their table twins. A long one looks at the interrupt
 * flag as it goes: it works in pieces, and its operands, which stay on the guest stack, always say
 * what is left, so that the instruction can simply be executed again. */
#include "execution.h"
#include <string.h>

enum { PIECE = 1 << 20 }; /* bytes */

static bool is_outside(uint64_t start, uint64_t count, uint64_t size)
{
    return start + count > size;
}

static uint32_t piece_of(uint32_t count)
{
    return count < PIECE ? count : PIECE;
}

enum wrt__outcome wrt__memory_fill(wrt__execution *x)
{
    wrt_value *const to = x->sp - 3, *const value = x->sp - 2, *const count = x->sp - 1;

    if (is_outside(to->i32, count->i32, x->memory_bytes)) {
        return wrt__trap(x, WRT_TRAP_MEMORY_OUT_OF_BOUNDS);
    }
    while (count->i32 != 0) {
        const uint32_t piece = piece_of(count->i32);
        memset(x->memory + to->i32, (int)(value->i32 & 0xFF), piece);
        to->i32 += piece;
        count->i32 -= piece;
        if (count->i32 != 0 && wrt__is_interrupted(x)) return WRT__CHECKPOINT;
    }
    return WRT__GO_ON;
}

/* From the low end, unless the ranges overlap so that this would overwrite what is still to be
 * copied: then from the high end. */
enum wrt__outcome wrt__memory_copy(wrt__execution *x)
{
    wrt_value *const to = x->sp - 3, *const from = x->sp - 2, *const count = x->sp - 1;

    if (is_outside(to->i32, count->i32, x->memory_bytes) ||
        is_outside(from->i32, count->i32, x->memory_bytes)) {
        return wrt__trap(x, WRT_TRAP_MEMORY_OUT_OF_BOUNDS);
    }
    while (count->i32 != 0) {
        const uint32_t piece = piece_of(count->i32);
        count->i32 -= piece;
        if (to->i32 <= from->i32) {
            memmove(x->memory + to->i32, x->memory + from->i32, piece);
            to->i32 += piece;
            from->i32 += piece;
        } else {
            memmove(x->memory + to->i32 + count->i32, x->memory + from->i32 + count->i32, piece);
        }
        if (count->i32 != 0 && wrt__is_interrupted(x)) return WRT__CHECKPOINT;
    }
    return WRT__GO_ON;
}

enum wrt__outcome wrt__memory_init(wrt__execution *x, uint32_t segment)
{
    if (!wrt__copy_data(x->instance, segment, x->sp[-3].i32, x->sp[-2].i32, x->sp[-1].i32)) {
        return wrt__trap(x, WRT_TRAP_MEMORY_OUT_OF_BOUNDS);
    }
    return WRT__GO_ON;
}

enum wrt__outcome wrt__table_init(wrt__execution *x, uint32_t segment, uint32_t table)
{
    if (!wrt__copy_elements(x->instance, segment, table, x->sp[-3].i32, x->sp[-2].i32,
                            x->sp[-1].i32)) {
        return wrt__trap(x, WRT_TRAP_TABLE_OUT_OF_BOUNDS);
    }
    return WRT__GO_ON;
}

enum wrt__outcome wrt__table_copy(wrt__execution *x, uint32_t to, uint32_t from)
{
    const wrt_table *const target = x->instance->tables[to], *const source =
                                                                 x->instance->tables[from];
    const uint32_t target_start = x->sp[-3].i32, source_start = x->sp[-2].i32,
                   count = x->sp[-1].i32;

    if (is_outside(target_start, count, target->element_count) ||
        is_outside(source_start, count, source->element_count)) {
        return wrt__trap(x, WRT_TRAP_TABLE_OUT_OF_BOUNDS);
    }
    memmove(target->elements + target_start, source->elements + source_start,
            count * sizeof *target->elements);
    return WRT__GO_ON;
}

enum wrt__outcome wrt__table_fill(wrt__execution *x, uint32_t table)
{
    const wrt_table *const target = x->instance->tables[table];
    const uint32_t start = x->sp[-3].i32, count = x->sp[-1].i32;

    if (is_outside(start, count, target->element_count)) {
        return wrt__trap(x, WRT_TRAP_TABLE_OUT_OF_BOUNDS);
    }
    for (uint32_t i = 0; i < count; i++) target->elements[start + i] = x->sp[-2].reference;
    return WRT__GO_ON;
}
