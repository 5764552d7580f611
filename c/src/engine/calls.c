/* Calls that the interpreter's own handlers leave to plain C: into another instance, into the
 * host, and back; and branches that a side-table entry is too small for. */
#include "execution.h"
#include "skip.h"

enum wrt__outcome wrt__trap(wrt__execution *x, uint32_t code)
{
    x->trap.code = code;
    return WRT__TRAPPED;
}

void wrt__switch_instance(wrt__execution *x, wrt_instance *instance)
{
    const wrt_module *const module = instance->module;

    x->instance = instance;
    x->bytes = module->bytes;
    x->codes = wrt__codes(module);
    x->side_table = module->side_table;
    x->imported_functions = module->usage.imported_function_count;
    x->memory = instance->memory == NULL ? NULL : instance->memory->base;
    x->memory_bytes = instance->memory == NULL ? 0 : instance->memory->bytes;
}

static void switch_function(wrt__execution *x, const wrt__code *code, uint32_t entry)
{
    x->code = code;
    x->code_end = x->bytes + code->end;
    x->entry = x->side_table + entry;
}

wrt__frame wrt__record_of_caller(const wrt__execution *x, const uint8_t *next)
{
    if (next == NULL) return (wrt__frame){0};
    return (wrt__frame){
        .instance = x->instance,
        .pc = (uint32_t)(next - x->bytes),
        .entry = (uint32_t)(x->entry - x->side_table),
        .fp = (uint32_t)(x->fp - x->stack),
        .function = (uint32_t)(x->code - x->codes),
    };
}

enum wrt__outcome wrt__enter(wrt__execution *x, wrt_instance *instance, const wrt__code *code,
                             const uint8_t *next)
{
    wrt_value *const locals = x->sp - code->parameter_count;
    wrt__frame *const record = x->frame - 1;

    if ((uintptr_t)(locals + code->cells) > (uintptr_t)record) {
        return wrt__trap(x, WRT_TRAP_STACK_EXHAUSTED);
    }
    *record = wrt__record_of_caller(x, next);
    x->frame = record;
    if (locals + code->cells > x->peak_cell) {
        x->peak_cell = locals + code->cells;
        x->peak_frame = record;
    }
    for (; x->sp < locals + code->local_count; x->sp++) x->sp->i64 = 0;
    x->fp = locals;
    wrt__switch_instance(x, instance);
    switch_function(x, code, WRT__ENTRY_WORDS * code->entry);
    x->pc = x->bytes + code->start;
    x->account -= code->instructions;
    return WRT__GO_ON;
}

void wrt__return_to(wrt__execution *x, const wrt__frame *record)
{
    wrt__switch_instance(x, record->instance);
    switch_function(x, x->codes + record->function, record->entry);
    x->pc = x->bytes + record->pc;
    x->fp = x->stack + record->fp;
}

/* Runs the host function itself. A host function that has nothing to do yet moves no heartbeat. */
static wrt_status call_out(wrt__execution *x, const wrt_host_function *host, wrt_value *values)
{
    wrt_instance *const instance = x->instance;
    wrt_cancel_token *const outer = instance->running_token;

    instance->running_token = &x->cancel;
    x->host_depth++;
    const wrt_status status = host->call(host->context, instance, values);
    x->host_depth--;
    instance->running_token = outer;
    if (status != WRT_ERR_PENDING) wrt__count(&x->heartbeat);
    return status;
}

enum wrt__outcome wrt__call_host(wrt__execution *x, wrt_function *function)
{
    wrt_host_function *const host = function->owner;
    const uint32_t parameters = host->type.parameter_count, results = host->type.result_count;
    wrt_value *const values = x->sp - parameters;
    wrt_value *const behind = x->sp;

    if ((uintptr_t)(values + (parameters > results ? parameters : results)) > (uintptr_t)x->frame) {
        return wrt__trap(x, WRT_TRAP_STACK_EXHAUSTED);
    }
    x->sp = values + (parameters > results ? parameters : results);
    const wrt_status status = call_out(x, host, values);
    if (x->instance->memory != NULL) x->memory_bytes = x->instance->memory->bytes;

    x->sp = status == WRT_OK ? values + results : behind;
    x->host_status = WRT_OK;
    if (status == WRT_OK) return WRT__GO_ON;
    if (status == WRT_ERR_PENDING) return WRT__WAITING;
    if (status == WRT_ERR_INTERRUPTED && wrt__is_interrupted(x)) return WRT__WAITING;
    x->host_status = status;
    return WRT__HOST_ENDED;
}

enum wrt__outcome wrt__call_function(wrt__execution *x, wrt_function *function, const uint8_t *next)
{
    if (function->is_host == 0) {
        wrt_instance *const instance = function->owner;
        return wrt__enter(x, instance, wrt__codes(instance->module) + function->index, next);
    }
    const enum wrt__outcome outcome = wrt__call_host(x, function);
    if (outcome == WRT__GO_ON) x->pc = next;
    return outcome;
}

bool wrt__has_type(const wrt__execution *x, const wrt_function *function, uint32_t type)
{
    const wrt_function_type wanted = wrt__function_type(x->instance->module, type);
    wrt_function_type given;

    return wrt_function_query(function, &given) == WRT_OK &&
           wrt__function_types_equal(&wanted, &given);
}

void wrt__branch_long(wrt__execution *x)
{
    const uint32_t index = x->entry[0] | (uint32_t)x->entry[1] << 16;
    const wrt__long_branch *const branch = &wrt__long_branches(x->instance->module)[index];

    if (branch->drop != 0) {
        const wrt_value *const from = x->sp - branch->keep;
        wrt_value *const to = x->sp - branch->keep - branch->drop;
        for (uint32_t i = 0; i < branch->keep; i++) to[i] = from[i];
        x->sp = to + branch->keep;
    }
    x->account += branch->fuel;
    x->entry += (ptrdiff_t)WRT__ENTRY_WORDS * branch->entries;
    x->pc += branch->bytes;
}

static uint32_t unexecuted_in(const uint8_t *bytes, const wrt__code *code, const uint8_t *pc)
{
    uint32_t executed = 0;

    for (const uint8_t *at = bytes + code->start; at < pc; at = wrt__skip_instruction(at)) {
        executed++;
    }
    return code->instructions - executed;
}

uint64_t wrt__unexecuted(const wrt__execution *x)
{
    uint64_t sum = x->code == NULL ? 0 : unexecuted_in(x->bytes, x->code, x->pc);

    for (const wrt__frame *record = x->frame; record < x->stack_end; record++) {
        if (record->instance == NULL) continue;
        const wrt_module *const module = record->instance->module;
        sum += unexecuted_in(module->bytes, wrt__codes(module) + record->function,
                             module->bytes + record->pc);
    }
    return sum;
}
