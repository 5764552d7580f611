/* What the core asks of a system with threads, on QNX itself. */
#include "sys.h"

#include "../core/fail.h"
#include "../core/port.h"

#define NAME(code)                                                                                 \
    case code:                                                                                     \
        return #code

wrt_error *wrt__port_error_slot(void)
{
    static _Thread_local wrt_error slot;

    return &slot;
}

/* Those that the calls of this library can return. */
const char *wrt__port_code_name(int32_t os_code)
{
    switch (os_code) {
        NAME(EPERM);
        NAME(ENOENT);
        NAME(ESRCH);
        NAME(EINTR);
        NAME(EIO);
        NAME(ENXIO);
        NAME(EBADF);
        NAME(EAGAIN);
        NAME(ENOMEM);
        NAME(EACCES);
        NAME(EFAULT);
        NAME(EBUSY);
        NAME(EEXIST);
        NAME(EINVAL);
        NAME(EMFILE);
        NAME(ERANGE);
        NAME(EDEADLK);
        NAME(ECANCELED);
        NAME(ENOTSUP);
        NAME(EDQUOT);
        NAME(EOWNERDEAD);
        NAME(EOVERFLOW);
        NAME(ENOSYS);
        NAME(EALREADY);
        NAME(ETIMEDOUT);
    default:
        return NULL;
    }
}

wrt_status wrt__port_now(uint64_t *nanoseconds_out)
{
    int code = ClockTime_r(CLOCK_MONOTONIC, NULL, nanoseconds_out);

    if (code == EOK) return WRT_OK;
    *nanoseconds_out = 0;
    return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "ClockTime failed", -code, 0, 0);
}
