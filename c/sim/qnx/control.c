/* What is public about the simulated kernel: its order, its clock, what it is told to do wrong.
 * None of this takes the baton, except the bracket, which is the baton. */
#include "../common/host.h"

#include "wrt_platform/sim/qnx.h"

#include "../../src/core/fail.h"
#include "../common/census.h"
#include "../common/clock.h"
#include "../common/faults.h"
#include "../common/trace.h"
#include "control.h"
#include "kernel_call.h"
#include "kernel_resources.h"
#include "kernel_state.h"

enum { SETTLE_ROUNDS = 100, SETTLE_MILLISECONDS = 50, ERROR_MAX = 0xffff };

wrt_status sim_control_begin(const char *operation, bool has_arguments)
{
    if (!has_arguments) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "an argument is NULL");
    if (qk_lock()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "a forked child has no simulated kernel");
}

wrt_status sim_control_end(const char *operation, bool found)
{
    sim_unlock();
    if (found) return WRT_OK;
    return wrt_fail(WRT_ERR_NOT_FOUND, operation, "there is no such thing, or no more of it");
}

static wrt_status refuse(const char *operation, const char *reason)
{
    sim_unlock();
    return wrt_fail(WRT_ERR_STATE, operation, reason);
}

static bool in_bracket(void)
{
    return qk_is_known() && qk_current()->sim.bracketed;
}

/* Whether nobody is in the kernel or in a bracket. */
static bool is_quiet(void)
{
    return sim_count(SIM_READY) == 0 && sim_count(SIM_RUNNING) == 0;
}

/* Gives threads of the machine the time that they need to block, or to leave. */
static bool settle(void)
{
    for (uint32_t round = 0; round < SETTLE_ROUNDS && !is_quiet(); round++) {
        sim_await_change(SETTLE_MILLISECONDS);
    }
    return is_quiet();
}

static uint32_t threads_alive(void)
{
    uint32_t alive = sim_count(SIM_BLOCKED);

    for (uint32_t index = 0; index < QK_THREAD_MAX; index++) {
        const struct qk_thread *thread = qk_thread_at(index);
        alive += thread != NULL && thread->made && !thread->ended;
    }
    return alive;
}

static uint32_t wait_for_ends(void)
{
    for (uint32_t round = 0; round < SETTLE_ROUNDS && threads_alive() > 0; round++) {
        sim_await_change(SETTLE_MILLISECONDS);
    }
    return settle() ? threads_alive() : threads_alive() + 1;
}

static void forget_everything(void)
{
    qk_next_epoch();
    qk_thread_reset();
    qk_channel_reset();
    qk_sync_reset();
    qk_switch_reset();
    qk_resources_reset();
    qk_set_version(WRT_SIM_QNX_7_1);
    sim_forget_order();
    sim_fault_reset();
    sim_clock_reset();
    sim_trace_reset();
    sim_census_reset();
}

wrt_status wrt_sim_qnx_reset(void)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (in_bracket()) return refuse(__func__, "this thread is in a bracket: leave it first");
    sim_close(QK_EBADF);
    uint32_t alive = wait_for_ends();
    sim_reopen();
    if (alive == 0) forget_everything();
    sim_unlock();
    if (alive == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, __func__, "{0} threads go on running", alive, 0);
}

wrt_status wrt_sim_qnx_set_version(uint32_t version)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    bool known = version == WRT_SIM_QNX_7_1 || version == WRT_SIM_QNX_8_0;
    if (known) qk_set_version(version);
    sim_unlock();
    if (known) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__, "version is {0}, not 710 or 800",
                           version, 0);
}

wrt_status wrt_sim_qnx_use_clock(uint32_t clock)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (clock <= WRT_SIM_QNX_VIRTUAL_CLOCK) sim_clock_use(clock == WRT_SIM_QNX_VIRTUAL_CLOCK);
    sim_unlock();
    if (clock <= WRT_SIM_QNX_VIRTUAL_CLOCK) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__, "clock is {0}, not 0 or 1", clock,
                           0);
}

wrt_status wrt_sim_qnx_now(uint64_t *nanoseconds_out)
{
    wrt_status status = sim_control_begin(__func__, nanoseconds_out != NULL);

    if (status != WRT_OK) return status;
    *nanoseconds_out = sim_now();
    sim_unlock();
    return WRT_OK;
}

/* From deadline to deadline, and then to the end. */
static bool step_to(uint64_t target)
{
    bool quiet = settle();

    while (quiet && sim_next_deadline() <= target) {
        sim_clock_set_virtual_now(sim_next_deadline());
        sim_expire(sim_now());
        quiet = settle();
    }
    if (quiet) sim_clock_set_virtual_now(target);
    return quiet;
}

wrt_status wrt_sim_qnx_step(uint64_t nanoseconds)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (!sim_clock_is_virtual()) return refuse(__func__, "the clock is real");
    if (in_bracket()) return refuse(__func__, "within a bracket, time passes by work");
    bool quiet = step_to(sim_now() + nanoseconds);
    sim_unlock();
    if (quiet) return WRT_OK;
    return wrt_fail(WRT_ERR_TIMED_OUT, __func__, "a thread kept running for five seconds");
}

wrt_status wrt_sim_qnx_wait_blocked(uint32_t threads, uint32_t milliseconds)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    while (sim_count(SIM_BLOCKED) < threads && milliseconds > 0) {
        uint32_t round = milliseconds < 10 ? milliseconds : 10;
        sim_await_change(round);
        milliseconds -= round;
    }
    uint32_t blocked = sim_count(SIM_BLOCKED);
    sim_unlock();
    if (blocked >= threads) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__, "{0} threads wait, not {1}", blocked,
                           threads);
}

wrt_status wrt_sim_qnx_enter(int32_t priority)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (priority < 0 || priority > QK_PRIORITY_MAX) {
        sim_unlock();
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "priority is not 0 to 255");
    }
    if (in_bracket()) return refuse(__func__, "this thread is in a bracket already");
    if (!qk_adopt()) {
        sim_unlock();
        return wrt_fail(WRT_ERR_NO_MEMORY, __func__, "the kernel has 512 threads already");
    }
    if (priority > 0) qk_set_priority(qk_current(), priority);
    qk_current()->sim.bracketed = true;
    sim_take(&qk_current()->sim);
    sim_unlock();
    return WRT_OK;
}

wrt_status wrt_sim_qnx_leave(void)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (!in_bracket()) return refuse(__func__, "this thread is in no bracket");
    qk_current()->sim.bracketed = false;
    sim_give(&qk_current()->sim);
    sim_unlock();
    return WRT_OK;
}

wrt_status wrt_sim_qnx_work(uint64_t nanoseconds)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (!sim_clock_is_virtual()) return refuse(__func__, "the clock is real");
    if (!in_bracket()) return refuse(__func__, "this thread is in no bracket");
    sim_work(&qk_current()->sim, nanoseconds);
    sim_unlock();
    return WRT_OK;
}

wrt_status wrt_sim_qnx_fail_at(const char *call, uint32_t use, int32_t error)
{
    bool valid = use > 0 && error > 0 && error < ERROR_MAX;

    if (!valid || (call != NULL && strlen(call) >= SIM_FAULT_NAME_MAX)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "use or error is not above 0, or the name is longer than any call's");
    }
    wrt_status status = sim_control_begin(__func__, true);
    if (status != WRT_OK) return status;
    bool taken = sim_fault_order(call, use, error);
    sim_unlock();
    if (taken) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__, "{0} orders stand already", SIM_FAULT_MAX,
                           0);
}

wrt_status wrt_sim_qnx_calls(uint64_t *calls_out, uint64_t *failures_out)
{
    wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    if (calls_out != NULL) *calls_out = sim_fault_calls();
    if (failures_out != NULL) *failures_out = sim_fault_failures();
    sim_unlock();
    return WRT_OK;
}

wrt_status wrt_sim_qnx_break(const char *semantic, bool broken)
{
    wrt_status status = sim_control_begin(__func__, semantic != NULL);

    if (status != WRT_OK) return status;
    return sim_control_end(__func__, qk_switch_set(semantic, broken));
}
