/* Confined processes as their parent sees them: started, watched by a descriptor, killed. The start
 * borrows this process's memory, as vfork does, so that it costs the same however large that is. */
#include "confined.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"
#include "namespaces.h"
#include "times.h"

enum { STACK_SIZE = 65536, LOWEST_DESCRIPTOR = 3, LOST = 127 };

/* ---- Start ---- */

WRT__LEAVES static int run(void *context)
{
    wrt__confined_enter(context);
    syscall(SYS_exit_group, LOST);
    return LOST;
}

/* Handlers of this process must not run in the new one, which has its memory. */
static pid_t start_blocked(wrt__confined_start *start, char *stack, int *descriptor_out)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const pid_t process = wrt__sys_start(run, start, stack + STACK_SIZE,
                                         wrt__namespace_flags(start->namespaces), descriptor_out);
    const int code = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return process;
}

/* One that has failed on its way is ended, or about to be. */
static void finish(int descriptor)
{
    siginfo_t info;

    while (waitid((idtype_t)3, (id_t)descriptor, &info, WEXITED) != 0 && errno == EINTR) {
    }
    close(descriptor);
}

static wrt_status fail_to_start(wrt__confined_start *start)
{
    const int code = errno;

    start->failed_in_namespaces = start->namespaces != 0 && code != EAGAIN && code != ENOMEM;
    if (start->failed_in_namespaces) return wrt__namespace_fail(WRT__CONFINED_START, code);
    return wrt_fail_system(WRT_ERR_SYSTEM, WRT__CONFINED_START, "no process can be made (clone)",
                           code, 0, 0);
}

static wrt_status start_on(wrt__confined_start *start, char *stack, wrt_confined_process *made)
{
    int descriptor = -1;
    const pid_t process = start_blocked(start, stack, &descriptor);

    if (process < 0) return fail_to_start(start);
    if (start->status != WRT_OK) {
        finish(descriptor);
        return start->status;
    }
    made->descriptor = descriptor;
    made->process = process;
    return WRT_OK;
}

/* A process without descriptor 0 could get it for this one, where 0 means none. */
static wrt_status lift_descriptor(wrt_confined_process *made)
{
    if (made->descriptor >= LOWEST_DESCRIPTOR) return WRT_OK;
    const int lifted = wrt__sys_duplicate_above(made->descriptor, LOWEST_DESCRIPTOR);
    if (lifted < 0) {
        const int code = errno;
        (void)wrt__sys_signal(made->descriptor, SIGKILL);
        finish(made->descriptor);
        return wrt_fail_system(WRT_ERR_SYSTEM, WRT__CONFINED_START, "no descriptor is left", code,
                               0, 0);
    }
    close(made->descriptor);
    made->descriptor = lifted;
    return WRT_OK;
}

static wrt_status try_start(wrt__confined_start *start, wrt_confined_process *made)
{
    char *stack = wrt__sys_mmap(STACK_SIZE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);

    if (stack == MAP_FAILED) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, WRT__CONFINED_START,
                               "no stack for the start ({0} bytes)", errno, STACK_SIZE, 0);
    }
    start->status = WRT_OK;
    start->failed_in_namespaces = false;
    const wrt_status status = start_on(start, stack, made);
    (void)munmap(stack, STACK_SIZE);
    return status;
}

/* Where namespaces are refused and were only preferred, a second try goes without them. */
static wrt_status start_walls(wrt__confined_start *start, wrt_confined_process *made)
{
    const wrt_confined_process_config *config = &start->config;

    start->namespaces = config->namespaces;
    start->report.namespaces = (wrt_enforcement){"not asked", WRT_ENFORCEMENT_NOT_ASKED, 0};
    wrt_status status = try_start(start, made);
    if (status != WRT_OK && start->failed_in_namespaces &&
        config->namespace_wall == WRT_CONFINED_PREFERRED) {
        start->namespaces = 0;
        start->report.namespaces =
            wrt__confined_lacks(wrt__namespace_refusal(wrt_error_last()->os_code));
        status = try_start(start, made);
    }
    return status;
}

wrt_status wrt_confined_process_start(wrt_confined_process *process,
                                      const wrt_confined_process_config *config)
{
    wrt__confined_start start;
    wrt_confined_process made;

    if (process == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "process is NULL");
    }
    memset(&start, 0, offsetof(wrt__confined_start, program));
    memset(&made, 0, sizeof made);
    wrt_status status = wrt__config_read(__func__, config, &start.config, sizeof start.config);
    if (status == WRT_OK) status = wrt__confined_check(&start);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;

    start.user = geteuid();
    start.group = getegid();
    start.has_selinux = start.config.selinux_wall != WRT_CONFINED_OFF && wrt__selinux_is_there();
    status = start_walls(&start, &made);
    if (status == WRT_OK) status = lift_descriptor(&made);
    if (status != WRT_OK) return status;
    made.fork_generation = wrt__fork_generation();
    made.report = start.report;
    *process = made;
    return WRT_OK;
}

/* ---- Afterwards ---- */

static wrt_status check(const char *operation, const wrt_confined_process *process)
{
    if (process == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "process is NULL");
    if (process->descriptor == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "the process is not started");
    }
    if (process->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "it belongs to the process that started it, not to a forked child");
    }
    return WRT_OK;
}

static void set_end(wrt_confined_process *process, bool exited, int code)
{
    const bool killed = process->killed != 0 && code == SIGKILL;

    process->result.code = code;
    process->result.end = exited   ? WRT_CONFINED_EXITED
                          : killed ? WRT_CONFINED_KILLED
                                   : WRT_CONFINED_SIGNALLED;
}

/* Somebody else has waited for it, or SIGCHLD is ignored. The kernel may still know. */
static void ask_again(wrt_confined_process *process)
{
    int status = 0;

    process->result.end = WRT_CONFINED_UNKNOWN;
    if (wrt__sys_exit_info(process->descriptor, &status) != 0) return;
    if (WIFEXITED(status)) set_end(process, true, WEXITSTATUS(status));
    if (WIFSIGNALED(status)) set_end(process, false, WTERMSIG(status));
}

static wrt_status take_status(const char *operation, wrt_confined_process *process)
{
    siginfo_t info;

    if (wrt__sys_reap(process->descriptor, &info) == 0) {
        if (info.si_pid != 0) set_end(process, info.si_code == CLD_EXITED, info.si_status);
        return WRT_OK;
    }
    if (errno != ECHILD) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "waitid failed", errno, 0, 0);
    }
    ask_again(process);
    return WRT_OK;
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return wrt__nanoseconds(&time);
}

/* 1: it has ended; 0: time is up; -1. */
static int wait_until(const wrt_confined_process *process, uint64_t deadline, bool endless)
{
    for (;;) {
        const uint64_t present = now();
        const struct timespec left = wrt__timespec(deadline > present ? deadline - present : 0);
        const int ended = wrt__sys_wait_descriptor(process->descriptor, endless ? NULL : &left);

        if (ended >= 0 || errno != EINTR) return ended;
    }
}

wrt_status wrt_confined_process_wait(wrt_confined_process *process, uint64_t timeout_ns,
                                     wrt_confined_result *result_out)
{
    wrt_status status = check(__func__, process);

    if (status != WRT_OK) return status;
    if (result_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "result_out is NULL");
    }
    if (process->result.end == WRT_CONFINED_RUNS) {
        const int ended =
            wait_until(process, wrt__time_after(now(), timeout_ns), timeout_ns == UINT64_MAX);
        if (ended < 0) {
            return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "ppoll failed", errno, 0, 0);
        }
        if (ended == 0) {
            return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__,
                                   "the program still runs after {0} ns", timeout_ns, 0);
        }
        status = take_status(__func__, process);
    }
    if (status == WRT_OK) *result_out = process->result;
    return status;
}

static wrt_status kill_it(const char *operation, wrt_confined_process *process)
{
    process->killed = 1;
    if (wrt__sys_signal(process->descriptor, SIGKILL) == 0 || errno == ESRCH) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pidfd_send_signal failed", errno, 0, 0);
}

wrt_status wrt_confined_process_kill(wrt_confined_process *process)
{
    const wrt_status status = check(__func__, process);

    if (status != WRT_OK || process->result.end != WRT_CONFINED_RUNS) return status;
    return kill_it(__func__, process);
}

wrt_status wrt_confined_process_query(const wrt_confined_process *process,
                                      wrt_confined_report *report_out)
{
    if (process == NULL || report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "process or report_out is NULL");
    }
    if (process->descriptor == 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the process is not started");
    }
    *report_out = process->report;
    return WRT_OK;
}

wrt_status wrt_confined_process_deinit(wrt_confined_process *process)
{
    wrt_status status = WRT_OK;

    if (process == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "process is NULL");
    }
    if (process->descriptor == 0) return WRT_OK;
    const bool mine = process->fork_generation == wrt__fork_generation();
    if (mine && process->result.end == WRT_CONFINED_RUNS) status = kill_it(__func__, process);
    if (status == WRT_OK && mine && process->result.end == WRT_CONFINED_RUNS) {
        finish(process->descriptor);
    } else {
        close(process->descriptor);
    }
    memset(process, 0, sizeof *process);
    return status;
}
