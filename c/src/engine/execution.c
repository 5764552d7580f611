/* Calls: begun, run for a while, stopped, gone on with. The interpreter stops by itself at loops
 * and calls once the account is below the floor; what follows from that is decided here.
 *
 * Fuel is exact although the interpreter does not count instructions: functions are paid for when
 * they are entered (parts.h), so what is really left is the account and what the functions on the
 * stack have not run yet. When the account alone no longer covers a function, the rest is counted
 * one by one. */
#include "execution.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "skip.h"

enum { SLICE = 1 << 20 }; /* instructions between two beats, and two looks at the clock */

static const wrt__frame host_record = {0};

/* Clears the flag; true if it was set. */
static bool take_interrupt(wrt__execution *x)
{
    if (!wrt__is_interrupted(x)) return false;
    wrt_cancel_clear(&x->cancel);
    return true;
}

static bool is_initialised(const wrt_instance *instance)
{
    return instance != NULL && instance->magic == WRT__INSTANCE_MAGIC;
}

void wrt_instance_interrupt(wrt_instance *instance)
{
    if (is_initialised(instance)) wrt_cancel_request(&wrt__execution_of(instance)->cancel);
}

void wrt_instance_clear_interrupt(wrt_instance *instance)
{
    if (is_initialised(instance)) wrt_cancel_clear(&wrt__execution_of(instance)->cancel);
}

wrt_cancel_token *wrt_instance_cancel_token(wrt_instance *instance)
{
    if (!is_initialised(instance)) return NULL;
    return instance->running_token != NULL ? instance->running_token
                                           : &wrt__execution_of(instance)->cancel;
}

uint32_t wrt_instance_heartbeat(const wrt_instance *instance)
{
    return is_initialised(instance) ? wrt__load(&wrt__execution_of(instance)->heartbeat) : 0;
}

/* True if a call that returned `status` can be run on; not what a host function ended, whatever it
 * says. */
static bool can_go_on(const wrt__execution *x, wrt_status status)
{
    if (x->host_status != WRT_OK) return false;
    return status == WRT_OK || status == WRT_ERR_INTERRUPTED || status == WRT_ERR_OUT_OF_FUEL;
}

/* Takes the call off that did not finish, down to `outer`, and gives back the fuel of what of it
 * did not run. */
static void drop_nested(wrt__execution *x, const wrt__frame *outer, uint32_t instructions_run)
{
    const uint64_t before = wrt__unexecuted(x);

    x->waiting_host = NULL;
    x->code = NULL;
    x->frame += outer - x->frame;
    x->account += (int64_t)(before - wrt__unexecuted(x)) - instructions_run;
}

/* The same for the outermost call. Its frames stay, to be looked at. */
static void drop_outermost(wrt__execution *x, uint32_t instructions_run)
{
    x->account += (int64_t)wrt__unexecuted(x) - instructions_run;
    x->waiting_host = NULL;
}

/* The instruction that trapped, or that called a host function which ended the call, has run. */
static uint32_t instructions_run(const wrt__execution *x, wrt_status status)
{
    return x->code != NULL && !can_go_on(x, status) && status != WRT_ERR_TIMED_OUT;
}

static wrt_status fail_host(const wrt__execution *x, const char *operation)
{
    if (wrt_error_last()->status == x->host_status) return x->host_status;
    return wrt_fail(x->host_status, operation, "a host function ended the call");
}

/* One stretch of running; what to do next. */
static enum wrt__outcome run_stretch(wrt_instance *instance, uint64_t *instructions, bool exact)
{
    wrt__execution *const x = wrt__execution_of(instance);

    if (x->waiting_host != NULL) {
        const enum wrt__outcome outcome = wrt__call_host(x, x->waiting_host);
        if (outcome != WRT__GO_ON) return outcome;
        x->waiting_host = NULL;
        return WRT__FINISHED;
    }
    if (!exact && x->account >= 0) {
        const bool is_near = *instructions > (uint64_t)x->account;
        x->floor = is_near ? 0 : x->account - (int64_t)*instructions;
        const enum wrt__outcome outcome = wrt__interpret(x, false);
        if (outcome == WRT__CHECKPOINT && x->account >= 0) *instructions = 0;
        return outcome;
    }
    const int64_t left = x->account + (int64_t)wrt__unexecuted(x);
    const uint64_t affordable = left > 0 ? (uint64_t)left : 0;
    const uint64_t steps = *instructions < affordable ? *instructions : affordable;

    x->floor = INT64_MIN;
    x->steps = steps;
    const enum wrt__outcome outcome = wrt__interpret(x, true);
    *instructions -= steps - x->steps;
    return outcome;
}

/* Runs what is on top of the stack. *done_out is false, with WRT_OK, if it is to be run on. */
static wrt_status drive(wrt_instance *instance, const char *operation, uint64_t instructions,
                        bool exact, bool *done_out)
{
    wrt__execution *const x = wrt__execution_of(instance);

    *done_out = false;
    x->host_status = WRT_OK;
    for (;;) {
        if (take_interrupt(x)) {
            return wrt_fail(WRT_ERR_INTERRUPTED, operation, "wrt_instance_interrupt() was called");
        }
        const uint64_t stretch = instructions < SLICE ? instructions : SLICE;
        uint64_t left = stretch;
        const enum wrt__outcome outcome = run_stretch(instance, &left, exact);
        instructions -= stretch - left;
        if (outcome != WRT__WAITING) wrt__count(&x->heartbeat);
        switch (outcome) {
        case WRT__FINISHED:
            *done_out = true;
            return WRT_OK;
        case WRT__TRAPPED:
            wrt__note_place(x, &x->trap);
            return wrt_fail_detail(WRT_ERR_TRAP, operation, wrt_trap_text(x->trap.code),
                                   x->trap.function, x->trap.offset);
        case WRT__HOST_ENDED:
            wrt__note_place(x, &x->trap);
            return fail_host(x, operation);
        case WRT__WAITING:
            if (wrt__is_interrupted(x)) continue;
            return WRT_OK;
        default:
            break; /* a checkpoint, or no steps left */
        }
        if (wrt__is_interrupted(x)) continue;
        if (instructions == 0) return WRT_OK;
        if (x->account + (int64_t)wrt__unexecuted(x) <= 0) {
            return wrt_fail(WRT_ERR_OUT_OF_FUEL, operation, "the fuel is used up");
        }
    }
}

/* drive(), for the outermost call: keeps the instance's state. */
static wrt_status run_outermost(wrt_instance *instance, const char *operation,
                                uint64_t instructions, bool exact, bool *done_out)
{
    wrt__execution *const x = wrt__execution_of(instance);
    const uint32_t paused = instance->state;
    bool done;

    instance->state = WRT__RUNNING;
    x->trap = (wrt_trap){.function = UINT32_MAX};
    const wrt_status status = drive(instance, operation, instructions, exact, &done);
    if (done_out != NULL) *done_out = done;
    if (done) {
        x->frame = x->stack_end;
        x->code = NULL;
        instance->state = paused == WRT__STARTING ? WRT__IDLE : WRT__ENDED;
    } else if (can_go_on(x, status)) {
        instance->state = paused;
    } else {
        drop_outermost(x, instructions_run(x, status));
        instance->state = paused == WRT__STARTING ? WRT__FAILED : WRT__TRAPPED_CALL;
    }
    return status;
}

/* Puts the arguments and the host's record on the stack above sp, and the function on top. */
static wrt_status push_call(wrt_instance *instance, const char *operation, wrt_function *function,
                            const wrt_value *arguments, uint32_t argument_count)
{
    wrt__execution *const x = wrt__execution_of(instance);
    wrt_function_type type;

    const wrt_status status = wrt_function_query(function, &type);
    if (status != WRT_OK) return status;
    if (argument_count != type.parameter_count || (arguments == NULL && argument_count != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "{0} arguments are given, the function takes {1}",
                               arguments == NULL ? 0 : argument_count, type.parameter_count);
    }
    if ((uintptr_t)(x->sp + argument_count) > (uintptr_t)(x->frame - 1)) {
        return wrt_fail(WRT_ERR_TRAP, operation, wrt_trap_text(WRT_TRAP_STACK_EXHAUSTED));
    }
    for (uint32_t i = 0; i < argument_count; i++) x->sp[i] = arguments[i];
    x->sp += argument_count;
    x->result_count = type.result_count;
    if (function->is_host != 0) {
        *--x->frame = host_record;
        x->waiting_host = function;
        return WRT_OK;
    }
    wrt_instance *const owner = function->owner;
    if (wrt__enter(x, owner, wrt__codes(owner->module) + function->index, NULL) != WRT__GO_ON) {
        x->sp -= argument_count;
        return wrt_fail(WRT_ERR_TRAP, operation, wrt_trap_text(WRT_TRAP_STACK_EXHAUSTED));
    }
    return WRT_OK;
}

wrt_status wrt_instance_begin(wrt_instance *instance, wrt_function *function,
                              const wrt_value *arguments, uint32_t argument_count)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    switch (instance->state) {
    case WRT__STARTING:
        return wrt_fail(WRT_ERR_STATE, __func__, "the start function has not run to its end");
    case WRT__CALLED:
    case WRT__RUNNING:
        return wrt_fail(WRT_ERR_STATE, __func__, "a call is under way");
    case WRT__FAILED:
        return wrt_fail(WRT_ERR_STATE, __func__, "the instance failed to start");
    default:
        break;
    }
    wrt__execution *const x = wrt__execution_of(instance);
    x->sp = x->fp = x->stack;
    x->frame = x->stack_end;
    x->code = NULL;
    x->waiting_host = NULL;
    x->trap = (wrt_trap){.function = UINT32_MAX};
    instance->state = WRT__IDLE;
    wrt__switch_instance(x, instance);
    const wrt_status status = push_call(instance, __func__, function, arguments, argument_count);
    if (status == WRT_OK) instance->state = WRT__CALLED;
    if (status == WRT_ERR_TRAP) x->trap.code = WRT_TRAP_STACK_EXHAUSTED;
    return status;
}

static wrt_status run(wrt_instance *instance, const char *operation, uint64_t instructions,
                      bool exact, bool *done_out)
{
    if (done_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "done_out is NULL");
    *done_out = false;
    const wrt_status ready = wrt__check_instance(instance, operation);
    if (ready != WRT_OK) return ready;
    if (!wrt__is_paused(instance)) {
        return wrt_fail(WRT_ERR_STATE, operation, "no call has been begun, or it is running");
    }
    return run_outermost(instance, operation, instructions, exact, done_out);
}

wrt_status wrt_instance_run(wrt_instance *instance, uint64_t instructions, bool *done_out)
{
    return run(instance, __func__, instructions, false, done_out);
}

wrt_status wrt_instance_step(wrt_instance *instance, uint64_t instructions, bool *done_out)
{
    return run(instance, __func__, instructions, true, done_out);
}

wrt_status wrt_instance_results(wrt_instance *instance, wrt_value *results, uint32_t result_count)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (instance->state != WRT__ENDED) {
        return wrt_fail(WRT_ERR_STATE, __func__, "no call has ended");
    }
    const wrt__execution *const x = wrt__execution_of(instance);
    if (result_count != x->result_count || (results == NULL && result_count != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "room for {0} results, the function has {1}",
                               results == NULL ? 0 : result_count, x->result_count);
    }
    for (uint32_t i = 0; i < result_count; i++) results[i] = x->stack[i];
    return WRT_OK;
}

wrt_status wrt_instance_abort(wrt_instance *instance)
{
    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    if (!wrt__is_paused(instance)) return wrt_fail(WRT_ERR_STATE, __func__, "no call is paused");
    drop_outermost(wrt__execution_of(instance), 0);
    instance->state = instance->state == WRT__STARTING ? WRT__FAILED : WRT__TRAPPED_CALL;
    return WRT_OK;
}

typedef struct time_limit {
    uint64_t at; /* nanoseconds of the port's clock */
    bool is_set;
} time_limit;

static wrt_status set_deadline(uint64_t timeout_ns, time_limit *deadline_out)
{
    *deadline_out = (time_limit){0};
    if (timeout_ns == 0) return WRT_OK;
    const wrt_status status = wrt__port_now(&deadline_out->at);
    if (status != WRT_OK) return status;
    deadline_out->at =
        timeout_ns > UINT64_MAX - deadline_out->at ? UINT64_MAX : deadline_out->at + timeout_ns;
    deadline_out->is_set = true;
    return WRT_OK;
}

static wrt_status check_deadline(const time_limit *deadline, const char *operation)
{
    uint64_t now;

    if (!deadline->is_set) return WRT_OK;
    const wrt_status status = wrt__port_now(&now);
    if (status != WRT_OK || now < deadline->at) return status;
    return wrt_fail(WRT_ERR_TIMED_OUT, operation, "the time limit has passed");
}

static wrt_status run_to_end(wrt_instance *instance, const char *operation,
                             const time_limit *deadline)
{
    wrt_status status = WRT_OK;
    bool done = false;

    while (status == WRT_OK && !done) {
        status = run_outermost(instance, operation, SLICE, false, &done);
        if (status == WRT_OK && !done) status = check_deadline(deadline, operation);
    }
    return status;
}

wrt_status wrt_instance_start(wrt_instance *instance, uint64_t timeout_ns)
{
    time_limit deadline;

    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    const wrt_status status = set_deadline(timeout_ns, &deadline);
    if (status != WRT_OK) return status;
    switch (instance->state) {
    case WRT__STARTING:
        return run_to_end(instance, __func__, &deadline);
    case WRT__FAILED:
        return wrt_fail(WRT_ERR_STATE, __func__, "the instance failed to start");
    default:
        return WRT_OK; /* no start function, or it has run */
    }
}

/* Keeps the place of the guest that is inside a host function: as a record on the stack, where
 * its fuel is counted, and as a copy, to go back to. */
static wrt_status push_caller(wrt__execution *x, const char *operation, wrt__frame *caller_out)
{
    *caller_out = host_record;
    if (x->code == NULL) return WRT_OK;
    if ((uintptr_t)(x->frame - 2) < (uintptr_t)x->sp) {
        return wrt_fail(WRT_ERR_TRAP, operation, wrt_trap_text(WRT_TRAP_STACK_EXHAUSTED));
    }
    *caller_out = wrt__record_of_caller(x, x->pc);
    *--x->frame = wrt__record_of_caller(x, wrt__skip_instruction(x->pc)); /* the call has run */
    x->code = NULL;
    return WRT_OK;
}

static wrt_status run_nested(wrt_instance *instance, const char *operation, const wrt_call *call)
{
    wrt__execution *const x = wrt__execution_of(instance);
    const wrt__frame *const outer = x->frame;
    const wrt_value *const results = x->sp;
    time_limit deadline;
    bool done = false;

    wrt_status status = set_deadline(call->timeout_ns, &deadline);
    if (status == WRT_OK) {
        status =
            push_call(instance, operation, call->function, call->arguments, call->argument_count);
    }
    while (status == WRT_OK && !done) {
        status = drive(instance, operation, SLICE, false, &done);
        if (status == WRT_OK && !done) status = check_deadline(&deadline, operation);
    }
    if (done) {
        for (uint32_t i = 0; i < call->result_count; i++) call->results[i] = results[i];
        x->code = NULL;
        x->frame += outer - x->frame;
    } else {
        drop_nested(x, outer, instructions_run(x, status));
    }
    return status;
}

/* A call made by a host function of the guest that is running. It can not be paused, since the
 * host function's own C frame is in the middle: whatever stops it ends it. */
static wrt_status call_nested(wrt_instance *instance, const char *operation, const wrt_call *call)
{
    wrt__execution *const x = wrt__execution_of(instance);
    wrt_instance *const caller = x->instance;
    wrt__frame *const frame = x->frame;
    wrt_value *const sp = x->sp;
    const int64_t floor = x->floor;
    const uint64_t steps = x->steps;
    const uint32_t result_count = x->result_count;
    wrt_function *const waiting_host = x->waiting_host;
    wrt__frame guest;

    wrt_status status = push_caller(x, operation, &guest);
    if (status != WRT_OK) return status;
    x->waiting_host = NULL;
    status = run_nested(instance, operation, call);

    wrt__switch_instance(x, caller);
    if (guest.instance != NULL) wrt__return_to(x, &guest);
    x->frame = frame;
    x->sp = sp;
    x->floor = floor;
    x->steps = steps;
    x->result_count = result_count;
    x->waiting_host = waiting_host;
    return status;
}

wrt_status wrt_instance_call(wrt_instance *instance, const wrt_call *call)
{
    wrt_call known;
    wrt_function_type type;
    time_limit deadline;

    const wrt_status ready = wrt__check_instance(instance, __func__);
    if (ready != WRT_OK) return ready;
    wrt_status status = wrt__config_read(__func__, call, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes of the call are not 0");
    }
    status = wrt_function_query(known.function, &type);
    if (status != WRT_OK) return status;
    if (known.result_count != type.result_count ||
        (known.results == NULL && known.result_count != 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "room for {0} results, the function has {1}",
                               known.results == NULL ? 0 : known.result_count, type.result_count);
    }
    if (instance->state == WRT__RUNNING && wrt__execution_of(instance)->host_depth != 0) {
        return call_nested(instance, __func__, &known);
    }
    status = set_deadline(known.timeout_ns, &deadline);
    if (status != WRT_OK) return status;
    status = wrt_instance_begin(instance, known.function, known.arguments, known.argument_count);
    if (status == WRT_OK) status = run_to_end(instance, __func__, &deadline);
    if (status == WRT_OK) {
        status = wrt_instance_results(instance, known.results, known.result_count);
    }
    return status;
}
