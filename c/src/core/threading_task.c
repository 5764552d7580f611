/* A task's life outside of its worker: made, joined, cancelled, asked about. */
#include "threading.h"

#include "config.h"
#include "fail.h"
#include "slices.h"

/* Looks of who joins come less and less often, up to PAUSE_MAX spins apart: each takes the task's
 * memory away from the worker. Behind a queue of MANY tasks they begin so: by the next look the
 * worker has done a row of them, and is not disturbed at each. */
enum { PAUSE_MAX = 16, MANY = 4 };

/* ---- Its state ---- */

uint32_t wrt__task_state(const wrt_task *task)
{
    const uint32_t state = wrt__load_acquire(&task->state) & WRT__TASK_STATE;

    if (state != WRT_TASK_QUEUED || wrt__load_acquire(&task->worker) == WRT__NOBODY) return state;
    return WRT_TASK_RUNNING;
}

void wrt__task_moves(wrt_task *task, uint32_t from, uint32_t to)
{
    (void)wrt__add(&task->state, to - from);
}

/* Puts `to` in place of whatever there is, and wakes who waits. */
static void settle(wrt__pool *pool, wrt_task *task, uint32_t to)
{
    const wrt_thread_system system = pool->system;
    const uint32_t before = wrt__exchange(&task->state, to);

    /* From here on the task is its owner's: only its address may be used. */
    if ((before & WRT__TASK_AWAITED) != 0) {
        system.ops->wake(system.self, &task->state, UINT32_MAX);
    }
}

void wrt__task_finish(wrt__pool *pool, wrt_task *task, wrt_status outcome)
{
    task->outcome = outcome;
    settle(pool, task, WRT_TASK_DONE);
}

void wrt__task_lose(wrt__pool *pool, wrt_task *task)
{
    settle(pool, task, WRT_TASK_LOST);
}

void wrt__task_finish_unrun(wrt__pool *pool, wrt_task *task, wrt_status outcome)
{
    if (task->kind == WRT__TASK_WASM) wrt__wasm_note_unrun(task, outcome);
    wrt__task_finish(pool, task, outcome);
}

/* ---- Init and deinit ---- */

static wrt_status read_config(const char *operation, const wrt_task_config *given,
                              wrt_task_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (config->run == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "run is NULL");
    }
    if (config->priority <= WRT_THREAD_PRIORITY_REALTIME) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "priority is {0}, not one of wrt_thread_priority", config->priority, 0);
}

wrt_status wrt_task_init(wrt_task *task, const wrt_task_config *config)
{
    wrt_task_config known;

    if (task == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "task is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__task_check_free(__func__, task);
    if (status != WRT_OK) return status;
    *task = (wrt_task){.run = known.run, .context = known.context};
    wrt__task_prepare(task, WRT__TASK_PLAIN, known.priority, &known.cpu_affinity);
    return WRT_OK;
}

wrt_status wrt_task_deinit(wrt_task *task)
{
    if (task == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "task is NULL");
    const wrt_status status = wrt__task_check_free(__func__, task);
    if (status == WRT_OK) *task = (wrt_task){0};
    return status;
}

/* ---- Join ---- */

/* Makes a task that is done NEW again, and reads its outcome before: all of it for a wasm task, the
 * status alone for another. False if another thread was faster. */
static bool take_wasm(wrt_task *task, uint32_t state, wrt_wasm_outcome *outcome_out)
{
    const wrt_wasm_outcome outcome = wrt__wasm_task(task)->outcome;

    if (!wrt__compare_exchange(&task->state, &state, WRT_TASK_NEW)) return false;
    *outcome_out = outcome;
    return true;
}

static bool take_plain(wrt_task *task, uint32_t state, wrt_wasm_outcome *outcome_out)
{
    const wrt_status outcome = task->outcome;

    if (!wrt__compare_exchange(&task->state, &state, WRT_TASK_NEW)) return false;
    outcome_out->status = outcome;
    return true;
}

/* Takes what a task left behind, if it is done. Errors: PENDING (it is not), STATE. */
static wrt_status take_outcome(const char *operation, wrt_task *task, wrt_wasm_outcome *outcome_out)
{
    const uint32_t state = wrt__load_acquire(&task->state);

    switch (state & WRT__TASK_STATE) {
    case WRT_TASK_DONE:
        break;
    case WRT_TASK_NEW:
        return wrt_fail(WRT_ERR_STATE, operation, "task was not submitted, or is joined already");
    case WRT_TASK_LOST:
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "worker {0} was given up with this task; it can be joined when its "
                               "thread has come back",
                               wrt__load(&task->worker), 0);
    default:
        return WRT_ERR_PENDING;
    }
    const bool is_mine = task->kind == WRT__TASK_WASM ? take_wasm(task, state, outcome_out)
                                                      : take_plain(task, state, outcome_out);
    if (is_mine) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "another thread has just joined the task");
}

static uint32_t first_pause(const wrt__pool *pool, const wrt_task *task)
{
    const wrt__queue *queue = &pool->queues[task->runs_at - 1];
    const uint32_t length = wrt__load(queue->put_position) - wrt__load(queue->get_position);

    return length > MANY ? PAUSE_MAX : 1;
}

static wrt_status look_for_a_while(const char *operation, wrt_task *task,
                                   wrt_wasm_outcome *outcome_out)
{
    wrt__pool *pool = task->pool;
    uint32_t pause = first_pause(pool, task);
    const uint32_t looks = wrt__luck_looks(&pool->luck, pool->spin);
    bool is_found = false;

    for (uint32_t i = 0; i < looks; i += pause) {
        const uint32_t state = wrt__load(&task->state) & WRT__TASK_STATE;
        is_found = state == WRT_TASK_DONE || state == WRT_TASK_LOST;
        if (is_found) break;
        for (uint32_t j = 0; j < pause; j++) wrt__spin_hint();
        if (pause < PAUSE_MAX) pause *= 2;
    }
    wrt__luck_note(&pool->luck, looks == pool->spin, is_found);
    return take_outcome(operation, task, outcome_out);
}

/* One wait of the system, if the task has not moved on meanwhile. */
static wrt_status sleep_on(wrt_task *task, uint64_t timeout_ns)
{
    const wrt__pool *pool = task->pool;
    const uint32_t state = wrt__set_bits(&task->state, WRT__TASK_AWAITED) & WRT__TASK_STATE;

    if (state == WRT_TASK_NEW || state == WRT_TASK_DONE || state == WRT_TASK_LOST) {
        (void)wrt__clear_bits(&task->state, WRT__TASK_AWAITED);
        return WRT_OK;
    }
    return pool->system.ops->wait(pool->system.self, &task->state, state | WRT__TASK_AWAITED,
                                  timeout_ns);
}

static wrt_status wait_for_end(const char *operation, wrt_task *task, uint64_t timeout_ns,
                               wrt_cancel_token *cancel, wrt_wasm_outcome *outcome_out)
{
    const wrt__pool *pool = task->pool;
    wrt__slices slices;

    wrt_status status = wrt__slices_begin(&slices, operation, pool->system.ops->now,
                                          pool->system.self, timeout_ns, cancel);
    if (status == WRT_OK) status = look_for_a_while(operation, task, outcome_out);
    while (status == WRT_ERR_PENDING) {
        status = sleep_on(task, slices.next_ns);
        const bool is_over = status == WRT_ERR_TIMED_OUT;
        if (status != WRT_OK && !is_over) return status;
        status = take_outcome(operation, task, outcome_out);
        if (status != WRT_ERR_PENDING) return status;
        status = wrt__slices_next(&slices);
        if (status == WRT_OK) status = WRT_ERR_PENDING;
    }
    return status;
}

wrt_status wrt__task_join(const char *operation, wrt_task *task, uint64_t timeout_ns,
                          wrt_cancel_token *cancel, wrt_wasm_outcome *outcome_out)
{
    wrt_status status = wrt__task_check(operation, task);

    if (status != WRT_OK) return status;
    status = take_outcome(operation, task, outcome_out);
    if (status != WRT_ERR_PENDING) return status;
    return wait_for_end(operation, task, timeout_ns, cancel, outcome_out);
}

wrt_status wrt_task_join(wrt_task *task, uint64_t timeout_ns, wrt_cancel_token *cancel,
                         wrt_status *outcome_out)
{
    wrt_wasm_outcome outcome;
    const wrt_status status = wrt__task_join(__func__, task, timeout_ns, cancel, &outcome);

    if (status == WRT_OK && outcome_out != NULL) *outcome_out = outcome.status;
    return status;
}

/* ---- Cancel ---- */

wrt_cancel_token *wrt_task_cancel_token(wrt_task *task)
{
    return task == NULL ? NULL : &task->cancel;
}

wrt_status wrt_task_cancel(wrt_task *task)
{
    wrt_status status = wrt__task_check(__func__, task);

    if (status != WRT_OK) return status;
    const uint32_t state = wrt__task_state(task);
    if (state == WRT_TASK_NEW || state == WRT_TASK_DONE) {
        return wrt_fail(WRT_ERR_STATE, __func__, "task is not in a pool, or is done");
    }
    wrt__pool *pool = task->pool;
    wrt_cancel_request(&task->cancel);
    /* Read anew, behind the request: a worker that moves it on later looks at the token then. */
    if ((wrt__load_ordered(&task->state) & WRT__TASK_STATE) == WRT_TASK_QUEUED) return WRT_OK;
    wrt__worker *worker = wrt__hold_task(pool, task);
    if (worker != NULL) {
        wrt__cancel_held(worker);
        wrt__let_go(worker);
    } else if (task->kind == WRT__TASK_WASM) {
        wrt__wasm_withdraw(pool, task);
    }
    return WRT_OK;
}

/* ---- Query ---- */

static void describe_running(wrt__worker *worker, wrt_task_report *report)
{
    const wrt_thread_system *system = &worker->pool->system;
    wrt_memory_account_usage usage = {0};
    uint64_t now;
    uint64_t used;

    report->worker = worker->index;
    report->system_id = worker->system_id;
    if (worker->task->kind != WRT__TASK_WASM) return;
    const wrt_wasm_task *task = wrt__wasm_task(worker->task);
    report->heartbeat = wrt_instance_heartbeat(worker->instance);
    if (system->ops->now(system->self, &now) == WRT_OK) {
        report->run_time_ns = now - task->started_ns;
    }
    if (system->ops->cpu_time(system->self, &worker->thread, &used) == WRT_OK) {
        report->cpu_time_ns = used - task->started_cpu_ns;
    }
    if (worker->view.self != NULL && wrt_memory_account_query(&worker->account, &usage) == WRT_OK) {
        report->memory_bytes = usage.charged;
    }
}

wrt_status wrt_task_query(wrt_task *task, wrt_task_report *report_out)
{
    const wrt_status status = wrt__task_check(__func__, task);

    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    wrt_task_report report = {
        .state = wrt__task_state(task), .priority = task->runs_at, .worker = UINT32_MAX};
    if (task->kind == WRT__TASK_WASM) report.id = wrt__wasm_task(task)->outcome.id;
    const bool runs = report.state == WRT_TASK_RUNNING || report.state == WRT_TASK_LOST;
    wrt__worker *worker = runs ? wrt__hold_task(task->pool, task) : NULL;
    if (worker != NULL) {
        describe_running(worker, &report);
        wrt__let_go(worker);
    }
    *report_out = report;
    return WRT_OK;
}
