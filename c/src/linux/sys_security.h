/* Internal: the calls of sys_security.c, as sys.h has the others. As those of the same name: -1 and
 * errno say that they failed. */
#ifndef WRT_LINUX_SYS_SECURITY_H
#define WRT_LINUX_SYS_SECURITY_H

#include "sys.h"

int wrt__sys_prctl(int option, uintptr_t first, uintptr_t second);
int wrt__sys_seccomp(unsigned operation, unsigned flags, const void *program);
int wrt__sys_open(const char *path, int flags); /* closed by exec */
int wrt__sys_close(int descriptor);
ssize_t wrt__sys_read(int descriptor, void *bytes, size_t size);
ssize_t wrt__sys_write(int descriptor, const void *bytes, size_t size);
int wrt__sys_unshare(int flags);
int wrt__sys_capget(void *header, void *data);
int wrt__sys_capset(void *header, const void *data);

/* ---- security.c ---- */

/* Reads a file of /proc or /sys as a text; its length, or -1 and errno. */
ssize_t wrt__read_text(const char *path, char *text_out, size_t size);
/* Writes all of `text` to a file that is there; 0, or -1 and errno. */
int wrt__write_text(const char *path, const char *text);
/* How many threads the process has; 0 if the system does not tell. */
uint32_t wrt__thread_count(void);

#endif
