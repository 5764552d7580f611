/* Looking at a sandbox, ending it, and giving it back. */
#include "state.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "../linux/fork.h"

static size_t state_bytes(void)
{
    return (sizeof(wrt__sandbox) + WRT_PAGE_SIZE - 1) / WRT_PAGE_SIZE * WRT_PAGE_SIZE;
}

wrt_status wrt_sandbox_kill(wrt_sandbox *sandbox)
{
    wrt__sandbox *state = NULL;

    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status != WRT_OK) return status;
    wrt__store_ordered(&state->stopping, 1);
    if (state->process != 0) (void)wrt__process_kill(state->pidfd, state->process);
    return WRT_OK;
}

wrt_status wrt_sandbox_memory(wrt_sandbox *sandbox, uint8_t **base_out, uint64_t *bytes_out)
{
    wrt__sandbox *state = NULL;

    if (base_out == NULL || bytes_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "an output is NULL");
    }
    *base_out = NULL;
    *bytes_out = 0;
    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status != WRT_OK) return status;
    const uint64_t pages = wrt__load(&state->control->usage.memory_pages);
    *base_out = state->memory;
    *bytes_out = (pages < state->maximum_pages ? pages : state->maximum_pages) * WRT_PAGE_SIZE;
    return WRT_OK;
}

wrt_status wrt_sandbox_descriptor(const wrt_sandbox *sandbox, int32_t *descriptor_out)
{
    wrt__sandbox *state = NULL;

    if (descriptor_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "descriptor_out is NULL");
    }
    *descriptor_out = -1;
    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status == WRT_OK) *descriptor_out = state->socket;
    return status;
}

wrt_status wrt_sandbox_sentence(const wrt_sandbox *sandbox, char *text_out, size_t text_size)
{
    wrt__sandbox *state = NULL;

    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status != WRT_OK) return status;
    if (text_out == NULL || text_size == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "text_out is NULL, or has no room");
    }
    const size_t taken = state->text_size < text_size ? state->text_size : text_size - 1;
    memcpy(text_out, state->text, taken);
    text_out[taken] = '\0';
    return WRT_OK;
}

static void report_walls(const wrt__sandbox *state, wrt_sandbox_report *out)
{
    const wrt__sandbox_walls *const walls = &state->walls;

    out->system_calls = (wrt_enforcement){
        "read, write, clock_gettime and exit_group, their arguments checked; the process sealed "
        "itself before anything reached it",
        WRT_ENFORCEMENT_ENFORCED, 0};
    out->no_new_privileges = (wrt_enforcement){"PR_SET_NO_NEW_PRIVS", WRT_ENFORCEMENT_ENFORCED, 0};
    out->unobservable = (wrt_enforcement){
        "not dumpable: no /proc/<id>/mem, no ptrace, but for root", WRT_ENFORCEMENT_ENFORCED, 0};
    out->resource_limits = walls->resource_limits;
    out->life_line = walls->life_line;
    out->landlock = walls->landlock;
    out->user_namespace = walls->namespaces[0];
    out->mount_namespace = walls->namespaces[1];
    out->ipc_namespace = walls->namespaces[2];
    out->network_namespace = walls->namespaces[3];
}

/* Whether the process has ended by itself since the last look. */
static void look_for_end(wrt__sandbox *state)
{
    struct pollfd poll = {.fd = state->pidfd, .events = POLLIN};
    const struct timespec now = {0};

    if (state->pidfd >= 0 && ppoll(&poll, 1, &now, NULL) > 0) wrt__sandbox_finish(state, false);
}

wrt_status wrt_sandbox_query(wrt_sandbox *sandbox, wrt_sandbox_report *report_out)
{
    wrt__sandbox *state = NULL;

    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = wrt__sandbox_check(__func__, sandbox, &state);
    if (status != WRT_OK) return status;
    if (state->phase != WRT__SANDBOX_CALLED) look_for_end(state);
    const wrt__worker_usage used = state->control->usage;
    *report_out = (wrt_sandbox_report){
        .process = state->process,
        .end = state->end,
        .end_number = state->end_number,
        .memory_pages = used.memory_pages,
        .memory_peak_pages = used.memory_peak_pages,
        .refused_growths = used.refused_growths,
        .stack_peak_bytes = used.stack_peak_bytes,
        .host_calls = state->host_calls,
        .declared_maximum = used.declared_maximum,
        .cpu_ns = wrt__process_cpu_time(state->process, state->cpu_ns),
        .fuel_used = used.fuel_used,
        .fuel_left = used.fuel_left,
        .engine_bytes = used.engine_bytes,
        .trap_code = state->trap_code,
        .frame_count = state->frame_count,
    };
    for (uint32_t i = 0; i < state->frame_count; i++) {
        report_out->frames[i] =
            (wrt_sandbox_frame){state->frames[i].function, state->frames[i].offset};
    }
    report_walls(state, report_out);
    return WRT_OK;
}

wrt_status wrt_sandbox_deinit(wrt_sandbox *sandbox)
{
    if (sandbox == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "sandbox is NULL");
    wrt__sandbox *const state = sandbox->state;
    if (state == NULL) return WRT_OK;
    if (state->serving != 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "called by a host function of its own guest");
    }
    if (sandbox->fork_generation != wrt__fork_generation()) {
        wrt__process_close(&state->pidfd); /* the process is the parent's */
    }
    wrt__sandbox_release(state);
    (void)munmap(state, state_bytes());
    *sandbox = (wrt_sandbox){0};
    return WRT_OK;
}
