/* Where control groups are mounted, and where this process stands in them.
 *
 * /proc/self/cgroup tells the path from the top of the hierarchy, as this process's namespace sees
 * it; /proc/self/mountinfo which part of the hierarchy is mounted where. Their difference is the
 * path below the mount: in a container without a namespace of its own, the mount begins at the
 * container's group. Where own group is not below the mount ("/../..", or another path), what can
 * be seen is the mounted top. */
#include "cgroups.h"

#include "../core/fail.h"

/* A line of mountinfo, as far as we want it; the texts lie in the line. */
typedef struct mount_line {
    char *top;     /* of the file system, that is mounted here */
    char *point;   /* where */
    char *type;    /* "cgroup2" */
    char *options; /* of the file system: "rw,memory" */
} mount_line;

/* Cuts the next word off. */
static char *next_word(char **text)
{
    char *word = *text;
    char *end = word + strcspn(word, " ");

    *text = *end == '\0' ? end : end + 1;
    *end = '\0';
    return word;
}

static bool is_octal(const char *text)
{
    return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' &&
           text[2] <= '7';
}

/* Blanks and the like stand as \040. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; to++) {
        if (*from == '\\' && is_octal(from + 1)) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* "36 35 98:0 /top /point rw,noatime shared:1 - ext4 /dev/root rw,errors=continue" */
static bool read_mount(char *line, mount_line *mount_out)
{
    for (int word = 0; word < 3; word++) (void)next_word(&line);
    mount_out->top = next_word(&line);
    mount_out->point = next_word(&line);
    char *rest = strstr(line, "- ");
    if (rest == NULL) return false;
    rest += 2;
    mount_out->type = next_word(&rest);
    (void)next_word(&rest);
    mount_out->options = rest;
    unescape(mount_out->top);
    unescape(mount_out->point);
    return true;
}

static bool is_wanted(const mount_line *mount, const char *controller)
{
    if (controller == NULL) return strcmp(mount->type, "cgroup2") == 0;
    return strcmp(mount->type, "cgroup") == 0 && wrt__list_has(mount->options, controller, ',');
}

static wrt_status fail_to_read(const char *operation, int code)
{
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "/proc/self can't be read: is proc mounted?",
                           code, 0, 0);
}

static wrt_status fail_for_length(const char *operation)
{
    return wrt_fail_detail(WRT_ERR_LIMIT, operation, "a path has {0} bytes or more",
                           WRT_LINUX_CGROUP_PATH_SIZE, 0);
}

/* ---- Own path ---- */

/* The line "0::/path" is that of version 2, "4:memory:/path" of version 1. */
static const char *path_in(char *line, const char *controller)
{
    char *list = strchr(line, ':');
    char *path = list == NULL ? NULL : strchr(list + 1, ':');

    if (path == NULL) return NULL;
    *path++ = '\0';
    list++;
    if (controller == NULL) return strncmp(line, "0:", 2) == 0 && *list == '\0' ? path : NULL;
    return wrt__list_has(list, controller, ',') ? path : NULL;
}

/* Empty: this process is in none. */
static wrt_status find_own_path(const char *operation, wrt__lines *lines, const char *root,
                                const char *controller, char path_out[])
{
    char file[WRT_LINUX_CGROUP_PATH_SIZE];
    const char *found = NULL;
    bool fits = true;

    path_out[0] = '\0';
    if (!wrt__join(file, sizeof file, root, "/proc/self/cgroup")) return fail_for_length(operation);
    if (wrt__lines_open(lines, file) != 0) return fail_to_read(operation, errno);
    for (char *line = wrt__lines_next(lines); line != NULL && found == NULL;) {
        found = path_in(line, controller);
        if (found == NULL) line = wrt__lines_next(lines);
    }
    if (found != NULL) fits = wrt__join(path_out, WRT_LINUX_CGROUP_PATH_SIZE, found, "");
    wrt__lines_close(lines);
    if (lines->code != 0) return fail_to_read(operation, lines->code);
    return fits ? WRT_OK : fail_for_length(operation);
}

/* ---- The mount, and the path below it ---- */

/* What is left of `own` below `top`; NULL if it is not below. */
static const char *below(const char *own, const char *top)
{
    const size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);

    if (strncmp(own, top, length) != 0) return NULL;
    if (own[length] != '\0' && own[length] != '/') return NULL;
    if (strncmp(own + length, "/..", 3) == 0) return NULL;
    return strcmp(own + length, "/") == 0 ? "" : own + length;
}

static bool is_folder(const char *path)
{
    const int descriptor = wrt__sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY);

    if (descriptor >= 0) close(descriptor);
    return descriptor >= 0;
}

/* Puts mount and path together, unless a better mount was found before. */
static bool take_mount(const mount_line *mount, const char *root, const char *own,
                       wrt__cgroup_place *place)
{
    const char *rest = own[0] == '\0' ? NULL : below(own, mount->top);
    const size_t room = sizeof place->path;

    if (place->is_there && (!place->is_outside || rest == NULL)) return true;
    if (!wrt__join(place->path, room, root, mount->point)) return false;
    place->is_there = true;
    place->is_outside = rest == NULL;
    place->mount_length = (uint32_t)strlen(place->path);
    if (rest != NULL && !wrt__join(place->path, room, place->path, rest)) return false;
    if (!is_folder(place->path)) { /* removed, or hidden by what the container has mounted */
        place->path[place->mount_length] = '\0';
        place->is_outside = true;
    }
    return true;
}

static wrt_status find_mount(const char *operation, wrt__lines *lines, const char *root,
                             const char *controller, const char *own, wrt__cgroup_place *place)
{
    char file[WRT_LINUX_CGROUP_PATH_SIZE];
    mount_line mount;
    bool fits = true;

    if (!wrt__join(file, sizeof file, root, "/proc/self/mountinfo")) {
        return fail_for_length(operation);
    }
    if (wrt__lines_open(lines, file) != 0) return fail_to_read(operation, errno);
    for (char *line = wrt__lines_next(lines); line != NULL; line = wrt__lines_next(lines)) {
        if (!read_mount(line, &mount) || !is_wanted(&mount, controller)) continue;
        fits = take_mount(&mount, root, own, place) && fits;
    }
    wrt__lines_close(lines);
    if (lines->code != 0) return fail_to_read(operation, lines->code);
    return fits ? WRT_OK : fail_for_length(operation);
}

wrt_status wrt__cgroup_find(const char *operation, const char *root, const char *controller,
                            wrt__cgroup_place *place_out)
{
    wrt__lines lines;
    char own[WRT_LINUX_CGROUP_PATH_SIZE];

    *place_out = (wrt__cgroup_place){0};
    wrt_status status = find_own_path(operation, &lines, root, controller, own);
    if (status != WRT_OK) return status;
    status = find_mount(operation, &lines, root, controller, own, place_out);
    if (status != WRT_OK) *place_out = (wrt__cgroup_place){0};
    return status;
}

/* ---- Controllers ---- */

static const struct {
    const char *name;
    uint32_t controller;
} names[] = {{"cpu", WRT_LINUX_CGROUP_CPU},
             {"io", WRT_LINUX_CGROUP_IO},
             {"memory", WRT_LINUX_CGROUP_MEMORY},
             {"pids", WRT_LINUX_CGROUP_PIDS}};

enum { NAME_COUNT = sizeof names / sizeof names[0] };

const char *wrt__cgroup_controller_name(uint32_t controller)
{
    for (int i = 0; i < NAME_COUNT; i++) {
        if (names[i].controller == controller) return names[i].name;
    }
    return "";
}

ssize_t wrt__cgroup_read(const char *path, const char *file, char *text_out, size_t size)
{
    char full[WRT_LINUX_CGROUP_PATH_SIZE + 64];

    if (!wrt__join(full, sizeof full, path, "/") || !wrt__join(full, sizeof full, full, file)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return wrt__file_read(AT_FDCWD, full, text_out, size);
}

uint32_t wrt__cgroup_controllers(const char *path, const char *file)
{
    char text[256];
    uint32_t controllers = 0;

    if (wrt__cgroup_read(path, file, text, sizeof text) < 0) return 0;
    for (int i = 0; i < NAME_COUNT; i++) {
        if (wrt__list_has(text, names[i].name, ' ')) controllers |= names[i].controller;
    }
    return controllers;
}

/* ---- The location, for everybody ---- */

wrt_status wrt_linux_cgroup_locate(const char *root, wrt_linux_cgroup_location *location_out)
{
    wrt__cgroup_place newer, older;

    if (root == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "root is NULL");
    if (location_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "location_out is NULL");
    }
    *location_out = (wrt_linux_cgroup_location){0};
    wrt_status status = wrt__cgroup_find(__func__, root, NULL, &newer);
    if (status == WRT_OK) status = wrt__cgroup_find(__func__, root, "memory", &older);
    if (status != WRT_OK) return status;
    if (!newer.is_there) {
        location_out->layout = older.is_there ? WRT_LINUX_CGROUP_V1 : WRT_LINUX_CGROUP_NONE;
        return WRT_OK;
    }
    location_out->layout = older.is_there ? WRT_LINUX_CGROUP_HYBRID : WRT_LINUX_CGROUP_V2;
    location_out->controllers = wrt__cgroup_controllers(newer.path, "cgroup.controllers");
    location_out->mount_length = newer.mount_length;
    location_out->is_outside = newer.is_outside;
    memcpy(location_out->path, newer.path, sizeof newer.path);
    return WRT_OK;
}
