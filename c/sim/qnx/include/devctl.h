/* QNX: devctl(), and how a command says its direction, its class and the size of its data. */
#ifndef QNX_DEVCTL_H
#define QNX_DEVCTL_H

#include <sys/platform.h>
#include <sys/types.h>

#define _POSIX_DEVDIR_NONE   0
#define _POSIX_DEVDIR_TO     0x80000000U
#define _POSIX_DEVDIR_FROM   0x40000000U
#define _POSIX_DEVDIR_TOFROM (_POSIX_DEVDIR_TO | _POSIX_DEVDIR_FROM)

#define _DCMD_PARTITION 0x11

#define __DIOF(class, cmd, data)                                                                   \
    ((int)((sizeof(data) << 16) + ((class) << 8) + (cmd) + _POSIX_DEVDIR_FROM))
#define __DIOT(class, cmd, data)                                                                   \
    ((int)((sizeof(data) << 16) + ((class) << 8) + (cmd) + _POSIX_DEVDIR_TO))
#define __DIOTF(class, cmd, data)                                                                  \
    ((int)((sizeof(data) << 16) + ((class) << 8) + (cmd) + _POSIX_DEVDIR_TOFROM))

/* Returns EOK or an error number, and leaves errno alone. */
int devctl(int fd, int dcmd, void *data_ptr, size_t nbytes, int *info_ptr) __QNX_SYMBOL(devctl);

#endif
