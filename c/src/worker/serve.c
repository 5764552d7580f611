/* At work: what the parent orders is done with the engine, on memory that was mapped before the
 * seal. One module, one instance: what is loaded a second time is refused by the parent. */
#include "worker.h"

#include "../core/fail.h"
#include "imports.h"
#include "report.h"

#include <string.h>

enum { SLICE = 1 << 22 }; /* instructions between two notes of what has been used */

static wrt_module module;
static wrt_instance instance;

/* ---- Memory ---- */

void *wrt__worker_take(wrt__worker *worker, size_t size)
{
    const size_t rounded = (size + 15u) & ~(size_t)15u;

    if (size > rounded || rounded > worker->control->arena_bytes - worker->arena_used) return NULL;
    uint8_t *const taken = worker->arena + worker->arena_used;
    worker->arena_used += rounded;
    worker->control->usage.engine_bytes = worker->arena_used;
    return taken;
}

/* All of the guest's memory is mapped and zero: growing it is a change of numbers. */
static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    wrt__worker *worker = context;

    if ((uint64_t)maximum_pages * WRT_PAGE_SIZE > worker->control->memory_bytes) {
        maximum_pages = (uint32_t)(worker->control->memory_bytes / WRT_PAGE_SIZE);
    }
    if (initial_pages > maximum_pages) {
        return wrt_fail_detail(WRT_ERR_LIMIT, "wrt_sandbox_load",
                               "the memory starts with {0} pages of 64 KiB, the sandbox has {1}",
                               initial_pages, maximum_pages);
    }
    *pages_out = (wrt_pages){
        .base = worker->memory, .page_count = initial_pages, .maximum_pages = maximum_pages};
    return WRT_OK;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    (void)context;
    if (additional_pages > pages->maximum_pages - pages->page_count) {
        return wrt_fail(WRT_ERR_LIMIT, "memory.grow", "beyond what is reserved");
    }
    pages->page_count += additional_pages;
    return WRT_OK;
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    (void)context;
    (void)pages;
    (void)offset;
    (void)size;
    (void)protection;
    return wrt_fail(WRT_ERR_UNSUPPORTED, "protect", "a sealed worker has no such call");
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    (void)context;
    *pages = (wrt_pages){0};
    return WRT_OK;
}

static wrt_status fail_arena(const wrt__worker *worker, size_t size)
{
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, "wrt_sandbox_load",
                           "the engine needs {0} bytes more than its {1}; give the sandbox more "
                           "working_bytes",
                           size, worker->control->arena_bytes);
}

/* ---- Loading ---- */

static wrt_status read_module(wrt__worker *worker, const wrt__order *order)
{
    wrt_module_config config = {.struct_size = sizeof config,
                                .bytes = worker->program + order->module_start,
                                .bytes_size = (size_t)order->module_bytes};
    wrt_layout layout;

    const wrt_status status = wrt_module_layout(&config, &layout);
    if (status != WRT_OK) return status;
    config.buffer = wrt__worker_take(worker, layout.bytes);
    config.buffer_size = layout.bytes;
    if (config.buffer == NULL) return fail_arena(worker, layout.bytes);
    return wrt_module_init(&module, &config);
}

static wrt_status make_instance(wrt__worker *worker, const wrt__order *order,
                                const wrt_import *imports)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};
    wrt_instance_config config = {.struct_size = sizeof config,
                                  .import_count = order->count,
                                  .module = &module,
                                  .imports = imports,
                                  .allocator = {&ops, worker},
                                  .maximum_pages = order->maximum_pages,
                                  .maximum_table_elements = order->maximum_table_elements,
                                  .stack_size = order->stack_size,
                                  .has_fuel = order->has_fuel != 0,
                                  .fuel = order->fuel};
    wrt_layout layout;

    const wrt_status status = wrt_instance_layout(&config, &layout);
    if (status != WRT_OK) return status;
    config.buffer = wrt__worker_take(worker, layout.bytes);
    config.buffer_size = layout.bytes;
    if (config.buffer == NULL) return fail_arena(worker, layout.bytes);
    return wrt_instance_init(&instance, &config);
}

static wrt_status load(wrt__worker *worker, const wrt__order *order)
{
    wrt_import *imports = NULL;

    wrt_status status = wrt__worker_imports(worker, order->count, &imports);
    if (status == WRT_OK) status = read_module(worker, order);
    if (status == WRT_OK) status = make_instance(worker, order, imports);
    return status;
}

/* ---- Calling ---- */

static wrt_status find(const wrt__worker *worker, const wrt__order *order,
                       wrt_function **function_out)
{
    wrt_extern found;

    const wrt_status status =
        wrt_instance_export(&instance, worker->control->text, order->text_size, &found);
    if (status != WRT_OK) return status;
    if (found.kind != WRT_EXTERN_FUNCTION) {
        return wrt_fail(WRT_ERR_NOT_FOUND, "wrt_sandbox_begin",
                        "the module exports something else than a function by that name");
    }
    *function_out = found.of.function;
    return WRT_OK;
}

static wrt_status describe(wrt__worker *worker, const wrt__order *order, wrt__message *message)
{
    wrt_function *function = NULL;
    wrt_function_type type = {0};

    wrt_status status = find(worker, order, &function);
    if (status == WRT_OK) status = wrt_function_query(function, &type);
    if (status != WRT_OK) return status;
    message->parameter_count = type.parameter_count;
    message->result_count = type.result_count;
    memcpy(worker->control->text, type.parameters, type.parameter_count);
    memcpy(worker->control->text + type.parameter_count, type.results, type.result_count);
    return WRT_OK;
}

/* Runs what has been begun to its end, and notes in between what it has used. */
static wrt_status run(wrt__worker *worker)
{
    wrt_status status = WRT_OK;
    bool done = false;

    while (status == WRT_OK && !done) {
        status = wrt_instance_run(&instance, SLICE, &done);
        wrt__worker_note_usage(worker, &instance);
    }
    worker->ran = true;
    return status;
}

static wrt_status start(wrt__worker *worker)
{
    if (module.usage.start_function == UINT32_MAX) return WRT_OK;
    return run(worker);
}

static wrt_status call(wrt__worker *worker, const wrt__order *order)
{
    wrt_function *function = NULL;
    wrt_function_type type = {0};

    wrt_status status = find(worker, order, &function);
    if (status == WRT_OK) status = wrt_function_query(function, &type);
    if (status == WRT_OK) {
        status = wrt_instance_begin(&instance, function, worker->control->values, order->count);
    }
    if (status == WRT_OK) status = run(worker);
    if (status != WRT_OK) return status;
    return wrt_instance_results(&instance, worker->control->values, type.result_count);
}

/* ---- Orders ---- */

static wrt_status prove(wrt__worker *worker)
{
    if (worker->control->proves == 0) {
        return wrt_fail(WRT_ERR_STATE, "wrt_selftest", "the worker was started for a guest");
    }
    wrt__worker_prove(worker);
    return WRT_OK;
}

static wrt_status obey(wrt__worker *worker, const wrt__order *order, wrt__message *message)
{
    switch (order->kind) {
    case WRT__ORDER_LOAD:
        return load(worker, order);
    case WRT__ORDER_FIND:
        return describe(worker, order, message);
    case WRT__ORDER_START:
        return start(worker);
    case WRT__ORDER_CALL:
        return call(worker, order);
    case WRT__ORDER_PROVE:
        return prove(worker);
    default:
        return wrt_fail(WRT_ERR_UNSUPPORTED, "wrt_sandbox", "an order that is not known");
    }
}

/* What stopped the guest has been told; it is not run on. */
static void drop_paused_call(void)
{
    const wrt_status status = wrt_instance_abort(&instance);

    (void)status; /* STATE: it has ended, and is not paused */
}

void wrt__worker_serve(wrt__worker *worker)
{
    for (;;) {
        wrt__worker_await(worker, false);
        const wrt__order order = worker->control->order;
        wrt__message message = {.kind = WRT__MESSAGE_DONE};
        worker->ran = false;
        message.status = obey(worker, &order, &message);
        if (message.status != WRT_OK) wrt__worker_explain(worker, &instance, &message);
        wrt__worker_note_usage(worker, &instance);
        if (message.status != WRT_OK && worker->ran) drop_paused_call();
        worker->control->message = message;
        wrt__worker_hand_over(worker);
    }
}
