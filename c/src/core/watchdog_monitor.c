/* The monitor thread of a watchdog. An interval begins when the check before has ended, by the
 * clock: so two samples are never less than an interval apart, whatever delays the thread, and N
 * equal ones are a time-out without a heartbeat. */
#include "atomic.h"
#include "fail.h"
#include "guard.h"
#include "watchdog.h"

/* Sleeps until the next check is due; false: the thread is to end. */
static bool wait_for_check(wrt_watchdog *watchdog, uint64_t *now_out)
{
    const wrt_thread_system *system = &watchdog->system;
    uint64_t start = 0;
    uint64_t now = 0;
    wrt_status status = system->ops->now(system->self, &start);

    for (now = start; status == WRT_OK && wrt__load_acquire(&watchdog->stopping) == 0;) {
        const uint64_t passed = now - start;
        if (passed >= watchdog->check_interval_ns) {
            *now_out = now;
            return true;
        }
        status = system->ops->wait(system->self, &watchdog->stopping, 0,
                                   watchdog->check_interval_ns - passed);
        if (status == WRT_OK || status == WRT_ERR_TIMED_OUT) {
            status = system->ops->now(system->self, &now);
        }
    }
    return false;
}

static void monitor(void *context)
{
    wrt_watchdog *watchdog = context;
    uint64_t now = 0;

    while (wait_for_check(watchdog, &now)) {
        if (wrt__guard_enter(&watchdog->system, &watchdog->lock) != WRT_OK) return;
        wrt__watchdog_check_all(watchdog, now);
        wrt__guard_leave(&watchdog->system, &watchdog->lock);
    }
}

static wrt_status start_thread(wrt_watchdog *watchdog)
{
    const wrt_thread_config config = {.struct_size = sizeof config,
                                      .priority = watchdog->priority,
                                      .entry = monitor,
                                      .context = watchdog,
                                      .name = "wrt-watchdog",
                                      .stack = watchdog->stack,
                                      .stack_size = watchdog->stack_size};

    const wrt_status status = wrt__guard_enter(&watchdog->system, &watchdog->lock);
    if (status != WRT_OK) return status;
    wrt__watchdog_begin_anew(watchdog);
    wrt__guard_leave(&watchdog->system, &watchdog->lock);
    wrt__store_release(&watchdog->stopping, 0);
    return watchdog->system.ops->start(watchdog->system.self, &watchdog->monitor, &config);
}

wrt_status wrt_watchdog_start(wrt_watchdog *watchdog)
{
    uint32_t phase = WRT__MONITOR_IDLE;

    wrt_status status = wrt__watchdog_check_self(__func__, watchdog);
    if (status != WRT_OK) return status;
    if (watchdog->system.ops == NULL) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "the config has no thread system: call wrt_watchdog_check() once in each "
                        "check interval instead");
    }
    if (!wrt__compare_exchange(&watchdog->phase, &phase, WRT__MONITOR_STARTING)) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the monitor thread runs");
    }
    status = start_thread(watchdog);
    wrt__store_release(&watchdog->phase,
                       status == WRT_OK ? WRT__MONITOR_RUNNING : WRT__MONITOR_IDLE);
    return status;
}

wrt_status wrt_watchdog_stop(wrt_watchdog *watchdog, uint64_t timeout_ns)
{
    uint32_t phase = WRT__MONITOR_RUNNING;

    wrt_status status = wrt__watchdog_check_self(__func__, watchdog);
    if (status != WRT_OK) return status;
    if (!wrt__compare_exchange(&watchdog->phase, &phase, WRT__MONITOR_STOPPING)) {
        if (phase == WRT__MONITOR_IDLE) return WRT_OK;
        return wrt_fail(WRT_ERR_BUSY, __func__, "another thread starts or stops it");
    }
    const wrt_thread_system *system = &watchdog->system;
    wrt__store_release(&watchdog->stopping, 1);
    system->ops->wake(system->self, &watchdog->stopping, UINT32_MAX);
    status = system->ops->join(system->self, &watchdog->monitor, timeout_ns);
    wrt__store_release(&watchdog->phase,
                       status == WRT_OK ? WRT__MONITOR_IDLE : WRT__MONITOR_RUNNING);
    return status;
}
