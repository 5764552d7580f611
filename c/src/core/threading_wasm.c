/* Wasm tasks: a function of an instance, called on a worker.
 *
 *     QUEUED --> WAITING --> RUNNING --> DONE
 *                for the executor
 *
 * A task that the executor keeps is its own from then on: the worker that asked doesn't touch it
 * any more, for another one may have run and ended it by then. */
#include "threading.h"

#include "config.h"
#include "fail.h"

/* ---- Outcome ---- */

static void note_error(wrt_wasm_outcome *outcome, wrt_status status)
{
    outcome->status = status;
    outcome->error = *wrt_error_last();
}

static void note_cancelled(wrt_wasm_outcome *outcome)
{
    note_error(outcome, wrt_fail(WRT_ERR_INTERRUPTED, "wrt_wasm_task",
                                 "the task was cancelled before it began"));
}

void wrt__wasm_note_unrun(wrt_task *task, wrt_status outcome)
{
    wrt_wasm_outcome *noted = &wrt__wasm_task(task)->outcome;

    noted->worker = UINT32_MAX;
    if (outcome == WRT_ERR_INTERRUPTED) {
        note_cancelled(noted);
    } else {
        note_error(noted, outcome);
    }
}

/* ---- The call ---- */

/* What is left of the task's time. Errors: TIMED_OUT. */
static wrt_status time_left(const wrt__worker *worker, const wrt_wasm_task *task,
                            uint64_t *timeout_out)
{
    const wrt_thread_system *system = &worker->pool->system;
    uint64_t now;

    *timeout_out = 0;
    if (task->timeout_ns == 0) return WRT_OK;
    const wrt_status status = system->ops->now(system->self, &now);
    if (status != WRT_OK) return status;
    if (now - task->started_ns < task->timeout_ns) {
        *timeout_out = task->timeout_ns - (now - task->started_ns);
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, "wrt_wasm_task",
                           "the start function took all of the {0} nanoseconds", task->timeout_ns,
                           0);
}

static wrt_status run_call(const wrt__worker *worker, wrt_wasm_task *task)
{
    wrt_instance *instance = task->turn.instance;
    wrt_call call = {.struct_size = sizeof call,
                     .function = task->turn.function,
                     .arguments = task->args,
                     .argument_count = task->args_count,
                     .results = task->results,
                     .result_count = task->results_count};
    wrt_status status = WRT_OK;

    if (task->has_fuel != 0) status = wrt_instance_set_fuel(instance, true, task->fuel);
    if (status == WRT_OK && task->turn.must_start) {
        status = wrt_instance_start(instance, task->timeout_ns);
        if (status == WRT_OK) status = time_left(worker, task, &call.timeout_ns);
    } else {
        call.timeout_ns = task->timeout_ns;
    }
    return status == WRT_OK ? wrt_instance_call(instance, &call) : status;
}

static uint64_t fuel_used(wrt_instance *instance)
{
    wrt_instance_usage usage;

    return wrt_instance_query(instance, &usage) == WRT_OK ? usage.fuel_used : 0;
}

/* After a call that did not return: where it stands; then it is dropped. */
static void note_place(wrt_wasm_outcome *outcome, wrt_instance *instance)
{
    if (wrt_instance_trap(instance, &outcome->trap) != WRT_OK) outcome->trap = (wrt_trap){0};
    const wrt_status dropped_or_not_paused = wrt_instance_abort(instance);
    (void)dropped_or_not_paused;
}

static void read_clocks(const wrt__worker *worker, uint64_t *now_out, uint64_t *cpu_time_out)
{
    const wrt_thread_system *system = &worker->pool->system;

    if (system->ops->now(system->self, now_out) != WRT_OK) *now_out = 0;
    if (system->ops->cpu_time(system->self, NULL, cpu_time_out) != WRT_OK) *cpu_time_out = 0;
}

static void call_and_note(const wrt__worker *worker, wrt_wasm_task *task)
{
    wrt_wasm_outcome *outcome = &task->outcome;
    const uint64_t fuel_before = fuel_used(task->turn.instance);
    uint64_t now;
    uint64_t cpu_time;

    const wrt_status status = run_call(worker, task);
    if (status == WRT_OK) {
        outcome->status = WRT_OK;
    } else {
        note_error(outcome, status);
        note_place(outcome, task->turn.instance);
    }
    read_clocks(worker, &now, &cpu_time);
    outcome->run_time_ns = now - task->started_ns;
    outcome->cpu_time_ns = cpu_time - task->started_cpu_ns;
    outcome->fuel_used = fuel_used(task->turn.instance) - fuel_before;
}

/* ---- The turn ---- */

/* With the instance: binds it, calls, and lets go. */
static void run_bound(wrt__worker *worker, wrt_wasm_task *task)
{
    read_clocks(worker, &task->started_ns, &task->started_cpu_ns);
    task->outcome.worker = worker->index;
    wrt__store_release(&task->task.worker, worker->index);
    wrt__task_moves(&task->task, WRT_TASK_WAITING, WRT_TASK_RUNNING);
    wrt__bind(worker, &task->task, task->turn.instance);
    if (wrt__is_cancelled(worker, &task->task)) {
        wrt__count(&worker->cancelled);
        note_cancelled(&task->outcome);
    } else {
        call_and_note(worker, task);
    }
    wrt__unbind(worker);
    if (wrt__is_cancelled(worker, &task->task)) wrt_instance_clear_interrupt(task->turn.instance);
}

/* Runs one task; the one that gets its instance then, or NULL. */
static wrt_wasm_task *run_one(wrt__worker *worker, wrt_wasm_task *task)
{
    const wrt_executor *executor = &worker->pool->executor;
    wrt_turn *next = NULL;

    if (worker->view.self != NULL) {
        task->turn.pages = wrt_counted_allocator_interface(&worker->view);
    }
    wrt_status status = executor->ops->acquire(executor->self, &task->turn, &next);
    if (status == WRT_ERR_BUSY) return NULL;
    if (status == WRT_OK) {
        status = wrt__worker_suit(worker, &task->task);
        if (status == WRT_OK) run_bound(worker, task);
        if (status != WRT_OK) note_error(&task->outcome, status);
        executor->ops->release(executor->self, &task->turn, &next);
    } else if (status == WRT_ERR_INTERRUPTED) {
        note_cancelled(&task->outcome);
    } else {
        note_error(&task->outcome, status);
    }
    wrt__count(&worker->finished);
    wrt__task_finish(worker->pool, &task->task, task->outcome.status);
    return next == NULL ? NULL : wrt__task_of_turn(next);
}

void wrt__wasm_run(wrt__worker *worker, wrt_task *task)
{
    wrt_wasm_task *next = wrt__wasm_task(task);

    wrt__task_moves(task, WRT_TASK_QUEUED, WRT_TASK_WAITING);
    while (next != NULL) next = run_one(worker, next);
}

/* ---- From outside ---- */

void wrt__wasm_withdraw(wrt__pool *pool, wrt_task *task)
{
    wrt_turn *turn = &wrt__wasm_task(task)->turn;

    if (pool->executor.ops->withdraw(pool->executor.self, turn) != WRT_OK) return;
    (void)wrt__add(&pool->swept, 1);
    wrt__task_finish_unrun(pool, task, WRT_ERR_INTERRUPTED);
}

void wrt__wasm_abandon(wrt__pool *pool, wrt_task *task)
{
    wrt_turn *waiting = NULL;

    pool->executor.ops->abandon(pool->executor.self, &wrt__wasm_task(task)->turn, &waiting);
    while (waiting != NULL) {
        wrt_turn *turn = waiting;
        waiting = turn->next;
        (void)wrt__add(&pool->swept, 1);
        wrt__task_finish_unrun(
            pool, &wrt__task_of_turn(turn)->task,
            wrt_fail(WRT_ERR_STATE, "wrt_wasm_task",
                     "the task that has the instance does not come back, and was given up"));
    }
}

/* ---- Spawn ---- */

static bool same_types(const uint8_t *first, const uint8_t *second, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (first[i] != second[i]) return false;
    }
    return true;
}

/* Compares the function with what the caller takes it for. */
static wrt_status check_type(const char *operation, const wrt_wasm_task_config *config,
                             const wrt_function_type *type)
{
    if (config->args_count != type->parameter_count) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "{0} arguments are given, the function takes {1}",
                               config->args_count, type->parameter_count);
    }
    if (config->results_count != type->result_count) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "there is room for {0} results, the function has {1}",
                               config->results_count, type->result_count);
    }
    if (config->type == NULL) return WRT_OK;
    if (config->type->parameter_count == type->parameter_count &&
        config->type->result_count == type->result_count &&
        same_types(config->type->parameters, type->parameters, type->parameter_count) &&
        same_types(config->type->results, type->results, type->result_count)) {
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "function {0} has another type than the task says", config->function_id,
                           0);
}

static wrt_status check_config(const char *operation, const wrt__pool *pool,
                               const wrt_wasm_task_config *config)
{
    wrt_function_type type;

    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if ((config->args == NULL && config->args_count != 0) ||
        (config->results == NULL && config->results_count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "args or results is NULL");
    }
    if (config->fuel > INT64_MAX / 2) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "fuel is {0}, more than INT64_MAX / 2", config->fuel, 0);
    }
    if (pool->executor.ops == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the pool was made without an executor");
    }
    const wrt_status status =
        pool->executor.ops->check(pool->executor.self, config->function_id, &type);
    return status == WRT_OK ? check_type(operation, config, &type) : status;
}

/* All zero, or joined. */
static wrt_status check_free(const char *operation, const wrt_task *task)
{
    if (task->magic == WRT__TASK_MAGIC && task->self == task &&
        wrt__load_acquire(&task->state) == WRT_TASK_DONE) {
        return wrt_fail(WRT_ERR_STATE, operation, "task is done, and was not joined yet");
    }
    return wrt__task_check_free(operation, task);
}

static wrt_status spawn(const char *operation, wrt__pool *pool, const wrt_wasm_task_config *config,
                        wrt_wasm_task *task)
{
    uint32_t priority = config->priority;

    wrt_status status = wrt__task_priority(operation, pool, &priority);
    if (status == WRT_OK) status = wrt__task_cpus(operation, pool, &config->cpu_affinity);
    if (status == WRT_OK) status = check_config(operation, pool, config);
    if (status == WRT_OK) status = check_free(operation, &task->task);
    if (status != WRT_OK) return status;

    *task = (wrt_wasm_task){
        .turn = {.function_id = config->function_id, .cancel = &task->task.cancel, .pool = pool},
        .args = config->args,
        .results = config->results,
        .args_count = config->args_count,
        .results_count = config->results_count,
        .fuel = config->fuel,
        .has_fuel = config->has_fuel,
        .timeout_ns = config->timeout_ns,
        .outcome = {.id = config->id, .worker = UINT32_MAX}};
    wrt__task_prepare(&task->task, WRT__TASK_WASM, config->priority, &config->cpu_affinity);
    status = wrt__pool_put(operation, pool, &task->task, priority);
    if (status != WRT_OK) *task = (wrt_wasm_task){0};
    return status;
}

wrt_status wrt_thread_pool_spawn_wasm_thread(wrt_thread_pool *pool,
                                             const wrt_wasm_task_config *config,
                                             wrt_wasm_task *task)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    wrt_wasm_task_config known;

    if (parts == NULL) return wrt_error_last()->status;
    if (task == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "task is NULL");
    wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status == WRT_OK) status = spawn(__func__, parts, &known, task);
    if (status == WRT_OK) wrt__pool_announce(parts, 1);
    return status;
}

/* An array of configs has one size, so that none can be of another age. */
static wrt_status check_size(const char *operation, const wrt_wasm_task_config *config)
{
    if (config->struct_size == sizeof *config) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "struct_size is {0}, here it must be {1}", config->struct_size,
                           sizeof *config);
}

wrt_status wrt_thread_pool_spawn_batch(wrt_thread_pool *pool, const wrt_wasm_task_config *configs,
                                       wrt_wasm_task *tasks, uint32_t count, uint32_t *spawned_out)
{
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    wrt_status status = WRT_OK;
    uint32_t spawned = 0;

    if (parts == NULL) return wrt_error_last()->status;
    if (spawned_out == NULL || ((configs == NULL || tasks == NULL) && count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "configs, tasks or spawned_out is NULL");
    }
    while (spawned < count && status == WRT_OK) {
        status = check_size(__func__, &configs[spawned]);
        if (status == WRT_OK) status = spawn(__func__, parts, &configs[spawned], &tasks[spawned]);
        if (status == WRT_OK) spawned++;
    }
    if (spawned != 0) wrt__pool_announce(parts, spawned);
    *spawned_out = spawned;
    return status;
}

/* ---- Join ---- */

wrt_status wrt_wasm_task_join(wrt_wasm_task *task, uint64_t timeout_ns, wrt_cancel_token *cancel,
                              wrt_wasm_outcome *outcome_out)
{
    if (task == NULL || outcome_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "task or outcome_out is NULL");
    }
    return wrt__task_join(__func__, &task->task, timeout_ns, cancel, outcome_out);
}

/* The pool's clock, where it matters when a batch began. */
static wrt_status read_start(const wrt_task *task, uint64_t timeout_ns, uint64_t *start_out)
{
    *start_out = 0;
    if (timeout_ns == 0 || timeout_ns == UINT64_MAX || task->pool == NULL) return WRT_OK;
    const wrt_thread_system *system = &((const wrt__pool *)task->pool)->system;
    return system->ops->now(system->self, start_out);
}

/* What is left of a batch's time. */
static wrt_status read_rest(const wrt_task *task, uint64_t timeout_ns, uint64_t start,
                            uint64_t *rest_out)
{
    uint64_t now;

    *rest_out = timeout_ns;
    if (start == 0) return WRT_OK;
    const wrt_status status = read_start(task, timeout_ns, &now);
    *rest_out = now - start < timeout_ns ? timeout_ns - (now - start) : 0;
    return status;
}

static wrt_status join_batch(const char *operation, wrt_wasm_task *tasks, uint32_t count,
                             uint64_t timeout_ns, wrt_cancel_token *cancel,
                             wrt_wasm_outcome *outcomes_out, uint32_t *joined_out)
{
    uint64_t start;
    uint64_t rest;

    wrt_status status = wrt__task_check(operation, &tasks[0].task);
    if (status == WRT_OK) status = read_start(&tasks[0].task, timeout_ns, &start);
    for (; status == WRT_OK && *joined_out < count; ++*joined_out) {
        wrt_task *task = &tasks[*joined_out].task;
        wrt_wasm_outcome outcome;
        status = read_rest(&tasks[0].task, timeout_ns, start, &rest);
        if (status == WRT_OK) status = wrt__task_join(operation, task, rest, cancel, &outcome);
        if (status != WRT_OK) return status;
        if (outcomes_out != NULL) outcomes_out[*joined_out] = outcome;
    }
    return status;
}

wrt_status wrt_wasm_task_join_batch(wrt_wasm_task *tasks, uint32_t count, uint64_t timeout_ns,
                                    wrt_cancel_token *cancel, wrt_wasm_outcome *outcomes_out,
                                    uint32_t *joined_out)
{
    if (joined_out == NULL || (tasks == NULL && count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "tasks or joined_out is NULL");
    }
    *joined_out = 0;
    if (count == 0) return WRT_OK;
    return join_batch(__func__, tasks, count, timeout_ns, cancel, outcomes_out, joined_out);
}
