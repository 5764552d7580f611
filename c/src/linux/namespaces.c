/* Namespaces. An ordinary user gets them through a user namespace, and several systems let that
 * through but refuse what one does inside: so the probe does it, and errors name the setting. */
#include "sys_security.h"

#include "wrt_platform/linux/namespaces.h"

#include "../core/fail.h"
#include "namespaces.h"

enum {
    FLAG_USER = 0x10000000,
    FLAG_MOUNT = 0x00020000,
    FLAG_PID = 0x20000000,
    FLAG_NETWORK = 0x40000000,
    FLAG_IPC = 0x08000000,
    FLAG_UTS = 0x04000000,
    FLAG_CGROUP = 0x02000000
};

int wrt__namespace_flags(uint32_t namespaces)
{
    static const int flags[] = {FLAG_USER, FLAG_MOUNT, FLAG_PID,   FLAG_NETWORK,
                                FLAG_IPC,  FLAG_UTS,   FLAG_CGROUP};
    int all = 0;

    for (uint32_t bit = 0; bit < sizeof flags / sizeof flags[0]; bit++) {
        if ((namespaces >> bit & 1) != 0) all |= flags[bit];
    }
    return all;
}

/* ---- Who refuses ---- */

/* Whether a setting of the system begins with this digit. */
static bool setting_is(const char *path, char digit)
{
    char text[16];
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    if (descriptor < 0) return false;
    const ssize_t length = read(descriptor, text, sizeof text);
    close(descriptor);
    return length > 0 && text[0] == digit;
}

const char *wrt__namespace_refusal(int code)
{
    if (code == ENOSPC) {
        return setting_is("/proc/sys/user/max_user_namespaces", '0')
                   ? "user.max_user_namespaces is 0: raise it"
                   : "a limit of user.max_*_namespaces is reached, or namespaces are nested too "
                     "deeply";
    }
    if (code == EACCES) {
        return "the process's own files in /proc belong to root, since it has changed its user: "
               "set it dumpable again (PR_SET_DUMPABLE)";
    }
    if (code == EINVAL) return "this kernel is built without one of these namespaces";
    if (setting_is("/proc/sys/kernel/unprivileged_userns_clone", '0')) {
        return "kernel.unprivileged_userns_clone is 0: set it to 1";
    }
    if (setting_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1')) {
        return "kernel.apparmor_restrict_unprivileged_userns is 1: give this program an AppArmor "
               "profile with `userns`, or set it to 0";
    }
    return "a container's filter refuses it (allow unshare, clone and mount there), or it takes "
           "root or a user namespace";
}

wrt_status wrt__namespace_fail(const char *operation, int code)
{
    wrt_status status = WRT_ERR_SYSTEM;

    if (code == EPERM || code == EACCES) status = WRT_ERR_PERMISSION;
    if (code == ENOSPC || code == EUSERS) status = WRT_ERR_LIMIT;
    if (code == EINVAL || code == ENOSYS) status = WRT_ERR_UNSUPPORTED;
    return wrt_fail_system(status, operation, wrt__namespace_refusal(code), code, 0, 0);
}

/* ---- Steps inside ---- */

/* "1000 1000 1", without printf. */
static void write_map(char *text, uint32_t id)
{
    char digits[10];
    uint32_t count = 0, place = 0;

    do {
        digits[count++] = (char)('0' + id % 10);
        id /= 10;
    } while (id > 0);
    for (uint32_t copy = 0; copy < 2; copy++) {
        for (uint32_t digit = count; digit > 0; digit--) text[place++] = digits[digit - 1];
        text[place++] = ' ';
    }
    text[place++] = '1';
    text[place] = '\0';
}

static wrt_status write_step(const char *operation, const char *path, const char *text)
{
    if (wrt__write_text(path, text) == 0) return WRT_OK;
    return wrt__namespace_fail(operation, errno);
}

/* Groups could be given up to get rights that are denied to them: so that is denied first. */
wrt_status wrt__namespace_map_users(const char *operation, uint32_t user, uint32_t group)
{
    char text[32];
    wrt_status status = write_step(operation, "/proc/self/setgroups", "deny");

    write_map(text, user);
    if (status == WRT_OK) status = write_step(operation, "/proc/self/uid_map", text);
    write_map(text, group);
    if (status == WRT_OK) status = write_step(operation, "/proc/self/gid_map", text);
    return status;
}

wrt_status wrt__namespace_private_mounts(const char *operation)
{
    if (wrt__sys_mount("none", "/", NULL, WRT__MOUNT_RECURSIVE | WRT__MOUNT_PRIVATE) == 0) {
        return WRT_OK;
    }
    return wrt__namespace_fail(operation, errno);
}

/* pivot_root wants a mount, so the folder is mounted on itself. The old root ends up on top of the
 * new one, where it is let go. */
wrt_status wrt__namespace_pivot(const char *operation, const char *root)
{
    if (wrt__sys_mount(root, root, NULL, WRT__MOUNT_RECURSIVE | WRT__MOUNT_BIND) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the root can't be mounted on itself",
                               errno, 0, 0);
    }
    if (wrt__sys_chdir(root) != 0 || wrt__sys_pivot_root(".", ".") != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pivot_root failed", errno, 0, 0);
    }
    if (wrt__sys_unmount(".", WRT__UNMOUNT_DETACH) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the old root can't be let go", errno, 0,
                               0);
    }
    return WRT_OK;
}

wrt_status wrt__namespace_loopback(const char *operation)
{
    if (wrt__sys_loopback_up() == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the loopback interface can't be brought up",
                           errno, 0, 0);
}

/* ---- In place ---- */

static wrt_status enter(const char *operation, uint32_t namespaces)
{
    const uint32_t user = geteuid(), group = getegid();
    wrt_status status = WRT_OK;

    if (wrt__sys_unshare(wrt__namespace_flags(namespaces)) != 0) {
        return wrt__namespace_fail(operation, errno);
    }
    if ((namespaces & WRT_NAMESPACE_USER) != 0) {
        status = wrt__namespace_map_users(operation, user, group);
    }
    if (status == WRT_OK && (namespaces & WRT_NAMESPACE_MOUNT) != 0) {
        status = wrt__namespace_private_mounts(operation);
    }
    if (status == WRT_OK && (namespaces & WRT_NAMESPACE_NETWORK) != 0) {
        status = wrt__namespace_loopback(operation);
    }
    return status;
}

static wrt_status check_namespaces(const char *operation, uint32_t namespaces)
{
    if (namespaces != 0 && (namespaces & ~(uint32_t)WRT_NAMESPACE_ALL) == 0) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                    "namespaces is 0, or has bits that are not in wrt_namespace");
}

wrt_status wrt_namespace_unshare(uint32_t namespaces)
{
    wrt_status status = check_namespaces(__func__, namespaces);

    if (status == WRT_OK) {
        status = wrt__refuse_threads(
            __func__, "the process has {0} threads (0: the system does not tell), and only the "
                      "calling one would move: start a confined process");
    }
    return status == WRT_OK ? enter(__func__, namespaces) : status;
}

/* ---- The probe ---- */

/* What the child does: its memory is a copy, so that what it learns goes out by its exit code. */
static int try_inside(uint32_t namespaces)
{
    wrt_status status = enter("wrt_namespace_probe", namespaces);

    if (status == WRT_OK && (namespaces & WRT_NAMESPACE_MOUNT) != 0 &&
        wrt__sys_mount("none", "/tmp", "tmpfs", 0) != 0) {
        return errno;
    }
    return status == WRT_OK ? 0 : wrt_error_last()->os_code;
}

static void report_probe(int code, wrt_enforcement *possible_out)
{
    if (code == 0) {
        *possible_out =
            (wrt_enforcement){"done in a child process, and used", WRT_ENFORCEMENT_ENFORCED, 0};
    } else {
        *possible_out = (wrt_enforcement){wrt__namespace_refusal(code), WRT_ENFORCEMENT_ABSENT, 0};
    }
}

wrt_status wrt_namespace_probe(uint32_t namespaces, wrt_enforcement *possible_out)
{
    wrt_status status = check_namespaces(__func__, namespaces);
    int code = 0;

    if (status != WRT_OK) return status;
    if (possible_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "possible_out is NULL");
    }
    const pid_t child = wrt__sys_fork_child();
    if (child == 0) _exit(try_inside(namespaces));
    if (child < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "no child process can be made", errno, 0,
                               0);
    }
    if (wrt__sys_wait_exit(child, &code) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__,
                               "the child's exit code is lost: SIGCHLD is ignored, or somebody "
                               "else waits for all children",
                               errno, 0, 0);
    }
    report_probe(code, possible_out);
    return WRT_OK;
}
