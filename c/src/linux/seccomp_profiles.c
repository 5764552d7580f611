/* The ready-made lists. A call that an architecture does not have is left out there. The first ones
 * are those that programs make most, for the linear form. */
#include "seccomp.h"

/* ---- Arguments that entries point at, by their first ---- */

enum {
    CLONE_THREAD_FLAGS = 0x00010900, /* CLONE_VM, CLONE_SIGHAND, CLONE_THREAD */
    CLONE_SPACES = 0x7e020000        /* CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET */
};

enum argument_place {
    NO_ARGUMENT = 0,
    FROM_STANDARD_INPUT = 0,
    TO_STANDARD_OUTPUT,
    FUTEX_WAIT_OR_WAKE,
    NEW_THREAD,
    NO_NEW_SPACES,
    GET_WINDOW_SIZE,
    GET_TERMINAL,
    GET_WAITING_BYTES,
    CLOSE_ON_EXEC,
    NO_CLOSE_ON_EXEC,
    NON_BLOCKING,
    NAME_THREAD,
    NAME_MEMORY,
    OWN_LIMITS,
    LINUX_PERSONALITY,
    QUERY_PERSONALITY,
    MODERN_SOCKET
};

static const wrt_seccomp_argument arguments[] = {
    [FROM_STANDARD_INPUT] = {0, WRT_SECCOMP_EQUAL, 0, 0},
    [TO_STANDARD_OUTPUT] = {0, WRT_SECCOMP_EQUAL, 1, 0},
    /* 0 and 1, with and without FUTEX_PRIVATE_FLAG */
    [FUTEX_WAIT_OR_WAKE] = {1, WRT_SECCOMP_MASKED_EQUAL, 0, ~(uint64_t)0x81},
    [NEW_THREAD] = {0, WRT_SECCOMP_MASKED_EQUAL, CLONE_THREAD_FLAGS,
                    CLONE_THREAD_FLAGS | CLONE_SPACES},
    [NO_NEW_SPACES] = {0, WRT_SECCOMP_MASKED_EQUAL, 0, CLONE_SPACES},
    [GET_WINDOW_SIZE] = {1, WRT_SECCOMP_EQUAL, 0x5413, 0},
    [GET_TERMINAL] = {1, WRT_SECCOMP_EQUAL, 0x5401, 0},
    [GET_WAITING_BYTES] = {1, WRT_SECCOMP_EQUAL, 0x541b, 0},
    [CLOSE_ON_EXEC] = {1, WRT_SECCOMP_EQUAL, 0x5451, 0},
    [NO_CLOSE_ON_EXEC] = {1, WRT_SECCOMP_EQUAL, 0x5450, 0},
    [NON_BLOCKING] = {1, WRT_SECCOMP_EQUAL, 0x5421, 0},
    [NAME_THREAD] = {0, WRT_SECCOMP_EQUAL, 15, 0},         /* PR_SET_NAME */
    [NAME_MEMORY] = {0, WRT_SECCOMP_EQUAL, 0x53564d41, 0}, /* PR_SET_VMA */
    [OWN_LIMITS] = {2, WRT_SECCOMP_EQUAL, 0, 0},           /* reads, sets nothing */
    [LINUX_PERSONALITY] = {0, WRT_SECCOMP_EQUAL, 0, 0},
    [QUERY_PERSONALITY] = {0, WRT_SECCOMP_EQUAL, 0xffffffff, 0},
    [MODERN_SOCKET] = {0, WRT_SECCOMP_NOT_EQUAL, 40, 0} /* AF_VSOCK reaches the host */
};

#define ALLOW(name)                                                                                \
    {                                                                                              \
        WRT__CALL_##name, WRT_SECCOMP_ALLOW, 0, NO_ARGUMENT, 0                                     \
    }
#define ALLOW_IF(name, of)                                                                         \
    {                                                                                              \
        WRT__CALL_##name, WRT_SECCOMP_ALLOW, 0, of, 1                                              \
    }
#define DENY(name)                                                                                 \
    {                                                                                              \
        WRT__CALL_##name, WRT_SECCOMP_ERRNO, WRT__ERROR_PERMISSION, NO_ARGUMENT, 0                 \
    }
#define NO_CALL(name)                                                                              \
    {                                                                                              \
        WRT__CALL_##name, WRT_SECCOMP_ERRNO, WRT__ERROR_NO_CALL, NO_ARGUMENT, 0                    \
    }

static const wrt__seccomp_entry minimal[] = {
    ALLOW(read), ALLOW(write),  ALLOW(futex),    ALLOW(clock_gettime),
    ALLOW(mmap), ALLOW(munmap), ALLOW(mprotect), ALLOW(exit_group),
};

static const wrt__seccomp_entry sealed[] = {
    ALLOW_IF(read, FROM_STANDARD_INPUT),
    ALLOW_IF(write, TO_STANDARD_OUTPUT),
    ALLOW_IF(futex, FUTEX_WAIT_OR_WAKE),
    ALLOW(clock_gettime),
    ALLOW(exit_group),
};

static const wrt__seccomp_entry strict[] = {
    /* what runs all the time */
    ALLOW(futex),
    ALLOW(read),
    ALLOW(write),
    ALLOW(clock_gettime),
    ALLOW(getppid),
    ALLOW(getpid),
    ALLOW(gettid),
    ALLOW(pread64),
    ALLOW(pwrite64),
    ALLOW(readv),
    ALLOW(writev),
    ALLOW(lseek),
    ALLOW(mmap),
    ALLOW(munmap),
    ALLOW(mprotect),
    ALLOW(mremap),
    ALLOW(madvise),
    ALLOW(brk),
    ALLOW(poll),
    ALLOW(ppoll),
    ALLOW(clock_nanosleep),
    ALLOW(nanosleep),
    ALLOW(sched_yield),
    /* files, which other walls decide on */
    ALLOW(open),
    ALLOW(openat),
    ALLOW(close),
    ALLOW(fstat),
    ALLOW(stat),
    ALLOW(lstat),
    ALLOW(newfstatat),
    ALLOW(statx),
    ALLOW(access),
    ALLOW(faccessat),
    ALLOW(faccessat2),
    ALLOW(readlink),
    ALLOW(readlinkat),
    ALLOW(getdents64),
    ALLOW(getcwd),
    ALLOW(chdir),
    ALLOW(fchdir),
    ALLOW(fcntl),
    ALLOW(dup),
    ALLOW(dup2),
    ALLOW(dup3),
    ALLOW(pipe2),
    ALLOW(fsync),
    ALLOW(fdatasync),
    ALLOW(ftruncate),
    ALLOW(statfs),
    ALLOW(fstatfs),
    ALLOW(umask),
    ALLOW(unlink),
    ALLOW(unlinkat),
    ALLOW(mkdir),
    ALLOW(mkdirat),
    ALLOW(rename),
    ALLOW(renameat),
    ALLOW(renameat2),
    ALLOW_IF(ioctl, GET_TERMINAL),
    ALLOW_IF(ioctl, GET_WINDOW_SIZE),
    ALLOW_IF(ioctl, GET_WAITING_BYTES),
    ALLOW_IF(ioctl, CLOSE_ON_EXEC),
    ALLOW_IF(ioctl, NO_CLOSE_ON_EXEC),
    ALLOW_IF(ioctl, NON_BLOCKING),
    /* start, threads, signals of its own, end */
    ALLOW(execve),
    ALLOW(arch_prctl),
    ALLOW(set_tid_address),
    ALLOW(set_robust_list),
    ALLOW(rseq),
    ALLOW_IF(clone, NEW_THREAD),
    NO_CALL(clone3),
    ALLOW(rt_sigaction),
    ALLOW(rt_sigprocmask),
    ALLOW(rt_sigreturn),
    ALLOW(sigaltstack),
    ALLOW(tgkill),
    ALLOW(restart_syscall),
    ALLOW(exit),
    ALLOW(exit_group),
    ALLOW_IF(prctl, NAME_THREAD),
    ALLOW_IF(prctl, NAME_MEMORY),
    /* questions */
    ALLOW(getrandom),
    ALLOW(clock_getres),
    ALLOW(gettimeofday),
    ALLOW(time),
    ALLOW(uname),
    ALLOW(sysinfo),
    ALLOW(getuid),
    ALLOW(geteuid),
    ALLOW(getgid),
    ALLOW(getegid),
    ALLOW(getcpu),
    ALLOW(sched_getaffinity),
    ALLOW(getrusage),
    ALLOW_IF(prlimit64, OWN_LIMITS),
    ALLOW(getrlimit),
};

/* All the rest is allowed, so behind an entry with compares stands one without. */
static const wrt__seccomp_entry container[] = {
    DENY(acct),
    DENY(add_key),
    DENY(bpf),
    DENY(clock_adjtime),
    DENY(clock_settime),
    NO_CALL(clone3),
    ALLOW_IF(clone, NO_NEW_SPACES),
    DENY(clone),
    DENY(create_module),
    DENY(delete_module),
    DENY(fanotify_init),
    DENY(finit_module),
    DENY(fsconfig),
    DENY(fsmount),
    DENY(fsopen),
    DENY(fspick),
    DENY(get_kernel_syms),
    DENY(get_mempolicy),
    DENY(init_module),
    DENY(io_uring_enter),
    DENY(io_uring_register),
    DENY(io_uring_setup),
    DENY(ioperm),
    DENY(iopl),
    DENY(kcmp),
    DENY(kexec_file_load),
    DENY(kexec_load),
    DENY(keyctl),
    DENY(lookup_dcookie),
    DENY(mbind),
    DENY(migrate_pages),
    DENY(mount),
    DENY(mount_setattr),
    DENY(move_mount),
    DENY(move_pages),
    DENY(name_to_handle_at),
    DENY(nfsservctl),
    DENY(open_by_handle_at),
    DENY(open_tree),
    DENY(perf_event_open),
    ALLOW_IF(personality, LINUX_PERSONALITY),
    ALLOW_IF(personality, QUERY_PERSONALITY),
    DENY(personality),
    DENY(pivot_root),
    DENY(process_vm_readv),
    DENY(process_vm_writev),
    DENY(ptrace),
    DENY(query_module),
    DENY(quotactl),
    DENY(quotactl_fd),
    DENY(reboot),
    DENY(request_key),
    DENY(set_mempolicy),
    DENY(set_mempolicy_home_node),
    DENY(setdomainname),
    DENY(sethostname),
    DENY(setns),
    DENY(settimeofday),
    ALLOW_IF(socket, MODERN_SOCKET),
    DENY(socket),
    DENY(swapoff),
    DENY(swapon),
    DENY(_sysctl),
    DENY(sysfs),
    DENY(syslog),
    DENY(umount2),
    DENY(unshare),
    DENY(uselib),
    DENY(userfaultfd),
    DENY(ustat),
    DENY(vhangup),
};

#define PROFILE(list, otherwise, unknown)                                                          \
    {                                                                                              \
        list, sizeof(list) / sizeof((list)[0]), otherwise, unknown                                 \
    }

static const wrt__seccomp_profile profiles[] = {
    {NULL, 0, WRT_SECCOMP_ERRNO, WRT_SECCOMP_ERRNO},
    PROFILE(minimal, WRT_SECCOMP_KILL, WRT_SECCOMP_ERRNO),
    PROFILE(sealed, WRT_SECCOMP_KILL, WRT_SECCOMP_KILL),
    PROFILE(strict, WRT_SECCOMP_ERRNO, WRT_SECCOMP_ERRNO),
    PROFILE(container, WRT_SECCOMP_ALLOW, WRT_SECCOMP_ERRNO),
};

const wrt__seccomp_profile *wrt__seccomp_profile_of(uint32_t profile)
{
    return profile < sizeof profiles / sizeof profiles[0] ? &profiles[profile] : NULL;
}

const wrt_seccomp_argument *wrt__seccomp_profile_arguments(const wrt__seccomp_entry *entry)
{
    return &arguments[entry->first_argument];
}
