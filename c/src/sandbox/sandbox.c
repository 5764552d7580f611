/* The object, and its calls. The caller's storage holds nothing but the way to the state, which
 * lies in pages of its own. */
#include "state.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../linux/fork.h"

static size_t state_bytes(void)
{
    return (sizeof(wrt__sandbox) + WRT_PAGE_SIZE - 1) / WRT_PAGE_SIZE * WRT_PAGE_SIZE;
}

wrt_status wrt__sandbox_check(const char *operation, const wrt_sandbox *sandbox,
                              wrt__sandbox **state_out)
{
    if (sandbox == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "sandbox is NULL");
    if (sandbox->state == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the sandbox is not initialised");
    }
    if (sandbox->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation, "the sandbox belongs to the parent process");
    }
    *state_out = sandbox->state;
    return WRT_OK;
}

/* The same for a call that the process has to answer, in one of two phases. */
static wrt_status check_phase(const char *operation, const wrt_sandbox *sandbox, uint32_t phase,
                              wrt__sandbox **state_out)
{
    const wrt_status status = wrt__sandbox_check(operation, sandbox, state_out);
    if (status != WRT_OK) return status;
    wrt__sandbox *const state = *state_out;

    if (state->serving != 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "called by a host function of its own guest");
    }
    if (state->phase == phase) return WRT_OK;
    switch (state->phase) {
    case WRT__SANDBOX_SEALED:
        return wrt_fail(WRT_ERR_STATE, operation, "nothing is loaded");
    case WRT__SANDBOX_LOADED:
        return wrt_fail(WRT_ERR_STATE, operation,
                        phase == WRT__SANDBOX_SEALED
                            ? "something is loaded already: a sandbox is for one instance"
                            : "no call is under way");
    case WRT__SANDBOX_CALLED:
        return wrt_fail(WRT_ERR_STATE, operation, "a call is under way");
    case WRT__SANDBOX_REFUSED:
        return wrt_fail(WRT_ERR_STATE, operation, "its module was refused");
    default:
        return wrt_fail(WRT_ERR_STATE, operation, "its process has ended");
    }
}

wrt_status wrt__sandbox_init(const char *operation, wrt_sandbox *sandbox,
                             const wrt_sandbox_config *config, bool proves)
{
    wrt__sandbox_plan plan;

    if (sandbox == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "sandbox is NULL");
    wrt_status status = wrt__sandbox_make_plan(operation, config, &plan);
    if (status == WRT_OK) status = wrt__fork_watch(operation);
    if (status != WRT_OK) return status;
    plan.proves = proves;

    wrt__sandbox *const state =
        wrt__sys_mmap(state_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (state == MAP_FAILED) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "mmap of {0} bytes failed", errno,
                               state_bytes(), 0);
    }
    state->socket = state->life = state->pidfd = -1;
    state->deadline = UINT64_MAX;
    status = wrt__sandbox_start(operation, state, &plan);
    if (status != WRT_OK) {
        wrt__sandbox_release(state);
        (void)munmap(state, state_bytes());
        return status;
    }
    *sandbox = (wrt_sandbox){.state = state, .fork_generation = wrt__fork_generation()};
    return WRT_OK;
}

wrt_status wrt_sandbox_init(wrt_sandbox *sandbox, const wrt_sandbox_config *config)
{
    return wrt__sandbox_init(__func__, sandbox, config, false);
}

/* ---- Orders that run no code of the guest ---- */

static uint64_t deadline_of(uint64_t timeout_ns)
{
    return timeout_ns == 0 ? UINT64_MAX : wrt__sandbox_after(timeout_ns);
}

static wrt_status obey(const char *operation, wrt__sandbox *state, const wrt__order *order,
                       uint64_t timeout_ns)
{
    bool is_late;

    state->deadline = deadline_of(timeout_ns);
    state->host_status = WRT_OK;
    wrt__sandbox_order(state, order);
    return wrt__sandbox_serve(operation, state, UINT64_MAX, &is_late);
}

wrt_status wrt_sandbox_load(wrt_sandbox *sandbox, const wrt_sandbox_guest *guest,
                            uint64_t timeout_ns)
{
    wrt__sandbox *state = NULL;
    wrt__order order;

    wrt_status status = check_phase(__func__, sandbox, WRT__SANDBOX_SEALED, &state);
    if (status == WRT_OK) status = wrt__sandbox_pack(__func__, state, guest, &order);
    if (status != WRT_OK) return status;
    status = obey(__func__, state, &order, timeout_ns);
    if (state->phase != WRT__SANDBOX_ENDED) {
        state->phase = status == WRT_OK ? WRT__SANDBOX_LOADED : WRT__SANDBOX_REFUSED;
    }
    return status;
}

static wrt_status put_name(const char *operation, wrt__sandbox *state, const char *name,
                           size_t name_size, wrt__order *order)
{
    if (name_size > WRT_SANDBOX_NAME_MAX || (name == NULL && name_size != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "name is NULL, or its {0} bytes are more than {1}", name_size,
                               WRT_SANDBOX_NAME_MAX);
    }
    if (name_size != 0) memcpy(state->control->text, name, name_size);
    order->text_size = (uint32_t)name_size;
    return WRT_OK;
}

wrt_status wrt_sandbox_function(wrt_sandbox *sandbox, const char *name, size_t name_size,
                                wrt_function_type *type_out)
{
    wrt__order order = {.kind = WRT__ORDER_FIND};
    wrt__sandbox *state = NULL;

    if (type_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "type_out is NULL");
    *type_out = (wrt_function_type){0};
    wrt_status status = check_phase(__func__, sandbox, WRT__SANDBOX_LOADED, &state);
    if (status == WRT_OK && name == NULL) {
        status = wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "name is NULL");
    }
    if (status == WRT_OK) status = put_name(__func__, state, name, name_size, &order);
    if (status == WRT_OK) status = obey(__func__, state, &order, 0);
    if (status != WRT_OK) return status;
    if (state->parameter_count > WRT_MODULE_PARAMETER_MAX ||
        state->result_count > WRT_MODULE_PARAMETER_MAX) {
        wrt__sandbox_finish(state, true);
        return wrt_fail(WRT_ERR_CRASHED, __func__,
                        "the process of the sandbox told of a function that no engine has: it is "
                        "in other hands, and was killed");
    }
    memcpy(state->types, state->control->text, sizeof state->types);
    type_out->parameters = (const uint8_t *)state->types;
    type_out->parameter_count = state->parameter_count;
    type_out->results = (const uint8_t *)state->types + state->parameter_count;
    type_out->result_count = state->result_count;
    return WRT_OK;
}

/* ---- Calls ---- */

static wrt_status check_call(const char *operation, const wrt_sandbox_call *call)
{
    if (!wrt__is_zero(call->reserved, sizeof call->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the call are not 0");
    }
    if (call->argument_count > WRT_MODULE_PARAMETER_MAX ||
        (call->arguments == NULL && call->argument_count != 0) ||
        (call->name == NULL && call->argument_count != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "arguments is NULL, or {0} are more than a function takes",
                               call->argument_count, 0);
    }
    return WRT_OK;
}

static wrt_status begin(const char *operation, wrt__sandbox *state, const wrt_sandbox_call *call)
{
    wrt__order order = {.kind = call->name == NULL ? WRT__ORDER_START : WRT__ORDER_CALL,
                        .count = call->argument_count};

    const wrt_status status = put_name(operation, state, call->name, call->name_size, &order);
    if (status != WRT_OK) return status;
    if (call->argument_count != 0) {
        memcpy(state->control->values, call->arguments,
               call->argument_count * sizeof *call->arguments);
    }
    state->deadline = deadline_of(call->timeout_ns);
    state->host_status = WRT_OK;
    state->has_results = 0;
    state->trap_code = WRT_TRAP_NONE;
    state->frame_count = 0;
    state->phase = WRT__SANDBOX_CALLED;
    wrt__sandbox_order(state, &order);
    return WRT_OK;
}

wrt_status wrt_sandbox_begin(wrt_sandbox *sandbox, const wrt_sandbox_call *call)
{
    wrt_sandbox_call known;
    wrt__sandbox *state = NULL;

    wrt_status status = check_phase(__func__, sandbox, WRT__SANDBOX_LOADED, &state);
    if (status == WRT_OK) status = wrt__config_read(__func__, call, &known, sizeof known);
    if (status == WRT_OK) status = check_call(__func__, &known);
    return status == WRT_OK ? begin(__func__, state, &known) : status;
}

static wrt_status serve(const char *operation, wrt__sandbox *state, uint64_t until, bool *done_out)
{
    bool is_late;

    const wrt_status status = wrt__sandbox_serve(operation, state, until, &is_late);
    *done_out = !is_late;
    if (is_late || state->phase == WRT__SANDBOX_ENDED) return status;
    state->phase = WRT__SANDBOX_LOADED;
    if (status == WRT_OK) {
        memcpy(state->values, state->control->values, sizeof state->values);
        state->has_results = 1;
    }
    return status;
}

wrt_status wrt_sandbox_serve(wrt_sandbox *sandbox, uint64_t slice_ns, bool *done_out)
{
    wrt__sandbox *state = NULL;

    if (done_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "done_out is NULL");
    *done_out = false;
    const wrt_status status = check_phase(__func__, sandbox, WRT__SANDBOX_CALLED, &state);
    if (status != WRT_OK) return status;
    return serve(__func__, state, wrt__sandbox_after(slice_ns), done_out);
}

wrt_status wrt_sandbox_results(wrt_sandbox *sandbox, wrt_value *results, uint32_t result_count)
{
    wrt__sandbox *state = NULL;

    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status != WRT_OK) return status;
    if (state->has_results == 0) return wrt_fail(WRT_ERR_STATE, __func__, "no call has ended well");
    if (result_count > WRT_MODULE_PARAMETER_MAX || (results == NULL && result_count != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "results is NULL, or {0} are more than a function has", result_count,
                               0);
    }
    if (result_count != 0) memcpy(results, state->values, result_count * sizeof *results);
    return WRT_OK;
}

wrt_status wrt_sandbox_run(wrt_sandbox *sandbox, const wrt_sandbox_call *call)
{
    wrt_sandbox_call known;
    wrt__sandbox *state = NULL;
    bool is_done;

    wrt_status status = check_phase(__func__, sandbox, WRT__SANDBOX_LOADED, &state);
    if (status == WRT_OK) status = wrt__config_read(__func__, call, &known, sizeof known);
    if (status == WRT_OK) status = check_call(__func__, &known);
    if (status == WRT_OK) status = begin(__func__, state, &known);
    if (status == WRT_OK) status = serve(__func__, state, UINT64_MAX, &is_done);
    if (status != WRT_OK) return status;
    return wrt_sandbox_results(sandbox, known.results, known.result_count);
}
