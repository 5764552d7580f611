/* QNX: the process and what its system has. */
#ifndef QNX_UNISTD_H
#define QNX_UNISTD_H

#include <sys/types.h>

#define _SC_PAGESIZE         11
#define _SC_PAGE_SIZE        _SC_PAGESIZE
#define _SC_NPROCESSORS_CONF 90
#define _SC_NPROCESSORS_ONLN 91

int close(int fd) __QNX_SYMBOL(close);
pid_t getpid(void) __QNX_SYMBOL(getpid);
int rmdir(const char *path) __QNX_SYMBOL(rmdir);
long sysconf(int name) __QNX_SYMBOL(sysconf);

#endif
