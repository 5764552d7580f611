/* Cancel tokens. A request has to reach a thread that is about to sleep, and the system that it
 * sleeps by belongs to that thread's call: so a request marks itself in `waiting` while it uses
 * the system, and the sleeper does not leave before the mark is gone. */
#include "wrt_platform/cancel.h"

#include "atomic.h"
#include "fail.h"

/* What `waiting` says. */
enum {
    NOBODY = 0,
    WAITS = 1,      /* a thread waits */
    WAKING = 2,     /* it does, and a request is about to wake it */
    WAKE_AGAIN = 3, /* another request came meanwhile */
    CLAIMED = 4,    /* a thread is about to wait: it will look at `requested` once more */
    LEAVING = 8     /* beside WAKING and WAKE_AGAIN: it is awake, and goes when the mark is gone */
};

/* A sleeper that finds itself marked looks LEAVE_LOOKS times, then every LEAVE_NS nanoseconds. */
enum { LEAVE_LOOKS = 200, LEAVE_NS = 100000 };

/* Takes the mark. False if nobody waits, or if another request will wake once more for this one. */
static bool begin_waking(wrt_cancel_token *token)
{
    uint32_t seen = wrt__load_ordered(&token->waiting);

    while (seen == WAITS || seen == WAKING) {
        if (wrt__compare_exchange(&token->waiting, &seen, seen + 1u)) return seen == WAITS;
    }
    return false;
}

/* Gives the mark back; false if there is more to wake. */
static bool end_waking(wrt_cancel_token *token)
{
    uint32_t seen = WAKING;

    if (wrt__compare_exchange(&token->waiting, &seen, WAITS)) return true;
    if (seen == WAKE_AGAIN && wrt__compare_exchange(&token->waiting, &seen, WAKING)) return false;
    wrt__store_ordered(&token->waiting, NOBODY); /* it is leaving */
    return true;
}

void wrt_cancel_request(wrt_cancel_token *token)
{
    if (token == NULL) return;
    wrt__store_ordered(&token->requested, 1);
    if (!begin_waking(token)) return;
    do {
        token->system.ops->wake(token->system.self, &token->requested, UINT32_MAX);
    } while (!end_waking(token));
}

void wrt_cancel_clear(wrt_cancel_token *token)
{
    if (token != NULL) wrt__store_ordered(&token->requested, 0);
}

bool wrt_cancel_is_requested(const wrt_cancel_token *token)
{
    return token != NULL && wrt__load_acquire(&token->requested) != 0;
}

/* The system's wait until the token or the time ends it. */
static wrt_status sleep_on(wrt_cancel_token *token, const wrt_thread_system *system,
                           uint64_t timeout_ns)
{
    uint64_t start = 0;
    uint64_t now = 0;
    wrt_status status = system->ops->now(system->self, &start);

    for (now = start; status == WRT_OK && now - start < timeout_ns;) {
        if (wrt__load_ordered(&token->requested) != 0) return WRT_OK;
        const uint64_t rest = timeout_ns == UINT64_MAX ? UINT64_MAX : timeout_ns - (now - start);
        status = system->ops->wait(system->self, &token->requested, 0, rest);
        if (status == WRT_OK) status = system->ops->now(system->self, &now);
    }
    return status == WRT_ERR_TIMED_OUT ? WRT_OK : status;
}

/* Says that the thread is awake; true if no request uses the system. */
static bool begin_leaving(wrt_cancel_token *token)
{
    uint32_t seen = WAITS;
    uint32_t next = NOBODY;

    while (!wrt__compare_exchange(&token->waiting, &seen, next)) {
        next = seen == WAITS ? (uint32_t)NOBODY : seen | LEAVING;
    }
    return next == NOBODY;
}

/* Lets go of the token when no request uses the system any more. */
static void leave(wrt_cancel_token *token, const wrt_thread_system *system)
{
    if (begin_leaving(token)) return;

    uint32_t seen = wrt__load_ordered(&token->waiting);
    for (int looks = 0; (seen & LEAVING) != 0; looks++) {
        wrt__spin_hint();
        if (looks >= LEAVE_LOOKS) {
            const wrt_status woken_or_not =
                system->ops->wait(system->self, &token->waiting, seen, LEAVE_NS);
            (void)woken_or_not;
        }
        seen = wrt__load_ordered(&token->waiting);
    }
}

static wrt_status wait_for_request(wrt_cancel_token *token, const wrt_thread_system *system,
                                   uint64_t timeout_ns)
{
    uint32_t seen = NOBODY;

    if (!wrt__compare_exchange(&token->waiting, &seen, CLAIMED)) {
        return wrt_fail(WRT_ERR_BUSY, "wrt_cancel_wait", "another thread waits on this token");
    }
    token->system = *system;
    wrt__store_ordered(&token->waiting, WAITS);
    const wrt_status status = sleep_on(token, system, timeout_ns);
    leave(token, system);
    return status;
}

wrt_status wrt_cancel_wait(wrt_cancel_token *token, const wrt_thread_system *system,
                           uint64_t timeout_ns)
{
    if (token == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "token is NULL");
    if (system == NULL || system->ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is NULL or all zero");
    }
    if (timeout_ns != 0 && !wrt_cancel_is_requested(token)) {
        const wrt_status status = wait_for_request(token, system, timeout_ns);
        if (status != WRT_OK) return status;
    }
    if (!wrt_cancel_is_requested(token)) return WRT_OK;
    return wrt_fail(WRT_ERR_INTERRUPTED, __func__, "the token was requested");
}
