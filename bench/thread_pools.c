/* Times a pool of one worker: what a task costs from submit to the end of all, what the submit
 * alone costs while the worker is held, and there and back. All wait for the last task first, as
 * the peers do who wait for all at once, and take the outcomes of the others then.
 * "<name> <nanoseconds>" a line; the shortest of some rounds. */
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/threading.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS = 500, ROUNDS = 200 };

static wrt_linux_thread_system threads;
static wrt_thread_pool pool;
static wrt_task tasks[TASKS];
static wrt_task *all[TASKS];
static unsigned sum;
static wrt_task holder;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void must(wrt_status status)
{
    if (status == WRT_OK) return;
    fprintf(stderr, "%s: %s\n", wrt_error_last()->operation, wrt_error_last()->reason);
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static wrt_status work(void *context)
{
    *(unsigned *)context += 1;
    return WRT_OK;
}

static wrt_status hold(void *context)
{
    pthread_mutex_lock(context);
    pthread_mutex_unlock(context);
    return WRT_OK;
}

static void join_all(void)
{
    for (int i = TASKS; i-- > 0;) must(wrt_task_join(&tasks[i], UINT64_MAX, NULL, NULL));
}

static void submit_all(void)
{
    for (int i = 0; i < TASKS; i++) must(wrt_thread_pool_submit(&pool, &tasks[i]));
}

static void one_by_one(void)
{
    submit_all();
    join_all();
}

static void at_once(void)
{
    uint32_t submitted;

    must(wrt_thread_pool_submit_batch(&pool, all, TASKS, &submitted));
    join_all();
}

static void there_and_back(void)
{
    for (int i = 0; i < TASKS; i++) {
        must(wrt_thread_pool_submit(&pool, &tasks[i]));
        must(wrt_task_join(&tasks[i], UINT64_MAX, NULL, NULL));
    }
}

static double timed(void (*measured)(void))
{
    const double start = now();

    measured();
    return now() - start;
}

/* The submits alone, while the worker waits at the gate. */
static double held(void)
{
    wrt_task_report where = {0};

    pthread_mutex_lock(&gate);
    must(wrt_thread_pool_submit(&pool, &holder));
    while (where.state != WRT_TASK_RUNNING) must(wrt_task_query(&holder, &where));
    const double taken = timed(submit_all);
    pthread_mutex_unlock(&gate);
    join_all();
    must(wrt_task_join(&holder, UINT64_MAX, NULL, NULL));
    return taken;
}

static double run_one_by_one(void)
{
    return timed(one_by_one);
}

static double run_at_once(void)
{
    return timed(at_once);
}

static double run_there_and_back(void)
{
    return timed(there_and_back);
}

static void report(const char *name, double (*round)(void))
{
    double best = 1e18;

    for (int i = 0; i < ROUNDS; i++) {
        const double taken = round();
        if (taken < best) best = taken;
    }
    printf("%s %.1f\n", name, best / TASKS);
}

int main(void)
{
    const wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    const wrt_task_config task = {.struct_size = sizeof task, .run = work, .context = &sum};
    const wrt_task_config gated = {.struct_size = sizeof gated, .run = hold, .context = &gate};
    wrt_thread_pool_config config = {
        .struct_size = sizeof config, .max_threads = 1, .queue_capacity = TASKS};
    wrt_layout layout;

    must(wrt_linux_thread_system_init(&threads, &system));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_thread_pool_layout(&config, &layout));
    config.buffer = calloc(layout.bytes / 8 + 1, 8);
    config.buffer_size = layout.bytes;
    must(wrt_thread_pool_init(&pool, &config));
    for (int i = 0; i < TASKS; i++) {
        must(wrt_task_init(&tasks[i], &task));
        all[i] = &tasks[i];
    }
    must(wrt_task_init(&holder, &gated));
    report("submit", run_one_by_one);
    report("batch", run_at_once);
    report("held", held);
    report("round_trip", run_there_and_back);
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL));
    must(wrt_thread_pool_deinit(&pool));
    return sum == 0;
}
