/* A program that is in its group before it begins: between fork and exec a limit could be passed,
 * and between fork and a move what the child used counts elsewhere. CLONE_INTO_CGROUP leaves no
 * such time. Where it is missing or refused, the child moves itself before the program begins. */
#include "cgroups.h"

#include "../core/fail.h"

/* Only calls that are safe after fork, with no lock held. Says by the pipe why it ends. */
static void leave(int report, int code)
{
    const ssize_t count = write(report, &code, sizeof code);

    _exit(count == (ssize_t)sizeof code ? 127 : 126);
}

static void move_self(int directory, int report)
{
    const int descriptor = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);

    if (descriptor < 0 || write(descriptor, "0", 1) != 1) leave(report, errno);
    close(descriptor);
}

static bool is_not_here(int code)
{
    return code == ENOSYS || code == EPERM || code == E2BIG || code == EINVAL;
}

pid_t wrt__cgroup_fork(const wrt_linux_cgroup *group, int report)
{
    pid_t child = wrt__sys_clone_into(group->directory);

    if (child >= 0 || !is_not_here(errno)) return child;
    child = wrt__sys_fork();
    if (child == 0) move_self(group->directory, report);
    return child;
}

/* ---- Starting a program ---- */

/* A pipe that closes says that the program has begun. */
static void run_program(int report, const char *program, const char *const *arguments,
                        const char *const *environment)
{
    execve(program, (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
    leave(report, errno);
}

/* What the child reports: 0, the program runs, or an error number. */
static int hear(int descriptor)
{
    int code = 0;
    ssize_t count;

    do {
        count = read(descriptor, &code, sizeof code);
    } while (count < 0 && errno == EINTR);
    return count == (ssize_t)sizeof code ? code : 0;
}

/* A child without a program has ended, or is just about to. */
static void reap(pid_t child)
{
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
}

static wrt_status fail_to_spawn(const char *operation, const char *reason, int code)
{
    wrt_status status = WRT_ERR_SYSTEM;

    if (code == ENOENT || code == ENOTDIR) status = WRT_ERR_NOT_FOUND;
    if (code == EACCES || code == EPERM) status = WRT_ERR_PERMISSION;
    if (code == EAGAIN || code == ENOMEM) status = WRT_ERR_NO_MEMORY;
    return wrt_fail_system(status, operation, reason, code, 0, 0);
}

static wrt_status check_words(const char *operation, const char *program,
                              const char *const *arguments, const char *const *environment,
                              const int32_t *process_out)
{
    if (program == NULL || arguments == NULL || environment == NULL || process_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "program, arguments, environment or process_out is NULL");
    }
    return WRT_OK;
}

wrt_status wrt_linux_cgroup_spawn(wrt_linux_cgroup *group, const char *program,
                                  const char *const *arguments, const char *const *environment,
                                  int32_t *process_out)
{
    int report[2];

    wrt_status status = check_words(__func__, program, arguments, environment, process_out);
    if (status != WRT_OK) return status;
    *process_out = 0;
    status = wrt__cgroup_check(__func__, group);
    if (status != WRT_OK) return status;
    if (wrt__sys_pipe(report) != 0) {
        return fail_to_spawn(__func__, "no pipe to the child can be made", errno);
    }
    const pid_t child = wrt__cgroup_fork(group, report[1]);
    const int fork_code = errno;
    if (child == 0) run_program(report[1], program, arguments, environment);
    close(report[1]);
    const int code = child < 0 ? fork_code : hear(report[0]);
    close(report[0]);
    if (child < 0) {
        return fail_to_spawn(__func__,
                             "no child can be made in the group: a limit on processes is reached, "
                             "or the group is not ours to put processes into",
                             code);
    }
    if (code != 0) {
        reap(child);
        return fail_to_spawn(__func__,
                             "the program can't be run, or its process not be in the group", code);
    }
    *process_out = child;
    return WRT_OK;
}
