/* The calls for files, descriptors and children, as the backend makes them; see sys.c. */
#include "sys_files.h"

#include "times.h"

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000u /* Linux 5.7; headers may be older than the kernel */
#endif

/* struct clone_args, as far as Linux 5.7 has it. */
typedef struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
} clone_arguments;

int wrt__sys_openat(int directory, const char *path, int flags)
{
    return wrt__sys_fails() ? -1 : openat(directory, path, flags | O_CLOEXEC);
}

ssize_t wrt__sys_pread(int descriptor, void *bytes, size_t size, off_t offset)
{
    return wrt__sys_fails() ? -1 : pread(descriptor, bytes, size, offset);
}

int wrt__sys_mkdir(const char *path)
{
    return wrt__sys_fails() ? -1 : mkdir(path, 0755);
}

int wrt__sys_rmdir(const char *path)
{
    return wrt__sys_fails() ? -1 : rmdir(path);
}

int wrt__sys_may_write(const char *path)
{
    return wrt__sys_fails() ? -1 : faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

int wrt__sys_poll(struct pollfd *descriptors, uint32_t count, const struct timespec *timeout)
{
    return wrt__sys_fails() ? -1 : ppoll(descriptors, count, timeout, NULL);
}

int wrt__sys_kill(pid_t process, int number)
{
    return wrt__sys_fails() ? -1 : kill(process, number);
}

int wrt__sys_pipe(int descriptors[2])
{
    return wrt__sys_fails() ? -1 : pipe2(descriptors, O_CLOEXEC);
}

pid_t wrt__sys_clone_into(int directory)
{
    const clone_arguments arguments = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)directory};

    return wrt__sys_fails() ? -1 : (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

pid_t wrt__sys_fork(void)
{
    return wrt__sys_fails() ? -1 : fork();
}
