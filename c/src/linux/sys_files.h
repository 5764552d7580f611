/* Internal: the calls of sys_files.c, as sys.h has the others. As those of the same name: -1 and
 * errno say that they failed; every descriptor is closed by exec. */
#ifndef WRT_LINUX_SYS_FILES_H
#define WRT_LINUX_SYS_FILES_H

#include "sys_security.h"

int wrt__sys_openat(int directory, const char *path, int flags);
/* The next folder in a folder, which remembers where it was: 1 and its name, 0: there is none, or
 * -1 and errno. */
int wrt__sys_next_folder(int directory, char name_out[256]);
ssize_t wrt__sys_pread(int descriptor, void *bytes, size_t size, off_t offset);
int wrt__sys_mkdir(const char *path);
int wrt__sys_rmdir(const char *path);
/* Whether this user may write it: 0, or -1 and errno. */
int wrt__sys_may_write(const char *path);
/* As ppoll(): NULL waits without limit, 0 says that the time is over. */
int wrt__sys_poll(struct pollfd *descriptors, uint32_t count, const struct timespec *timeout);
int wrt__sys_kill(pid_t process, int number);
int wrt__sys_pipe(int descriptors[2]);
/* A child in the group that `directory` is: as fork(). ENOSYS, EPERM, E2BIG or EINVAL: not here. */
pid_t wrt__sys_clone_into(int directory);
pid_t wrt__sys_fork(void);

#endif
