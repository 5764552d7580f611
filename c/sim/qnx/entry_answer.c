/* The one table of the kernel's errors and QNX's numbers. */
#include <errno.h>

#include "entry_answer.h"

int sim_number(qk_error error)
{
    static const int numbers[QK_ERROR_COUNT] = {
        [QK_OK] = EOK,
        [QK_E2BIG] = E2BIG,
        [QK_EACCES] = EACCES,
        [QK_EAGAIN] = EAGAIN,
        [QK_EBADF] = EBADF,
        [QK_EBUSY] = EBUSY,
        [QK_ECHILD] = ECHILD,
        [QK_EDEADLK] = EDEADLK,
        [QK_EDOM] = EDOM,
        [QK_EDQUOT] = EDQUOT,
        [QK_EEXIST] = EEXIST,
        [QK_EFAULT] = EFAULT,
        [QK_EINTR] = EINTR,
        [QK_EINVAL] = EINVAL,
        [QK_EMFILE] = EMFILE,
        [QK_ENAMETOOLONG] = ENAMETOOLONG,
        [QK_ENOENT] = ENOENT,
        [QK_ENOMEM] = ENOMEM,
        [QK_ENOSPC] = ENOSPC,
        [QK_ENOSYS] = ENOSYS,
        [QK_ENOTDIR] = ENOTDIR,
        [QK_ENOTRECOVERABLE] = ENOTRECOVERABLE,
        [QK_ENOTSUP] = ENOTSUP,
        [QK_ENOTTY] = ENOTTY,
        [QK_EOVERFLOW] = EOVERFLOW,
        [QK_EOWNERDEAD] = EOWNERDEAD,
        [QK_EPERM] = EPERM,
        [QK_ERANGE] = ERANGE,
        [QK_ESRCH] = ESRCH,
        [QK_ETIMEDOUT] = ETIMEDOUT,
    };

    return error >= QK_ERROR_RAW ? (int)(error - QK_ERROR_RAW) : numbers[error];
}

int sim_answer(qk_error error)
{
    if (error == QK_OK) return 0;
    errno = sim_number(error);
    return -1;
}

int sim_answer_negative(qk_error error)
{
    return -sim_number(error);
}
