/* The calls that give rights away, as the backend makes them; see sys.c. */
#include "sys.h"

#include "sys_security.h"

#ifndef SYS_seccomp
#define SYS_seccomp __NR_seccomp
#endif

int wrt__sys_prctl(int option, uintptr_t first, uintptr_t second)
{
    return wrt__sys_fails() ? -1 : prctl(option, first, second, 0UL, 0UL);
}

int wrt__sys_seccomp(unsigned operation, unsigned flags, const void *program)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_seccomp, operation, flags, program);
}

int wrt__sys_open(const char *path, int flags)
{
    return wrt__sys_fails() ? -1 : open(path, flags | O_CLOEXEC);
}

int wrt__sys_close(int descriptor)
{
    return close(descriptor); /* it closes, whatever it says */
}

ssize_t wrt__sys_read(int descriptor, void *bytes, size_t size)
{
    return wrt__sys_fails() ? -1 : read(descriptor, bytes, size);
}

ssize_t wrt__sys_write(int descriptor, const void *bytes, size_t size)
{
    return wrt__sys_fails() ? -1 : write(descriptor, bytes, size);
}

int wrt__sys_unshare(int flags)
{
    return wrt__sys_fails() ? -1 : unshare(flags);
}

int wrt__sys_capget(void *header, void *data)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_capget, header, data);
}

int wrt__sys_capset(void *header, const void *data)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_capset, header, data);
}

/* ---- Namespaces ---- */

int wrt__sys_mount(const char *source, const char *target, const char *type, unsigned long flags)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_mount, source, target, type, flags, NULL);
}

int wrt__sys_unmount(const char *target, int flags)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_umount2, target, flags);
}

int wrt__sys_pivot_root(const char *root, const char *old)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_pivot_root, root, old);
}

int wrt__sys_chdir(const char *path)
{
    return wrt__sys_fails() ? -1 : chdir(path);
}

/* struct ifreq, as far as it is used */
typedef struct interface_request {
    char name[16];
    short flags;
    char rest[22];
} interface_request;

enum { SET_FLAGS = 0x8914, UP_AND_RUNNING = 0x41, INTERNET = 2, DATAGRAM = 2 };

int wrt__sys_loopback_up(void)
{
    const interface_request request = {"lo", UP_AND_RUNNING, {0}};

    if (wrt__sys_fails()) return -1;
    const int descriptor = (int)syscall(SYS_socket, INTERNET, DATAGRAM | O_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    const int result = (int)syscall(SYS_ioctl, descriptor, SET_FLAGS, &request);
    const int code = errno;
    close(descriptor);
    errno = code;
    return result;
}

pid_t wrt__sys_fork_child(void)
{
    return wrt__sys_fails() ? -1 : fork();
}

int wrt__sys_wait_exit(pid_t child, int *code_out)
{
    int status = 0;
    pid_t ended;

    do ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0 || wrt__sys_fails()) return -1; /* lost, but no child is left */
    *code_out = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return 0;
}

/* ---- Landlock ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

int wrt__sys_landlock_create(const void *attributes, size_t size, uint32_t flags)
{
    return wrt__sys_fails() ? -1
                            : (int)syscall(SYS_landlock_create_ruleset, attributes, size, flags);
}

int wrt__sys_landlock_add(int ruleset, int kind, const void *attributes)
{
    return wrt__sys_fails() ? -1
                            : (int)syscall(SYS_landlock_add_rule, ruleset, kind, attributes, 0);
}

int wrt__sys_landlock_restrict(int ruleset)
{
    return wrt__sys_fails() ? -1 : (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

int wrt__sys_fstat(int descriptor, struct stat *stat_out)
{
    return wrt__sys_fails() ? -1 : fstat(descriptor, stat_out);
}
