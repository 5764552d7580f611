/* The functions that the guest imports. Each stands for one of the parent's: its arguments go into
 * the shared page, its results come from there. */
#include "imports.h"

#include "../core/fail.h"
#include "report.h"

#include <string.h>

/* Errors of WASI that the worker's own calls answer. */
enum { WASI_SUCCESS = 0, WASI_FAULT = 21, WASI_INVAL = 28 };

typedef struct binding {
    wrt_host_function function;
    wrt__worker *worker;
    uint32_t index; /* among the imports that the parent lends */
    uint32_t parameter_count;
    uint32_t result_count;
    uint32_t reserved;
} binding;

static wrt_status ask(void *context, wrt_instance *caller, wrt_value *values)
{
    const binding *const door = context;
    wrt__control *const control = door->worker->control;

    memcpy(control->values, values, door->parameter_count * sizeof *values);
    control->message = (wrt__message){.kind = WRT__MESSAGE_ASK, .import = door->index};
    wrt__worker_note_usage(door->worker, caller);
    wrt__worker_hand_over(door->worker);
    wrt__worker_await(door->worker, true);
    const wrt_status status = control->order.status;
    if (status != WRT_OK) return wrt_fail(status, "a host function", "the parent has the reason");
    memcpy(values, control->values, door->result_count * sizeof *values);
    return WRT_OK;
}

/* ---- What is answered here ---- */

static wrt_status sched_yield(void *context, wrt_instance *caller, wrt_value *values)
{
    (void)context;
    (void)caller;
    values[0].i32 = WASI_SUCCESS;
    return WRT_OK;
}

static wrt_status clock_time_get(void *context, wrt_instance *caller, wrt_value *values)
{
    const uint64_t address = values[2].i32;
    const uint32_t clock = values[0].i32;
    wrt_memory *memory;
    uint64_t now;

    (void)context;
    if (wrt_instance_memory(caller, &memory) != WRT_OK || memory->bytes < sizeof now ||
        address > memory->bytes - sizeof now) {
        values[0].i32 = WASI_FAULT;
    } else if (clock > CLOCK_THREAD_CPUTIME_ID || wrt__worker_clock((int)clock, &now) != 0) {
        values[0].i32 = WASI_INVAL;
    } else {
        memcpy(memory->base + address, &now, sizeof now);
        values[0].i32 = WASI_SUCCESS;
    }
    return WRT_OK;
}

static wrt_host_fn answer_of(uint32_t own)
{
    static const wrt_host_fn answers[] = {[WRT__OWN_NONE] = ask,
                                          [WRT__OWN_CLOCK_TIME_GET] = clock_time_get,
                                          [WRT__OWN_SCHED_YIELD] = sched_yield};

    return answers[own];
}

/* ---- Making them ---- */

static wrt_status bind(binding *door, wrt_import *import_out, const wrt__worker_import *given)
{
    const char *const module = (const char *)(given + 1);
    const char *const name = module + given->module_size;
    const uint8_t *const types = (const uint8_t *)name + given->name_size;
    const wrt_host_function_config config = {.struct_size = sizeof config,
                                             .parameter_count = given->parameter_count,
                                             .parameters = types,
                                             .results = types + given->parameter_count,
                                             .result_count = given->result_count,
                                             .call = answer_of(given->own),
                                             .context = door,
                                             .name = name};

    door->parameter_count = given->parameter_count;
    door->result_count = given->result_count;
    *import_out = (wrt_import){module, name, {.kind = WRT_EXTERN_FUNCTION}};
    import_out->value.of.function = &door->function.function;
    return wrt_host_function_init(&door->function, &config);
}

wrt_status wrt__worker_imports(wrt__worker *worker, uint32_t count, wrt_import **imports_out)
{
    const uint8_t *next = worker->program;
    wrt_status status = WRT_OK;

    wrt_import *const imports = wrt__worker_take(worker, count * sizeof *imports);
    binding *const doors = wrt__worker_take(worker, count * sizeof *doors);
    if (imports == NULL || doors == NULL) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, "wrt_sandbox_load",
                               "no room for {0} imports; give the sandbox more working_bytes",
                               count, 0);
    }
    for (uint32_t i = 0; status == WRT_OK && i < count; i++) {
        const wrt__worker_import *const given = (const void *)next;
        doors[i].worker = worker;
        doors[i].index = i;
        status = bind(&doors[i], &imports[i], given);
        next += given->size;
    }
    *imports_out = imports;
    return status;
}
