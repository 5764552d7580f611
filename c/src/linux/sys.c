/* The system calls as the backend makes them, each with its place in the count of those that may
 * fail. */
#include "sys.h"

/* Older headers than the kernel's lack them; the numbers are part of its interface. */
#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static _Thread_local uint64_t call_count;
static _Thread_local uint64_t failing_call;
static _Thread_local int32_t failing_code;
static _Thread_local const void *failed_at;

void wrt__sys_fail_at(uint32_t call, int32_t os_code)
{
    failing_call = call == 0 ? 0 : call_count + call;
    failing_code = os_code;
}

uint64_t wrt__sys_call_count(void)
{
    return call_count;
}

const void *wrt__sys_failed_at(void)
{
    return failed_at;
}

bool wrt__sys_fails(void)
{
    call_count++;
    if (call_count != failing_call) return false;
    failed_at = __builtin_return_address(0);
    errno = failing_code;
    return true;
}

void *wrt__sys_mmap(size_t size, int protection, int flags, int descriptor)
{
    return wrt__sys_fails() ? MAP_FAILED : mmap(NULL, size, protection, flags, descriptor, 0);
}

int wrt__sys_munmap(void *start, size_t size)
{
    return wrt__sys_fails() ? -1 : munmap(start, size);
}

int wrt__sys_mprotect(void *start, size_t size, int protection)
{
    return wrt__sys_fails() ? -1 : mprotect(start, size, protection);
}

int wrt__sys_madvise(void *start, size_t size, int advice)
{
    return wrt__sys_fails() ? -1 : madvise(start, size, advice);
}

int wrt__sys_mlock(const void *start, size_t size)
{
    return wrt__sys_fails() ? -1 : mlock(start, size);
}

int wrt__sys_name(const void *start, size_t size, const char *name)
{
    return wrt__sys_fails()
               ? -1
               : prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, (uintptr_t)start, size, (uintptr_t)name);
}

/* Beyond RLIMIT_FSIZE, ftruncate does not only fail: it sends a signal that ends the process. */
static bool file_may_have(size_t size)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

static int make_file(const char *name, size_t size, unsigned flags)
{
    if (wrt__sys_fails()) return -1;
    if (!file_may_have(size)) {
        errno = EFBIG;
        return -1;
    }
    const int descriptor = memfd_create(name, flags);
    if (descriptor >= 0 && ftruncate(descriptor, (off_t)size) != 0) {
        const int code = errno;
        close(descriptor);
        errno = code;
        return -1;
    }
    return descriptor;
}

int wrt__sys_memfd(const char *name, size_t size)
{
    return make_file(name, size, MFD_CLOEXEC);
}

int wrt__sys_memfd_sealable(const char *name, size_t size)
{
    return make_file(name, size, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

/* The kernel's own structure. The C library's call keeps two signals to itself, and would leave
 * them as the parent has them. */
typedef struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
} kernel_sigaction;

void wrt__sys_reset_signals(void)
{
    enum { LAST_SIGNAL = 64 };
    const kernel_sigaction standard = {0};
    const uint64_t none = 0;

    for (int number = 1; number <= LAST_SIGNAL; number++) {
        (void)syscall(SYS_rt_sigaction, number, &standard, NULL, sizeof standard.mask);
    }
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}
