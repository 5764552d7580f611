/* What the core asks of a program that is alone with the kernel. */
#include "worker.h"

#include "../core/fail.h"
#include "../core/port.h"

wrt_error *wrt__port_error_slot(void)
{
    static wrt_error slot; /* there is one thread */

    return &slot;
}

const char *wrt__port_code_name(const char *operation, int32_t os_code)
{
    (void)operation;
    (void)os_code;
    return NULL;
}

wrt_status wrt__port_now(uint64_t *nanoseconds_out)
{
    const long result = wrt__worker_clock(CLOCK_MONOTONIC, nanoseconds_out);

    if (result == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "clock_gettime failed", (int32_t)-result, 0,
                           0);
}
