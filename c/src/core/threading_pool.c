/* A pool as a whole: made, and taken apart. */
#include "threading.h"

#include "fail.h"

static const char default_prefix[] = "wrt-worker";

/* The counted view of one worker. */
static wrt_status give_view(wrt__pool *pool, wrt__worker *worker)
{
    const wrt_memory_account_config account = {
        .struct_size = sizeof account, .maximum = pool->memory_limit, .system = pool->system};
    const wrt_counted_allocator_config view = {.struct_size = sizeof view,
                                               .inner = {&wrt__shared_pages_ops, &pool->pages},
                                               .account = &worker->account};

    const wrt_status status = wrt_memory_account_init(&worker->account, &account);
    if (status != WRT_OK) return status;
    return wrt_counted_allocator_init(&worker->view, &view);
}

/* ---- Init ---- */

static void copy_prefix(wrt__pool *pool, const char *prefix)
{
    if (prefix == NULL) prefix = default_prefix;
    for (size_t i = 0; i + 1 < sizeof pool->name_prefix && prefix[i] != '\0'; i++) {
        pool->name_prefix[i] = prefix[i];
    }
}

static uint32_t count_bits(uint64_t word)
{
    uint32_t count = 0;

    for (; word != 0; word &= word - 1) count++;
    return count;
}

/* True if two threads can run at once, as far as the caller's own CPUs show. */
static bool has_two_cpus(const wrt_thread_system *system)
{
    wrt_thread_report report;
    uint32_t count = 0;

    if (system->ops->query(system->self, NULL, &report) != WRT_OK) return false;
    for (size_t i = 0; i < sizeof report.cpus.words / sizeof report.cpus.words[0]; i++) {
        count += count_bits(report.cpus.words[i]);
    }
    return count >= 2;
}

static uint32_t choose_spin(const wrt_thread_pool_config *config)
{
    if (config->spin == WRT_THREAD_POOL_SPIN_NONE) return 0;
    if (config->spin != WRT_THREAD_POOL_SPIN_AUTOMATIC) return config->spin;
    return has_two_cpus(&config->system) ? WRT_THREAD_POOL_SPIN_DEFAULT : 0;
}

static wrt__pool *make(const wrt_thread_pool_config *config)
{
    wrt__pool *pool = wrt__pool_place(config);

    pool->system = config->system;
    pool->lowest = config->priority_range[0];
    pool->highest = config->priority_range[1];
    pool->cpus = config->cpu_affinity;
    pool->has_cpus = !wrt__cpus_are_any(&config->cpu_affinity);
    pool->spin = choose_spin(config);
    pool->executor = config->executor;
    pool->events = config->events;
    pool->pages.inner = config->page_allocator;
    pool->pages.system = config->system;
    pool->stack_size = config->stack_size;
    pool->memory_limit = config->memory_limit_per_thread;
    pool->max_threads = config->max_threads;
    pool->require_priority = config->require_priority;
    copy_prefix(pool, config->name_prefix);
    return pool;
}

static void drop_views(wrt__pool *pool)
{
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(pool, i);
        wrt_status dropped = wrt_counted_allocator_deinit(&worker->view);
        if (dropped == WRT_OK) dropped = wrt_memory_account_deinit(&worker->account);
        (void)dropped; /* nothing of an instance is out: all workers have ended */
    }
}

static wrt_status give_views(wrt__pool *pool)
{
    wrt_status status = WRT_OK;

    if (pool->pages.inner.ops == NULL) return WRT_OK;
    for (uint32_t i = 0; i < pool->worker_count && status == WRT_OK; i++) {
        status = give_view(pool, wrt__pool_worker(pool, i));
    }
    return status;
}

static void stop_started(wrt__pool *pool)
{
    wrt__store_ordered(&pool->stop, WRT__CANCELS);
    (void)wrt__add(&pool->epoch, 1);
    pool->system.ops->wake(pool->system.self, &pool->epoch, UINT32_MAX);
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        wrt__worker *worker = wrt__pool_worker(pool, i);
        if (worker->is_joinable == 0) continue;
        const wrt_status ended =
            pool->system.ops->join(pool->system.self, &worker->thread, UINT64_MAX);
        (void)ended;
        worker->is_joinable = 0;
    }
}

static wrt_status start_workers(wrt__pool *pool)
{
    wrt_status status = WRT_OK;

    for (uint32_t i = 0; i < pool->max_threads && status == WRT_OK; i++) {
        status = wrt__worker_start(wrt__pool_worker(pool, i));
    }
    if (status == WRT_OK) return WRT_OK;
    const wrt_error why = *wrt_error_last();
    stop_started(pool);
    return wrt_fail_again(&why);
}

static void drop_locks(wrt__pool *pool)
{
    const wrt_thread_system *system = &pool->system;
    wrt_status dropped = system->ops->lock_deinit(system->self, &pool->lock);

    if (dropped == WRT_OK) dropped = system->ops->lock_deinit(system->self, &pool->pages.lock);
    (void)dropped; /* nobody holds them */
}

static wrt_status make_locks(wrt__pool *pool)
{
    const wrt_thread_system *system = &pool->system;
    const wrt_status status = system->ops->lock_init(system->self, &pool->lock);

    if (status != WRT_OK) return status;
    const wrt_status second = system->ops->lock_init(system->self, &pool->pages.lock);
    if (second == WRT_OK) return WRT_OK;
    const wrt_status dropped = system->ops->lock_deinit(system->self, &pool->lock);
    (void)dropped;
    return second;
}

wrt_status wrt_thread_pool_init(wrt_thread_pool *pool, const wrt_thread_pool_config *config)
{
    wrt_thread_pool_config known;

    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    wrt_status status = wrt__pool_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    if (known.system.ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "system is all zero");
    }
    status = wrt__pool_check_buffer(__func__, &known);
    if (status != WRT_OK) return status;

    wrt__pool *parts = make(&known);
    status = make_locks(parts);
    if (status != WRT_OK) return status;
    status = give_views(parts);
    if (status == WRT_OK) status = wrt__pool_probe(__func__, parts);
    if (status == WRT_OK) status = start_workers(parts);
    if (status != WRT_OK) {
        drop_views(parts);
        drop_locks(parts);
        return status;
    }
    *pool = (wrt_thread_pool){.self = pool, .parts = parts, .magic = WRT__POOL_MAGIC};
    return WRT_OK;
}

/* ---- Deinit ---- */

wrt_status wrt_thread_pool_deinit(wrt_thread_pool *pool)
{
    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    if (pool->magic == 0) return WRT_OK;
    wrt__pool *parts = wrt__pool_of(pool, __func__);
    if (parts == NULL) return wrt_error_last()->status;
    for (uint32_t i = 0; i < parts->worker_count; i++) {
        if (wrt__pool_worker(parts, i)->is_joinable == 0) continue;
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "worker {0} has not ended: wrt_thread_pool_shutdown() first", i, 0);
    }
    const uint32_t lost = wrt__load_acquire(&parts->lost);
    if (lost != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "{0} threads that were given up can still reach the buffer", lost,
                               0);
    }
    wrt__pool_sweep(parts);
    drop_views(parts);
    drop_locks(parts);
    *pool = (wrt_thread_pool){0};
    return WRT_OK;
}
