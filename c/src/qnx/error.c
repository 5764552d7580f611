/* Error numbers by their names: QNX has others than Linux. */
#include "sys.h"

#include "error.h"

#define NAME(code)                                                                                 \
    case code:                                                                                     \
        return #code

/* Those that the calls of this library can return. */
const char *wrt__qnx_code_name(int32_t os_code)
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
        NAME(ENOTRECOVERABLE);
        NAME(EOVERFLOW);
        NAME(ENOSYS);
        NAME(EALREADY);
        NAME(ETIMEDOUT);
    default:
        return NULL;
    }
}

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
