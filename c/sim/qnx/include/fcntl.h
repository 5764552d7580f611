/* QNX: the part of <fcntl.h> that reaches memory partitions. */
#ifndef QNX_FCNTL_H
#define QNX_FCNTL_H

#include <sys/platform.h>
#include <sys/types.h>

#define O_RDONLY    000000
#define O_WRONLY    000001
#define O_RDWR      000002
#define O_CREAT     000400
#define O_EXCL      002000
#define O_CLOEXEC   020000
#define O_DIRECTORY 04000000

int open(const char *path, int oflag, ...) __QNX_SYMBOL(open);

#endif
