/* What a worker does all its life: take the most urgent task, run it, look again, sleep. */
#include "threading.h"

#include "fail.h"
#include <string.h>

/* ---- Priority and CPUs ---- */

static wrt_status change_priority(wrt__worker *worker, uint32_t priority)
{
    const wrt__pool *pool = worker->pool;
    wrt_status status = WRT_ERR_PERMISSION;

    if (pool->keeps_priority == 0) {
        status = pool->system.ops->set_priority(pool->system.self, priority);
    }
    worker->priority = priority;
    worker->refused = status != WRT_OK;
    if (status != WRT_ERR_PERMISSION) return status;
    return pool->require_priority != 0 ? status : WRT_OK;
}

static wrt_status change_cpus(wrt__worker *worker, const wrt_task *task)
{
    const wrt__pool *pool = worker->pool;
    const wrt_cpu_set *cpus = task->has_cpus != 0 ? &task->cpus : &pool->cpus;

    const wrt_status status = pool->system.ops->set_cpus(pool->system.self, cpus);
    if (status != WRT_OK) return status;
    worker->cpus = *cpus;
    worker->has_cpus = task->has_cpus;
    return WRT_OK;
}

wrt_status wrt__worker_suit(wrt__worker *worker, const wrt_task *task)
{
    wrt_status status = WRT_OK;

    if (task->runs_at != worker->priority) status = change_priority(worker, task->runs_at);
    if (worker->refused != 0) wrt__count(&worker->priority_refusals);
    if (status != WRT_OK || (task->has_cpus == 0 && worker->has_cpus == 0)) return status;
    if (task->has_cpus != 0 && memcmp(&task->cpus, &worker->cpus, sizeof task->cpus) == 0) {
        return WRT_OK;
    }
    return change_cpus(worker, task);
}

/* ---- Running ---- */

bool wrt__is_cancelled(const wrt__worker *worker, const wrt_task *task)
{
    return wrt__load_ordered(&task->cancel.requested) != 0 ||
           wrt__load_ordered(&worker->pool->stop) == WRT__CANCELS;
}

static void run_plain(wrt__worker *worker, wrt_task *task)
{
    wrt_status outcome = WRT_ERR_INTERRUPTED;

    wrt__store_release(&task->worker, worker->index); /* makes it RUNNING, see wrt__task_state() */
    wrt__bind_plain(worker, task);
    if (wrt__is_cancelled(worker, task)) {
        wrt__count(&worker->cancelled);
    } else {
        outcome = wrt__worker_suit(worker, task);
        if (outcome == WRT_OK) outcome = task->run(task->context);
    }
    wrt__unbind(worker);
    wrt__count(&worker->finished);
    wrt__task_finish(worker->pool, task, outcome);
}

static void run(wrt__worker *worker, wrt_task *task)
{
    wrt__store(&worker->state, WRT_WORKER_RUNNING);
    if (task->kind == WRT__TASK_WASM) {
        wrt__wasm_run(worker, task);
    } else {
        run_plain(worker, task);
    }
    if (wrt__load(&worker->state) == WRT_WORKER_LOST) return; /* stays so; nobody marks it now */
    wrt__store(&worker->state, WRT_WORKER_IDLE);
}

/* ---- Idle ---- */

/* Called on the way from idle to busy: what else there is goes to the next sleeper. */
static void pass_on(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;

    if (wrt__load_ordered(&pool->sleepers) == 0 || !wrt__pool_has_work(pool)) return;
    if (wrt__pool_wake(pool, 1) != 0) wrt__count(&worker->wakes);
}

/* Looks for a while, if nobody else does. */
static wrt_task *look(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;
    wrt_task *task = NULL;
    uint32_t nobody = 0;

    if (pool->spin == 0 || worker->priority == WRT_THREAD_PRIORITY_REALTIME) return NULL;
    if (!wrt__compare_exchange(&pool->looking, &nobody, 1)) return NULL;
    const uint32_t looks = wrt__luck_looks(&worker->luck, pool->spin);
    for (uint32_t i = 0; i < looks && task == NULL; i++) {
        if (wrt__load(&pool->stop) != WRT__GOES_ON) break;
        task = wrt__pool_take(pool, &worker->peak_queued);
        if (task == NULL) wrt__spin_hint();
    }
    (void)wrt__exchange(&pool->looking, 0);
    wrt__luck_note(&worker->luck, looks == pool->spin, task != NULL);
    return task;
}

/* One more sleeper; never more than there are workers, whatever wakes them without a reason. */
static void count_sleeper(wrt__pool *pool)
{
    uint32_t sleepers = wrt__load(&pool->sleepers);

    while (sleepers < pool->worker_count) {
        if (wrt__compare_exchange(&pool->sleepers, &sleepers, sleepers + 1)) return;
    }
    (void)wrt__add(&pool->sleepers, 0); /* the order that the exchange would have given */
}

static wrt_task *sleep_once(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;
    const uint32_t epoch = wrt__load_ordered(&pool->epoch);

    count_sleeper(pool);
    wrt_task *task = wrt__pool_take(pool, &worker->peak_queued);
    if (task != NULL || wrt__load_ordered(&pool->stop) != WRT__GOES_ON) return task;
    wrt__count(&worker->sleeps);
    wrt__pool_sleep(pool, epoch);
    return NULL;
}

/* The next task; NULL: the pool ends and there is none. */
static wrt_task *next_task(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;
    wrt_task *task = wrt__pool_take(pool, &worker->peak_queued);

    if (task != NULL) return task;
    while (task == NULL) {
        task = look(worker);
        if (task == NULL && wrt__load_ordered(&pool->stop) != WRT__GOES_ON) {
            return wrt__pool_take(pool, &worker->peak_queued);
        }
        if (task == NULL) task = sleep_once(worker);
        if (task == NULL) task = wrt__pool_take(pool, &worker->peak_queued);
    }
    pass_on(worker);
    return task;
}

/* ---- The thread ---- */

/* The thread of a worker that was given up has come back: a spare again. The pool may be gone as
 * soon as the last lost thread has counted itself off. */
static void come_back(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;

    (void)wrt__add(&pool->returned, 1);
    wrt__store_release(&worker->state, WRT_WORKER_FREE);
    (void)wrt__subtract(&pool->lost, 1);
}

/* The last one cancels what came in while they ended. */
static void end(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;

    wrt__store_release(&worker->state, WRT_WORKER_FREE);
    if (wrt__subtract(&pool->alive, 1) != 1) return;
    wrt__pool_sweep(pool);
}

/* Waits until its starter has put down what others need to know of the thread. */
static void begin(wrt__worker *worker)
{
    const wrt_thread_system *system = &worker->pool->system;
    wrt_thread_report thread;

    while (wrt__load_acquire(&worker->is_ready) == 0) {
        const wrt_status woken_or_not =
            system->ops->wait(system->self, &worker->is_ready, 0, UINT64_MAX);
        (void)woken_or_not;
    }
    if (system->ops->query(system->self, NULL, &thread) == WRT_OK) {
        worker->system_id = thread.system_id;
    }
}

static void work(void *context)
{
    wrt__worker *worker = context;
    wrt_task *task;

    begin(worker);
    while ((task = next_task(worker)) != NULL) {
        run(worker, task);
        if (wrt__load_acquire(&worker->state) == WRT_WORKER_LOST) {
            come_back(worker);
            return;
        }
    }
    end(worker);
}

/* "<prefix>-<index>", the prefix cut so that it all fits. */
static void make_name(char name[WRT_THREAD_NAME_SIZE], const char *prefix, uint32_t index)
{
    char digits[4];
    size_t digit_count = 0;
    size_t length = 0;

    do {
        digits[digit_count++] = (char)('0' + index % 10);
        index /= 10;
    } while (index != 0);
    while (prefix[length] != '\0' && length + digit_count + 2 < WRT_THREAD_NAME_SIZE) {
        name[length] = prefix[length];
        length++;
    }
    name[length++] = '-';
    while (digit_count > 0) name[length++] = digits[--digit_count];
    name[length] = '\0';
}

wrt_status wrt__worker_start(wrt__worker *worker)
{
    wrt__pool *pool = worker->pool;
    char name[WRT_THREAD_NAME_SIZE];
    wrt_thread_config config = {.struct_size = sizeof config,
                                .priority = wrt__pool_start_priority(pool),
                                .cpus = pool->cpus,
                                .entry = work,
                                .context = worker,
                                .name = name,
                                .stack_size = pool->stack_size,
                                .require_priority = pool->require_priority != 0};

    make_name(name, pool->name_prefix, worker->index);
    worker->priority = config.priority;
    worker->refused = 0;
    worker->has_cpus = 0;
    wrt__store(&worker->is_ready, 0);
    wrt__store(&worker->binding, WRT__UNBOUND);
    wrt__store_release(&worker->state, WRT_WORKER_IDLE);
    (void)wrt__add(&pool->alive, 1);
    const wrt_status status = pool->system.ops->start(pool->system.self, &worker->thread, &config);
    if (status == WRT_OK) {
        worker->is_joinable = 1;
        wrt__store_release(&worker->is_ready, 1);
        pool->system.ops->wake(pool->system.self, &worker->is_ready, 1);
        return WRT_OK;
    }
    wrt__store_release(&worker->state, WRT_WORKER_FREE);
    (void)wrt__subtract(&pool->alive, 1);
    return status;
}
