/* Paths: Linux. The kernel itself keeps every path below its folder (openat2, RESOLVE_BENEATH):
 * absolute paths and links, `..` that leads out, and links of /proc are refused by the walk that
 * opens the file, so there is no moment between a check and its use.
 *
 * Calls that act on a name (create, remove, rename, link) have no such flag. For them the folder
 * that holds the name is opened in this way first, and the call is then given the held folder
 * and the bare last name, which it does not follow. A slash behind the name would make the kernel
 * follow it: it is cut off, and what it demands (a folder) is checked here. */
#include "sys.h"

#include <string.h>

enum {
    TRIES = 16,           /* while folders are being renamed under a path that has `..` */
    NEW_FILE_MODE = 0666, /* less the process's umask */
    NEW_FOLDER_MODE = 0777
};

/* The folder that holds a name, and the name. */
typedef struct place {
    int folder;
    bool is_opened; /* and so to be closed */
    bool has_slash; /* behind the name: it must be a folder */
    char name[WASI_PATH_SIZE];
} place;

static int open_beneath(int folder, const char *path, uint64_t flags, uint64_t mode)
{
    const struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long handle = -1;

    for (int i = 0; i < TRIES && handle < 0; i++) {
        handle = syscall(SYS_openat2, folder, path, &how, sizeof how);
        if (handle < 0 && errno != EAGAIN && errno != EINTR) break;
    }
    return (int)handle;
}

/* EXDEV is how the kernel says that a path leads out of its folder. */
static wasi_result path_failed(void)
{
    return errno == EXDEV ? (wasi_result)WASI_NOTCAPABLE : wrt__wasi_linux_failed();
}

wasi_result wrt__wasi_port_open_root(const char *path, int32_t *handle_out, int32_t *os_code_out)
{
    *handle_out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *os_code_out = *handle_out < 0 ? errno : 0;
    return *handle_out < 0 ? wrt__wasi_linux_failed() : WASI_SUCCESS;
}

wasi_result wrt__wasi_port_probe_beneath(int32_t folder, int32_t *os_code_out)
{
    const int handle = open_beneath(folder, ".", O_PATH | O_DIRECTORY, 0);

    *os_code_out = handle < 0 ? errno : 0;
    if (handle < 0) return wrt__wasi_linux_failed();
    (void)close(handle);
    return WASI_SUCCESS;
}

static uint64_t flags_of(const wasi_open_request *request)
{
    uint64_t flags = O_NOCTTY | O_NONBLOCK; /* a pipe without a writer must not hold the thread */

    if (request->can_write) flags |= request->can_read ? O_RDWR : O_WRONLY;
    if (!request->follow) flags |= O_NOFOLLOW;
    if ((request->open_flags & WASI_OPEN_CREATE) != 0) flags |= O_CREAT;
    if ((request->open_flags & WASI_OPEN_DIRECTORY) != 0) flags |= O_DIRECTORY;
    if ((request->open_flags & WASI_OPEN_EXCLUSIVE) != 0) flags |= O_EXCL;
    if ((request->open_flags & WASI_OPEN_TRUNCATE) != 0) flags |= O_TRUNC;
    if ((request->flags & WASI_FLAG_APPEND) != 0) flags |= O_APPEND;
    if ((request->flags & WASI_FLAG_DATA_SYNC) != 0) flags |= O_DSYNC;
    if ((request->flags & (WASI_FLAG_SYNC | WASI_FLAG_READ_SYNC)) != 0) flags |= O_SYNC;
    return flags;
}

/* O_TRUNC and O_CREAT cannot exceed RLIMIT_FSIZE: no signal can come of it. */
wasi_result wrt__wasi_port_open(int32_t folder, const char *path, const wasi_open_request *request,
                                int32_t *handle_out)
{
    const bool creates = (request->open_flags & WASI_OPEN_CREATE) != 0;

    *handle_out = open_beneath(folder, path, flags_of(request), creates ? NEW_FILE_MODE : 0);
    return *handle_out < 0 ? path_failed() : WASI_SUCCESS;
}

/* Opens what a path names, only to look at it. */
static wasi_result open_to_look(int folder, const char *path, bool follow, int *handle_out)
{
    *handle_out = open_beneath(folder, path, follow ? O_PATH : O_PATH | O_NOFOLLOW, 0);
    return *handle_out < 0 ? path_failed() : WASI_SUCCESS;
}

wasi_result wrt__wasi_port_path_status(int32_t folder, const char *path, bool follow,
                                       wasi_file_status *status_out)
{
    int handle;
    wasi_result result = open_to_look(folder, path, follow, &handle);

    if (result != WASI_SUCCESS) return result;
    result = wrt__wasi_port_status(handle, status_out);
    (void)close(handle);
    return result;
}

wasi_result wrt__wasi_port_path_set_times(int32_t folder, const char *path, bool follow,
                                          const wasi_times *times)
{
    struct timespec pair[2];
    int handle;
    wasi_result result = open_to_look(folder, path, follow, &handle);

    if (result != WASI_SUCCESS) return result;
    wrt__wasi_linux_times(times, pair);
    if (utimensat(handle, "", pair, AT_EMPTY_PATH) != 0) result = wrt__wasi_linux_failed();
    (void)close(handle);
    return result;
}

static wasi_result read_opened_link(int handle, uint8_t *bytes, size_t size, size_t *used_out)
{
    struct stat status;

    if (fstat(handle, &status) != 0) return wrt__wasi_linux_failed();
    if (!S_ISLNK(status.st_mode)) return WASI_INVAL;
    if (size == 0) return WASI_SUCCESS;
    const ssize_t used = readlinkat(handle, "", (char *)bytes, size);
    if (used < 0) return wrt__wasi_linux_failed();
    *used_out = (size_t)used;
    return WASI_SUCCESS;
}

wasi_result wrt__wasi_port_read_link(int32_t folder, const char *path, uint8_t *bytes, size_t size,
                                     size_t *used_out)
{
    int handle;
    wasi_result result = open_to_look(folder, path, false, &handle);

    *used_out = 0;
    if (result != WASI_SUCCESS) return result;
    result = read_opened_link(handle, bytes, size, used_out);
    (void)close(handle);
    return result;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Splits a path that is not empty; `folder_path` becomes empty if it is only a name. */
static void split(const char *path, char *folder_path, place *out)
{
    size_t end = strlen(path);

    out->has_slash = path[end - 1] == '/';
    while (end > 0 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    memcpy(out->name, path + start, end - start);
    out->name[end - start] = '\0';
    memcpy(folder_path, path, start);
    folder_path[start] = '\0';
}

static wasi_result enter(int folder, const char *path, place *out)
{
    char folder_path[WASI_PATH_SIZE];

    split(path, folder_path, out);
    out->folder = folder;
    out->is_opened = folder_path[0] != '\0';
    if (!out->is_opened) return WASI_SUCCESS;
    out->folder = open_beneath(folder, folder_path, O_PATH | O_DIRECTORY, 0);
    return out->folder < 0 ? path_failed() : WASI_SUCCESS;
}

static void leave(const place *here)
{
    if (here->is_opened) (void)close(here->folder);
}

/* The answer of the call just made; errno is read before anything else can change it. */
static wasi_result done(int answer)
{
    return answer == 0 ? WASI_SUCCESS : wrt__wasi_linux_failed();
}

static bool is_folder(const place *here)
{
    struct stat status;

    return fstatat(here->folder, here->name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

wasi_result wrt__wasi_port_create_directory(int32_t folder, const char *path)
{
    place here;
    wasi_result result = enter(folder, path, &here);

    if (result != WASI_SUCCESS) return result;
    result = is_dots(here.name) ? (wasi_result)WASI_EXIST
                                : done(mkdirat(here.folder, here.name, NEW_FOLDER_MODE));
    leave(&here);
    return result;
}

wasi_result wrt__wasi_port_remove_directory(int32_t folder, const char *path)
{
    place here;
    wasi_result result = enter(folder, path, &here);

    if (result != WASI_SUCCESS) return result;
    result = is_dots(here.name) ? (wasi_result)WASI_INVAL
                                : done(unlinkat(here.folder, here.name, AT_REMOVEDIR));
    leave(&here);
    return result;
}

static wasi_result unlink_in(const place *here)
{
    if (is_dots(here->name)) return WASI_ISDIR;
    if (here->has_slash) return is_folder(here) ? WASI_ISDIR : WASI_NOTDIR;
    return done(unlinkat(here->folder, here->name, 0));
}

wasi_result wrt__wasi_port_unlink(int32_t folder, const char *path)
{
    place here;
    wasi_result result = enter(folder, path, &here);

    if (result != WASI_SUCCESS) return result;
    result = unlink_in(&here);
    leave(&here);
    return result;
}

wasi_result wrt__wasi_port_symlink(const char *target, int32_t folder, const char *path)
{
    place here;
    wasi_result result = enter(folder, path, &here);

    if (result != WASI_SUCCESS) return result;
    if (is_dots(here.name))
        result = WASI_EXIST;
    else if (here.has_slash)
        result = is_folder(&here) ? WASI_EXIST : WASI_NOENT;
    else
        result = done(symlinkat(target, here.folder, here.name));
    leave(&here);
    return result;
}

static wasi_result link_places(const place *from, const place *to)
{
    if (is_dots(from->name)) return WASI_PERM;
    if (is_dots(to->name)) return WASI_EXIST;
    if (from->has_slash) return is_folder(from) ? WASI_PERM : WASI_NOTDIR;
    if (to->has_slash) return is_folder(to) ? WASI_EXIST : WASI_NOENT;
    return done(linkat(from->folder, from->name, to->folder, to->name, 0));
}

static wasi_result rename_places(const place *from, const place *to)
{
    if (is_dots(from->name) || is_dots(to->name)) return WASI_BUSY;
    if ((from->has_slash || to->has_slash) && !is_folder(from)) return WASI_NOTDIR;
    return done(renameat(from->folder, from->name, to->folder, to->name));
}

/* Finds both places and does `act` to them. */
static wasi_result with_two(int32_t old_folder, const char *old_path, int32_t new_folder,
                            const char *new_path,
                            wasi_result (*act)(const place *from, const place *to))
{
    place from;
    place to;
    wasi_result result = enter(old_folder, old_path, &from);

    if (result != WASI_SUCCESS) return result;
    result = enter(new_folder, new_path, &to);
    if (result == WASI_SUCCESS) {
        result = act(&from, &to);
        leave(&to);
    }
    leave(&from);
    return result;
}

wasi_result wrt__wasi_port_link(int32_t old_folder, const char *old_path, int32_t new_folder,
                                const char *new_path)
{
    return with_two(old_folder, old_path, new_folder, new_path, link_places);
}

wasi_result wrt__wasi_port_rename(int32_t old_folder, const char *old_path, int32_t new_folder,
                                  const char *new_path)
{
    return with_two(old_folder, old_path, new_folder, new_path, rename_places);
}
