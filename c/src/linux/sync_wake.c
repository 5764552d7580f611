/* A wake hook that every loop of Linux can wait on: an eventfd. */
#include "sys.h"
#include "wrt_platform/linux/sync.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"

static wrt_status check(const char *operation, const wrt_linux_wake *wake)
{
    if (wake == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "wake is NULL");
    if (wake->self != wake) {
        return wrt_fail(WRT_ERR_STATE, operation, "the wake hook is not initialised, or was moved");
    }
    if (wake->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the wake hook belongs to the process that forked this one; make a new one");
}

wrt_status wrt_linux_wake_init(wrt_linux_wake *wake)
{
    if (wake == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wake is NULL");
    const wrt_status status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    const int descriptor = wrt__sys_eventfd();
    if (descriptor >= 0) {
        *wake = (wrt_linux_wake){
            .self = wake, .descriptor = descriptor, .fork_generation = wrt__fork_generation()};
        return WRT_OK;
    }
    const int code = errno;
    return wrt_fail_system(
        code == EMFILE || code == ENFILE || code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM,
        __func__, "eventfd failed: see the limit of descriptors (ulimit -n)", code, 0, 0);
}

void wrt_linux_wake_call(void *wake)
{
    const wrt_linux_wake *known = wake;
    const int code = errno;

    if (known == NULL || known->self != known) return;
    if (known->fork_generation != wrt__fork_generation()) return;
    (void)wrt__sys_eventfd_add(known->descriptor); /* only a full counter refuses: it is readable */
    errno = code;
}

wrt_status wrt_linux_wake_descriptor(const wrt_linux_wake *wake, int32_t *descriptor_out)
{
    const wrt_status status = check(__func__, wake);
    if (status != WRT_OK) return status;
    if (descriptor_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "descriptor_out is NULL");
    }
    *descriptor_out = wake->descriptor;
    return WRT_OK;
}

wrt_status wrt_linux_wake_take(wrt_linux_wake *wake, uint64_t *count_out)
{
    uint64_t count = 0;

    const wrt_status status = check(__func__, wake);
    if (status != WRT_OK) return status;
    if (wrt__sys_eventfd_take(wake->descriptor, &count) != 0 && errno != EAGAIN) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "reading the eventfd failed", errno, 0, 0);
    }
    if (count_out != NULL) *count_out = count;
    return WRT_OK;
}

wrt_status wrt_linux_wake_deinit(wrt_linux_wake *wake)
{
    if (wake == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wake is NULL");
    if (wrt__is_zero(wake, sizeof *wake)) return WRT_OK;
    const wrt_status status = check(__func__, wake);
    if (status != WRT_OK) return status;
    (void)close(wake->descriptor);
    *wake = (wrt_linux_wake){0};
    return WRT_OK;
}
