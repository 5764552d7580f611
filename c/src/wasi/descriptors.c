/* The guest's file descriptors: numbers of a table of its own, so that no number it could guess
 * means anything to the host. */
#include "state.h"

const uint64_t wrt__wasi_file_rights =
    WASI_RIGHT_FD_DATASYNC | WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK |
    WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_WRITE |
    WASI_RIGHT_FD_ADVISE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_GET |
    WASI_RIGHT_FD_FILESTAT_SET_SIZE | WASI_RIGHT_FD_FILESTAT_SET_TIMES |
    WASI_RIGHT_POLL_FD_READWRITE;

const uint64_t wrt__wasi_folder_rights =
    WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC |
    WASI_RIGHT_FD_ADVISE | WASI_RIGHT_PATH_CREATE_DIRECTORY | WASI_RIGHT_PATH_CREATE_FILE |
    WASI_RIGHT_PATH_LINK_SOURCE | WASI_RIGHT_PATH_LINK_TARGET | WASI_RIGHT_PATH_OPEN |
    WASI_RIGHT_FD_READDIR | WASI_RIGHT_PATH_READLINK | WASI_RIGHT_PATH_RENAME_SOURCE |
    WASI_RIGHT_PATH_RENAME_TARGET | WASI_RIGHT_PATH_FILESTAT_GET |
    WASI_RIGHT_PATH_FILESTAT_SET_SIZE | WASI_RIGHT_PATH_FILESTAT_SET_TIMES |
    WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_FILESTAT_SET_TIMES | WASI_RIGHT_PATH_SYMLINK |
    WASI_RIGHT_PATH_REMOVE_DIRECTORY | WASI_RIGHT_PATH_UNLINK_FILE;

const uint64_t wrt__wasi_changing_rights =
    WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE |
    WASI_RIGHT_FD_FILESTAT_SET_TIMES | WASI_RIGHT_PATH_CREATE_DIRECTORY |
    WASI_RIGHT_PATH_CREATE_FILE | WASI_RIGHT_PATH_LINK_SOURCE | WASI_RIGHT_PATH_LINK_TARGET |
    WASI_RIGHT_PATH_RENAME_SOURCE | WASI_RIGHT_PATH_RENAME_TARGET |
    WASI_RIGHT_PATH_FILESTAT_SET_SIZE | WASI_RIGHT_PATH_FILESTAT_SET_TIMES |
    WASI_RIGHT_PATH_SYMLINK | WASI_RIGHT_PATH_REMOVE_DIRECTORY | WASI_RIGHT_PATH_UNLINK_FILE;

wasi_descriptor *wrt__wasi_descriptor(const wrt_wasi *wasi, uint32_t number)
{
    return (wasi_descriptor *)wasi->descriptors + number;
}

/* Not open in that direction is what POSIX, and so every program, calls a bad descriptor. */
static wasi_result check_rights(const wasi_descriptor *descriptor, uint64_t rights)
{
    const uint64_t missing = rights & ~descriptor->rights;

    if (missing == 0) return WASI_SUCCESS;
    if ((missing & (WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE)) != 0) return WASI_BADF;
    return WASI_NOTCAPABLE;
}

static bool is_open(const wrt_wasi *wasi, uint32_t number)
{
    return number < wasi->descriptor_count &&
           wrt__wasi_descriptor(wasi, number)->state == WASI_DESCRIPTOR_OPEN;
}

wasi_result wrt__wasi_find(wrt_wasi *wasi, uint32_t number, uint64_t rights,
                           wasi_descriptor **descriptor_out)
{
    if (!is_open(wasi, number)) return WASI_BADF;
    *descriptor_out = wrt__wasi_descriptor(wasi, number);
    return check_rights(*descriptor_out, rights);
}

wasi_result wrt__wasi_find_changeable(wrt_wasi *wasi, uint32_t number, uint64_t rights,
                                      wasi_descriptor **descriptor_out)
{
    if (!is_open(wasi, number)) return WASI_BADF;
    *descriptor_out = wrt__wasi_descriptor(wasi, number);
    if ((*descriptor_out)->is_read_only) return WASI_ROFS;
    return check_rights(*descriptor_out, rights);
}

wasi_result wrt__wasi_find_free(wrt_wasi *wasi, uint32_t *number_out)
{
    for (uint32_t number = 0; number < wasi->descriptor_count; number++) {
        if (wrt__wasi_descriptor(wasi, number)->state == WASI_DESCRIPTOR_FREE) {
            *number_out = number;
            return WASI_SUCCESS;
        }
    }
    return WASI_MFILE;
}

void wrt__wasi_release(wasi_descriptor *descriptor)
{
    if (descriptor->is_owned) wrt__wasi_port_close(descriptor->file.handle);
    *descriptor = (wasi_descriptor){0};
}
