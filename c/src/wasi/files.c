/* What can be done to an open file descriptor, transfers aside. */
#include "state.h"

enum { ALLOCATE_PIECE = 16777216 }; /* bytes between two looks at the clock: 16 MiB */

/* Flags that can be changed while a file is open. */
enum { CHANGEABLE_FLAGS = WASI_FLAG_APPEND | WASI_FLAG_NON_BLOCKING };

void wrt__wasi_put_status(const wasi_guest *guest, uint32_t address, const wasi_file_status *status)
{
    uint8_t answer[WASI_FILESTAT_SIZE] = {0};

    wrt__store(answer, 8, status->device);
    wrt__store(answer + 8, 8, status->inode);
    answer[16] = status->type;
    wrt__store(answer + 24, 8, status->links);
    wrt__store(answer + 32, 8, status->size);
    wrt__store(answer + 40, 8, status->accessed);
    wrt__store(answer + 48, 8, status->modified);
    wrt__store(answer + 56, 8, status->changed);
    wrt__guest_put(guest, address, answer, sizeof answer);
}

bool wrt__wasi_times_are_valid(const wasi_times *times)
{
    const uint32_t access = WASI_TIME_ACCESS | WASI_TIME_ACCESS_NOW;
    const uint32_t modification = WASI_TIME_MODIFICATION | WASI_TIME_MODIFICATION_NOW;

    return (times->flags & ~(access | modification)) == 0 && (times->flags & access) != access &&
           (times->flags & modification) != modification;
}

static bool is_null(const wasi_descriptor *descriptor)
{
    return descriptor->file.handle == WASI_NULL_HANDLE;
}

WASI_CALL(fd_advise)
{
    wasi_descriptor *descriptor;
    const uint64_t offset = arguments[1].i64;
    const uint64_t size = arguments[2].i64;
    const wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_ADVISE, &descriptor);

    (void)guest;
    if (result != WASI_SUCCESS) return result;
    if (offset > INT64_MAX || size > INT64_MAX) return WASI_INVAL;
    if (arguments[3].i32 > WASI_ADVICE_NO_REUSE) return WASI_INVAL;
    if (is_null(descriptor)) return WASI_SPIPE;
    return wrt__wasi_port_advise(descriptor->file.handle, (int64_t)offset, (int64_t)size,
                                 arguments[3].i32);
}

/* In pieces, since the kernel would go on for as long as it takes. */
static wasi_answer allocate(wrt_wasi *wasi, const wasi_guest *guest, int32_t handle,
                            uint64_t offset, uint64_t size)
{
    const uint64_t start = wrt__wasi_now();
    uint64_t done = wrt__wasi_resumed(wasi, guest, 0);

    while (done < size) {
        const uint64_t piece = size - done < ALLOCATE_PIECE ? size - done : ALLOCATE_PIECE;
        const wasi_result result =
            wrt__wasi_port_allocate(handle, (int64_t)(offset + done), (int64_t)piece);
        if (result == WASI_INTR) return wrt__wasi_pause(wasi, guest, done);
        if (result != WASI_SUCCESS) return result;
        done += piece;
        if (done < size && wrt__wasi_now() - start > WASI_TRANSFER_TIME) {
            return wrt__wasi_pause(wasi, guest, done);
        }
    }
    return WASI_SUCCESS;
}

WASI_CALL(fd_allocate)
{
    wasi_descriptor *descriptor;
    const uint64_t offset = arguments[1].i64;
    const uint64_t size = arguments[2].i64;
    const wasi_result result =
        wrt__wasi_find_changeable(wasi, arguments[0].i32, WASI_RIGHT_FD_ALLOCATE, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (size == 0 || offset > INT64_MAX) return WASI_INVAL;
    if (size > INT64_MAX - offset) return WASI_FBIG;
    if (is_null(descriptor)) return WASI_SPIPE;
    return allocate(wasi, guest, descriptor->file.handle, offset, size);
}

WASI_CALL(fd_close)
{
    wasi_descriptor *descriptor;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &descriptor);

    (void)guest;
    if (result == WASI_SUCCESS) wrt__wasi_release(descriptor);
    return result;
}

static wasi_answer synchronise(wrt_wasi *wasi, uint32_t number, uint64_t right, bool data_only)
{
    wasi_descriptor *descriptor;
    const wasi_result result = wrt__wasi_find(wasi, number, right, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (is_null(descriptor)) return WASI_INVAL;
    return wrt__wasi_port_sync(descriptor->file.handle, data_only);
}

WASI_CALL(fd_datasync)
{
    (void)guest;
    return synchronise(wasi, arguments[0].i32, WASI_RIGHT_FD_DATASYNC, true);
}

WASI_CALL(fd_sync)
{
    (void)guest;
    return synchronise(wasi, arguments[0].i32, WASI_RIGHT_FD_SYNC, false);
}

WASI_CALL(fd_fdstat_get)
{
    uint8_t answer[WASI_FDSTAT_SIZE] = {0};
    wasi_descriptor *descriptor;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__guest_has(guest, arguments[1].i32, sizeof answer)) return WASI_FAULT;
    answer[0] = descriptor->file.type;
    wrt__store(answer + 2, 2, descriptor->flags);
    wrt__store(answer + 8, 8, descriptor->rights);
    wrt__store(answer + 16, 8, descriptor->inheriting);
    wrt__guest_put(guest, arguments[1].i32, answer, sizeof answer);
    return WASI_SUCCESS;
}

/* Non-blocking is our own business; append is the system's, and only for files that the guest
 * opened: others in the host share the mode of a descriptor that was lent. */
WASI_CALL(fd_fdstat_set_flags)
{
    wasi_descriptor *descriptor;
    const uint32_t flags = arguments[1].i32;
    wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_FDSTAT_SET_FLAGS, &descriptor);

    (void)guest;
    if (result != WASI_SUCCESS) return result;
    const uint32_t changed = flags ^ descriptor->flags;
    if ((changed & ~(uint32_t)CHANGEABLE_FLAGS) != 0) return WASI_NOTSUP;
    if ((changed & WASI_FLAG_APPEND) != 0) {
        if (!descriptor->is_owned) return WASI_NOTSUP;
        result =
            wrt__wasi_port_set_append(descriptor->file.handle, (flags & WASI_FLAG_APPEND) != 0);
        if (result != WASI_SUCCESS) return result;
    }
    descriptor->flags = (uint16_t)flags;
    return WASI_SUCCESS;
}

WASI_CALL(fd_fdstat_set_rights)
{
    wasi_descriptor *descriptor;
    const uint64_t rights = arguments[1].i64;
    const uint64_t inheriting = arguments[2].i64;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &descriptor);

    (void)guest;
    if (result != WASI_SUCCESS) return result;
    if ((rights & ~descriptor->rights) != 0) return WASI_NOTCAPABLE;
    if ((inheriting & ~descriptor->inheriting) != 0) return WASI_NOTCAPABLE;
    descriptor->rights = rights;
    descriptor->inheriting = inheriting;
    return WASI_SUCCESS;
}

WASI_CALL(fd_filestat_get)
{
    wasi_file_status status = {.type = WASI_TYPE_CHARACTER_DEVICE};
    wasi_descriptor *descriptor;
    wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_FILESTAT_GET, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__guest_has(guest, arguments[1].i32, WASI_FILESTAT_SIZE)) return WASI_FAULT;
    if (!is_null(descriptor)) result = wrt__wasi_port_status(descriptor->file.handle, &status);
    if (result == WASI_SUCCESS) wrt__wasi_put_status(guest, arguments[1].i32, &status);
    return result;
}

WASI_CALL(fd_filestat_set_size)
{
    wasi_descriptor *descriptor;
    const wasi_result result = wrt__wasi_find_changeable(
        wasi, arguments[0].i32, WASI_RIGHT_FD_FILESTAT_SET_SIZE, &descriptor);

    (void)guest;
    if (result != WASI_SUCCESS) return result;
    if (arguments[1].i64 > INT64_MAX || is_null(descriptor)) return WASI_INVAL;
    return wrt__wasi_port_set_size(descriptor->file.handle, (int64_t)arguments[1].i64);
}

WASI_CALL(fd_filestat_set_times)
{
    wasi_descriptor *descriptor;
    const wasi_times times = {arguments[1].i64, arguments[2].i64, arguments[3].i32};
    const wasi_result result = wrt__wasi_find_changeable(
        wasi, arguments[0].i32, WASI_RIGHT_FD_FILESTAT_SET_TIMES, &descriptor);

    (void)guest;
    if (result != WASI_SUCCESS) return result;
    if (!wrt__wasi_times_are_valid(&times) || is_null(descriptor)) return WASI_INVAL;
    return wrt__wasi_port_set_times(descriptor->file.handle, &times);
}

WASI_CALL(fd_prestat_get)
{
    uint8_t answer[WASI_PRESTAT_SIZE] = {0}; /* tag 0: a folder */
    wasi_descriptor *descriptor;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (descriptor->preopen_path == NULL) return WASI_BADF;
    if (!wrt__guest_has(guest, arguments[1].i32, sizeof answer)) return WASI_FAULT;
    wrt__store(answer + 4, 4, descriptor->preopen_size);
    wrt__guest_put(guest, arguments[1].i32, answer, sizeof answer);
    return WASI_SUCCESS;
}

WASI_CALL(fd_prestat_dir_name)
{
    wasi_descriptor *descriptor;
    const uint32_t room = arguments[2].i32;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &descriptor);

    if (result != WASI_SUCCESS) return result;
    if (descriptor->preopen_path == NULL) return WASI_BADF;
    if (room < descriptor->preopen_size) return WASI_NAMETOOLONG;
    if (!wrt__guest_has(guest, arguments[1].i32, descriptor->preopen_size)) return WASI_FAULT;
    wrt__guest_put(guest, arguments[1].i32, descriptor->preopen_path, descriptor->preopen_size);
    return WASI_SUCCESS;
}

/* Both must be open; what stood behind `to` is closed. */
WASI_CALL(fd_renumber)
{
    wasi_descriptor *from;
    wasi_descriptor *to;
    wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &from);

    (void)guest;
    if (result == WASI_SUCCESS) result = wrt__wasi_find(wasi, arguments[1].i32, 0, &to);
    if (result != WASI_SUCCESS || from == to) return result;
    wrt__wasi_release(to);
    *to = *from;
    *from = (wasi_descriptor){0};
    return WASI_SUCCESS;
}

static wasi_answer seek(const wasi_guest *guest, const wasi_descriptor *descriptor, int64_t offset,
                        uint32_t whence, uint32_t address)
{
    uint64_t position = 0;

    if (!wrt__guest_has(guest, address, 8)) return WASI_FAULT;
    if (whence > WASI_WHENCE_END) return WASI_INVAL;
    if (is_null(descriptor)) return WASI_SPIPE;
    if (descriptor->file.type == WASI_TYPE_DIRECTORY) return WASI_BADF;
    const wasi_result result =
        wrt__wasi_port_seek(descriptor->file.handle, offset, whence, &position);
    if (result == WASI_SUCCESS) wrt__guest_put64(guest, address, position);
    return result;
}

/* Where a file stands can also be seen with the right to tell. */
WASI_CALL(fd_seek)
{
    wasi_descriptor *descriptor;
    const bool only_tells = arguments[1].i64 == 0 && arguments[2].i32 == WASI_WHENCE_CURRENT;
    wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_SEEK, &descriptor);

    if (result == WASI_NOTCAPABLE && only_tells) {
        result = wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_TELL, &descriptor);
    }
    if (result != WASI_SUCCESS) return result;
    return seek(guest, descriptor, (int64_t)arguments[1].i64, arguments[2].i32, arguments[3].i32);
}

WASI_CALL(fd_tell)
{
    wasi_descriptor *descriptor;
    const wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_TELL, &descriptor);

    if (result != WASI_SUCCESS) return result;
    return seek(guest, descriptor, 0, WASI_WHENCE_CURRENT, arguments[1].i32);
}
