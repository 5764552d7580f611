/* Repeating threads. An interval begins when what was done before has ended, so two turns are never
 * less than an interval apart, whatever delays the thread. */
#include "repeating_thread.h"
#include "atomic.h"
#include "fail.h"

enum phase { IDLE = 0, STARTING, RUNNING, STOPPING };

bool wrt__repeating_wait(wrt_repeating_thread *repeating, const wrt_thread_system *system,
                         uint64_t interval_ns, uint64_t *now_out)
{
    uint64_t start = 0;
    wrt_status status = system->ops->now(system->self, &start);

    *now_out = start;
    while (status == WRT_OK && wrt__load_acquire(&repeating->stopping) == 0) {
        const uint64_t passed = *now_out - start;
        if (passed >= interval_ns) return true;
        status = system->ops->wait(system->self, &repeating->stopping, 0, interval_ns - passed);
        if (status == WRT_OK || status == WRT_ERR_TIMED_OUT) {
            status = system->ops->now(system->self, now_out);
        }
    }
    return false;
}

wrt_status wrt__repeating_start(wrt_repeating_thread *repeating, const char *operation,
                                const wrt_thread_system *system, const wrt_thread_config *config)
{
    uint32_t phase = IDLE;

    if (!wrt__compare_exchange(&repeating->phase, &phase, STARTING)) {
        return wrt_fail(WRT_ERR_STATE, operation, "the monitor thread runs");
    }
    wrt__store_release(&repeating->stopping, 0);
    const wrt_status status = system->ops->start(system->self, &repeating->thread, config);
    wrt__store_release(&repeating->phase, status == WRT_OK ? RUNNING : IDLE);
    return status;
}

wrt_status wrt__repeating_stop(wrt_repeating_thread *repeating, const char *operation,
                               const wrt_thread_system *system, uint64_t timeout_ns)
{
    uint32_t phase = RUNNING;

    if (!wrt__compare_exchange(&repeating->phase, &phase, STOPPING)) {
        if (phase == IDLE) return WRT_OK;
        return wrt_fail(WRT_ERR_BUSY, operation, "another thread starts or stops it");
    }
    wrt__store_release(&repeating->stopping, 1);
    system->ops->wake(system->self, &repeating->stopping, UINT32_MAX);
    const wrt_status status = system->ops->join(system->self, &repeating->thread, timeout_ns);
    wrt__store_release(&repeating->phase, status == WRT_OK ? IDLE : RUNNING);
    return status;
}

bool wrt__repeating_runs(const wrt_repeating_thread *repeating)
{
    return wrt__load_acquire(&repeating->phase) != IDLE;
}
