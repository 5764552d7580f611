/* How a worker ends. Its status may be lost to somebody else who waits for children, or to a
 * process that ignores their end; then the kernel is asked once more, and what stays unknown is
 * told as that. */
#include "state.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "../linux/sys_confined.h"

static void note_status(wrt__sandbox *state, int status)
{
    if (WIFSIGNALED(status)) {
        state->end = WRT_SANDBOX_SIGNALLED;
        state->end_number = WTERMSIG(status);
    } else {
        state->end = WRT_SANDBOX_EXITED;
        state->end_number = WEXITSTATUS(status);
    }
}

/* The descriptor of the process stays until the sandbox is given back: another thread may be about
 * to kill by it, and must not meet a later process under its number.
 *
 * A kill that was asked for is told as such only if it was that which ended the process. */
void wrt__sandbox_finish(wrt__sandbox *state, bool was_wanted)
{
    int status = 0;

    if (state->pidfd < 0 || state->end != WRT_SANDBOX_RUNS) return;
    const bool is_asked = was_wanted || wrt__load_ordered(&state->stopping) != 0;
    state->cpu_ns = wrt__process_cpu_time(state->process, 0);
    (void)wrt__process_kill(state->pidfd, state->process);
    const bool is_known = wrt__process_reap(state->pidfd, &status) == 0 ||
                          wrt__sys_exit_info(state->pidfd, &status) == 0;
    state->end = WRT_SANDBOX_UNKNOWN;
    if (is_known) note_status(state, status);
    if (is_asked && (!is_known || state->end_number == SIGKILL)) {
        state->end = WRT_SANDBOX_KILLED;
        state->end_number = SIGKILL;
    }
    state->process = 0;
    state->phase = WRT__SANDBOX_ENDED;
}

static wrt_status fail_signal(const char *operation, int signal)
{
    const char *reason = "the process of the sandbox crashed: signal {0}";

    if (signal == SIGSYS) {
        reason = "the process of the sandbox was killed by its filter (signal {0}, SIGSYS): "
                 "something in it tried a system call that it has given up";
    }
    if (signal == SIGKILL) {
        reason = "the process of the sandbox was killed from outside (signal {0}): for want of "
                 "memory, or by an administrator";
    }
    if (signal == SIGXCPU) reason = "the processor time of the sandbox is used up (signal {0})";
    return wrt_fail_detail(WRT_ERR_CRASHED, operation, reason, (uint64_t)signal, 0);
}

wrt_status wrt__sandbox_fail_end(const char *operation, const wrt__sandbox *state)
{
    switch (state->end) {
    case WRT_SANDBOX_KILLED:
        return wrt_fail(WRT_ERR_INTERRUPTED, operation, "the sandbox was killed, as was asked");
    case WRT_SANDBOX_SIGNALLED:
        return fail_signal(operation, state->end_number);
    case WRT_SANDBOX_EXITED:
        return wrt_fail_detail(WRT_ERR_CRASHED, operation,
                               "the process of the sandbox ended by itself, with code {1}, in the "
                               "middle of a call",
                               0, (uint64_t)state->end_number);
    default:
        return wrt_fail(WRT_ERR_CRASHED, operation,
                        "the process of the sandbox has ended, and its status is lost: somebody "
                        "else waits for this process's children, or ignores them");
    }
}

void wrt__sandbox_release(wrt__sandbox *state)
{
    wrt__sandbox_finish(state, true);
    wrt__process_close(&state->socket);
    wrt__process_close(&state->life);
    wrt__process_close(&state->pidfd);
    if (state->control != NULL) (void)munmap(state->control, state->shared_bytes);
    state->control = NULL;
}
