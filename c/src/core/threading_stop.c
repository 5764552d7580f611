/* Workers that are given up, and the end of a pool. */
#include "threading.h"

#include "fail.h"
#include "wrt_platform/events.h"

/* A join that waits for a guest to be stopped tells it so again after this time: a host function
 * may have called the guest anew and taken the first interrupt for that call's own. */
enum { INSIST_NS = 20000000 };

/* ---- Giving up ---- */

static void report_lost(wrt__pool *pool, const wrt_task *task, const wrt__worker *worker)
{
    wrt_event event = {.kind = WRT_EVENT_THREAD_POISONED, .detail = {worker->index}};

    if (pool->events == NULL) return;
    event.detail[1] = worker->system_id;
    if (task->kind == WRT__TASK_WASM) event.source = ((const wrt_wasm_task *)task)->outcome.id;
    if (pool->system.ops->now(pool->system.self, &event.time_ns) != WRT_OK) event.time_ns = 0;
    const wrt_status posted_or_counted_as_lost = wrt_events_post(pool->events, &event);
    (void)posted_or_counted_as_lost;
}

static wrt__worker *find_spare(wrt__pool *pool)
{
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(pool, i);
        if (wrt__load_acquire(&worker->state) == WRT_WORKER_FREE && worker->is_joinable == 0) {
            return worker;
        }
    }
    return NULL;
}

/* The worker of `task`, LOST now. Errors: STATE. */
static wrt_status mark_lost(const char *operation, wrt__pool *pool, wrt_task *task,
                            wrt__worker **worker_out)
{
    wrt__worker *worker = wrt__hold_task(pool, task);

    if (worker == NULL) return wrt_fail(WRT_ERR_STATE, operation, "the task does not run");
    wrt_status status = WRT_OK;
    if (wrt__load(&worker->state) == WRT_WORKER_LOST) {
        status = wrt_fail(WRT_ERR_STATE, operation, "its worker was given up already");
    } else if (!wrt_cancel_is_requested(&task->cancel)) {
        status = wrt_fail(WRT_ERR_STATE, operation,
                          "the task was not cancelled: give it a chance, wrt_task_cancel() first");
    }
    if (status == WRT_OK) {
        (void)wrt__add(&pool->lost, 1);
        wrt__store_release(&worker->state, WRT_WORKER_LOST);
        report_lost(pool, task, worker);
        if (task->kind == WRT__TASK_WASM) wrt__wasm_abandon(pool, task);
        *worker_out = worker;
        wrt__task_lose(pool, task);
    }
    wrt__let_go(worker);
    return status;
}

static wrt_status give_up(const char *operation, wrt__pool *pool, wrt_task *task,
                          bool *replaced_out)
{
    wrt__worker *worker = NULL;

    wrt_status status = mark_lost(operation, pool, task, &worker);
    if (status != WRT_OK) return status;
    status = pool->system.ops->detach(pool->system.self, &worker->thread);
    worker->is_joinable = 0;
    wrt__worker *spare = wrt__load(&pool->stop) == WRT__GOES_ON ? find_spare(pool) : NULL;
    if (status == WRT_OK && spare != NULL) {
        status = wrt__worker_start(spare);
        *replaced_out = status == WRT_OK;
    }
    if (wrt__subtract(&pool->alive, 1) == 1) wrt__pool_sweep(pool); /* after the spare has begun */
    return status;
}

wrt_status wrt_task_give_up(wrt_task *task, bool *replaced_out)
{
    bool replaced = false;

    wrt_status status = wrt__task_check(__func__, task);
    if (status != WRT_OK) return status;
    wrt__pool *pool = task->pool;
    if (pool == NULL) return wrt_fail(WRT_ERR_STATE, __func__, "the task does not run");
    status = pool->system.ops->lock(pool->system.self, &pool->lock);
    if (status != WRT_OK) return status;
    status = give_up(__func__, pool, task, &replaced);
    if (replaced_out != NULL) *replaced_out = replaced;
    const wrt_status unlocked = pool->system.ops->unlock(pool->system.self, &pool->lock);
    return status == WRT_OK ? unlocked : status;
}

/* ---- Shutdown and deinit ---- */

static void cancel_running(wrt__pool *pool)
{
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(pool, i);
        if (worker->is_joinable == 0 || !wrt__hold(worker)) continue;
        wrt__cancel_held(worker);
        wrt__let_go(worker);
    }
}

/* Joins those that end within the time; how many are left. */
static wrt_status join_workers(wrt__pool *pool, uint64_t timeout_ns, uint32_t *left_out)
{
    uint32_t left = 0;

    const wrt_status status = pool->system.ops->lock(pool->system.self, &pool->lock);
    if (status != WRT_OK) return status;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(pool, i);
        if (worker->is_joinable == 0) continue;
        const uint64_t patience = left == 0 ? timeout_ns : 0;
        if (pool->system.ops->join(pool->system.self, &worker->thread, patience) == WRT_OK) {
            worker->is_joinable = 0;
        } else {
            left++;
        }
    }
    *left_out = left;
    return pool->system.ops->unlock(pool->system.self, &pool->lock);
}

/* Waits in slices, insisting on what was cancelled in between. */
static wrt_status end_workers(const char *operation, wrt__pool *pool, bool cancels,
                              uint64_t timeout_ns, uint32_t *left_out)
{
    const wrt_thread_system *system = &pool->system;
    uint64_t start;
    uint64_t now;

    wrt_status status = system->ops->now(system->self, &start);
    if (status != WRT_OK) return status;
    for (now = start; status == WRT_OK; status = system->ops->now(system->self, &now)) {
        const uint64_t rest = now - start < timeout_ns ? timeout_ns - (now - start) : 0;
        if (cancels) cancel_running(pool);
        status = join_workers(pool, rest < INSIST_NS ? rest : (uint64_t)INSIST_NS, left_out);
        if (status != WRT_OK || *left_out == 0) return status;
        if (rest == 0) {
            if (cancels) cancel_running(pool); /* some may have just begun */
            return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                                   "{0} workers are still in a task after {1} nanoseconds",
                                   *left_out, now - start);
        }
    }
    return status;
}

static bool is_called_by_a_worker(const wrt__pool *pool)
{
    wrt_thread_report caller;

    if (pool->system.ops->query(pool->system.self, NULL, &caller) != WRT_OK) return false;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        const wrt__worker *worker = wrt__pool_worker(pool, i);
        if (worker->is_joinable != 0 && worker->system_id == caller.system_id) return true;
    }
    return false;
}

wrt_status wrt_thread_pool_shutdown(wrt_thread_pool *pool, uint32_t mode, uint64_t timeout_ns,
                                    uint32_t *left_out)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    uint32_t left = 0;

    if (parts == NULL) return wrt_error_last()->status;
    if (mode != WRT_SHUTDOWN_DRAIN && mode != WRT_SHUTDOWN_CANCEL) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "mode is {0}, not one of wrt_shutdown_mode", mode, 0);
    }
    if (is_called_by_a_worker(parts)) {
        return wrt_fail(WRT_ERR_STATE, __func__, "a worker cannot wait for its own end");
    }
    const wrt_thread_system *system = &parts->system;
    wrt_status status = system->ops->lock(system->self, &parts->lock);
    if (status != WRT_OK) return status;
    const bool cancels = mode == WRT_SHUTDOWN_CANCEL || wrt__load(&parts->stop) == WRT__CANCELS;
    wrt__store_ordered(&parts->stop, cancels ? WRT__CANCELS : WRT__DRAINS);
    status = system->ops->unlock(system->self, &parts->lock);
    (void)wrt__add(&parts->epoch, 1);
    system->ops->wake(system->self, &parts->epoch, UINT32_MAX);
    if (status == WRT_OK) status = end_workers(__func__, parts, cancels, timeout_ns, &left);
    if (left_out != NULL) *left_out = left;
    return status;
}
