/* QNX: waiting for a child, and what its status says. */
#ifndef QNX_SYS_WAIT_H
#define QNX_SYS_WAIT_H

#include <sys/platform.h>
#include <sys/types.h>

#define WNOHANG   0x0040
#define WUNTRACED 0x0004

#define WIFEXITED(status)   (((status)&0x7f) == 0)
#define WEXITSTATUS(status) (((status) >> 8) & 0xff)
#define WIFSIGNALED(status) ((signed char)(((status)&0x7f) + 1) >= 2)
#define WTERMSIG(status)    ((status)&0x7f)

pid_t waitpid(pid_t pid, int *status, int options) __QNX_SYMBOL(waitpid);

#endif
