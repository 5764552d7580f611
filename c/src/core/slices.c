#include "slices.h"

#include "fail.h"

/* Sets the next slice when `rest_ns` are left; without a token there is nothing to look at before
 * their end. */
static wrt_status cut(wrt__slices *slices, uint64_t rest_ns)
{
    if (wrt_cancel_is_requested(slices->cancel)) {
        return wrt_fail(WRT_ERR_INTERRUPTED, slices->operation, "the cancel token was requested");
    }
    const bool is_cut = slices->cancel != NULL && rest_ns > WRT_CANCEL_SLICE_NS;
    slices->next_ns = is_cut ? WRT_CANCEL_SLICE_NS : rest_ns;
    return WRT_OK;
}

wrt_status wrt__slices_begin(wrt__slices *slices, const char *operation, wrt_thread_now_fn now,
                             void *self, uint64_t timeout_ns, const wrt_cancel_token *cancel)
{
    *slices = (wrt__slices){.operation = operation,
                            .now = now,
                            .self = self,
                            .cancel = cancel,
                            .timeout_ns = timeout_ns};
    if (timeout_ns != 0 && timeout_ns != UINT64_MAX) {
        const wrt_status status = now(self, &slices->start_ns);
        if (status != WRT_OK) return status;
    }
    return cut(slices, timeout_ns);
}

wrt_status wrt__slices_next(wrt__slices *slices)
{
    uint64_t now = slices->start_ns;

    if (slices->timeout_ns == UINT64_MAX) return cut(slices, UINT64_MAX);
    if (slices->timeout_ns != 0) {
        const wrt_status status = slices->now(slices->self, &now);
        if (status != WRT_OK) return status;
    }
    const uint64_t passed = now - slices->start_ns;
    if (passed < slices->timeout_ns) return cut(slices, slices->timeout_ns - passed);
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, slices->operation,
                           "{0} nanoseconds passed and nothing ended the wait", passed, 0);
}
