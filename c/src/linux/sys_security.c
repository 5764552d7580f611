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
