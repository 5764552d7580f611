/* Internal: the calls of sys_security.c, as sys.h has the others. As those of the same name: -1 and
 * errno say that they failed. */
#ifndef WRT_LINUX_SYS_SECURITY_H
#define WRT_LINUX_SYS_SECURITY_H

#include "sys.h"

#include "wrt_platform/status.h"

int wrt__sys_prctl(int option, uintptr_t first, uintptr_t second);
int wrt__sys_seccomp(unsigned operation, unsigned flags, const void *program);
int wrt__sys_open(const char *path, int flags); /* closed by exec */
int wrt__sys_close(int descriptor);
ssize_t wrt__sys_read(int descriptor, void *bytes, size_t size);
ssize_t wrt__sys_write(int descriptor, const void *bytes, size_t size);
int wrt__sys_unshare(int flags);
int wrt__sys_capget(void *header, void *data);
int wrt__sys_capset(void *header, const void *data);

enum wrt__mount_flag {
    WRT__MOUNT_BIND = 0x1000,
    WRT__MOUNT_RECURSIVE = 0x4000,
    WRT__MOUNT_PRIVATE = 0x40000,
    WRT__MOUNT_NO_RIGHTS = 0xe, /* no set-user-ID, devices, programs */
    WRT__UNMOUNT_DETACH = 2
};

int wrt__sys_mount(const char *source, const char *target, const char *type, unsigned long flags);
int wrt__sys_unmount(const char *target, int flags);
int wrt__sys_pivot_root(const char *root, const char *old);
int wrt__sys_chdir(const char *path);
/* Brings the loopback interface of the network namespace up. */
int wrt__sys_loopback_up(void);
pid_t wrt__sys_fork_child(void);
/* Waits for the end of a child; its exit code, EINTR if a signal ended it. */
int wrt__sys_wait_exit(pid_t child, int *code_out);

int wrt__sys_landlock_create(const void *attributes, size_t size, uint32_t flags);
int wrt__sys_landlock_add(int ruleset, int kind, const void *attributes);
int wrt__sys_landlock_restrict(int ruleset);
int wrt__sys_fstat(int descriptor, struct stat *stat_out);

/* ---- security.c ---- */

/* Reads a file of /proc or /sys as a text; its length, or -1 and errno. */
ssize_t wrt__read_text(const char *path, char *text_out, size_t size);
/* Writes all of `text` to a file that is there; 0, or -1 and errno. */
int wrt__write_text(const char *path, const char *text);
/* How many threads the process has; 0 if the system does not tell. */
uint32_t wrt__thread_count(void);
/* STATE, with the number of threads as {0}, unless there is one. */
wrt_status wrt__refuse_threads(const char *operation, const char *reason);

/* ---- selinux.c ---- */

/* Whether it is there; may load its library. */
bool wrt__selinux_is_there(void);
/* Moves the calling thread, by the kernel's file alone. */
wrt_status wrt__selinux_start(const char *operation, const char *context, bool is_there);

#endif
