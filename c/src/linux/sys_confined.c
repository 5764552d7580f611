/* The calls of confined processes, as the backend makes them; see sys.c. */
#include "sys_confined.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

pid_t wrt__sys_start(int (*entry)(void *), void *context, void *stack_top, int flags,
                     int *descriptor_out)
{
    if (wrt__sys_fails()) return -1;
    return clone(entry, stack_top, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | flags, context,
                 descriptor_out);
}

int wrt__sys_duplicate_above(int descriptor, int lowest)
{
    return wrt__sys_fails() ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, lowest);
}

int wrt__sys_duplicate_to(int descriptor, int target)
{
    return wrt__sys_fails() ? -1 : dup2(descriptor, target);
}

int wrt__sys_open_at(int folder, const char *path, int flags)
{
    return wrt__sys_fails() ? -1 : openat(folder, path, flags | O_CLOEXEC);
}

/* One entry of getdents64() */
typedef struct folder_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t kind;
    char name[];
} folder_entry;

static int number_of(const char *name)
{
    int number = 0;

    if (*name < '0' || *name > '9') return -1;
    for (; *name >= '0' && *name <= '9'; name++) number = 10 * number + (*name - '0');
    return number;
}

/* The descriptors behind entries of /proc/self/fd; how many were closed. */
static int close_listed(const char *bytes, long size, int first, int folder)
{
    int closed = 0;

    for (long place = 0; place < size;) {
        folder_entry entry;

        memcpy(&entry, bytes + place, sizeof entry);
        const int descriptor = number_of(bytes + place + offsetof(folder_entry, name));
        if (descriptor >= first && descriptor != folder) {
            close(descriptor);
            closed++;
        }
        place += entry.size;
    }
    return closed;
}

/* Before Linux 5.9, or where a filter hides the call, the list says which are open. Entries are
 * skipped while the list shrinks under the reader, so it is read until nothing was left to close.
 */
static int close_by_list(int first)
{
    char bytes[2048];
    int closed = 1;

    while (closed > 0) {
        const int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0) return -1;
        closed = 0;
        for (long size = 1; size > 0;) {
            size = syscall(SYS_getdents64, folder, bytes, sizeof bytes);
            if (size > 0) closed += close_listed(bytes, size, first, folder);
        }
        close(folder);
    }
    return 0;
}

int wrt__sys_close_from(int first)
{
    if (wrt__sys_fails()) return -1;
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return 0;
    return close_by_list(first);
}

int wrt__sys_limit(int resource, uint64_t value)
{
    struct rlimit limit;

    if (wrt__sys_fails()) return -1;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0) return -1;
    if (value < limit.rlim_max) limit.rlim_max = value;
    if (limit.rlim_cur > limit.rlim_max || limit.rlim_cur > value) limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

int wrt__sys_execute(const char *path, const char *const *arguments, const char *const *environment)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_execve, path, arguments, environment);
}

/* The C library's own calls would do it in all threads of the parent. */
int wrt__sys_change_user(uint32_t user, uint32_t group)
{
    if (wrt__sys_fails()) return -1;
    if (prctl(PR_SET_KEEPCAPS, 1UL, 0UL, 0UL, 0UL) != 0) return -1;
    if (syscall(SYS_setgroups, 0, NULL) != 0) return -1;
    if (syscall(SYS_setresgid, group, group, group) != 0) return -1;
    return (int)syscall(SYS_setresuid, user, user, user);
}

int wrt__sys_wait_descriptor(int descriptor, const struct timespec *timeout)
{
    struct pollfd one = {descriptor, POLLIN, 0};

    return wrt__sys_fails() ? -1 : ppoll(&one, 1, timeout, NULL);
}

int wrt__sys_reap(int descriptor, siginfo_t *info_out)
{
    memset(info_out, 0, sizeof *info_out);
    return wrt__sys_fails() ? -1 : waitid(P_PIDFD, (id_t)descriptor, info_out, WEXITED | WNOHANG);
}

/* struct pidfd_info, Linux 6.15 */
typedef struct exit_info {
    uint64_t mask;
    uint64_t words[5];
    int32_t rest[3];
    int32_t status;
} exit_info;

enum { GET_EXIT = 8, LOOKS = 50, LOOK_AGAIN_NS = 1000000 };

/* _IOWR(0xFF, 11, 64 bytes); the size is part of the number */
#define GET_INFO 0xc040ff0bUL

/* Whoever took the status may not be done with it yet: the kernel tells it a moment later. */
int wrt__sys_exit_info(int descriptor, int *status_out)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
    exit_info info;

    if (wrt__sys_fails()) return -1;
    for (int looks = 0; looks < LOOKS; looks++) {
        info = (exit_info){.mask = GET_EXIT};
        if (syscall(SYS_ioctl, descriptor, GET_INFO, &info) != 0) return -1;
        if ((info.mask & GET_EXIT) != 0) {
            *status_out = info.status;
            return 0;
        }
        (void)nanosleep(&pause, NULL);
    }
    return -1;
}

int wrt__sys_signal(int descriptor, int signal_number)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_pidfd_send_signal, descriptor, signal_number, NULL, 0);
}
