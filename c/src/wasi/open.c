/* path_open: the one call that gives out a new descriptor. Its rights are those that were asked
 * for, as far as the folder hands them on; what was asked beyond that is left out, since both
 * wasi-libc and Rust ask for everything that a file might need. */
#include "state.h"

enum {
    OPEN_FLAGS = WASI_OPEN_CREATE | WASI_OPEN_DIRECTORY | WASI_OPEN_EXCLUSIVE | WASI_OPEN_TRUNCATE,
    DESCRIPTOR_FLAGS = WASI_FLAG_APPEND | WASI_FLAG_DATA_SYNC | WASI_FLAG_NON_BLOCKING |
                       WASI_FLAG_READ_SYNC | WASI_FLAG_SYNC,
    READING_RIGHTS = WASI_RIGHT_FD_READ | WASI_RIGHT_FD_READDIR,
    WRITING_RIGHTS = WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE
};

typedef struct opening {
    wasi_descriptor *folder;
    wasi_open_request request;
    uint64_t rights;
    uint64_t inheriting;
    char path[WASI_PATH_SIZE];
} opening;

/* What the folder's own rights must hold for these flags. */
static uint64_t rights_needed(uint32_t open_flags)
{
    uint64_t rights = WASI_RIGHT_PATH_OPEN;

    if ((open_flags & WASI_OPEN_CREATE) != 0) rights |= WASI_RIGHT_PATH_CREATE_FILE;
    if ((open_flags & WASI_OPEN_TRUNCATE) != 0) rights |= WASI_RIGHT_PATH_FILESTAT_SET_SIZE;
    return rights;
}

static bool would_change(const opening *open)
{
    return open->request.can_write ||
           (open->request.open_flags & (WASI_OPEN_CREATE | WASI_OPEN_TRUNCATE)) != 0;
}

/* Reads the arguments; the rights are cut to what the folder hands on. */
static wasi_result read_request(wrt_wasi *wasi, const wrt_value *arguments, opening *open)
{
    const uint32_t open_flags = arguments[4].i32;
    const uint32_t flags = arguments[7].i32;
    const wasi_result result = wrt__wasi_find(wasi, arguments[0].i32, 0, &open->folder);

    if (result != WASI_SUCCESS) return result;
    if (open->folder->file.type != WASI_TYPE_DIRECTORY) return WASI_NOTDIR;
    if ((open_flags & ~(uint32_t)OPEN_FLAGS) != 0) return WASI_INVAL;
    if ((flags & ~(uint32_t)DESCRIPTOR_FLAGS) != 0) return WASI_INVAL;
    open->rights = arguments[5].i64 & open->folder->inheriting;
    open->inheriting = arguments[6].i64 & open->folder->inheriting;
    open->request = (wasi_open_request){
        .open_flags = open_flags,
        .flags = flags,
        .follow = (arguments[1].i32 & WASI_LOOKUP_FOLLOW) != 0,
        .can_read = (open->rights & READING_RIGHTS) != 0,
        .can_write =
            (open->rights & WRITING_RIGHTS) != 0 && (open_flags & WASI_OPEN_DIRECTORY) == 0,
    };
    if (open->folder->is_read_only && would_change(open)) return WASI_ROFS;
    const uint64_t missing = rights_needed(open_flags) & ~open->folder->rights;
    return missing != 0 ? WASI_NOTCAPABLE : WASI_SUCCESS;
}

static void fill_in(wasi_descriptor *descriptor, const opening *open, const wasi_file *file)
{
    const bool is_folder = file->type == WASI_TYPE_DIRECTORY;
    uint64_t rights = is_folder ? wrt__wasi_folder_rights : wrt__wasi_file_rights;

    if (file->is_terminal) rights &= ~(uint64_t)(WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL);
    if (open->folder->is_read_only) rights &= ~wrt__wasi_changing_rights;
    *descriptor = (wasi_descriptor){
        .file = *file,
        .flags = (uint16_t)open->request.flags,
        .state = WASI_DESCRIPTOR_OPEN,
        .is_owned = true,
        .is_read_only = open->folder->is_read_only,
        .rights = open->rights & rights,
        .inheriting = is_folder ? open->inheriting : 0,
    };
}

static wasi_result open_file(wrt_wasi *wasi, const opening *open, uint32_t *number_out)
{
    wasi_file file;
    int32_t handle;
    int32_t os_code;
    wasi_result result = wrt__wasi_find_free(wasi, number_out);

    if (result == WASI_SUCCESS) {
        result =
            wrt__wasi_port_open(open->folder->file.handle, open->path, &open->request, &handle);
    }
    if (result != WASI_SUCCESS) return result;
    result = wrt__wasi_port_inspect(handle, &file, &os_code);
    if (result != WASI_SUCCESS) {
        wrt__wasi_port_close(handle);
        return result;
    }
    fill_in(wrt__wasi_descriptor(wasi, *number_out), open, &file);
    return WASI_SUCCESS;
}

WASI_CALL(path_open)
{
    opening open;
    uint32_t number = 0;
    const uint32_t answer = arguments[8].i32;
    wasi_result result = read_request(wasi, arguments, &open);

    if (result == WASI_SUCCESS && !wrt__guest_has(guest, answer, 4)) result = WASI_FAULT;
    if (result == WASI_SUCCESS) {
        result = wrt__wasi_copy_path(guest, arguments[2].i32, arguments[3].i32, open.path);
    }
    if (result == WASI_SUCCESS) result = open_file(wasi, &open, &number);
    if (result == WASI_SUCCESS) wrt__guest_put32(guest, answer, number);
    return wrt__wasi_settle(result);
}
