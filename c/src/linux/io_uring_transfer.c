/* What a thread does with a request: the system call that the kernel's ring would make. No thread
 * ever waits for a pipe or a socket, or two readers of silent pipes would keep all others out: what
 * is not ready is parked, and polled by whoever waits for completions. */
#include "io_uring.h"

enum { PIPE_ROOM = 4096 }; /* so much a pipe that is ready for writing takes without waiting */

bool wrt__io_is_file(int descriptor)
{
    struct stat about;

    if (wrt__sys_fstat(descriptor, &about) != 0) return false;
    return S_ISREG(about.st_mode) || S_ISBLK(about.st_mode);
}

static bool is_write(const wrt_io_uring_request *request)
{
    return request->operation == WRT_IO_URING_WRITE ||
           request->operation == WRT_IO_URING_WRITE_FIXED;
}

static int32_t result_of(ssize_t count)
{
    return count < 0 ? -errno : (int32_t)count;
}

static int32_t move(bool is_out, int descriptor, uint8_t *bytes, size_t size)
{
    return result_of(is_out ? wrt__sys_write(descriptor, bytes, size)
                            : wrt__sys_read(descriptor, bytes, size));
}

static int32_t move_now(bool is_out, int descriptor, uint8_t *bytes, size_t size)
{
    return result_of(is_out ? wrt__sys_write_now(descriptor, bytes, size)
                            : wrt__sys_read_now(descriptor, bytes, size));
}

/* A pipe, a socket or the like. */
static int32_t stream(bool is_out, int descriptor, uint8_t *bytes, size_t size)
{
    const struct timespec at_once = {0};
    struct pollfd polled = {.fd = descriptor, .events = is_out ? POLLOUT : POLLIN};

    const int ready = wrt__sys_poll(&polled, 1, &at_once);
    if (ready < 0) return -errno;
    if (ready == 0) return WRT__REQUEST_PARKED;
    const int32_t result = move_now(is_out, descriptor, bytes, size);
    if (result == -EAGAIN) return WRT__REQUEST_PARKED; /* somebody else was faster */
    if (result != -EOPNOTSUPP && result != -ENOSYS && result != -EINVAL) return result;
    return move(is_out, descriptor, bytes, is_out && size > PIPE_ROOM ? PIPE_ROOM : size);
}

static int32_t transfer(const wrt__io_slot *slot)
{
    const wrt_io_uring_request *const request = &slot->request;
    const bool is_out = is_write(request);
    uint8_t *const bytes = (uint8_t *)request->buffer + slot->progress.done;
    const size_t size = (size_t)(request->size - slot->progress.done);
    const off_t offset = (off_t)(request->offset + slot->progress.done);

    if (request->offset == UINT64_MAX) {
        return wrt__io_is_file(request->descriptor)
                   ? move(is_out, request->descriptor, bytes, size)
                   : stream(is_out, request->descriptor, bytes, size);
    }
    const int32_t result =
        result_of(is_out ? wrt__sys_pwrite(request->descriptor, bytes, size, offset)
                         : wrt__sys_pread(request->descriptor, bytes, size, offset));
    return result == -ESPIPE ? stream(is_out, request->descriptor, bytes, size) : result;
}

int32_t wrt__io_transfer(const wrt__io_slot *slot)
{
    const int descriptor = slot->request.descriptor;

    switch (slot->request.operation) {
    case WRT_IO_URING_FSYNC:
        return result_of(wrt__sys_fsync(descriptor));
    case WRT_IO_URING_FDATASYNC:
        return result_of(wrt__sys_fdatasync(descriptor));
    default:
        return transfer(slot);
    }
}
