/* Error numbers by their names: QNX has others than Linux. */
#include "sys.h"

#include "error.h"

wrt_status wrt__qnx_status(int32_t os_code)
{
    switch (os_code) {
    case EINVAL:
        return WRT_ERR_INVALID_ARGUMENT;
    case EAGAIN:
    case ENOMEM:
        return WRT_ERR_NO_MEMORY;
    case EACCES:
    case EPERM:
        return WRT_ERR_PERMISSION;
    case EBUSY:
        return WRT_ERR_BUSY;
    case ETIMEDOUT:
        return WRT_ERR_TIMED_OUT;
    case ENOSYS:
    case ENOTSUP:
        return WRT_ERR_UNSUPPORTED;
    default:
        return WRT_ERR_SYSTEM;
    }
}
