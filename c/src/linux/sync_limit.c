#include "limit.h"

#include "../core/fail.h"
#include "../core/port.h"
#include "times.h"

wrt_status wrt__limit_after(wrt__limit *limit, const char *operation, uint64_t timeout_ns,
                            const wrt_cancel_token *cancel)
{
    uint64_t now = 0;

    *limit = (wrt__limit){operation, cancel, CLOCK_MONOTONIC, timeout_ns};
    if (timeout_ns == 0 || timeout_ns == UINT64_MAX) return WRT_OK;
    const wrt_status status = wrt__port_now(&now);
    limit->end_ns = wrt__time_after(now, timeout_ns);
    return status;
}

wrt__limit wrt__limit_at(const char *operation, const wrt_linux_futex *futex, uint64_t deadline_ns,
                         const wrt_cancel_token *cancel)
{
    const clockid_t clock = futex->realtime != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;

    return (wrt__limit){operation, cancel, clock, deadline_ns};
}

wrt_status wrt__limit_next(const wrt__limit *limit, uint64_t *end_out)
{
    struct timespec now;

    *end_out = limit->end_ns;
    if (limit->cancel == NULL) return WRT_OK;
    if (wrt_cancel_is_requested(limit->cancel)) {
        return wrt_fail(WRT_ERR_INTERRUPTED, limit->operation, "the cancel token was requested");
    }
    if (clock_gettime(limit->clock, &now) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, limit->operation, "clock_gettime failed", errno, 0,
                               0);
    }
    const uint64_t slice = wrt__time_after(wrt__nanoseconds(&now), WRT_CANCEL_SLICE_NS);
    if (slice < *end_out) *end_out = slice;
    return WRT_OK;
}
