/* What a worker runs, held still for a moment so that others can look at it. */
#include "threading.h"

/* Who finds it held looks this often, then sleeps for LOOK_NS at a time. */
enum { LOOKS = 100, LOOK_NS = 50000 };

static void sleep_on(wrt__worker *worker, uint32_t seen, uint64_t timeout_ns)
{
    const wrt_thread_system *system = &worker->pool->system;
    const wrt_status woken_or_not =
        system->ops->wait(system->self, &worker->binding, seen, timeout_ns);

    (void)woken_or_not; /* who wakes looks again */
}

void wrt__bind(wrt__worker *worker, wrt_task *task, wrt_instance *instance)
{
    worker->task = task;
    worker->instance = instance;
    wrt__store_ordered(&worker->binding, WRT__BOUND);
}

void wrt__bind_plain(wrt__worker *worker, wrt_task *task)
{
    worker->task = task;
    worker->instance = NULL;
    wrt__store_release(&worker->binding, WRT__BOUND);
}

void wrt__unbind(wrt__worker *worker)
{
    uint32_t seen = WRT__BOUND;

    while (!wrt__compare_exchange(&worker->binding, &seen, WRT__UNBOUND)) {
        if (seen == WRT__HELD) {
            if (!wrt__compare_exchange(&worker->binding, &seen, WRT__AWAITED)) {
                seen = WRT__BOUND;
                continue;
            }
        }
        sleep_on(worker, WRT__AWAITED, UINT64_MAX);
        seen = WRT__BOUND;
    }
}

bool wrt__hold(wrt__worker *worker)
{
    for (int looks = 0;; looks++) {
        uint32_t seen = WRT__BOUND;
        if (wrt__compare_exchange(&worker->binding, &seen, WRT__HELD)) return true;
        if (seen == WRT__UNBOUND) return false;
        wrt__spin_hint();
        if (looks >= LOOKS) sleep_on(worker, seen, LOOK_NS);
    }
}

void wrt__let_go(wrt__worker *worker)
{
    if (wrt__exchange(&worker->binding, WRT__BOUND) != WRT__AWAITED) return;
    const wrt_thread_system *system = &worker->pool->system;
    system->ops->wake(system->self, &worker->binding, UINT32_MAX);
}

wrt__worker *wrt__hold_task(wrt__pool *pool, wrt_task *task)
{
    const uint32_t index = wrt__load_acquire(&task->worker);

    if (index >= pool->worker_count) return NULL;
    wrt__worker *worker = wrt__pool_worker(pool, index);
    if (!wrt__hold(worker)) return NULL;
    if (worker->task == task) return worker;
    wrt__let_go(worker);
    return NULL;
}

void wrt__cancel_held(wrt__worker *worker)
{
    wrt_cancel_request(&worker->task->cancel);
    wrt_instance_interrupt(worker->instance);
}
