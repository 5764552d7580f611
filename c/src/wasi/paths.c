/* Calls that take a path. Here the path is copied out of the guest's memory and what no system
 * needs to see is refused; resolving it below the folder is the port's work. */
#include "state.h"

typedef struct path {
    wasi_descriptor *folder;
    char text[WASI_PATH_SIZE];
} path;

wasi_result wrt__wasi_copy_path(const wasi_guest *guest, uint32_t address, uint32_t size,
                                char *text)
{
    if (size >= WASI_PATH_SIZE) {
        return wrt__guest_has(guest, address, size) ? WASI_NAMETOOLONG : WASI_FAULT;
    }
    if (!wrt__guest_copy(guest, address, text, size)) return WASI_FAULT;
    text[size] = '\0';
    if (size == 0) return WASI_NOENT;
    if (memchr(text, '\0', size) != NULL) return WASI_INVAL;
    return text[0] == '/' ? WASI_NOTCAPABLE : WASI_SUCCESS;
}

/* Finds the folder and copies the path. */
static wasi_result open_path(wrt_wasi *wasi, const wasi_guest *guest, uint32_t number,
                             uint64_t rights, uint32_t address, uint32_t size, path *path_out)
{
    const bool changes = (rights & wrt__wasi_changing_rights) != 0;
    const wasi_result result = (changes ? wrt__wasi_find_changeable
                                        : wrt__wasi_find)(wasi, number, rights, &path_out->folder);

    if (result == WASI_BADF || result == WASI_ROFS) return result;
    if (path_out->folder->file.type != WASI_TYPE_DIRECTORY) return WASI_NOTDIR;
    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_copy_path(guest, address, size, path_out->text);
}

wasi_answer wrt__wasi_settle(wasi_result result)
{
    return result == WASI_AGAIN || result == WASI_INTR ? (wasi_answer)WASI_OUTCOME_PENDING : result;
}

WASI_CALL(path_create_directory)
{
    path place;
    const wasi_result result =
        open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_CREATE_DIRECTORY, arguments[1].i32,
                  arguments[2].i32, &place);

    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_settle(wrt__wasi_port_create_directory(place.folder->file.handle, place.text));
}

WASI_CALL(path_remove_directory)
{
    path place;
    const wasi_result result =
        open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_REMOVE_DIRECTORY, arguments[1].i32,
                  arguments[2].i32, &place);

    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_settle(wrt__wasi_port_remove_directory(place.folder->file.handle, place.text));
}

WASI_CALL(path_unlink_file)
{
    path place;
    const wasi_result result = open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_UNLINK_FILE,
                                         arguments[1].i32, arguments[2].i32, &place);

    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_settle(wrt__wasi_port_unlink(place.folder->file.handle, place.text));
}

WASI_CALL(path_filestat_get)
{
    path place;
    wasi_file_status status;
    const bool follow = (arguments[1].i32 & WASI_LOOKUP_FOLLOW) != 0;
    wasi_result result = open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_FILESTAT_GET,
                                   arguments[2].i32, arguments[3].i32, &place);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__guest_has(guest, arguments[4].i32, WASI_FILESTAT_SIZE)) return WASI_FAULT;
    result = wrt__wasi_port_path_status(place.folder->file.handle, place.text, follow, &status);
    if (result == WASI_SUCCESS) wrt__wasi_put_status(guest, arguments[4].i32, &status);
    return wrt__wasi_settle(result);
}

WASI_CALL(path_filestat_set_times)
{
    path place;
    const bool follow = (arguments[1].i32 & WASI_LOOKUP_FOLLOW) != 0;
    const wasi_times times = {arguments[4].i64, arguments[5].i64, arguments[6].i32};
    const wasi_result result =
        open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_FILESTAT_SET_TIMES,
                  arguments[2].i32, arguments[3].i32, &place);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__wasi_times_are_valid(&times)) return WASI_INVAL;
    return wrt__wasi_settle(
        wrt__wasi_port_path_set_times(place.folder->file.handle, place.text, follow, &times));
}

WASI_CALL(path_readlink)
{
    path place;
    size_t used = 0;
    wasi_result result = open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_READLINK,
                                   arguments[1].i32, arguments[2].i32, &place);

    if (result != WASI_SUCCESS) return result;
    if (!wrt__guest_has(guest, arguments[3].i32, arguments[4].i32)) return WASI_FAULT;
    if (!wrt__guest_has(guest, arguments[5].i32, 4)) return WASI_FAULT;
    result = wrt__wasi_port_read_link(place.folder->file.handle, place.text,
                                      guest->base + arguments[3].i32, arguments[4].i32, &used);
    if (result == WASI_SUCCESS) wrt__guest_put32(guest, arguments[5].i32, used);
    return wrt__wasi_settle(result);
}

/* Absolute targets are refused: they would mean another file to the host than to the guest. */
WASI_CALL(path_symlink)
{
    path place;
    char target[WASI_PATH_SIZE];
    wasi_result result = open_path(wasi, guest, arguments[2].i32, WASI_RIGHT_PATH_SYMLINK,
                                   arguments[3].i32, arguments[4].i32, &place);

    if (result == WASI_SUCCESS) {
        result = wrt__wasi_copy_path(guest, arguments[0].i32, arguments[1].i32, target);
    }
    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_settle(wrt__wasi_port_symlink(target, place.folder->file.handle, place.text));
}

/* A link gives a file a second name, under which it could be written: so the source's folder
 * must allow changes as well. */
WASI_CALL(path_link)
{
    path from;
    path to;
    wasi_result result = open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_LINK_SOURCE,
                                   arguments[2].i32, arguments[3].i32, &from);

    if (result == WASI_SUCCESS) {
        result = open_path(wasi, guest, arguments[4].i32, WASI_RIGHT_PATH_LINK_TARGET,
                           arguments[5].i32, arguments[6].i32, &to);
    }
    if (result != WASI_SUCCESS) return result;
    if ((arguments[1].i32 & WASI_LOOKUP_FOLLOW) != 0) return WASI_INVAL;
    return wrt__wasi_settle(
        wrt__wasi_port_link(from.folder->file.handle, from.text, to.folder->file.handle, to.text));
}

WASI_CALL(path_rename)
{
    path from;
    path to;
    wasi_result result = open_path(wasi, guest, arguments[0].i32, WASI_RIGHT_PATH_RENAME_SOURCE,
                                   arguments[1].i32, arguments[2].i32, &from);

    if (result == WASI_SUCCESS) {
        result = open_path(wasi, guest, arguments[3].i32, WASI_RIGHT_PATH_RENAME_TARGET,
                           arguments[4].i32, arguments[5].i32, &to);
    }
    if (result != WASI_SUCCESS) return result;
    return wrt__wasi_settle(wrt__wasi_port_rename(from.folder->file.handle, from.text,
                                                  to.folder->file.handle, to.text));
}
