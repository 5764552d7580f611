/* Controllers are passed on from the top down: each group above says in its cgroup.subtree_control
 * which of its controllers the groups below it have. A group with processes of its own can't pass
 * on those that count by process (the top of the hierarchy can), and only who may write the file
 * can pass on any. */
#include "cgroups.h"

#include "../core/fail.h"

static const char LEAF[] = "/wrt-leaf";

enum { MOVE_ROUNDS = 16 }; /* processes that fork while they are moved come again */

const char *wrt__cgroup_remedy(uint32_t obstacle)
{
    switch (obstacle) {
    case WRT_LINUX_CGROUP_NOT_OFFERED:
        return "the kernel has no such controller, or keeps it in version 1, or the manager above "
               "passes it not on: systemd does with Delegate=yes, a container's runtime with a "
               "private namespace";
    case WRT_LINUX_CGROUP_HAS_PROCESSES:
        return "a group with processes can't pass controllers on: move them to a leaf (the config "
               "has move_to_leaf), or give a parent that has none";
    case WRT_LINUX_CGROUP_NOT_PERMITTED:
        return "the group's files belong to somebody else: run with systemd's Delegate=yes "
               "(systemd-run --user --scope -p Delegate=yes), or give a parent that is yours";
    case WRT_LINUX_CGROUP_THREADED:
        return "the group is for threads (cgroup.type): give a parent that is a domain";
    default:
        return "nothing has to be done";
    }
}

/* Cuts `path` off behind the group that is `depth` steps below the mount; false: it has fewer. */
static bool cut(const char *path, uint32_t mount_length, uint32_t depth, char path_out[])
{
    const char *end = path + mount_length;

    for (uint32_t step = 0; step < depth; step++) {
        if (*end == '\0') return false;
        end += 1 + strcspn(end + 1, "/");
    }
    memcpy(path_out, path, (size_t)(end - path));
    path_out[end - path] = '\0';
    return true;
}

/* ---- Looking ---- */

static bool has_processes(const char *path)
{
    char text[16];

    return wrt__cgroup_read(path, "cgroup.procs", text, sizeof text) > 0;
}

/* Whether something of this kind keeps the group at `path` from passing on what it has. */
static uint32_t obstacle_at(const char *path)
{
    char text[64], file[WRT_LINUX_CGROUP_PATH_SIZE + 64];
    const bool is_top = wrt__cgroup_read(path, "cgroup.type", text, sizeof text) < 0;

    (void)wrt__join(file, sizeof file, path, "/cgroup.subtree_control");
    if (wrt__sys_may_write(file) != 0) return WRT_LINUX_CGROUP_NOT_PERMITTED;
    if (is_top) return WRT_LINUX_CGROUP_FREE;
    if (strncmp(text, "threaded", 8) == 0) return WRT_LINUX_CGROUP_THREADED;
    return has_processes(path) ? WRT_LINUX_CGROUP_HAS_PROCESSES : WRT_LINUX_CGROUP_FREE;
}

/* Processes and threads of the group keep only those controllers back that count by process; cpu
 * and pids count by thread. */
static uint32_t concerned(uint32_t obstacle)
{
    switch (obstacle) {
    case WRT_LINUX_CGROUP_FREE:
        return 0;
    case WRT_LINUX_CGROUP_HAS_PROCESSES:
    case WRT_LINUX_CGROUP_THREADED:
        return WRT_LINUX_CGROUP_IO | WRT_LINUX_CGROUP_MEMORY;
    default:
        return WRT__CGROUP_ALL;
    }
}

static uint32_t lowest(uint32_t controllers)
{
    return controllers & (~controllers + 1);
}

static void note(wrt__cgroup_block *block, uint32_t obstacle, uint32_t controllers, uint32_t depth,
                 const char *path)
{
    block->blocked |= controllers;
    if (block->obstacle != WRT_LINUX_CGROUP_FREE) return;
    block->obstacle = obstacle;
    block->controller = lowest(controllers);
    block->depth = depth;
    (void)wrt__join(block->path, sizeof block->path, path, "");
}

void wrt__cgroup_look(const char *parent, uint32_t mount_length, uint32_t controllers,
                      wrt__cgroup_block *block_out)
{
    char path[WRT_LINUX_CGROUP_PATH_SIZE];

    *block_out = (wrt__cgroup_block){0};
    for (uint32_t depth = 0; cut(parent, mount_length, depth, path); depth++) {
        const uint32_t wanted = controllers & ~block_out->blocked;
        const uint32_t passed_on = wrt__cgroup_controllers(path, "cgroup.subtree_control");
        const uint32_t has = wrt__cgroup_controllers(path, "cgroup.controllers") | passed_on;
        /* Below the top a group has what the one above passes on, or will pass on. */
        if (depth == 0 && (wanted & ~has) != 0) {
            note(block_out, WRT_LINUX_CGROUP_NOT_OFFERED, wanted & ~has, depth, path);
        }
        const uint32_t missing = wanted & ~passed_on & ~block_out->blocked;
        if (missing == 0) continue;
        const uint32_t obstacle = obstacle_at(path);
        const uint32_t kept = missing & concerned(obstacle);
        if (kept != 0) note(block_out, obstacle, kept, depth, path);
    }
}

/* ---- Moving what is in the way ---- */

/* Moves the processes of one group to another, until there are none; -1 and errno. */
static int move_processes(const char *from, const char *to)
{
    char text[WRT__TEXT_SIZE], file[WRT_LINUX_CGROUP_PATH_SIZE + 64], number[24];

    (void)wrt__join(file, sizeof file, to, "/cgroup.procs");
    for (int round = 0; round < MOVE_ROUNDS; round++) {
        const ssize_t length = wrt__cgroup_read(from, "cgroup.procs", text, sizeof text);
        if (length <= 0) return (int)length;
        const char *last_line = text + length;
        for (const char *line = text; line < last_line; line += strcspn(line, "\n") + 1) {
            const size_t size = strcspn(line, "\n");
            if (line[size] == '\0' || size >= sizeof number) break; /* cut off: the next round */
            memcpy(number, line, size);
            number[size] = '\0';
            if (wrt__file_write(AT_FDCWD, file, number) != 0 && errno != ESRCH) return -1;
        }
    }
    errno = EBUSY;
    return -1;
}

static int move_to_leaf(const char *path)
{
    char leaf[WRT_LINUX_CGROUP_PATH_SIZE];

    if (!wrt__join(leaf, sizeof leaf, path, LEAF)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (wrt__sys_mkdir(leaf) != 0 && errno != EEXIST) return -1;
    if (move_processes(path, leaf) == 0) return 0;
    const int code = errno;
    (void)move_processes(leaf, path);
    (void)rmdir(leaf);
    errno = code;
    return -1;
}

/* ---- Enabling ---- */

static uint32_t obstacle_of(int code)
{
    switch (code) {
    case EBUSY:
        return WRT_LINUX_CGROUP_HAS_PROCESSES;
    case EACCES:
    case EPERM:
    case EROFS:
        return WRT_LINUX_CGROUP_NOT_PERMITTED;
    case EOPNOTSUPP:
        return WRT_LINUX_CGROUP_THREADED;
    case ENOENT:
    case EINVAL:
        return WRT_LINUX_CGROUP_NOT_OFFERED;
    default:
        return WRT_LINUX_CGROUP_FREE;
    }
}

static wrt_status fail_blocked(const char *operation, const wrt__cgroup_block *block)
{
    const uint64_t which = block->controller, depth = block->depth;

    switch (block->obstacle) {
    case WRT_LINUX_CGROUP_NOT_OFFERED:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "controller {0} (1 cpu, 2 io, 4 memory, 8 pids) is not offered by "
                               "the group {1} steps below the mount: the kernel lacks it, has it "
                               "in version 1, or the manager above keeps it (systemd: "
                               "Delegate=yes)",
                               block->code, which, depth);
    case WRT_LINUX_CGROUP_HAS_PROCESSES:
        return wrt_fail_system(WRT_ERR_BUSY, operation,
                               "controller {0} (1 cpu, 2 io, 4 memory, 8 pids) can't be passed on "
                               "by the group {1} steps below the mount while processes are in it: "
                               "move them to a leaf, or give a parent without processes",
                               block->code, which, depth);
    case WRT_LINUX_CGROUP_NOT_PERMITTED:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "controller {0} (1 cpu, 2 io, 4 memory, 8 pids) can't be passed on "
                               "by the group {1} steps below the mount, whose files are not ours "
                               "to write: ask for delegation (systemd: Delegate=yes), or give a "
                               "parent that is yours",
                               block->code, which, depth);
    case WRT_LINUX_CGROUP_THREADED:
        return wrt_fail_system(WRT_ERR_BUSY, operation,
                               "controller {0} (1 cpu, 2 io, 4 memory, 8 pids) can't be passed on "
                               "by the group {1} steps below the mount, which is for threads: give "
                               "a parent that is a domain",
                               block->code, which, depth);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                               "controller {0} (1 cpu, 2 io, 4 memory, 8 pids) can't be passed on "
                               "by the group {1} steps below the mount",
                               block->code, which, depth);
    }
}

/* Each by itself, so that one that is not there does not keep the others back. */
static int pass_on(const char *path, uint32_t controller)
{
    char file[WRT_LINUX_CGROUP_PATH_SIZE + 64], text[16];

    (void)wrt__join(file, sizeof file, path, "/cgroup.subtree_control");
    (void)wrt__join(text, sizeof text, "+", wrt__cgroup_controller_name(controller));
    return wrt__file_write(AT_FDCWD, file, text);
}

static wrt_status enable_at(const char *operation, const char *path, uint32_t depth,
                            uint32_t missing, bool may_move)
{
    for (; missing != 0; missing &= missing - 1) {
        const uint32_t controller = lowest(missing);
        int code = pass_on(path, controller) == 0 ? 0 : errno;
        if (code == EBUSY && may_move && move_to_leaf(path) == 0) {
            code = pass_on(path, controller) == 0 ? 0 : errno;
        }
        if (code != 0) {
            const wrt__cgroup_block block = {.obstacle = obstacle_of(code),
                                             .controller = controller,
                                             .depth = depth,
                                             .code = code};
            return fail_blocked(operation, &block);
        }
    }
    return WRT_OK;
}

wrt_status wrt__cgroup_enable(const char *operation, const char *parent, uint32_t mount_length,
                              uint32_t controllers, bool may_move)
{
    char path[WRT_LINUX_CGROUP_PATH_SIZE];
    wrt_status status = WRT_OK;

    if ((wrt__cgroup_controllers(parent, "cgroup.subtree_control") & controllers) == controllers) {
        return WRT_OK;
    }
    for (uint32_t depth = 0; status == WRT_OK && cut(parent, mount_length, depth, path); depth++) {
        const uint32_t passed_on = wrt__cgroup_controllers(path, "cgroup.subtree_control");
        const bool is_own = strcmp(path, parent) == 0;
        status = enable_at(operation, path, depth, controllers & ~passed_on, may_move && is_own);
    }
    return status;
}
