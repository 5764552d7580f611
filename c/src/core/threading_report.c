/* What a pool and its workers say of themselves. */
#include "threading.h"

#include "fail.h"

static void add_worker(const wrt__worker *worker, wrt_thread_pool_report *report)
{
    const uint32_t state = wrt__load_acquire(&worker->state);
    const uint32_t peak = wrt__load(&worker->peak_queued);

    report->threads += state == WRT_WORKER_IDLE || state == WRT_WORKER_RUNNING;
    report->running += state == WRT_WORKER_RUNNING;
    report->spare += state == WRT_WORKER_FREE;
    report->finished += wrt__load(&worker->finished);
    report->cancelled += wrt__load(&worker->cancelled);
    report->wakes += wrt__load(&worker->wakes);
    report->sleeps += wrt__load(&worker->sleeps);
    report->priority_refusals += wrt__load(&worker->priority_refusals);
    if (peak > report->peak_queued) report->peak_queued = peak;
}

static void add_queue(const wrt__queue *queue, uint32_t place, wrt_thread_pool_report *report)
{
    const uint32_t taken = wrt__load_acquire(queue->get_position);
    const uint32_t put = wrt__load_acquire(queue->put_position);

    report->queued[place] = put - taken;
    report->submitted += put;
}

wrt_status wrt_thread_pool_query(const wrt_thread_pool *pool, wrt_thread_pool_report *report_out)
{
    const wrt__pool *parts = wrt__pool_of(pool, __func__);

    if (parts == NULL) return wrt_error_last()->status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const uint32_t swept = wrt__load(&parts->swept);
    wrt_thread_pool_report report = {.lost = wrt__load(&parts->lost),
                                     .returned = wrt__load(&parts->returned),
                                     .finished = swept,
                                     .cancelled = swept,
                                     .refused = wrt__load(&parts->refused),
                                     .wakes = wrt__load(&parts->submit_wakes)};
    for (uint32_t i = 0; i < parts->worker_count; i++) {
        add_worker(wrt__pool_worker(parts, i), &report);
    }
    for (uint32_t i = 0; i < WRT_THREAD_POOL_PRIORITIES; i++) {
        add_queue(&parts->queues[i], i, &report);
    }
    *report_out = report;
    return WRT_OK;
}

static void add_memory(wrt__worker *worker, uint64_t limit, wrt_thread_pool_worker_report *report)
{
    wrt_memory_account_usage usage;

    report->memory_limit = limit == 0 ? UINT64_MAX : limit;
    if (worker->view.self == NULL) return;
    if (wrt_memory_account_query(&worker->account, &usage) != WRT_OK) return;
    report->memory_bytes = usage.charged;
    report->memory_peak = usage.peak;
}

static wrt_status describe(wrt__worker *worker, wrt_thread_pool_worker_report *report)
{
    const wrt_thread_system *system = &worker->pool->system;

    report->state = wrt__load_acquire(&worker->state);
    report->finished = wrt__load(&worker->finished);
    add_memory(worker, worker->pool->memory_limit, report);
    if (worker->is_joinable == 0) return WRT_OK;
    return system->ops->query(system->self, &worker->thread, &report->thread);
}

wrt_status wrt_thread_pool_worker(const wrt_thread_pool *pool, uint32_t index,
                                  wrt_thread_pool_worker_report *report_out)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    wrt_thread_pool_worker_report report = {0};

    if (parts == NULL) return wrt_error_last()->status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    if (index >= parts->worker_count) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "the pool has workers 0 to {0}",
                               parts->worker_count - 1, 0);
    }
    const wrt_thread_system *system = &parts->system;
    wrt_status status = system->ops->lock(system->self, &parts->lock);
    if (status != WRT_OK) return status;
    status = describe(wrt__pool_worker(parts, index), &report);
    const wrt_status unlocked = system->ops->unlock(system->self, &parts->lock);
    if (status == WRT_OK) status = unlocked;
    if (status == WRT_OK) *report_out = report;
    return status;
}

wrt_status wrt_thread_pool_current(const wrt_thread_pool *pool, wrt_task **task_out)
{
    const wrt__pool *parts = wrt__pool_of(pool, __func__);
    wrt_thread_report caller;

    if (parts == NULL) return wrt_error_last()->status;
    if (task_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "task_out is NULL");
    *task_out = NULL;
    const wrt_status status = parts->system.ops->query(parts->system.self, NULL, &caller);
    if (status != WRT_OK) return status;
    for (uint32_t i = 0; i < parts->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(parts, i);
        if (wrt__load(&worker->state) == WRT_WORKER_FREE) continue;
        if (worker->system_id != caller.system_id) continue;
        if (wrt__load_acquire(&worker->binding) == WRT__UNBOUND) break;
        *task_out = worker->task;
        return WRT_OK;
    }
    return wrt_fail(WRT_ERR_NOT_FOUND, __func__, "the calling thread runs no task of this pool");
}
