/* QNX: error numbers. Many are not those of Linux. */
#ifndef QNX_ERRNO_H
#define QNX_ERRNO_H

#include <sys/platform.h>

#define EOK             0
#define EPERM           1
#define ENOENT          2
#define ESRCH           3
#define EINTR           4
#define EIO             5
#define ENXIO           6
#define E2BIG           7
#define ENOEXEC         8
#define EBADF           9
#define ECHILD          10
#define EAGAIN          11
#define EWOULDBLOCK     EAGAIN
#define ENOMEM          12
#define EACCES          13
#define EFAULT          14
#define EBUSY           16
#define EEXIST          17
#define EXDEV           18
#define ENODEV          19
#define ENOTDIR         20
#define EISDIR          21
#define EINVAL          22
#define ENFILE          23
#define EMFILE          24
#define ENOTTY          25
#define EFBIG           27
#define ENOSPC          28
#define ESPIPE          29
#define EROFS           30
#define EMLINK          31
#define EPIPE           32
#define EDOM            33
#define ERANGE          34
#define EDEADLK         45
#define ENOLCK          46
#define ECANCELED       47
#define ENOTSUP         48
#define EDQUOT          49
#define EOWNERDEAD      58
#define ENAMETOOLONG    78
#define EOVERFLOW       79
#define ENOSYS          89
#define ELOOP           90
#define ENOTEMPTY       93
#define ENOTRECOVERABLE 95
#define EOPNOTSUPP      103
#define EINPROGRESS     236
#define EALREADY        237
#define EMSGSIZE        240
#define ETIMEDOUT       260
#define ESRVRFAULT      312

int *__get_errno_ptr(void) __QNX_SYMBOL(__get_errno_ptr);
#define errno (*__get_errno_ptr())

#endif
