/* The system calls as the sandbox makes them. Whatever a signal interrupts is made again. */
#include "sys.h"

#include "../linux/times.h"

int wrt__process_sealable(const char *name, unsigned int flags)
{
    if (wrt__sys_fails()) return -1;
    return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
}

/* Beyond RLIMIT_FSIZE, ftruncate does not only fail: it sends a signal that ends the process. */
int wrt__process_resize(int descriptor, uint64_t size)
{
    struct rlimit limit;

    if (wrt__sys_fails()) return -1;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        size > limit.rlim_cur) {
        errno = EFBIG;
        return -1;
    }
    return ftruncate(descriptor, (off_t)size);
}

int wrt__process_write_all(int descriptor, const void *bytes, size_t size)
{
    const uint8_t *next = bytes;

    if (wrt__sys_fails()) return -1;
    while (size > 0) {
        const ssize_t written = write(descriptor, next, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        next += written;
        size -= (size_t)written;
    }
    return 0;
}

int wrt__process_seal(int descriptor, int seals)
{
    return wrt__sys_fails() ? -1 : fcntl(descriptor, F_ADD_SEALS, seals);
}

int wrt__process_chmod(int descriptor, mode_t mode)
{
    return wrt__sys_fails() ? -1 : fchmod(descriptor, mode);
}

int wrt__process_duplicate(int descriptor, int least)
{
    return wrt__sys_fails() ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, least);
}

int wrt__process_open(const char *path)
{
    int descriptor;

    if (wrt__sys_fails()) return -1;
    do {
        descriptor = open(path, O_RDONLY | O_CLOEXEC);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

int wrt__process_socketpair(int pair[2])
{
    return wrt__sys_fails() ? -1 : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
}

int wrt__process_pipe(int pair[2])
{
    return wrt__sys_fails() ? -1 : pipe2(pair, O_CLOEXEC);
}

int wrt__process_poll(struct pollfd *polls, nfds_t count, const struct timespec *timeout)
{
    return wrt__sys_fails() ? -1 : ppoll(polls, count, timeout, NULL);
}

int wrt__process_vfork_with(wrt__child_fn child, void *context, uint8_t *stack, size_t stack_size,
                            int flags, int *pidfd_out)
{
    if (wrt__sys_fails()) return -1;
    return clone(child, stack + stack_size, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | flags,
                 context, pidfd_out);
}

/* By number only where filters refuse the better way: until it is waited for, it is that child. */
int wrt__process_kill(int pidfd, pid_t process)
{
    const int result = (int)syscall(__NR_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);

    if (result == 0 || (errno != ENOSYS && errno != EPERM)) return result;
    return kill(process, SIGKILL);
}

static int status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED) return (info->si_status & 0xFF) << 8;
    return info->si_status & 0x7F;
}

int wrt__process_reap(int pidfd, int *status_out)
{
    siginfo_t info = {0};
    int result;

    do {
        result = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED);
    } while (result != 0 && errno == EINTR);
    if (result == 0) *status_out = status_of(&info);
    return result;
}

uint64_t wrt__process_cpu_time(pid_t process, uint64_t otherwise)
{
    struct timespec used;
    clockid_t clock;

    if (process == 0 || clock_getcpuclockid(process, &clock) != 0 ||
        clock_gettime(clock, &used) != 0) {
        return otherwise;
    }
    return wrt__nanoseconds(&used);
}

void wrt__process_close(int *descriptor)
{
    if (*descriptor >= 0) (void)close(*descriptor);
    *descriptor = -1;
}
