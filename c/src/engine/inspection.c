/* Looking at an instance: whether it is one, where its guest stands, what it has used. */
#include "../core/fail.h"
#include "execution.h"

wrt_status wrt__check_instance(const wrt_instance *instance, const char *operation)
{
    if (instance == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "instance is NULL");
    }
    if (instance->magic != WRT__INSTANCE_MAGIC) {
        return wrt_fail(WRT_ERR_STATE, operation, "the instance is not initialised");
    }
    if (instance->self != instance) {
        return wrt_fail(WRT_ERR_STATE, operation, "the instance was moved in memory");
    }
    return WRT_OK;
}

bool wrt__is_paused(const wrt_instance *instance)
{
    return instance->state == WRT__CALLED || instance->state == WRT__STARTING;
}

static int64_t fuel_left(const wrt_instance *instance)
{
    const wrt__execution *const x = wrt__execution_of(instance);
    const bool is_under_way = wrt__is_paused(instance) || instance->state == WRT__RUNNING;

    return x->account + (is_under_way ? (int64_t)wrt__unexecuted(x) : 0);
}

void wrt__note_place(const wrt__execution *x, wrt_trap *trap)
{
    trap->function = UINT32_MAX;
    trap->depth = 0;
    if (x->code == NULL) return;
    trap->module = x->instance->module;
    trap->function = x->imported_functions + (uint32_t)(x->code - x->codes);
    trap->offset = (uint32_t)(x->pc - x->bytes);
    trap->depth = 1;
    for (const wrt__frame *record = x->frame; record < x->stack_end; record++) {
        trap->depth += record->instance != NULL;
    }
}

wrt_status wrt_instance_set_fuel(wrt_instance *instance, bool has_fuel, uint64_t fuel)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (has_fuel && fuel > (uint64_t)INT64_MAX / 2) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "fuel is above INT64_MAX / 2");
    }
    wrt__execution *const x = wrt__execution_of(instance);
    const int64_t wanted = has_fuel ? (int64_t)fuel : INT64_C(1) << WRT__UNBOUNDED;
    const int64_t more = wanted - fuel_left(instance);

    x->account += more;
    x->granted += (uint64_t)more;
    x->is_bounded = has_fuel;
    return WRT_OK;
}

wrt_status wrt_instance_trap(const wrt_instance *instance, wrt_trap *trap_out)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (trap_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "trap_out is NULL");
    const wrt__execution *const x = wrt__execution_of(instance);

    *trap_out = x->trap;
    if (wrt__is_paused(instance) || instance->state == WRT__RUNNING) wrt__note_place(x, trap_out);
    return WRT_OK;
}

wrt_status wrt_instance_frame(const wrt_instance *instance, uint32_t level, wrt_trap *frame_out)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (frame_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "frame_out is NULL");
    }
    const wrt__execution *const x = wrt__execution_of(instance);
    wrt_trap place = {.function = UINT32_MAX};

    wrt__note_place(x, &place);
    const uint32_t depth = place.depth;
    *frame_out = place;
    if (level < depth && level == 0) return WRT_OK;
    uint32_t at = 0;
    for (const wrt__frame *record = x->frame; record < x->stack_end && level < depth; record++) {
        if (record->instance == NULL || ++at != level) continue;
        const wrt_module *const module = record->instance->module;
        *frame_out = (wrt_trap){
            .function = module->usage.imported_function_count + record->function,
            .offset = record->pc - 1, /* within the call */
            .depth = depth - level,
            .module = module,
        };
        return WRT_OK;
    }
    *frame_out = (wrt_trap){.function = UINT32_MAX};
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "level is {0}, the stack has {1} frames",
                           level, depth);
}

wrt_status wrt_instance_query(const wrt_instance *instance, wrt_instance_usage *usage_out)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (usage_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    }
    const wrt__execution *const x = wrt__execution_of(instance);
    const wrt_memory *const memory = instance->memory;
    const int64_t left = fuel_left(instance);

    *usage_out = (wrt_instance_usage){
        .fuel_used = x->granted - (uint64_t)left,
        .fuel_left = x->is_bounded == 0 ? UINT64_MAX : (uint64_t)left,
        .buffer_bytes = instance->buffer_bytes,
        .stack_peak_bytes = (uint32_t)((uintptr_t)x->peak_cell - (uintptr_t)x->stack +
                                       (uintptr_t)x->stack_end - (uintptr_t)x->peak_frame),
        .memory_pages = memory == NULL ? 0 : memory->page_count,
        .memory_peak_pages = memory == NULL ? 0 : memory->peak_pages,
        .refused_growths = memory == NULL ? 0 : memory->refused_growths,
    };
    return WRT_OK;
}

const char *wrt_trap_text(uint32_t code)
{
    static const char *const texts[] = {
        [WRT_TRAP_NONE] = "no trap",
        [WRT_TRAP_UNREACHABLE] = "unreachable",
        [WRT_TRAP_INTEGER_DIVIDE_BY_ZERO] = "integer divide by zero",
        [WRT_TRAP_INTEGER_OVERFLOW] = "integer overflow",
        [WRT_TRAP_INVALID_CONVERSION] = "invalid conversion to integer",
        [WRT_TRAP_MEMORY_OUT_OF_BOUNDS] = "out of bounds memory access",
        [WRT_TRAP_TABLE_OUT_OF_BOUNDS] = "out of bounds table access",
        [WRT_TRAP_UNDEFINED_ELEMENT] = "undefined element",
        [WRT_TRAP_UNINITIALIZED_ELEMENT] = "uninitialized element",
        [WRT_TRAP_CALL_TYPE_MISMATCH] = "indirect call type mismatch",
        [WRT_TRAP_STACK_EXHAUSTED] = "call stack exhausted",
    };

    return code < sizeof texts / sizeof *texts ? texts[code] : "unknown trap";
}
