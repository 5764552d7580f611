/* Tasks on their way to a worker. */
#include "threading.h"

#include "config.h"
#include "fail.h"

/* How long to wait for another thread to fill the place that it has claimed: it has just to go on.
 */
enum { CLAIM_NS = 50000 };

wrt__pool *wrt__pool_of(const wrt_thread_pool *pool, const char *operation)
{
    if (pool == NULL) {
        (void)wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pool is NULL");
        return NULL;
    }
    if (pool->magic == WRT__POOL_MAGIC && pool->self == pool) return pool->parts;
    (void)wrt_fail(WRT_ERR_STATE, operation,
                   pool->magic == WRT__POOL_MAGIC ? "pool was moved" : "pool is not initialised");
    return NULL;
}

void wrt__task_prepare(wrt_task *task, uint32_t kind, uint32_t priority, const wrt_cpu_set *cpus)
{
    task->self = task;
    task->kind = (uint8_t)kind;
    task->priority = (uint8_t)priority;
    task->cpus = *cpus;
    task->has_cpus = !wrt__cpus_are_any(cpus);
    task->magic = WRT__TASK_MAGIC;
}

wrt_status wrt__task_check(const char *operation, const wrt_task *task)
{
    if (task == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "task is NULL");
    if (task->magic != WRT__TASK_MAGIC) {
        return wrt_fail(WRT_ERR_STATE, operation, "task is not initialised");
    }
    if (task->self != task) return wrt_fail(WRT_ERR_STATE, operation, "task was moved");
    return WRT_OK;
}

wrt_status wrt__task_check_free(const char *operation, const wrt_task *task)
{
    if (task->magic != WRT__TASK_MAGIC) return WRT_OK;
    if (task->self != task) return wrt_fail(WRT_ERR_STATE, operation, "task was moved");
    const uint32_t state = wrt__task_state(task);
    if (state == WRT_TASK_NEW || state == WRT_TASK_DONE) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, operation,
                           "task is in a pool (state {0} of wrt_task_state): join it first", state,
                           0);
}

/* ---- Waking ---- */

uint32_t wrt__pool_wake(wrt__pool *pool, uint32_t count)
{
    uint32_t sleepers = wrt__load(&pool->sleepers);
    uint32_t taken;

    do {
        if (sleepers == 0) return 0;
        taken = sleepers < count ? sleepers : count;
    } while (!wrt__compare_exchange(&pool->sleepers, &sleepers, sleepers - taken));
    (void)wrt__add(&pool->epoch, 1);
    pool->system.ops->wake(pool->system.self, &pool->epoch, taken);
    return 1;
}

void wrt__pool_sleep(wrt__pool *pool, uint32_t epoch)
{
    const uint64_t patience = wrt__pool_has_work(pool) ? CLAIM_NS : UINT64_MAX;
    const wrt_status woken_or_not =
        pool->system.ops->wait(pool->system.self, &pool->epoch, epoch, patience);

    (void)woken_or_not;
}

/* What is read here stands behind the exchange that claimed a place, see threading.h. */
void wrt__pool_announce(wrt__pool *pool, uint32_t count)
{
    if (wrt__load_ordered(&pool->alive) == 0) wrt__pool_sweep(pool);
    if (wrt__load_ordered(&pool->sleepers) == 0 || wrt__load_ordered(&pool->looking) != 0) return;
    const uint32_t wakes = wrt__pool_wake(pool, count);
    if (wakes != 0) (void)wrt__add(&pool->submit_wakes, wakes);
}

/* ---- The queues ---- */

static wrt_status refuse_submit(const char *operation, const wrt_task *task)
{
    const uint32_t state = wrt__task_state(task);

    if (state == WRT_TASK_DONE) {
        return wrt_fail(WRT_ERR_STATE, operation, "task is done, and was not joined yet");
    }
    return wrt_fail_detail(WRT_ERR_STATE, operation,
                           "task is submitted already (state {0} of wrt_task_state)", state, 0);
}

wrt_status wrt__pool_put(const char *operation, wrt__pool *pool, wrt_task *task, uint32_t priority)
{
    wrt__queue *queue = &pool->queues[priority - 1];
    uint32_t state = WRT_TASK_NEW;

    if (wrt__load(&pool->stop) != WRT__GOES_ON) {
        return wrt_fail(WRT_ERR_STATE, operation, "the pool shuts down and takes no more tasks");
    }
    if (wrt__load(&pool->alive) == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "all workers of the pool were given up");
    }
    if (!wrt__compare_exchange(&task->state, &state, WRT__TASK_ENTERS)) {
        return refuse_submit(operation, task);
    }
    task->pool = pool;
    task->runs_at = (uint8_t)priority;
    wrt__store(&task->worker, WRT__NOBODY);
    wrt__store(&task->cancel.requested, 0);
    wrt__store_release(&task->state, WRT_TASK_QUEUED);
    if (wrt__queue_put(queue, task)) return WRT_OK;
    wrt__store_release(&task->state, WRT_TASK_NEW);
    (void)wrt__add(&pool->refused, 1);
    return wrt_fail_detail(WRT_ERR_BUSY, operation,
                           "the queue of priority {0} is full: {1} tasks wait; submit again later",
                           priority, queue->mask + UINT64_C(1));
}

/* Notes that a task was taken from `position`, if the queue was longer than all before. It looks at
 * the cell that must be filled then, and leaves alone the position that submits write to. */
static void note_length(const wrt__queue *queue, uint32_t position, uint32_t *peak)
{
    const uint32_t known = wrt__load(peak);
    const uint32_t place = position + known;

    if (known > queue->mask) return;
    if (known != 0 &&
        wrt__load(wrt__queue_turn(queue, place, sizeof(wrt__queue_cell))) != place + 1) {
        return;
    }
    const uint32_t length = wrt__load(queue->put_position) - position;
    if (length > known && length <= queue->mask + 1) wrt__store(peak, length);
}

wrt_task *wrt__pool_take(wrt__pool *pool, uint32_t *peak)
{
    for (uint32_t i = pool->highest; i >= pool->lowest; i--) {
        wrt__queue *queue = &pool->queues[i - 1];
        uint32_t position;
        void *task;
        if (!wrt__queue_get(queue, &task, &position)) continue;
        note_length(queue, position, peak);
        return task;
    }
    return NULL;
}

bool wrt__pool_has_work(const wrt__pool *pool)
{
    for (uint32_t i = pool->lowest; i <= pool->highest; i++) {
        const wrt__queue *queue = &pool->queues[i - 1];
        if (wrt__load_ordered(queue->put_position) != wrt__load(queue->get_position)) return true;
    }
    return false;
}

void wrt__pool_sweep(wrt__pool *pool)
{
    uint32_t peak = UINT32_MAX;

    while (wrt__pool_has_work(pool)) {
        const uint32_t epoch = wrt__load(&pool->epoch);
        wrt_task *task = wrt__pool_take(pool, &peak);
        if (task == NULL) {
            wrt__pool_sleep(pool, epoch); /* who submits it is not through */
            continue;
        }
        (void)wrt__add(&pool->swept, 1);
        wrt__task_finish_unrun(pool, task, WRT_ERR_INTERRUPTED);
    }
}

/* ---- Public calls ---- */

static wrt_status submit(const char *operation, wrt__pool *pool, wrt_task *task)
{
    wrt_status status = wrt__task_check(operation, task);

    if (status != WRT_OK) return status;
    if (task->kind != WRT__TASK_PLAIN) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "a wasm task is submitted by wrt_thread_pool_spawn_wasm_thread()");
    }
    uint32_t priority = task->priority;
    status = wrt__task_priority(operation, pool, &priority);
    if (status == WRT_OK && task->has_cpus != 0) {
        status = wrt__task_cpus(operation, pool, &task->cpus);
    }
    if (status != WRT_OK) return status;
    return wrt__pool_put(operation, pool, task, priority);
}

wrt_status wrt_thread_pool_submit(wrt_thread_pool *pool, wrt_task *task)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);

    if (parts == NULL) return wrt_error_last()->status;
    const wrt_status status = submit(__func__, parts, task);
    if (status == WRT_OK) wrt__pool_announce(parts, 1);
    return status;
}

wrt_status wrt_thread_pool_submit_batch(wrt_thread_pool *pool, wrt_task *const *tasks,
                                        uint32_t count, uint32_t *submitted_out)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    wrt_status status = WRT_OK;
    uint32_t submitted = 0;

    if (parts == NULL) return wrt_error_last()->status;
    if (submitted_out == NULL || (tasks == NULL && count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "tasks or submitted_out is NULL");
    }
    while (submitted < count && status == WRT_OK) {
        status = submit(__func__, parts, tasks[submitted]);
        if (status == WRT_OK) submitted++;
    }
    if (submitted != 0) wrt__pool_announce(parts, submitted);
    *submitted_out = submitted;
    return status;
}
