/* What can be done to an open handle, transfers aside: Linux. */
#include "sys.h"

enum { SECOND = 1000000000 }; /* nanoseconds */

enum { MULTIPLEXER_MAJOR = 5, MULTIPLEXER_MINOR = 2 }; /* device numbers of /dev/ptmx */

uint8_t wrt__wasi_linux_file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return WASI_TYPE_REGULAR_FILE;
    case S_IFDIR:
        return WASI_TYPE_DIRECTORY;
    case S_IFLNK:
        return WASI_TYPE_SYMBOLIC_LINK;
    case S_IFCHR:
        return WASI_TYPE_CHARACTER_DEVICE;
    case S_IFBLK:
        return WASI_TYPE_BLOCK_DEVICE;
    case S_IFSOCK:
        return WASI_TYPE_SOCKET_STREAM;
    default:
        return WASI_TYPE_UNKNOWN; /* a pipe: preview 1 has no word for it */
    }
}

static uint8_t socket_type(int handle)
{
    int type = 0;
    socklen_t size = sizeof type;
    const bool is_datagram =
        getsockopt(handle, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;

    return is_datagram ? WASI_TYPE_SOCKET_DATAGRAM : WASI_TYPE_SOCKET_STREAM;
}

wasi_result wrt__wasi_port_inspect(int32_t handle, wasi_file *file_out, int32_t *os_code_out)
{
    struct stat status;
    const int flags = fcntl(handle, F_GETFL);

    if (flags < 0 || fstat(handle, &status) != 0) {
        *os_code_out = errno;
        return wrt__wasi_linux_failed();
    }
    const uint8_t type = wrt__wasi_linux_file_type(status.st_mode);
    *file_out = (wasi_file){
        .handle = handle,
        .type = type == WASI_TYPE_SOCKET_STREAM ? socket_type(handle) : type,
        .is_stream = type != WASI_TYPE_REGULAR_FILE && type != WASI_TYPE_DIRECTORY &&
                     type != WASI_TYPE_BLOCK_DEVICE,
        .is_terminal = type == WASI_TYPE_CHARACTER_DEVICE && isatty(handle) == 1,
        .can_read = (flags & O_ACCMODE) != O_WRONLY,
        .can_write = (flags & O_ACCMODE) != O_RDONLY,
    };
    return WASI_SUCCESS;
}

/* The master side of a pseudo-terminal would open as another pair. */
static bool is_master(int handle)
{
    struct stat status;

    return fstat(handle, &status) == 0 && major(status.st_rdev) == MULTIPLEXER_MAJOR &&
           minor(status.st_rdev) == MULTIPLEXER_MINOR;
}

wasi_result wrt__wasi_port_reopen_terminal(const wasi_file *file, int32_t *handle_out)
{
    char path[32];
    const int mode = !file->can_write ? O_RDONLY : file->can_read ? O_RDWR : O_WRONLY;

    if (is_master(file->handle)) return WASI_NOTSUP;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", (int)file->handle);
    const int handle = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (handle < 0) return wrt__wasi_linux_failed();
    *handle_out = handle;
    return WASI_SUCCESS;
}

void wrt__wasi_port_close(int32_t handle)
{
    (void)close(handle); /* the number is free whatever it answers */
}

wasi_result wrt__wasi_port_seek(int32_t handle, int64_t offset, uint32_t whence,
                                uint64_t *position_out)
{
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    const off_t position = lseek(handle, offset, whences[whence]);

    if (position < 0) return wrt__wasi_linux_failed();
    *position_out = (uint64_t)position;
    return WASI_SUCCESS;
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return time->tv_sec < 0 ? 0 : (uint64_t)time->tv_sec * SECOND + (uint64_t)time->tv_nsec;
}

wasi_result wrt__wasi_port_status(int32_t handle, wasi_file_status *status_out)
{
    struct stat status;

    if (fstat(handle, &status) != 0) return wrt__wasi_linux_failed();
    *status_out = (wasi_file_status){.device = status.st_dev,
                                     .inode = status.st_ino,
                                     .links = status.st_nlink,
                                     .size = (uint64_t)status.st_size,
                                     .accessed = nanoseconds(&status.st_atim),
                                     .modified = nanoseconds(&status.st_mtim),
                                     .changed = nanoseconds(&status.st_ctim),
                                     .type = wrt__wasi_linux_file_type(status.st_mode)};
    if (status_out->type == WASI_TYPE_SOCKET_STREAM) status_out->type = socket_type(handle);
    return WASI_SUCCESS;
}

static struct timespec time_of(uint64_t time, bool is_set, bool is_now)
{
    if (is_now) return (struct timespec){.tv_nsec = UTIME_NOW};
    if (!is_set) return (struct timespec){.tv_nsec = UTIME_OMIT};
    return (struct timespec){.tv_sec = (time_t)(time / SECOND), .tv_nsec = (long)(time % SECOND)};
}

void wrt__wasi_linux_times(const wasi_times *times, struct timespec *pair_out)
{
    const uint32_t flags = times->flags;

    pair_out[0] = time_of(times->accessed, (flags & WASI_TIME_ACCESS) != 0,
                          (flags & WASI_TIME_ACCESS_NOW) != 0);
    pair_out[1] = time_of(times->modified, (flags & WASI_TIME_MODIFICATION) != 0,
                          (flags & WASI_TIME_MODIFICATION_NOW) != 0);
}

wasi_result wrt__wasi_port_set_times(int32_t handle, const wasi_times *times)
{
    struct timespec pair[2];

    wrt__wasi_linux_times(times, pair);
    return futimens(handle, pair) == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
}

/* Runs out of RLIMIT_FSIZE with EFBIG, not with a signal. */
wasi_result wrt__wasi_port_set_size(int32_t handle, int64_t size)
{
    wasi_signal_guard guard;

    wrt__wasi_linux_hold_signals(&guard);
    const wasi_result result =
        ftruncate(handle, size) == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
    wrt__wasi_linux_release_signals(&guard);
    return result;
}

wasi_result wrt__wasi_port_allocate(int32_t handle, int64_t offset, int64_t size)
{
    wasi_signal_guard guard;

    wrt__wasi_linux_hold_signals(&guard);
    const wasi_result result =
        fallocate(handle, 0, offset, size) == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
    wrt__wasi_linux_release_signals(&guard);
    return result;
}

wasi_result wrt__wasi_port_set_append(int32_t handle, bool append)
{
    const int flags = fcntl(handle, F_GETFL);

    if (flags < 0) return wrt__wasi_linux_failed();
    const int wanted = append ? flags | O_APPEND : flags & ~O_APPEND;
    return fcntl(handle, F_SETFL, wanted) == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
}

wasi_result wrt__wasi_port_advise(int32_t handle, int64_t offset, int64_t size, uint32_t advice)
{
    static const int advices[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                  POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};

    return wrt__wasi_linux_error(posix_fadvise(handle, offset, size, advices[advice]));
}

wasi_result wrt__wasi_port_sync(int32_t handle, bool data_only)
{
    const int answer = data_only ? fdatasync(handle) : fsync(handle);

    return answer == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
}
