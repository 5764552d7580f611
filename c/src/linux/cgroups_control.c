/* Processes of a group: moved in, stopped, killed, and waited for. The kernel tells of changes by
 * POLLPRI on cgroup.events, so that nothing here looks again and again. */
#include "cgroups.h"

#include "../core/fail.h"
#include "../core/port.h"
#include "times.h"

enum { RETRY_NS = 1000000 };

static wrt_status fail_to_write(const char *operation, const char *reason, int code)
{
    const bool is_refused = code == EACCES || code == EPERM || code == EROFS;
    wrt_status status = is_refused ? WRT_ERR_PERMISSION : WRT_ERR_SYSTEM;

    if (code == ENOENT) status = WRT_ERR_UNSUPPORTED;
    if (code == ELOOP) status = WRT_ERR_LIMIT;
    return wrt_fail_system(status, operation, reason, code, 0, 0);
}

/* ---- Moving in ---- */

static wrt_status fail_to_add(const char *operation, int code, int32_t process)
{
    const uint64_t which = (uint64_t)process;

    switch (code) {
    case ESRCH:
        return wrt_fail_system(WRT_ERR_NOT_FOUND, operation, "there is no process {0}", code, which,
                               0);
    case EACCES:
    case EPERM:
    case EROFS:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "process {0} can't be moved: cgroup.procs of the group above both, "
                               "its old one and this, is not ours to write; delegate a group that "
                               "has both (systemd: Delegate=yes)",
                               code, which, 0);
    case EBUSY:
    case EOPNOTSUPP:
        return wrt_fail_system(WRT_ERR_BUSY, operation,
                               "process {0} can't be moved: this group passes controllers on to "
                               "groups below it, or is for threads; add it to one below",
                               code, which, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "process {0} can't be moved", code, which,
                               0);
    }
}

wrt_status wrt_linux_cgroup_add_process(wrt_linux_cgroup *group, int32_t process)
{
    char text[24];

    const wrt_status status = wrt__cgroup_check(__func__, group);
    if (status != WRT_OK) return status;
    if (process < 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "process is negative");
    }
    (void)snprintf(text, sizeof text, "%d", process);
    if (wrt__file_write(group->directory, "cgroup.procs", text) == 0) return WRT_OK;
    return fail_to_add(__func__, errno, process);
}

/* ---- Waiting ---- */

static uint64_t now_ns(void)
{
    uint64_t now = 0;

    return wrt__port_now(&now) == WRT_OK ? now : 0;
}

uint64_t wrt__cgroup_rest_of(uint64_t deadline)
{
    const uint64_t now = now_ns();

    return deadline > now ? deadline - now : 0;
}

static uint64_t deadline_of(uint64_t timeout_ns)
{
    return timeout_ns == UINT64_MAX ? UINT64_MAX : wrt__time_after(now_ns(), timeout_ns);
}

/* 1: `key` is `wanted`, 0: it is not, -1 and errno. */
static int look(int descriptor, const char *key, uint64_t wanted)
{
    char text[256];
    const ssize_t length = wrt__sys_pread(descriptor, text, sizeof text - 1, 0);

    if (length < 0) return -1;
    text[length] = '\0';
    return wrt__number_of(text, key, !wanted) == wanted;
}

/* Waits on cgroup.events: 1, 0 when the time is over, -1 and errno. */
static int await(const wrt_linux_cgroup *group, const char *key, uint64_t wanted, uint64_t deadline)
{
    const int descriptor = wrt__sys_openat(group->directory, "cgroup.events", O_RDONLY);
    struct pollfd changes = {.fd = descriptor, .events = POLLPRI};
    int found = -1;

    if (descriptor < 0) return -1;
    for (;;) {
        found = look(descriptor, key, wanted);
        const uint64_t rest = deadline == UINT64_MAX ? UINT64_MAX : wrt__cgroup_rest_of(deadline);
        const struct timespec timeout = wrt__timespec(rest);
        if (found != 0 || rest == 0) break;
        if (wrt__sys_poll(&changes, 1, rest == UINT64_MAX ? NULL : &timeout) < 0 &&
            errno != EINTR) {
            found = -1;
            break;
        }
    }
    const int code = errno;
    close(descriptor);
    errno = code;
    return found;
}

/* ---- Freezing ---- */

wrt_status wrt_linux_cgroup_freeze(wrt_linux_cgroup *group, uint64_t timeout_ns)
{
    const wrt_status status = wrt__cgroup_check(__func__, group);

    if (status != WRT_OK) return status;
    if (wrt__file_write(group->directory, "cgroup.freeze", "1") != 0) {
        return fail_to_write(__func__, "the group can't be frozen", errno);
    }
    if (timeout_ns == 0) return WRT_OK;
    const int found = await(group, "frozen", 1, deadline_of(timeout_ns));
    if (found > 0) return WRT_OK;
    if (found < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "cgroup.events can't be read", errno, 0,
                               0);
    }
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__,
                           "after {0} nanoseconds not all processes have stopped; they still will",
                           timeout_ns, 0);
}

wrt_status wrt_linux_cgroup_thaw(wrt_linux_cgroup *group)
{
    const wrt_status status = wrt__cgroup_check(__func__, group);

    if (status != WRT_OK) return status;
    if (wrt__file_write(group->directory, "cgroup.freeze", "0") == 0) return WRT_OK;
    return fail_to_write(__func__, "the group can't be thawed", errno);
}

/* ---- Killing ---- */

wrt_status wrt_linux_cgroup_kill(wrt_linux_cgroup *group, uint64_t timeout_ns)
{
    const wrt_status status = wrt__cgroup_check(__func__, group);
    const uint64_t deadline = deadline_of(timeout_ns);

    if (status != WRT_OK) return status;
    int done = wrt__file_write(group->directory, "cgroup.kill", "1");
    if (done != 0 && (errno == ENOENT || errno == EOPNOTSUPP)) {
        done = wrt__cgroup_kill_each(group, deadline);
    }
    if (done != 0) return fail_to_write(__func__, "not all processes could be killed", errno);
    if (timeout_ns == 0) return WRT_OK;
    const int found = await(group, "populated", 0, deadline);
    if (found > 0) return WRT_OK;
    if (found < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "cgroup.events can't be read", errno, 0,
                               0);
    }
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__,
                           "after {0} nanoseconds processes are still in the group, or in one "
                           "below it",
                           timeout_ns, 0);
}

/* ---- Removing ---- */

/* Empty groups may be busy for a moment, until the last process is quite gone. */
static int remove_when_empty(wrt_linux_cgroup *group, uint64_t deadline)
{
    for (;;) {
        const int found = await(group, "populated", 0, deadline);
        if (found <= 0) return found;
        if (wrt__sys_rmdir(group->path) == 0 || errno == ENOENT) return 1;
        const struct timespec pause = wrt__timespec(RETRY_NS);
        if (errno != EBUSY || wrt__cgroup_rest_of(deadline) == 0) return -1;
        (void)nanosleep(&pause, NULL);
    }
}

wrt_status wrt_linux_cgroup_remove(wrt_linux_cgroup *group, uint64_t timeout_ns)
{
    const wrt_status status = wrt__cgroup_check(__func__, group);

    if (status != WRT_OK) return status;
    const int found = remove_when_empty(group, deadline_of(timeout_ns));
    if (found > 0) {
        group->is_removed = true;
        return WRT_OK;
    }
    if (found == 0) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__,
                               "after {0} nanoseconds processes are still in the group: end them, "
                               "or kill the group",
                               timeout_ns, 0);
    }
    if (errno == EBUSY) {
        return wrt_fail_system(WRT_ERR_BUSY, __func__, "the group has groups below it", EBUSY, 0,
                               0);
    }
    return fail_to_write(__func__, "the group can't be removed", errno);
}
