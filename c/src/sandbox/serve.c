/* Answering a worker. What it wrote is copied once, and the copy is checked; of what it asks for,
 * the number of one of the lent functions is all that is believed: how many values that takes is
 * known on this side. */
#include "state.h"

#include "../core/atomic.h"
#include "../core/fail.h"

enum { PAUSE_NS = 1000000 };

/* Whether a host function is being called. */
enum { NOT = 0, ONCE = 1, AGAIN = 2 };

/* From shared memory; the compiler may not read it a second time. */
static void copy_out(void *copy, const void *shared, size_t size)
{
    memcpy(copy, shared, size);
    __asm__ volatile("" : : "r"(copy) : "memory");
}

static wrt_status fail_protocol(const char *operation, wrt__sandbox *state, const char *reason,
                                uint64_t detail)
{
    wrt__sandbox_finish(state, true);
    return wrt_fail_detail(WRT_ERR_CRASHED, operation, reason, 0, detail);
}

/* ---- Host functions ---- */

/* How much memory the guest has: its own word, and never more than is mapped. */
static uint32_t pages_of(const wrt__sandbox *state)
{
    const uint32_t pages = wrt__load(&state->control->usage.memory_pages);

    return pages < state->maximum_pages ? pages : (uint32_t)state->maximum_pages;
}

static void take_question(wrt__sandbox *state, uint32_t import)
{
    const wrt_host_function *const function = state->functions[import];

    copy_out(state->values, state->control->values,
             function->type.parameter_count * sizeof *state->values);
    state->import = import;
    state->is_asked = ONCE;
    state->host_calls++;
    wrt__elsewhere_update(&state->elsewhere, pages_of(state));
}

/* One that is not ready, and has not waited itself, is not asked without a pause. */
static void rest(const wrt__sandbox *state, uint64_t start)
{
    const uint64_t end = start + PAUSE_NS < state->deadline ? start + PAUSE_NS : state->deadline;

    (void)wrt__sandbox_await_byte(state, end);
}

/* Calls the function once; it may want to be called again. */
static void answer(wrt__sandbox *state)
{
    const wrt_host_function *const function = state->functions[state->import];
    const uint64_t start = state->is_asked == AGAIN ? wrt__sandbox_now() : 0;

    state->serving = 1;
    const wrt_status status =
        function->call(function->context, &state->elsewhere.instance, state->values);
    state->serving = 0;
    if (status == WRT_ERR_PENDING) {
        if (start != 0) rest(state, start);
        state->is_asked = AGAIN;
        return;
    }
    if (status == WRT_OK) {
        memcpy(state->control->values, state->values,
               function->type.result_count * sizeof *state->values);
    }
    state->is_asked = NOT;
    state->host_status = status;
    const wrt__order order = {.kind = WRT__ORDER_ANSWER, .status = status};
    wrt__sandbox_order(state, &order);
}

/* ---- The end of an order ---- */

/* What an engine can come to by itself. A host function's status is known on this side. */
static bool is_possible(const wrt__sandbox *state, wrt_status status)
{
    switch (status) {
    case WRT_OK:
    case WRT_ERR_INVALID_ARGUMENT:
    case WRT_ERR_NO_MEMORY:
    case WRT_ERR_STATE:
    case WRT_ERR_UNSUPPORTED:
    case WRT_ERR_NOT_FOUND:
    case WRT_ERR_LIMIT:
    case WRT_ERR_MALFORMED:
    case WRT_ERR_INVALID_MODULE:
    case WRT_ERR_LINK:
    case WRT_ERR_TRAP:
    case WRT_ERR_OUT_OF_FUEL:
        return true;
    default:
        return status == state->host_status;
    }
}

/* What it says, with nothing in it that a terminal would obey. */
static void take_sentence(wrt__sandbox *state, uint32_t size)
{
    const uint32_t taken = size < sizeof state->text ? size : (uint32_t)sizeof state->text - 1;

    copy_out(state->text, state->control->text, taken);
    state->text[taken] = '\0';
    for (uint32_t i = 0; i < taken; i++) {
        if (state->text[i] < ' ' || state->text[i] > '~') state->text[i] = '?';
    }
    state->text_size = taken;
}

static void take_trap(wrt__sandbox *state, const wrt__message *message)
{
    const uint32_t count =
        message->frame_count < WRT__WORKER_FRAMES ? message->frame_count : WRT__WORKER_FRAMES;

    state->trap_code = message->trap_code;
    state->frame_count = count;
    memcpy(state->frames, message->frames, sizeof state->frames);
}

/* This library's own words, since the worker's do not live long enough for a wrt_error. */
static const char *reason_of(wrt_status status)
{
    switch (status) {
    case WRT_ERR_MALFORMED:
        return "the bytes are not a WebAssembly module; the sandbox says at byte {0}";
    case WRT_ERR_INVALID_MODULE:
        return "the module breaks a validation rule; the sandbox says at byte {0}";
    case WRT_ERR_LINK:
        return "import {0} of the module is not lent, or is of another type";
    case WRT_ERR_LIMIT:
        return "the module asks for more than it is given: {0} of {1}";
    case WRT_ERR_NO_MEMORY:
        return "the engine has no room for it: working_bytes";
    case WRT_ERR_NOT_FOUND:
        return "the module exports no function of that name";
    case WRT_ERR_TRAP:
        return "the guest trapped";
    case WRT_ERR_OUT_OF_FUEL:
        return "the fuel is used up";
    case WRT_ERR_UNSUPPORTED:
        return "the module uses something that this engine does not have";
    case WRT_ERR_INVALID_ARGUMENT:
        return "the arguments, or a setting of the guest, are not what they must be";
    default:
        return "the sandbox is not ready for that";
    }
}

static wrt_status conclude(const char *operation, wrt__sandbox *state, const wrt__message *message)
{
    const wrt_status status = message->status;

    if (!is_possible(state, status)) {
        return fail_protocol(operation, state,
                             "the process of the sandbox answered with status {1}, which no engine "
                             "comes to: it is in other hands, and was killed",
                             (uint64_t)(uint32_t)status);
    }
    state->text_size = 0;
    state->text[0] = '\0';
    if (status == WRT_OK) return WRT_OK;
    take_sentence(state, message->text_size);
    if (status == WRT_ERR_TRAP) take_trap(state, message);
    if (status == state->host_status) return status; /* its failure is this thread's last */
    const char *const reason = status == WRT_ERR_TRAP && state->trap_code != WRT_TRAP_NONE
                                   ? wrt_trap_text(state->trap_code)
                                   : reason_of(status);
    return wrt_fail_detail(status, operation, reason, message->detail[0], message->detail[1]);
}

/* ---- Until it is done ---- */

static wrt_status fail_gone(const char *operation, wrt__sandbox *state)
{
    wrt__sandbox_finish(state, false);
    return wrt__sandbox_fail_end(operation, state);
}

static wrt_status fail_wait(const char *operation, wrt__sandbox *state)
{
    const int code = errno;

    wrt__sandbox_finish(state, true);
    return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                           "waiting for the process of the sandbox failed; it was killed", code, 0,
                           0);
}

static wrt_status fail_late(const char *operation, wrt__sandbox *state)
{
    wrt__sandbox_finish(state, true);
    return wrt_fail(WRT_ERR_TIMED_OUT, operation,
                    "the time limit has passed; the process of the sandbox was killed");
}

/* One turn of ours; true if the order is done. */
static bool take_turn(const char *operation, wrt__sandbox *state, wrt_status *status_out)
{
    wrt__message message;

    copy_out(&message, &state->control->message, sizeof message);
    if (message.kind == WRT__MESSAGE_DONE) {
        *status_out = conclude(operation, state, &message);
        state->result_count = message.result_count;
        state->parameter_count = message.parameter_count;
        return true;
    }
    if (message.kind != WRT__MESSAGE_ASK || message.import >= state->function_count ||
        state->phase != WRT__SANDBOX_CALLED) {
        *status_out = fail_protocol(operation, state,
                                    "the process of the sandbox asked for function {1}, which it "
                                    "was not lent: it is in other hands, and was killed",
                                    message.import);
        return true;
    }
    take_question(state, message.import);
    return false;
}

wrt_status wrt__sandbox_serve(const char *operation, wrt__sandbox *state, uint64_t until,
                              bool *is_late_out)
{
    wrt_status status = WRT_OK;

    *is_late_out = false;
    for (;;) {
        if (state->is_asked != NOT) answer(state);
        const uint64_t end = until < state->deadline ? until : state->deadline;
        if (state->is_asked == NOT) {
            const enum wrt__sandbox_news news = wrt__sandbox_await(state, end);
            if (news == WRT__NEWS_END) return fail_gone(operation, state);
            if (news == WRT__NEWS_FAILED) return fail_wait(operation, state);
            if (news == WRT__NEWS_TURN && take_turn(operation, state, &status)) return status;
            if (news == WRT__NEWS_TURN) continue;
        }
        if (wrt__load_ordered(&state->stopping) != 0) return fail_gone(operation, state);
        const uint64_t now = wrt__sandbox_now();
        if (now >= state->deadline) return fail_late(operation, state);
        *is_late_out = now >= until;
        if (*is_late_out) return WRT_OK;
    }
}
