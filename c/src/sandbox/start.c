/* Starting a worker: memory, a socket, a pipe, and a child that shares this process's memory until
 * it executes the program, so that the cost does not grow with this process. */
#include "child.h"

#include "../core/fail.h"

#define SEAL_TIME UINT64_C(10000000000) /* nanoseconds until it must be sealed */

enum {
    STACK_BYTES = 16384,
    GUARDS = 5,             /* areas without access in the program's memory, and one to spare */
    PROGRAM_BYTES = 8388608 /* for the program itself and its stack */
};

/* Both ends of what joins parent and child, before they part. */
typedef struct ends {
    int socket[2];
    int life[2];
    int shared;
} ends;

static const uint32_t namespace_flags[WRT__NAMESPACE_COUNT] = {CLONE_NEWUSER, CLONE_NEWNS,
                                                               CLONE_NEWIPC, CLONE_NEWNET};

static wrt_status fail_start(const char *operation, const char *reason, uint64_t detail)
{
    const int code = errno;
    const wrt_status status = code == ENOMEM ? WRT_ERR_NO_MEMORY
                              : code == EMFILE || code == ENFILE || code == EAGAIN || code == EFBIG
                                  ? WRT_ERR_LIMIT
                              : code == EPERM || code == EACCES ? WRT_ERR_PERMISSION
                                                                : WRT_ERR_SYSTEM;

    return wrt_fail_system(status, operation, reason, code, detail, 0);
}

/* ---- Memory ---- */

/* Sealed against a change of size: a file that shrinks under a mapping is a signal on access. */
static int make_shared(uint64_t size)
{
    int descriptor = wrt__process_sealable("wrt-sandbox", MFD_NOEXEC_SEAL);

    if (descriptor < 0 && errno == EINVAL) descriptor = wrt__process_sealable("wrt-sandbox", 0);
    if (descriptor < 0) return -1;
    if (wrt__process_resize(descriptor, size) == 0 &&
        wrt__process_seal(descriptor, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        return descriptor;
    }
    const int code = errno;
    (void)close(descriptor);
    errno = code;
    return -1;
}

/* The worker may look for as long as a sleep and a wake-up would take, if there is a processor for
 * each of the two. */
static uint32_t looks(void)
{
    enum { LOOKS = 2000, PROCESSOR_BYTES = 1024 };
    uint8_t processors[PROCESSOR_BYTES] = {0};
    uint32_t count = 0;

    const long size = syscall(SYS_sched_getaffinity, 0, sizeof processors, processors);
    for (long i = 0; i < size; i++) {
        for (uint8_t byte = processors[i]; byte != 0; byte &= (uint8_t)(byte - 1)) count++;
    }
    return count > 1 ? LOOKS : 0;
}

static wrt_status map_shared(const char *operation, wrt__sandbox *state,
                             const wrt__sandbox_plan *plan, int *shared_out)
{
    const size_t size = (size_t)(WRT__CONTROL_BYTES + plan->program_bytes + plan->memory_bytes);

    *shared_out = make_shared(size);
    if (*shared_out < 0) {
        return fail_start(operation,
                          "a file of {0} bytes in memory cannot be made; RLIMIT_FSIZE and "
                          "RLIMIT_NOFILE count",
                          size);
    }
    void *start =
        wrt__sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *shared_out);
    if (start == MAP_FAILED) {
        return fail_start(operation,
                          "mapping {0} bytes failed: RLIMIT_AS (ulimit -v) or vm.max_map_count is "
                          "too small; ask for fewer maximum_pages",
                          size);
    }
    state->shared_bytes = size;
    state->control = start;
    state->program = (uint8_t *)start + WRT__CONTROL_BYTES;
    state->memory = state->program + plan->program_bytes;
    state->maximum_pages = plan->memory_bytes / WRT_PAGE_SIZE;
    *state->control = (wrt__control){.magic = WRT__WORKER_MAGIC,
                                     .spins = looks(),
                                     .program_bytes = plan->program_bytes,
                                     .memory_bytes = plan->memory_bytes,
                                     .arena_bytes = plan->arena_bytes,
                                     .proves = plan->proves};
    state->looks = state->control->spins;
    state->patience[0].looks = state->patience[1].looks = state->looks;
    return WRT_OK;
}

/* ---- Walls ---- */

static uint32_t wall_of(const wrt_sandbox_config *config, uint32_t index)
{
    const uint32_t walls[WRT__NAMESPACE_COUNT] = {config->user_namespace, config->mount_namespace,
                                                  config->ipc_namespace, config->network_namespace};

    return walls[index] == WRT_SANDBOX_WALL_DEFAULT ? WRT_SANDBOX_WALL_OFF : walls[index];
}

/* Flags of all that are at least so much wanted. */
static int wanted_flags(const wrt_sandbox_config *config, uint32_t least)
{
    uint32_t flags = 0;

    for (uint32_t i = 0; i < WRT__NAMESPACE_COUNT; i++) {
        if (wall_of(config, i) >= least) flags |= namespace_flags[i];
    }
    return (int)flags;
}

static wrt_enforcement wall(uint32_t state, const char *reason)
{
    return (wrt_enforcement){reason, state, 0};
}

static void note_namespaces(wrt__sandbox *state, const wrt_sandbox_config *config, int flags)
{
    for (uint32_t i = 0; i < WRT__NAMESPACE_COUNT; i++) {
        wrt_enforcement *const told = &state->walls.namespaces[i];
        if (((uint32_t)flags & namespace_flags[i]) != 0) {
            *told = wall(WRT_ENFORCEMENT_ENFORCED, "a namespace of its own");
        } else if (wall_of(config, i) == WRT_SANDBOX_WALL_OFF) {
            *told = wall(WRT_ENFORCEMENT_NOT_ASKED, "the filter leaves no call that would use it");
        } else {
            *told = wall(WRT_ENFORCEMENT_ABSENT,
                         "the system refuses it to this user: add a user namespace to it, or "
                         "allow those (kernel.apparmor_restrict_unprivileged_userns=0, "
                         "user.max_user_namespaces)");
        }
    }
}

static wrt_enforcement landlock_wall(const wrt__child *child)
{
    if (child->landlock == WRT_SANDBOX_WALL_OFF) {
        return wall(WRT_ENFORCEMENT_NOT_ASKED, "the filter leaves no call that opens a file");
    }
    if (child->landlock_code == 0) {
        return wall(WRT_ENFORCEMENT_ENFORCED, "no file can be opened but its own program");
    }
    return wall(WRT_ENFORCEMENT_ABSENT,
                child->landlock_code == EOPNOTSUPP
                    ? "built into the kernel, but not started: add landlock to lsm= at boot"
                    : "this kernel has no Landlock (Linux 5.13), or a container's filter hides it");
}

static void note_walls(wrt__sandbox *state, const wrt__sandbox_plan *plan, const wrt__child *child,
                       int flags)
{
    note_namespaces(state, &plan->config, flags);
    state->walls.landlock = landlock_wall(child);
    state->walls.resource_limits =
        child->limits_missed == 0
            ? wall(WRT_ENFORCEMENT_ENFORCED, "addresses, files, processes, locks and cores")
            : wall(WRT_ENFORCEMENT_PARTIAL, "the system took some of its limits, not all");
    state->walls.life_line =
        child->life_line_code == 0
            ? wall(WRT_ENFORCEMENT_ENFORCED, "the kernel kills it when the pipe to it closes")
            : wall(WRT_ENFORCEMENT_PARTIAL,
                   "it ends when it next asks: the system sends no signal for its pipe");
}

/* ---- The child ---- */

static wrt_status fail_child(const char *operation, const wrt__child *child)
{
    errno = child->failed_code;
    switch (child->failed_step) {
    case WRT__CHILD_EXECUTE:
        if (errno == ENOMEM) break;
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "the sealed program cannot be executed: vm.memfd_noexec is 2, or a "
                               "filter forbids execveat; name a file of it as program_path",
                               errno, 0, 0);
    case WRT__CHILD_LANDLOCK:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "Landlock is required, and this system has none: Linux 5.13, and "
                               "landlock in lsm= at boot",
                               errno, 0, 0);
    case WRT__CHILD_PRIVILEGES:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation, "PR_SET_NO_NEW_PRIVS failed", errno,
                               0, 0);
    default:
        break;
    }
    return fail_start(operation, "step {0} between start and program failed", child->failed_step);
}

static int start_child(wrt__sandbox *state, wrt__child *child, int flags)
{
    _Alignas(16) uint8_t stack[STACK_BYTES];
    sigset_t all, before;

    /* A signal's handler must not run in the child, which shares this memory. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int process = wrt__process_vfork_with(wrt__sandbox_child, child, stack, sizeof stack,
                                                flags, &state->pidfd);
    const int code = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return process;
}

/* Whether the system may have refused for the namespaces' sake. */
static bool is_refusal(int code)
{
    return code == EPERM || code == EINVAL || code == ENOSPC || code == EUSERS || code == ENOSYS;
}

static wrt_status run_child(const char *operation, wrt__sandbox *state,
                            const wrt__sandbox_plan *plan, wrt__child *child)
{
    const int required = wanted_flags(&plan->config, WRT_SANDBOX_WALL_REQUIRED);
    int flags = wanted_flags(&plan->config, WRT_SANDBOX_WALL_PREFERRED);

    state->process = start_child(state, child, flags);
    if (state->process < 0 && flags != required && is_refusal(errno)) {
        flags = required;
        state->process = start_child(state, child, flags);
    }
    if (state->process < 0) {
        state->process = 0;
        return fail_start(operation,
                          "a child process cannot be started: the limit of processes (ulimit -u, "
                          "pids.max), or a namespace that is required and refused",
                          0);
    }
    if (child->failed_step != 0) return fail_child(operation, child);
    note_walls(state, plan, child, flags);
    return WRT_OK;
}

static wrt_status fail_seal(const char *operation, const wrt__control *control)
{
    if (control->failed_step == WRT__STEP_FILTER) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "the process cannot seal itself: this kernel has no seccomp "
                               "filters, or does not allow them",
                               (int)control->failed_code, 0, 0);
    }
    return wrt_fail_system(control->failed_code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM,
                           operation, "the process ended in step {0} of sealing itself",
                           (int)control->failed_code, control->failed_step, 0);
}

/* Until this byte has come, the worker is given nothing. */
static wrt_status await_seal(const char *operation, wrt__sandbox *state)
{
    const uint64_t until = wrt__sandbox_after(SEAL_TIME);
    char byte = 0;
    ssize_t got = -1;

    for (;;) {
        const enum wrt__sandbox_news news = wrt__sandbox_await_byte(state, until);
        if (news == WRT__NEWS_TIME) {
            return wrt_fail(WRT_ERR_TIMED_OUT, operation,
                            "the process has not sealed itself within 10 seconds");
        }
        if (news == WRT__NEWS_FAILED) {
            return fail_start(operation, "waiting for the process to seal itself failed", 0);
        }
        got = recv(state->socket, &byte, 1, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR) && news == WRT__NEWS_TURN) continue;
        break;
    }
    if (got == 1 && byte == WRT__WORKER_SEALED) return WRT_OK;
    return fail_seal(operation, state->control);
}

/* ---- All of it ---- */

static wrt_status open_ends(const char *operation, ends *ends_out)
{
    if (wrt__process_socketpair(ends_out->socket) != 0) {
        return fail_start(operation, "socketpair failed; RLIMIT_NOFILE counts", 0);
    }
    if (wrt__process_pipe(ends_out->life) != 0) {
        return fail_start(operation, "pipe2 failed; RLIMIT_NOFILE counts", 0);
    }
    return WRT_OK;
}

static wrt_status start_process(const char *operation, wrt__sandbox *state,
                                const wrt__sandbox_plan *plan, ends *joined)
{
    const uint32_t landlock = plan->config.landlock;
    wrt__child child = {
        .socket = joined->socket[1],
        .life = joined->life[0],
        .shared = joined->shared,
        .landlock = landlock == WRT_SANDBOX_WALL_DEFAULT ? WRT_SANDBOX_WALL_PREFERRED : landlock,
        .cpu_seconds = plan->config.cpu_seconds,
        .address_bytes = state->shared_bytes + plan->arena_bytes +
                         GUARDS * (uint64_t)WRT_PAGE_SIZE + PROGRAM_BYTES,
    };
    bool is_own = false;

    wrt_status status =
        wrt__sandbox_open_program(operation, plan->config.program_path, &child.program, &is_own);
    if (status != WRT_OK) return status;
    child.is_file = is_own;
    status = run_child(operation, state, plan, &child);
    if (is_own) wrt__process_close(&child.program);
    return status;
}

wrt_status wrt__sandbox_start(const char *operation, wrt__sandbox *state,
                              const wrt__sandbox_plan *plan)
{
    ends joined = {{-1, -1}, {-1, -1}, -1};

    wrt_status status = map_shared(operation, state, plan, &joined.shared);
    if (status == WRT_OK) status = open_ends(operation, &joined);
    state->socket = joined.socket[0];
    state->life = joined.life[1];
    if (status == WRT_OK) status = start_process(operation, state, plan, &joined);
    wrt__process_close(&joined.socket[1]);
    wrt__process_close(&joined.life[0]);
    wrt__process_close(&joined.shared);
    if (status == WRT_OK) status = await_seal(operation, state);
    if (status != WRT_OK) return status;
    state->phase = WRT__SANDBOX_SEALED;
    wrt__elsewhere_init(&state->elsewhere, state->memory);
    return WRT_OK;
}
