/* Thread managers: a pool of their own, modules with accounts (safe_threading_modules.c), and the
 * list of threads that were spawned and not joined. One lock guards list and modules; it is never
 * held while anybody waits for a thread. What a check finds and does is in
 * safe_threading_health.c. */
#include "safe_threading.h"
#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "repeating_thread.h"
#include "threading.h"

enum { NANOSECONDS_IN_MS = 1000000 };

wrt_status wrt__manager_check(const char *operation, const wrt_thread_manager *manager)
{
    if (manager == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "manager is NULL");
    if (manager->magic != WRT__MANAGER_MAGIC) {
        return wrt_fail(WRT_ERR_STATE, operation, "the manager is not initialised");
    }
    if (manager->self != manager) {
        return wrt_fail(WRT_ERR_STATE, operation, "the manager was moved");
    }
    return WRT_OK;
}

bool wrt__managed_has_ended(const wrt_managed_thread *thread)
{
    const uint32_t state = wrt__load_acquire(&thread->task.task.state) & WRT__TASK_STATE;

    return state == WRT_TASK_DONE || state == WRT_TASK_NEW;
}

void wrt__manager_post(wrt_thread_manager *manager, uint32_t kind, const wrt_managed_thread *thread,
                       uint64_t now)
{
    const wrt__module_record *const module = thread->module;
    const wrt_event event = {
        .kind = kind,
        .source = thread->task.outcome.id,
        .time_ns = now,
        .detail = {thread->health, module->info.id},
    };

    if (manager->events == NULL) return;
    if (wrt_events_post(manager->events, &event) != WRT_OK) manager->report.lost_events++;
}

void wrt__manager_note_end(wrt_thread_manager *manager, wrt_managed_thread *thread)
{
    uint64_t now = 0;

    if ((thread->flags & WRT__KILLED) == 0) return;
    thread->flags &= ~(uint32_t)WRT__KILLED;
    if ((thread->flags & WRT__GIVEN_UP) != 0) return;
    manager->report.killed++;
    (void)manager->system.ops->now(manager->system.self, &now);
    wrt__manager_post(manager, WRT_EVENT_THREAD_KILLED, thread, now);
}

static wrt_status check_limits(const char *operation, const wrt_threading_limits *limits)
{
    if (limits->struct_size != sizeof *limits) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "limits.struct_size is {0}, it has {1} bytes", limits->struct_size,
                               sizeof *limits);
    }
    if (!wrt__is_zero(limits->reserved, sizeof limits->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the limits are not 0");
    }
    return WRT_OK;
}

/* Reads config and pool config; the latter as the manager's pool will have it, but for the buffer
 * and the executor. */
static wrt_status read_config(const char *operation, const wrt_thread_manager_config *given,
                              wrt_thread_manager_config *config, wrt_thread_pool_config *threads)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status == WRT_OK) status = check_limits(operation, &config->limits);
    if (status != WRT_OK) return status;
    if (config->module_capacity == 0 || config->module_capacity > WRT_THREAD_MANAGER_MODULE_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "module_capacity is {0}, allowed is 1 to {1}",
                               config->module_capacity, WRT_THREAD_MANAGER_MODULE_MAX);
    }
    if (config->threads == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "threads (the pool's config) is NULL");
    }
    status = wrt__config_read(operation, config->threads, threads, sizeof *threads);
    if (status != WRT_OK) return status;
    threads->struct_size = sizeof *threads;
    threads->events = NULL; /* the manager tells more */
    threads->buffer = NULL;
    threads->buffer_size = 0;
    return WRT_OK;
}

static size_t modules_size(const wrt_thread_manager_config *config)
{
    return config->module_capacity * sizeof(wrt__module_record);
}

wrt_status wrt_thread_manager_layout(const wrt_thread_manager_config *config,
                                     wrt_layout *layout_out)
{
    wrt_thread_manager_config known;
    wrt_thread_pool_config threads;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    wrt_status status = read_config(__func__, config, &known, &threads);
    if (status == WRT_OK) status = wrt_thread_pool_layout(&threads, layout_out);
    if (status == WRT_OK) layout_out->bytes += modules_size(&known);
    return status;
}

static uint64_t or_default(uint64_t nanoseconds, uint64_t default_ms)
{
    return nanoseconds != 0 ? nanoseconds : default_ms * NANOSECONDS_IN_MS;
}

static wrt_status check_parts(const char *operation, const wrt_thread_manager_config *config,
                              const wrt_thread_pool_config *threads)
{
    if (threads->system.ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "threads.system is all zero");
    }
    if (threads->executor.ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "threads.executor is all zero: it finds the functions that threads run");
    }
    if (config->buffer == NULL || (uintptr_t)config->buffer % 8 != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not aligned to 8 bytes");
    }
    if (config->buffer_size < modules_size(config)) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "buffer has {0} bytes, the modules alone need {1}: see "
                               "wrt_thread_manager_layout()",
                               config->buffer_size, modules_size(config));
    }
    return WRT_OK;
}

static wrt_status init_account(wrt_thread_manager *manager, wrt_memory_account *parent)
{
    const wrt_memory_account_config config = {
        .struct_size = sizeof config,
        .parent = parent,
        .name = "threads",
        .system = parent == NULL ? manager->system : (wrt_thread_system){0},
    };

    return wrt_memory_account_init(&manager->account, &config);
}

static wrt_status init_locks(wrt_thread_manager *manager)
{
    wrt_status status = wrt__guard_init(&manager->system, &manager->lock);
    if (status != WRT_OK) return status;
    status = wrt__guard_init(&manager->system, &manager->killing);
    if (status != WRT_OK) (void)wrt__guard_deinit(&manager->system, &manager->lock);
    return status;
}

static void deinit_locks(wrt_thread_manager *manager)
{
    (void)wrt__guard_deinit(&manager->system, &manager->killing);
    (void)wrt__guard_deinit(&manager->system, &manager->lock);
}

static wrt_status init_parts(wrt_thread_manager *manager, const wrt_thread_manager_config *config,
                             wrt_thread_pool_config *threads)
{
    wrt_status status = init_locks(manager);
    if (status != WRT_OK) return status;
    status = init_account(manager, config->account);
    if (status == WRT_OK) {
        manager->modules = config->buffer;
        for (uint32_t i = 0; i < config->module_capacity; i++)
            wrt__manager_modules(manager)[i].is_known = 0;
        threads->executor = wrt__managed_executor(manager);
        threads->buffer = (uint8_t *)config->buffer + modules_size(config);
        threads->buffer_size = config->buffer_size - modules_size(config);
        status = wrt_thread_pool_init(&manager->pool, threads);
        if (status == WRT_OK) return status;
        const wrt_status undone = wrt_memory_account_deinit(&manager->account);
        (void)undone;
    }
    deinit_locks(manager);
    return status;
}

wrt_status wrt_thread_manager_init(wrt_thread_manager *manager,
                                   const wrt_thread_manager_config *config)
{
    wrt_thread_manager_config known;
    wrt_thread_pool_config threads;

    if (manager == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "manager is NULL");
    wrt_status status = read_config(__func__, config, &known, &threads);
    if (status == WRT_OK) status = check_parts(__func__, &known, &threads);
    if (status != WRT_OK) return status;

    const wrt_thread_manager before = *manager; /* locks are made in place */
    *manager = (wrt_thread_manager){
        .self = manager,
        .system = threads.system,
        .executor = threads.executor,
        .limits = known.limits,
        .events = known.events,
        .response_timeout_ns =
            or_default(known.response_timeout_ns, WRT_THREAD_MANAGER_RESPONSE_TIMEOUT_DEFAULT_MS),
        .kill_timeout_ns =
            or_default(known.kill_timeout_ns, WRT_THREAD_MANAGER_KILL_TIMEOUT_DEFAULT_MS),
        .check_interval_ns =
            or_default(known.check_interval_ns, WRT_THREAD_MANAGER_CHECK_INTERVAL_DEFAULT_MS),
        .module_capacity = known.module_capacity,
        .magic = WRT__MANAGER_MAGIC,
    };
    status = init_parts(manager, &known, &threads);
    if (status != WRT_OK) *manager = before;
    return status;
}

static bool is_listed(const wrt_thread_manager *manager, const wrt_managed_thread *thread)
{
    const wrt_managed_thread *listed = manager->first;

    while (listed != NULL && listed != thread) listed = listed->next;
    return listed != NULL;
}

/* Threads that have not ended; of one module, or (NULL) of all. */
static uint32_t count_threads(const wrt_thread_manager *manager, const wrt__module_record *module)
{
    uint32_t count = 0;

    for (const wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if (module != NULL && thread->module != module) continue;
        if (!wrt__managed_has_ended(thread)) count++;
    }
    return count;
}

static wrt_status check_room(wrt_thread_manager *manager, const char *operation,
                             const wrt__module_record *module)
{
    const uint64_t of_module =
        wrt__stricter(module->info.max_threads, manager->limits.max_threads_per_module);
    const uint64_t of_all = manager->limits.max_total_threads;
    const uint32_t here = of_module != 0 ? count_threads(manager, module) : 0;
    const uint32_t everywhere = of_all != 0 ? count_threads(manager, NULL) : 0;

    if (of_module != 0 && here >= of_module) {
        manager->report.refused++;
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "the module has {0} threads, allowed are {1}", here, of_module);
    }
    if (of_all != 0 && everywhere >= of_all) {
        manager->report.refused++;
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "all modules have {0} threads together, allowed are {1}", everywhere,
                               of_all);
    }
    return WRT_OK;
}

/* The lock is held. What the worker needs is there before the task is. */
static wrt_status start_thread(wrt_thread_manager *manager, wrt__module_record *module,
                               const wrt_wasm_task_config *config, wrt_managed_thread *thread)
{
    void *const module_before = thread->module;
    const wrt_counted_allocator pages_before = thread->pages;

    wrt_status status = wrt__managed_pages_init(thread, module);
    if (status != WRT_OK) return status;
    thread->module = module;
    status = wrt_thread_pool_spawn_wasm_thread(&manager->pool, config, &thread->task);
    if (status != WRT_OK) {
        const wrt_status undone = wrt_counted_allocator_deinit(&thread->pages);
        (void)undone;
        thread->module = module_before;
        thread->pages = pages_before;
        return status;
    }
    thread->manager = manager;
    thread->flags = 0;
    thread->health = WRT_THREAD_HEALTHY;
    thread->heartbeat = 0;
    thread->changed_ns = 0;
    thread->next = manager->first;
    manager->first = thread;
    manager->report.spawned++;
    return WRT_OK;
}

/* The lock is held. */
static wrt_status spawn(wrt_thread_manager *manager, const char *operation, uint32_t module_id,
                        wrt_wasm_task_config *config, wrt_managed_thread *thread)
{
    wrt__module_record *const module = wrt__manager_module(manager, module_id);

    if (module == NULL) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation,
                               "no module {0} is registered; wrt_thread_manager_register_module() "
                               "comes first",
                               module_id, 0);
    }
    if (is_listed(manager, thread)) {
        return wrt_fail(WRT_ERR_STATE, operation, "the thread was spawned and not joined");
    }
    const wrt_status status = check_room(manager, operation, module);
    if (status != WRT_OK) return status;
    if (config->priority == WRT_THREAD_PRIORITY_DEFAULT) {
        config->priority = module->info.default_priority;
    }
    return start_thread(manager, module, config, thread);
}

wrt_status wrt_thread_manager_spawn(wrt_thread_manager *manager, uint32_t module_id,
                                    const wrt_wasm_task_config *config, wrt_managed_thread *thread)
{
    wrt_wasm_task_config known;

    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "thread is NULL");
    status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    known.struct_size = sizeof known;
    status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    status = spawn(manager, __func__, module_id, &known, thread);
    wrt__manager_leave(manager);
    return status;
}

/* Takes a thread that has ended out of the list. It keeps its manager: somebody else who joins the
 * same thread may be reading it, and learns from the task that he is too late. The lock is held. */
static void forget(wrt_thread_manager *manager, wrt_managed_thread *thread)
{
    wrt_managed_thread **place = &manager->first;

    while (*place != NULL && *place != thread) place = &(*place)->next;
    if (*place == NULL) return;
    *place = thread->next;
    wrt__manager_note_end(manager, thread);
    const wrt_status released = wrt_counted_allocator_deinit(&thread->pages);
    (void)released; /* its instance is gone, so nothing is out */
}

wrt_status wrt_managed_thread_join(wrt_managed_thread *thread, uint64_t timeout_ns,
                                   wrt_cancel_token *cancel, wrt_wasm_outcome *outcome_out,
                                   uint32_t *health_out)
{
    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "thread is NULL");
    wrt_thread_manager *const manager = thread->manager;
    if (manager == NULL) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the thread was never spawned, or joined already");
    }
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    status = wrt_wasm_task_join(&thread->task, timeout_ns, cancel, outcome_out);
    if (status != WRT_OK) return status;
    status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    forget(manager, thread);
    wrt__manager_leave(manager);
    if (health_out != NULL) *health_out = thread->health;
    return WRT_OK;
}

wrt_status wrt_managed_thread_kill(wrt_managed_thread *thread)
{
    if (thread == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "thread is NULL");
    if (thread->manager == NULL) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the thread was never spawned, or joined already");
    }
    return wrt_task_cancel(&thread->task.task);
}

wrt_status wrt_thread_manager_query(wrt_thread_manager *manager,
                                    wrt_thread_manager_report *report_out)
{
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    *report_out = manager->report;
    report_out->thread_count = count_threads(manager, NULL);
    for (const wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        const bool is_out = (thread->flags & WRT__GIVEN_UP) != 0 && !wrt__managed_has_ended(thread);
        report_out->poisoned += is_out ? 1 : 0;
    }
    wrt__manager_leave(manager);
    report_out->is_running = wrt__repeating_runs(&manager->monitor);
    return wrt_thread_pool_query(&manager->pool, &report_out->pool);
}

/* Gives up what still runs after a shutdown that has timed out. The lock is held. */
static void give_up_all(wrt_thread_manager *manager)
{
    for (wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if (wrt__managed_has_ended(thread)) continue;
        const wrt_status status = wrt_task_give_up(&thread->task.task, NULL);
        if (status == WRT_OK) {
            thread->flags |= WRT__GIVEN_UP;
            manager->report.given_up++;
        }
    }
}

wrt_status wrt_thread_manager_shutdown(wrt_thread_manager *manager, uint32_t mode,
                                       uint64_t timeout_ns)
{
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    status = wrt__repeating_stop(&manager->monitor, __func__, &manager->system, timeout_ns);
    if (status != WRT_OK) return status;
    status = wrt_thread_pool_shutdown(&manager->pool, mode, timeout_ns, NULL);
    if (status != WRT_ERR_TIMED_OUT || mode != WRT_SHUTDOWN_CANCEL) return status;
    if (wrt__manager_enter(manager) == WRT_OK) {
        give_up_all(manager);
        wrt__manager_leave(manager);
    }
    return wrt_thread_pool_shutdown(&manager->pool, mode, timeout_ns, NULL);
}

wrt_status wrt_thread_manager_deinit(wrt_thread_manager *manager)
{
    if (manager == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "manager is NULL");
    if (manager->magic == 0) return WRT_OK;
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    if (wrt__repeating_runs(&manager->monitor)) {
        return wrt_fail(WRT_ERR_STATE, __func__,
                        "the monitor thread runs: wrt_thread_manager_shutdown() comes first");
    }
    status = wrt_thread_pool_deinit(&manager->pool);
    if (status != WRT_OK) return status;
    while (manager->first != NULL) {
        manager->first->manager = NULL;
        forget(manager, manager->first);
    }
    for (uint32_t i = 0; i < manager->module_capacity; i++) {
        if (wrt__manager_modules(manager)[i].is_known == 0) continue;
        status = wrt_memory_account_deinit(&wrt__manager_modules(manager)[i].account);
        if (status != WRT_OK) return status;
        wrt__manager_modules(manager)[i].is_known = 0;
    }
    status = wrt_memory_account_deinit(&manager->account);
    if (status != WRT_OK) return status;
    deinit_locks(manager);
    *manager = (wrt_thread_manager){0};
    return WRT_OK;
}
