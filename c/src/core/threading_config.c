/* What a thread pool is made of, and where its parts lie in the buffer. */
#include "threading.h"

#include "bits.h"
#include "config.h"
#include "fail.h"

enum { LEAST_CAPACITY = 2 };

_Static_assert((int)WRT_THREAD_POOL_THREAD_MAX < (int)WRT__NOBODY, "an index is not WRT__NOBODY");
_Static_assert(WRT_THREAD_POOL_QUEUE_MAX <= UINT32_C(1) << 30, "as wrt__queue_init() wants it");

static uint32_t round_up_to_power_of_two(uint32_t value)
{
    uint32_t power = LEAST_CAPACITY;

    while (power < value) power <<= 1;
    return power;
}

static wrt_status check_range(const char *operation, uint32_t range[2])
{
    if (range[0] == 0 && range[1] == 0) {
        range[0] = WRT_THREAD_PRIORITY_LOW;
        range[1] = WRT_THREAD_PRIORITY_HIGH;
    }
    if (range[0] >= WRT_THREAD_PRIORITY_LOW && range[0] <= range[1] &&
        range[1] <= WRT_THREAD_PRIORITY_REALTIME) {
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "priority_range is {0} to {1}: lowest and highest of "
                           "wrt_thread_priority, DEFAULT aside",
                           range[0], range[1]);
}

static wrt_status check_numbers(const char *operation, wrt_thread_pool_config *config)
{
    const uint32_t limit = WRT_THREAD_POOL_THREAD_MAX;

    if (config->max_threads < 1 || config->max_threads > limit ||
        config->spare_threads > limit - config->max_threads) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "max_threads is {0} and spare_threads {1}; at least 1, and no more "
                               "than 256 together",
                               config->max_threads, config->spare_threads);
    }
    if (config->queue_capacity > WRT_THREAD_POOL_QUEUE_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "queue_capacity is {0}, more than {1}", config->queue_capacity,
                               WRT_THREAD_POOL_QUEUE_MAX);
    }
    if (config->spin > WRT_THREAD_POOL_SPIN_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "spin is {0}, more than {1}",
                               config->spin, WRT_THREAD_POOL_SPIN_MAX);
    }
    return WRT_OK;
}

wrt_status wrt__pool_config(const char *operation, const wrt_thread_pool_config *given,
                            wrt_thread_pool_config *config)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = check_range(operation, config->priority_range);
    if (status == WRT_OK) status = check_numbers(operation, config);
    if (status != WRT_OK) return status;
    if (config->memory_limit_per_thread != 0 && config->page_allocator.ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "memory_limit_per_thread is set, and there is no page_allocator that it "
                        "could limit");
    }
    if (config->queue_capacity == 0) config->queue_capacity = WRT_THREAD_POOL_QUEUE_DEFAULT;
    config->queue_capacity = round_up_to_power_of_two(config->queue_capacity);
    return WRT_OK;
}

/* ---- The buffer ---- */

static size_t to_line(size_t bytes)
{
    return (bytes + WRT__CACHE_LINE - 1) & ~(size_t)(WRT__CACHE_LINE - 1);
}

static size_t worker_bytes(void)
{
    return to_line(sizeof(wrt__worker));
}

static size_t queue_bytes(uint32_t capacity)
{
    return to_line(wrt__queue_bytes(capacity, sizeof(wrt__queue_cell)));
}

/* With what it takes to begin on a line. */
static size_t bytes_needed(const wrt_thread_pool_config *config)
{
    const size_t workers = config->max_threads + config->spare_threads;

    return WRT__CACHE_LINE + to_line(sizeof(wrt__pool)) + workers * worker_bytes() +
           WRT_THREAD_POOL_PRIORITIES * queue_bytes(config->queue_capacity);
}

wrt_status wrt_thread_pool_layout(const wrt_thread_pool_config *config, wrt_layout *layout_out)
{
    wrt_thread_pool_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = wrt__pool_config(__func__, config, &known);
    if (status == WRT_OK) {
        *layout_out = (wrt_layout){bytes_needed(&known), WRT_THREAD_POOL_BUFFER_ALIGNMENT};
    }
    return status;
}

wrt_status wrt__pool_check_buffer(const char *operation, const wrt_thread_pool_config *config)
{
    const size_t bytes = bytes_needed(config);

    if (config->buffer == NULL ||
        (uintptr_t)config->buffer % WRT_THREAD_POOL_BUFFER_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not 8-byte aligned");
    }
    if (config->buffer_size < bytes) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "buffer has {0} bytes, the pool needs {1}", config->buffer_size,
                               bytes);
    }
    return WRT_OK;
}

wrt__worker *wrt__pool_worker(const wrt__pool *pool, uint32_t index)
{
    uint8_t *bytes = (uint8_t *)pool->workers;

    return (wrt__worker *)(void *)(bytes + index * worker_bytes());
}

wrt__pool *wrt__pool_place(const wrt_thread_pool_config *config)
{
    const uintptr_t unaligned = (uintptr_t)config->buffer;
    uint8_t *bytes = (uint8_t *)config->buffer + (to_line(unaligned) - unaligned);
    wrt__pool *pool = (wrt__pool *)(void *)bytes;

    *pool = (wrt__pool){.worker_count = config->max_threads + config->spare_threads};
    bytes += to_line(sizeof *pool);
    pool->workers = (wrt__worker *)(void *)bytes;
    bytes += pool->worker_count * worker_bytes();
    for (uint32_t i = 0; i < WRT_THREAD_POOL_PRIORITIES; i++) {
        wrt__queue_init(&pool->queues[i], bytes, config->queue_capacity, sizeof(wrt__queue_cell));
        bytes += queue_bytes(config->queue_capacity);
    }
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        *wrt__pool_worker(pool, i) = (wrt__worker){.pool = pool, .index = i};
    }
    return pool;
}

/* ---- What tasks ask for ---- */

static uint32_t within(uint32_t value, uint32_t lowest, uint32_t highest)
{
    if (value < lowest) return lowest;
    return value > highest ? highest : value;
}

wrt_status wrt__task_priority(const char *operation, const wrt__pool *pool, uint32_t *priority)
{
    if (*priority == WRT_THREAD_PRIORITY_DEFAULT) {
        *priority = within(WRT_THREAD_PRIORITY_NORMAL, pool->lowest, pool->highest);
    }
    if (*priority >= pool->lowest && *priority <= pool->highest) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "the task's priority is {0}, the pool's priority_range ends at {1}",
                           *priority, *priority < pool->lowest ? pool->lowest : pool->highest);
}

wrt_status wrt__task_cpus(const char *operation, const wrt__pool *pool, const wrt_cpu_set *cpus)
{
    if (!pool->has_cpus || wrt__cpus_are_any(cpus)) return WRT_OK;
    for (size_t i = 0; i < sizeof cpus->words / sizeof cpus->words[0]; i++) {
        const uint64_t strange = cpus->words[i] & ~pool->cpus.words[i];
        if (strange == 0) continue;
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "cpu_affinity of the task has CPUs that the pool has not: bits {0} "
                               "of word {1}",
                               strange, i);
    }
    return WRT_OK;
}
