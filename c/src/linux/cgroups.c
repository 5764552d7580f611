/* A group is a folder: made by mkdir, known by its descriptor, ended by rmdir. */
#include "cgroups.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"

/* ---- Where it is to be ---- */

static wrt_status check_name(const char *operation, const char *name)
{
    const size_t length = name == NULL ? 0 : strlen(name);

    if (length == 0 || length > 255 || strchr(name, '/') != NULL || strchr(name, '\n') != NULL ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "name is not a group's: 1 to 255 bytes without a slash, not . nor ..");
    }
    return WRT_OK;
}

/* Steps up would lead past the groups that are asked. */
static bool has_steps_up(const char *path)
{
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '\0' || at[2] == '/')) return true;
    }
    return false;
}

static void drop_last_slashes(char *path)
{
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/'; length--) {
        path[length - 1] = '\0';
    }
}

/* As the config has it: below the mount, below own group, or the path that it is. */
static bool join_parent(const wrt_linux_cgroup_config *config, const char *root,
                        const wrt__cgroup_place *own, char parent_out[])
{
    const size_t room = WRT_LINUX_CGROUP_PATH_SIZE, prefix = strlen(root);
    const size_t mount = own->mount_length - prefix;
    const char *given = config->parent;

    memcpy(parent_out, own->path, sizeof own->path);
    if (given == NULL || given[0] == '\0') return true;
    if (given[0] != '/') {
        return wrt__join(parent_out, room, parent_out, "/") &&
               wrt__join(parent_out, room, parent_out, given);
    }
    parent_out[own->mount_length] = '\0';
    if (strncmp(given, own->path + prefix, mount) == 0 &&
        (given[mount] == '/' || given[mount] == '\0')) {
        given += mount;
    }
    return wrt__join(parent_out, room, parent_out, given);
}

/* Where the parent and the new group are. */
typedef struct location {
    uint32_t mount_length;
    bool is_own; /* the parent is this process's own group */
    char parent[WRT_LINUX_CGROUP_PATH_SIZE];
    char path[WRT_LINUX_CGROUP_PATH_SIZE];
} location;

static wrt_status locate(const char *operation, const wrt_linux_cgroup_config *config,
                         location *location_out)
{
    const char *root = config->root == NULL ? "" : config->root;
    const size_t room = WRT_LINUX_CGROUP_PATH_SIZE;
    wrt__cgroup_place own;

    wrt_status status = wrt__cgroup_find(operation, root, NULL, &own);
    if (status != WRT_OK) return status;
    if (!own.is_there) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "no control groups of version 2 are mounted: mount them (mount -t cgroup2 "
                        "none /sys/fs/cgroup), or boot with systemd.unified_cgroup_hierarchy=1");
    }
    bool fits = join_parent(config, root, &own, location_out->parent);
    drop_last_slashes(location_out->parent);
    fits = fits && wrt__join(location_out->path, room, location_out->parent, "/") &&
           wrt__join(location_out->path, room, location_out->path, config->name);
    if (!fits) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation, "the group's path has {0} bytes or more",
                               WRT_LINUX_CGROUP_PATH_SIZE, 0);
    }
    location_out->mount_length = own.mount_length;
    location_out->is_own = strcmp(location_out->parent, own.path) == 0;
    return WRT_OK;
}

static wrt_status read_config(const char *operation, const wrt_linux_cgroup_config *config,
                              wrt_linux_cgroup_config *known_out, location *location_out)
{
    wrt_status status = wrt__config_read(operation, config, known_out, sizeof *known_out);

    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known_out->reserved, sizeof known_out->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes are not zero");
    }
    if ((known_out->controllers & ~(uint32_t)WRT__CGROUP_ALL) != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "controllers are {0}, not a combination of {1}",
                               known_out->controllers, WRT__CGROUP_ALL);
    }
    status = check_name(operation, known_out->name);
    if (status != WRT_OK) return status;
    if (known_out->parent != NULL && has_steps_up(known_out->parent)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "parent has a step up (..)");
    }
    return locate(operation, known_out, location_out);
}

bool wrt__cgroup_parent(const char *path, uint32_t mount_length, char parent_out[])
{
    const char *end = strrchr(path, '/');

    if (end == NULL || end < path + mount_length) return false;
    memcpy(parent_out, path, (size_t)(end - path));
    parent_out[end - path] = '\0';
    return true;
}

/* ---- Plan ---- */

wrt_status wrt_linux_cgroup_plan_of(const wrt_linux_cgroup_config *config,
                                    wrt_linux_cgroup_plan *plan_out)
{
    wrt_linux_cgroup_config known;
    wrt__cgroup_block block;
    location where;

    if (plan_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "plan_out is NULL");
    *plan_out = (wrt_linux_cgroup_plan){.remedy = wrt__cgroup_remedy(WRT_LINUX_CGROUP_FREE)};
    const wrt_status status = read_config(__func__, config, &known, &where);
    if (status != WRT_OK) return status;
    const uint32_t wanted = known.controllers == 0 ? WRT__CGROUP_ALL : known.controllers;
    wrt__cgroup_look(where.parent, where.mount_length, wanted, &block);
    const bool moves = known.move_to_leaf && where.is_own &&
                       block.obstacle == WRT_LINUX_CGROUP_HAS_PROCESSES &&
                       strcmp(block.path, where.parent) == 0;
    if (moves) block = (wrt__cgroup_block){0};
    plan_out->enabled = wanted & wrt__cgroup_controllers(where.parent, "cgroup.subtree_control");
    plan_out->blocked = block.blocked;
    plan_out->to_enable = wanted & ~plan_out->enabled & ~block.blocked;
    plan_out->obstacle = block.obstacle;
    plan_out->blocked_controller = block.controller;
    plan_out->remedy = wrt__cgroup_remedy(block.obstacle);
    memcpy(plan_out->path, where.path, sizeof where.path);
    memcpy(plan_out->blocker, block.path, sizeof block.path);
    return WRT_OK;
}

/* ---- Life ---- */

static wrt_status fail_to_make(const char *operation, int code)
{
    switch (code) {
    case EEXIST:
        return wrt_fail_system(WRT_ERR_STATE, operation,
                               "a group of that name is there: remove it, or set take_existing",
                               code, 0, 0);
    case ENOENT:
        return wrt_fail_system(WRT_ERR_NOT_FOUND, operation, "the parent is not there", code, 0, 0);
    case EACCES:
    case EPERM:
    case EROFS:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the group can't be made: its parent is not ours to write; ask for "
                               "delegation (systemd-run --user --scope -p Delegate=yes), or give "
                               "a parent that is yours",
                               code, 0, 0);
    case EAGAIN:
        return wrt_fail_system(
            WRT_ERR_NO_MEMORY, operation,
            "the group can't be made: cgroup.max.descendants or cgroup.max.depth "
            "of a group above is reached",
            code, 0, 0);
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "the group can't be made", code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the group can't be made", code, 0, 0);
    }
}

/* Makes the folder; *is_new_out says whether it was not there before. */
static wrt_status make(const char *operation, const wrt_linux_cgroup_config *config,
                       const char *path, bool *is_new_out)
{
    *is_new_out = wrt__sys_mkdir(path) == 0;
    if (*is_new_out || (errno == EEXIST && config->take_existing)) return WRT_OK;
    return fail_to_make(operation, errno);
}

wrt_status wrt_linux_cgroup_init(wrt_linux_cgroup *group, const wrt_linux_cgroup_config *config)
{
    wrt_linux_cgroup_config known;
    location where;
    bool is_new = false;

    if (group == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "group is NULL");
    wrt_status status = read_config(__func__, config, &known, &where);
    if (status != WRT_OK) return status;
    status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    status = make(__func__, &known, where.path, &is_new);
    if (status != WRT_OK) return status;

    const bool may_move = known.move_to_leaf && where.is_own;
    const int directory = wrt__sys_openat(AT_FDCWD, where.path, O_RDONLY | O_DIRECTORY);
    if (directory < 0) {
        status =
            wrt_fail_system(WRT_ERR_SYSTEM, __func__, "the group can't be opened", errno, 0, 0);
    } else if (known.controllers != 0) {
        status = wrt__cgroup_enable(__func__, where.parent, where.mount_length, known.controllers,
                                    may_move);
    }
    if (status != WRT_OK) {
        if (directory >= 0) close(directory);
        if (is_new) (void)rmdir(where.path);
        return status;
    }
    *group = (wrt_linux_cgroup){.fork_generation = wrt__fork_generation(),
                                .mount_length = where.mount_length,
                                .directory = directory,
                                .is_initialised = true,
                                .move_to_leaf = may_move};
    memcpy(group->path, where.path, sizeof where.path);
    return WRT_OK;
}

const char *wrt_linux_cgroup_path(const wrt_linux_cgroup *group)
{
    return group != NULL && group->is_initialised ? group->path : NULL;
}

wrt_status wrt__cgroup_check(const char *operation, const wrt_linux_cgroup *group)
{
    if (group == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "group is NULL");
    if (!group->is_initialised) {
        return wrt_fail(WRT_ERR_STATE, operation, "group is not initialised");
    }
    if (group->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "group belongs to the process that forked this one; make a new one with "
                        "take_existing");
    }
    if (group->is_removed) return wrt_fail(WRT_ERR_STATE, operation, "group was removed");
    return WRT_OK;
}

wrt_status wrt_linux_cgroup_deinit(wrt_linux_cgroup *group)
{
    if (group == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "group is NULL");
    if (group->is_initialised) close(group->directory);
    *group = (wrt_linux_cgroup){0};
    return WRT_OK;
}
