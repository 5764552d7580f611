/* Whether a worker may change its priority, and come back. A thread without the permission may give
 * way, but never go up again: it would serve all later tasks at the lowest priority it ever had. So
 * a thread of its own tries it, once a pool. */
#include "threading.h"

#include "fail.h"

typedef struct probe {
    const wrt__pool *pool;
    wrt_status comes_back; /* from the lowest priority to where it began */
    wrt_status reaches;    /* the highest */
    wrt_error error;
} probe;

uint32_t wrt__pool_start_priority(const wrt__pool *pool)
{
    uint32_t priority = WRT_THREAD_PRIORITY_DEFAULT;
    const wrt_status within_range = wrt__task_priority(__func__, pool, &priority);

    (void)within_range; /* the default always is */
    return priority;
}

static wrt_status try_priority(probe *made, uint32_t priority)
{
    const wrt_thread_system *system = &made->pool->system;
    const wrt_status status = system->ops->set_priority(system->self, priority);

    if (status != WRT_OK) made->error = *wrt_error_last();
    return status;
}

static void run_probe(void *context)
{
    probe *made = context;

    made->reaches = try_priority(made, made->pool->highest);
    made->comes_back = try_priority(made, made->pool->lowest);
    if (made->comes_back == WRT_OK) {
        made->comes_back = try_priority(made, wrt__pool_start_priority(made->pool));
    }
}

wrt_status wrt__pool_probe(const char *operation, wrt__pool *pool)
{
    probe made = {.pool = pool};
    wrt_thread thread;
    const wrt_thread_config config = {.struct_size = sizeof config,
                                      .priority = wrt__pool_start_priority(pool),
                                      .entry = run_probe,
                                      .context = &made,
                                      .require_priority = pool->require_priority != 0};

    if (pool->lowest == pool->highest) return WRT_OK;
    wrt_status status = pool->system.ops->start(pool->system.self, &thread, &config);
    if (status == WRT_OK) status = pool->system.ops->join(pool->system.self, &thread, UINT64_MAX);
    if (status != WRT_OK) return status;
    pool->keeps_priority = made.comes_back != WRT_OK;
    if (pool->require_priority == 0) return WRT_OK;
    if (made.reaches == WRT_OK && made.comes_back == WRT_OK) return WRT_OK;
    return wrt_fail_system(made.error.status, operation, made.error.reason, made.error.os_code,
                           made.error.detail[0], made.error.detail[1]);
}
