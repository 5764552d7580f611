/* The calls of io_uring, and those that stand in for it, as the backend makes them; see sys.c. */
#include "sys_io_uring.h"

enum { SIGNAL_SET_SIZE = 8 }; /* the kernel's, in bytes */

int wrt__sys_io_uring_setup(uint32_t entries, wrt__io_uring_params *parameters)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_io_uring_setup, entries, parameters);
}

int wrt__sys_io_uring_enter(int descriptor, uint32_t count, uint32_t minimum, uint32_t flags,
                            const wrt__io_uring_time *limit)
{
    const wrt__io_uring_wait_argument argument = {.sigmask_size = SIGNAL_SET_SIZE,
                                                  .time = (uint64_t)(uintptr_t)limit};

    if (wrt__sys_fails()) return -1;
    if (limit == NULL) {
        return (int)syscall(SYS_io_uring_enter, descriptor, count, minimum, flags, NULL,
                            (size_t)SIGNAL_SET_SIZE);
    }
    return (int)syscall(SYS_io_uring_enter, descriptor, count, minimum, flags | WRT__ENTER_EXT_ARG,
                        &argument, sizeof argument);
}

int wrt__sys_io_uring_register(int descriptor, uint32_t call, const void *argument, uint32_t count)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_io_uring_register, descriptor, call, argument, count);
}

void *wrt__sys_io_uring_map(int descriptor, size_t size, int64_t offset)
{
    if (wrt__sys_fails()) return MAP_FAILED;
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor,
                (off_t)offset);
}

/* ---- What the threads call ---- */

ssize_t wrt__sys_read_now(int descriptor, void *bytes, size_t size)
{
    const struct iovec part = {.iov_base = bytes, .iov_len = size};

    return wrt__sys_fails() ? -1 : preadv2(descriptor, &part, 1, -1, RWF_NOWAIT);
}

ssize_t wrt__sys_write_now(int descriptor, const void *bytes, size_t size)
{
    const struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};

    return wrt__sys_fails() ? -1 : pwritev2(descriptor, &part, 1, -1, RWF_NOWAIT);
}

int wrt__sys_fsync(int descriptor)
{
    return wrt__sys_fails() ? -1 : fsync(descriptor);
}

int wrt__sys_fdatasync(int descriptor)
{
    return wrt__sys_fails() ? -1 : fdatasync(descriptor);
}

int wrt__sys_status_flags(int descriptor)
{
    return wrt__sys_fails() ? -1 : fcntl(descriptor, F_GETFL);
}
