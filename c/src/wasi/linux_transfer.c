/* Reading and writing: Linux.
 *
 * A stream may belong to the host, which may have made it blocking, and its mode must not be
 * changed. So each transfer asks not to wait (RWF_NOWAIT, MSG_DONTWAIT). Files of kinds that do
 * not know how to (pipes before Linux 6.5, devices) are polled first and then moved little at a
 * time: what a stream that is ready takes at once. A terminal promises nothing of the kind, so it
 * has been opened a second time, non-blocking, where that is allowed. */
#include "sys.h"

#include <string.h>

enum { CAREFUL_PIECE = 4096 }; /* bytes: a pipe that is ready has room for one page */

void wrt__wasi_linux_hold_signals(wasi_signal_guard *guard_out)
{
    sigset_t held;

    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGPIPE);
    (void)sigaddset(&held, SIGXFSZ);
    (void)sigemptyset(&guard_out->pending);
    (void)pthread_sigmask(SIG_BLOCK, &held, &guard_out->mask);
    if (sigismember(&guard_out->mask, SIGPIPE) || sigismember(&guard_out->mask, SIGXFSZ)) {
        (void)sigpending(&guard_out->pending);
    }
}

static void take_back(int signal, const wasi_signal_guard *guard)
{
    const struct timespec no_time = {0};
    sigset_t one;

    if (sigismember(&guard->pending, signal)) return;
    (void)sigemptyset(&one);
    (void)sigaddset(&one, signal);
    while (sigtimedwait(&one, NULL, &no_time) < 0 && errno == EINTR) continue;
}

/* Keeps errno: it tells which signal there may be. */
void wrt__wasi_linux_release_signals(const wasi_signal_guard *guard)
{
    const int os_code = errno;

    if (os_code == EPIPE) take_back(SIGPIPE, guard);
    if (os_code == EFBIG) take_back(SIGXFSZ, guard);
    (void)pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
    errno = os_code;
}

static uint32_t to_system(const wasi_vector *vectors, uint32_t count, size_t limit,
                          struct iovec *out)
{
    uint32_t used = 0;

    for (; used < count && limit > 0; used++) {
        const size_t size = vectors[used].size < limit ? vectors[used].size : limit;
        out[used] = (struct iovec){.iov_base = vectors[used].bytes, .iov_len = size};
        limit -= size;
    }
    return used;
}

static bool is_socket(const wasi_file *file)
{
    return file->type == WASI_TYPE_SOCKET_STREAM || file->type == WASI_TYPE_SOCKET_DATAGRAM;
}

static bool is_ready(const wasi_file *file, short events)
{
    struct pollfd poll_one = {.fd = file->handle, .events = events};

    return poll(&poll_one, 1, 0) == 1;
}

static ssize_t read_socket(const wasi_file *file, struct iovec *pieces, uint32_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};

    return recvmsg(file->handle, &message, MSG_DONTWAIT);
}

static ssize_t write_socket(const wasi_file *file, struct iovec *pieces, uint32_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};

    return sendmsg(file->handle, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool cannot_promise(ssize_t moved)
{
    return moved < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL);
}

static ssize_t read_stream(const wasi_file *file, const wasi_vector *vectors, uint32_t count)
{
    struct iovec pieces[WASI_VECTOR_COUNT];
    const uint32_t used = to_system(vectors, count, SIZE_MAX, pieces);

    if (is_socket(file)) return read_socket(file, pieces, used);
    const ssize_t moved = preadv2(file->handle, pieces, (int)used, -1, RWF_NOWAIT);
    if (!cannot_promise(moved)) return moved;
    if (is_ready(file, POLLIN)) return readv(file->handle, pieces, (int)used);
    errno = EAGAIN;
    return -1;
}

static ssize_t write_stream(const wasi_file *file, const wasi_vector *vectors, uint32_t count)
{
    struct iovec pieces[WASI_VECTOR_COUNT];
    uint32_t used = to_system(vectors, count, SIZE_MAX, pieces);

    if (is_socket(file)) return write_socket(file, pieces, used);
    const ssize_t moved = pwritev2(file->handle, pieces, (int)used, -1, RWF_NOWAIT);
    if (!cannot_promise(moved)) return moved;
    if (is_ready(file, POLLOUT)) {
        used = to_system(vectors, count, CAREFUL_PIECE, pieces);
        return writev(file->handle, pieces, (int)used);
    }
    errno = EAGAIN;
    return -1;
}

static ssize_t read_file(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                         int64_t offset)
{
    struct iovec pieces[WASI_VECTOR_COUNT];
    const int used = (int)to_system(vectors, count, SIZE_MAX, pieces);

    return offset < 0 ? readv(file->handle, pieces, used)
                      : preadv(file->handle, pieces, used, offset);
}

static ssize_t write_file(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                          int64_t offset)
{
    struct iovec pieces[WASI_VECTOR_COUNT];
    const int used = (int)to_system(vectors, count, SIZE_MAX, pieces);

    return offset < 0 ? writev(file->handle, pieces, used)
                      : pwritev(file->handle, pieces, used, offset);
}

static wasi_result answer(ssize_t moved, size_t *done_out)
{
    *done_out = moved < 0 ? 0 : (size_t)moved;
    return moved < 0 ? wrt__wasi_linux_failed() : WASI_SUCCESS;
}

wasi_result wrt__wasi_port_read(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                                int64_t offset, size_t *done_out)
{
    return answer(file->is_stream ? read_stream(file, vectors, count)
                                  : read_file(file, vectors, count, offset),
                  done_out);
}

wasi_result wrt__wasi_port_write(const wasi_file *file, const wasi_vector *vectors, uint32_t count,
                                 int64_t offset, size_t *done_out)
{
    wasi_signal_guard guard;

    wrt__wasi_linux_hold_signals(&guard);
    const ssize_t moved = file->is_stream ? write_stream(file, vectors, count)
                                          : write_file(file, vectors, count, offset);
    const wasi_result result = answer(moved, done_out);
    wrt__wasi_linux_release_signals(&guard);
    return result;
}

static wasi_result bytes_left(const wasi_file *file, uint64_t *bytes_out)
{
    struct stat status;
    const off_t position = lseek(file->handle, 0, SEEK_CUR);

    if (position < 0 || fstat(file->handle, &status) != 0) return wrt__wasi_linux_failed();
    *bytes_out = status.st_size > position ? (uint64_t)(status.st_size - position) : 0;
    return WASI_SUCCESS;
}

wasi_result wrt__wasi_port_readable_bytes(const wasi_file *file, uint64_t *bytes_out)
{
    int bytes = 0;

    if (!file->is_stream) return bytes_left(file, bytes_out);
    if (ioctl(file->handle, FIONREAD, &bytes) != 0) return wrt__wasi_linux_failed();
    *bytes_out = (uint64_t)bytes;
    return WASI_SUCCESS;
}
