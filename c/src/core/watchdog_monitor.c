/* The monitor thread of a watchdog. An interval begins when the check before has ended, by the
 * clock: so two samples are never less than an interval apart, whatever delays the thread, and N
 * equal ones are a time-out without a heartbeat. */
#include "fail.h"
#include "guard.h"
#include "repeating_thread.h"
#include "watchdog.h"

static bool enter(wrt_watchdog *watchdog)
{
    return wrt__guard_enter(&watchdog->system, &watchdog->lock) == WRT_OK;
}

static void monitor(void *context)
{
    wrt_watchdog *const watchdog = context;
    uint64_t now = 0;

    if (!enter(watchdog)) return;
    wrt__watchdog_begin_anew(watchdog);
    wrt__guard_leave(&watchdog->system, &watchdog->lock);
    while (wrt__repeating_wait(&watchdog->monitor, &watchdog->system, watchdog->check_interval_ns,
                               &now)) {
        if (!enter(watchdog)) return;
        wrt__watchdog_check_all(watchdog, now);
        wrt__guard_leave(&watchdog->system, &watchdog->lock);
    }
}

wrt_status wrt_watchdog_start(wrt_watchdog *watchdog)
{
    const wrt_status status = wrt__watchdog_check_self(__func__, watchdog);
    if (status != WRT_OK) return status;
    if (watchdog->system.ops == NULL) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "the config has no thread system: call wrt_watchdog_check() once in each "
                        "check interval instead");
    }
    const wrt_thread_config config = {
        .struct_size = sizeof config,
        .priority = watchdog->priority,
        .entry = monitor,
        .context = watchdog,
        .name = "wrt-watchdog",
        .stack = watchdog->stack,
        .stack_size = watchdog->stack_size,
    };
    return wrt__repeating_start(&watchdog->monitor, __func__, &watchdog->system, &config);
}

wrt_status wrt_watchdog_stop(wrt_watchdog *watchdog, uint64_t timeout_ns)
{
    const wrt_status status = wrt__watchdog_check_self(__func__, watchdog);
    if (status != WRT_OK) return status;
    return wrt__repeating_stop(&watchdog->monitor, __func__, &watchdog->system, timeout_ns);
}
