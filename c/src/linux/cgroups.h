/* Internal: what the files of control groups share, and what the worker and detection need. */
#ifndef WRT_LINUX_CGROUPS_H
#define WRT_LINUX_CGROUPS_H

#include "files.h"

#include "wrt_platform/linux/cgroups.h"

enum {
    WRT__CGROUP_ALL =
        WRT_LINUX_CGROUP_CPU | WRT_LINUX_CGROUP_IO | WRT_LINUX_CGROUP_MEMORY | WRT_LINUX_CGROUP_PIDS
};

/* A group that a process stands in, of version 2 or of one controller of version 1. */
typedef struct wrt__cgroup_place {
    bool is_there;
    bool is_outside;       /* it can't be seen from here: `path` is the mounted top */
    uint32_t mount_length; /* bytes of `path` that are the mount */
    char path[WRT_LINUX_CGROUP_PATH_SIZE];
} wrt__cgroup_place;

/* Finds the group of this process. controller: of version 1, or NULL for version 2. That there is
 * none is no error. Errors: LIMIT, SYSTEM. */
WRT_NODISCARD wrt_status wrt__cgroup_find(const char *operation, const char *root,
                                          const char *controller, wrt__cgroup_place *place_out);

/* Reads a file of the group at `path`: as wrt__file_read(). */
ssize_t wrt__cgroup_read(const char *path, const char *file, char *text_out, size_t size);

/* The controllers that a file of the group lists; 0, and errno, if it can't be read. */
uint32_t wrt__cgroup_controllers(const char *path, const char *file);

/* The name of one controller. */
const char *wrt__cgroup_controller_name(uint32_t controller);

/* ---- cgroups_control.c, cgroups_kill.c ---- */

/* Nanoseconds from now; 0: it is past. */
uint64_t wrt__cgroup_rest_of(uint64_t deadline);

/* Without cgroup.kill: sends SIGKILL to each process in the group and below, until none is left or
 * `deadline` has passed. 0, or -1 and errno. */
int wrt__cgroup_kill_each(const wrt_linux_cgroup *group, uint64_t deadline);

/* ---- cgroups_enable.c ---- */

/* What stands in the way, and where. */
typedef struct wrt__cgroup_block {
    uint32_t obstacle;   /* one of wrt_linux_cgroup_obstacle */
    uint32_t controller; /* the first that is blocked */
    uint32_t blocked;    /* all of them */
    uint32_t depth;      /* of the group, in steps below the mount */
    int code;            /* error number of the write, 0 if none was tried */
    char path[WRT_LINUX_CGROUP_PATH_SIZE];
} wrt__cgroup_block;

/* Looks from the top down to the group at `parent` what keeps controllers from its children. */
void wrt__cgroup_look(const char *parent, uint32_t mount_length, uint32_t controllers,
                      wrt__cgroup_block *block_out);

/* Enables controllers for the children of the group at `parent`. Errors: UNSUPPORTED, BUSY,
 * PERMISSION, SYSTEM. */
WRT_NODISCARD wrt_status wrt__cgroup_enable(const char *operation, const char *parent,
                                            uint32_t mount_length, uint32_t controllers,
                                            bool move_to_leaf);

/* What to do about an obstacle. */
const char *wrt__cgroup_remedy(uint32_t obstacle);

/* ---- cgroups.c ---- */

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, removed, after fork). */
WRT_NODISCARD wrt_status wrt__cgroup_check(const char *operation, const wrt_linux_cgroup *group);

/* The path of the group above; false if there is none below the mount. */
bool wrt__cgroup_parent(const char *path, uint32_t mount_length, char parent_out[]);

/* ---- cgroups_spawn.c ---- */

/* A child in the group: as fork(), but the child may only make calls that are safe after a raw
 * clone. One that can't get in writes its error number (an int) to `report`, and ends. -1 and
 * errno: there is no child. */
pid_t wrt__cgroup_fork(const wrt_linux_cgroup *group, int report);

#endif
