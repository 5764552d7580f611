#include "wait.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "times.h"

wrt_status wrt__linux_wait_on(const char *operation, const uint32_t *word, uint32_t expected,
                              uint64_t timeout_ns)
{
    const struct timespec timeout = wrt__timespec(timeout_ns);

    if (wrt__load_ordered(word) != expected) return WRT_OK;
    errno = ETIMEDOUT;
    if (timeout_ns != 0 &&
        wrt__sys_futex_wait(word, expected, timeout_ns == UINT64_MAX ? NULL : &timeout) == 0) {
        return WRT_OK;
    }
    const int code = errno;
    if (code == EAGAIN || code == EINTR) return WRT_OK;
    if (code == ETIMEDOUT) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "the word stayed {0}, and nobody woke it in {1} nanoseconds",
                               expected, timeout_ns);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "FUTEX_WAIT failed", code, 0, 0);
}
