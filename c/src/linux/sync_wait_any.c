/* Waits on several futexes at once: by futex_waitv, and where the kernel has none, or a filter
 * takes it away, by short waits on the first with looks at the others. */
#include "sys.h"
#include "wrt_platform/linux/sync_objects.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "limit.h"
#include "sys_futex.h"
#include "times.h"

enum { LOOK_NS = 2000000 };

typedef struct several {
    const wrt_linux_futex_wait *waits;
    uint32_t count;
    wrt__limit limit;
} several;

/* ---- Who waits for what ---- */

static wrt_status check_one(const char *operation, const wrt_linux_futex_wait *one)
{
    const wrt_status status = wrt__futex_check(operation, one->futex);
    if (status != WRT_OK) return status;
    if (one->futex->is_lock != 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "one of the futexes is a lock");
    }
    if (one->reserved == 0) return WRT_OK;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of a wait are not 0");
}

static wrt_status check(const char *operation, const wrt_linux_futex_wait *waits, uint32_t count,
                        const uint32_t *index_out)
{
    wrt_status status = WRT_OK;

    if (waits == NULL || index_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "waits or index_out is NULL");
    }
    if (count == 0 || count > WRT_LINUX_WAIT_ANY_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "count is {0}, not 1 to {1}",
                               count, WRT_LINUX_WAIT_ANY_MAX);
    }
    for (uint32_t i = 0; i < count && status == WRT_OK; i++)
        status = check_one(operation, &waits[i]);
    return status;
}

static void count_in(const several *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        wrt_linux_futex *futex = all->waits[i].futex;
        (void)wrt__add(&futex->waiting, 1);
        if (futex->state != &futex->own) (void)wrt__add(&futex->state->waiting, 1);
    }
}

static void count_out_of(const several *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        wrt_linux_futex *futex = all->waits[i].futex;
        if (futex->state != &futex->own) (void)wrt__subtract(&futex->state->waiting, 1);
        (void)wrt__subtract(&futex->waiting, 1); /* it may be gone from here on */
    }
}

/* True if one has changed, or is being ended. */
static bool find_changed(const several *all, uint32_t *index)
{
    for (*index = 0; *index < all->count; (*index)++) {
        const wrt_linux_futex_wait *one = &all->waits[*index];
        if (wrt__load_ordered(&one->futex->closing) != 0) return true;
        if (wrt__load_ordered(&one->futex->state->word) != one->expected) return true;
    }
    return false;
}

/* ---- Sleeping ---- */

/* Returns an error number; 0: *index was woken. */
static int sleep_on_all(const several *all, uint64_t end_ns, uint32_t *index)
{
    const struct timespec deadline = wrt__timespec(end_ns);
    wrt__futex_waiter waiters[WRT_LINUX_WAIT_ANY_MAX];

    for (uint32_t i = 0; i < all->count; i++) {
        const wrt_linux_futex *futex = all->waits[i].futex;
        waiters[i] =
            (wrt__futex_waiter){.expected = all->waits[i].expected,
                                .word = (uintptr_t)&futex->state->word,
                                .flags = WRT__WAITV_32_BITS | (uint32_t)wrt__futex_flags(futex)};
        (void)wrt__add(&all->waits[i].futex->wait_calls, 1);
    }
    const int woken = wrt__sys_futex_waitv(waiters, all->count, CLOCK_MONOTONIC,
                                           end_ns == UINT64_MAX ? NULL : &deadline);
    if (woken >= 0) *index = (uint32_t)woken;
    return woken >= 0 ? 0 : errno;
}

/* Without futex_waitv; EAGAIN: look at all of them. */
static int sleep_on_first(const several *all, uint64_t end_ns, uint32_t *index)
{
    const wrt_linux_futex_wait *first = &all->waits[0];
    uint64_t now = 0;

    if (wrt__port_now(&now) != WRT_OK) return EIO;
    if (now >= end_ns) return ETIMEDOUT;
    const uint64_t look = wrt__time_after(now, LOOK_NS);
    const struct timespec until = wrt__timespec(look < end_ns ? look : end_ns);
    const int flags = wrt__futex_flags(first->futex);
    *index = 0;
    if (wrt__sys_futex_wait_until(&first->futex->state->word, first->expected, flags, &until) ==
        0) {
        return 0;
    }
    return errno == ETIMEDOUT ? EAGAIN : errno;
}

static bool is_missing(int code)
{
    return code == ENOSYS || code == EPERM;
}

/* As a thread that is counted. */
static wrt_status sleep_on(const several *all, uint32_t *index)
{
    const char *operation = all->limit.operation;
    bool has_waitv = true;
    uint64_t end_ns = 0;

    while (!find_changed(all, index)) {
        const wrt_status status = wrt__limit_next(&all->limit, &end_ns);
        if (status != WRT_OK) return status;
        int code = ETIMEDOUT;
        if (end_ns != 0 && has_waitv) code = sleep_on_all(all, end_ns, index);
        has_waitv = has_waitv && !is_missing(code);
        if (end_ns != 0 && !has_waitv) code = sleep_on_first(all, end_ns, index);
        if (code == 0) return WRT_OK;
        if (code == ETIMEDOUT && end_ns == all->limit.end_ns) {
            return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                                   "none of {0} words changed or was woken in time", all->count, 0);
        }
        if (code != ETIMEDOUT && code != EAGAIN && code != EINTR) {
            return wrt_fail_system(WRT_ERR_SYSTEM, operation, "futex_waitv failed", code, 0, 0);
        }
    }
    return WRT_OK;
}

static wrt_status look_for_ends(const several *all, wrt_status status)
{
    for (uint32_t i = 0; i < all->count; i++) {
        if (wrt__load_ordered(&all->waits[i].futex->closing) != 0) {
            return wrt_fail(WRT_ERR_STATE, all->limit.operation,
                            "one of the futexes was deinitialised meanwhile");
        }
    }
    return status;
}

wrt_status wrt_linux_futex_wait_any(const wrt_linux_futex_wait *waits, uint32_t count,
                                    uint64_t timeout_ns, wrt_cancel_token *cancel,
                                    uint32_t *index_out)
{
    several all = {.waits = waits, .count = count};

    wrt_status status = check(__func__, waits, count, index_out);
    if (status == WRT_OK) status = wrt__limit_after(&all.limit, __func__, timeout_ns, cancel);
    if (status != WRT_OK) return status;
    count_in(&all);
    status = look_for_ends(&all, sleep_on(&all, index_out));
    count_out_of(&all);
    return status;
}

wrt_status wrt_linux_futex_wait_any_query(wrt_enforcement *enforcement_out)
{
    if (enforcement_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "enforcement_out is NULL");
    }
    const bool is_missing_here =
        wrt__sys_futex_waitv(NULL, 0, CLOCK_MONOTONIC, NULL) < 0 && is_missing(errno);
    *enforcement_out =
        (wrt_enforcement){.reason = "futex_waitv", .state = WRT_ENFORCEMENT_ENFORCED};
    if (is_missing_here) {
        *enforcement_out = (wrt_enforcement){
            .reason =
                "no futex_waitv (Linux 5.16), or a filter refuses it: the words are looked at "
                "every 2 ms",
            .state = WRT_ENFORCEMENT_PARTIAL};
    }
    return WRT_OK;
}
