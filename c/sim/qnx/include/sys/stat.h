/* QNX: the part of <sys/stat.h> that makes memory partitions, which are folders. */
#ifndef QNX_SYS_STAT_H
#define QNX_SYS_STAT_H

#include <sys/platform.h>
#include <sys/types.h>

int mkdir(const char *path, mode_t mode) __QNX_SYMBOL(mkdir);

#endif
