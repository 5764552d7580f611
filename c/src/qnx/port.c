/* What the core asks of a system with threads, on QNX itself. */
#include "sys.h"

#include "../core/crc32c.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "error.h"

wrt_error *wrt__port_error_slot(void)
{
    static _Thread_local wrt_error slot;

    return &slot;
}

const char *wrt__port_code_name(const char *operation, int32_t os_code)
{
    (void)operation;
    return wrt__qnx_code_name(os_code);
}

wrt_status wrt__port_now(uint64_t *nanoseconds_out)
{
    int code = ClockTime_r(CLOCK_MONOTONIC, NULL, nanoseconds_out);

    if (code == EOK) return WRT_OK;
    *nanoseconds_out = 0;
    return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "ClockTime failed", -code, 0, 0);
}

/* An x86 says by itself what it has. What an Arm has would be in the system page, which nobody
 * has tried yet: there it is the tables. */
uint32_t wrt__port_crc32c(void)
{
    return wrt__crc32c_instruction_works(0) ? WRT__CRC32C_INSTRUCTION : WRT__CRC32C_SLICED;
}
