/* A row of sandboxes that are sealed and wait. The row is filled when its owner says so: no thread
 * of this library works behind anybody's back. */
#include "state.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../linux/fork.h"

enum { POOL_MAGIC = 0x53425831 };

static wrt_status read_config(const char *operation, const wrt_sandbox_pool_config *given,
                              wrt_sandbox_pool_config *config_out)
{
    wrt__sandbox_plan plan;

    wrt_status status = wrt__config_read(operation, given, config_out, sizeof *config_out);
    if (status == WRT_OK) status = wrt__sandbox_make_plan(operation, &config_out->sandbox, &plan);
    if (status != WRT_OK) return status;
    config_out->sandbox = plan.config;
    config_out->sandbox.struct_size = sizeof plan.config;
    if (config_out->ready >= 1 && config_out->ready <= WRT_SANDBOX_POOL_MAX) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "ready is {0}, not 1 to {1}",
                           config_out->ready, WRT_SANDBOX_POOL_MAX);
}

wrt_status wrt_sandbox_pool_layout(const wrt_sandbox_pool_config *config, wrt_layout *layout_out)
{
    wrt_sandbox_pool_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) {
        *layout_out = (wrt_layout){known.ready * sizeof(wrt_sandbox), _Alignof(wrt_sandbox)};
    }
    return status;
}

static wrt_status check_buffer(const char *operation, const wrt_sandbox_pool_config *config)
{
    const size_t wanted = config->ready * sizeof(wrt_sandbox);

    if (config->buffer == NULL || (uintptr_t)config->buffer % _Alignof(wrt_sandbox) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not 8-byte aligned");
    }
    if (config->buffer_size >= wanted) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation, "buffer has {0} bytes, {1} are needed",
                           config->buffer_size, wanted);
}

static void end_all(wrt_sandbox_pool *pool)
{
    wrt_sandbox *const ready = pool->ready;

    while (pool->ready_count > 0) {
        pool->ready_count--;
        const wrt_status status = wrt_sandbox_deinit(&ready[pool->ready_count]);
        (void)status; /* nothing serves it */
    }
}

static wrt_status fill(wrt_sandbox_pool *pool)
{
    wrt_sandbox *const ready = pool->ready;
    wrt_status status = WRT_OK;

    while (status == WRT_OK && pool->ready_count < pool->wanted) {
        status = wrt_sandbox_init(&ready[pool->ready_count], &pool->config);
        if (status == WRT_OK) pool->ready_count++;
    }
    return status;
}

static wrt_status check_pool(const char *operation, const wrt_sandbox_pool *pool)
{
    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pool is NULL");
    if (pool->magic != POOL_MAGIC) {
        return wrt_fail(WRT_ERR_STATE, operation, "the pool is not initialised");
    }
    if (pool->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation, "the pool belongs to the parent process");
    }
    return WRT_OK;
}

wrt_status wrt_sandbox_pool_init(wrt_sandbox_pool *pool, const wrt_sandbox_pool_config *config)
{
    wrt_sandbox_pool_config known;

    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = check_buffer(__func__, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    wrt_sandbox_pool made = {.ready = known.buffer,
                             .config = known.sandbox,
                             .wanted = known.ready,
                             .fork_generation = wrt__fork_generation(),
                             .magic = POOL_MAGIC};
    status = fill(&made);
    if (status != WRT_OK) {
        end_all(&made);
        return status;
    }
    *pool = made;
    return WRT_OK;
}

/* One that has died while it waited is not handed out. */
static bool is_alive(wrt_sandbox *sandbox)
{
    wrt_sandbox_report report;

    return wrt_sandbox_query(sandbox, &report) == WRT_OK && report.end == WRT_SANDBOX_RUNS;
}

wrt_status wrt_sandbox_pool_take(wrt_sandbox_pool *pool, wrt_sandbox *sandbox_out)
{
    if (sandbox_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "sandbox_out is NULL");
    }
    wrt_status status = check_pool(__func__, pool);
    if (status != WRT_OK) return status;
    wrt_sandbox *const ready = pool->ready;
    while (pool->ready_count > 0) {
        wrt_sandbox *const next = &ready[--pool->ready_count];
        if (is_alive(next)) {
            *sandbox_out = *next;
            *next = (wrt_sandbox){0};
            pool->taken++;
            return WRT_OK;
        }
        pool->replaced++;
        status = wrt_sandbox_deinit(next);
        if (status != WRT_OK) return status;
    }
    status = wrt_sandbox_init(sandbox_out, &pool->config);
    if (status != WRT_OK) return status;
    pool->taken++;
    pool->missed++;
    return WRT_OK;
}

wrt_status wrt_sandbox_pool_fill(wrt_sandbox_pool *pool)
{
    const wrt_status status = check_pool(__func__, pool);

    return status == WRT_OK ? fill(pool) : status;
}

wrt_status wrt_sandbox_pool_query(const wrt_sandbox_pool *pool, wrt_sandbox_pool_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check_pool(__func__, pool);
    if (status != WRT_OK) return status;
    *report_out = (wrt_sandbox_pool_report){pool->ready_count, pool->wanted, pool->taken,
                                            pool->missed, pool->replaced};
    return WRT_OK;
}

wrt_status wrt_sandbox_pool_deinit(wrt_sandbox_pool *pool)
{
    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    if (pool->magic != POOL_MAGIC) return WRT_OK;
    end_all(pool);
    *pool = (wrt_sandbox_pool){0};
    return WRT_OK;
}
