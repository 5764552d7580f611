/* Times a pool of one worker: what a task costs from submit to the end of all, and there and back.
 * "<name> <nanoseconds>" a line; the shortest of some rounds. */
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/threading.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS = 1000, ROUNDS = 100 };

static wrt_linux_thread_system threads;
static wrt_thread_pool pool;
static wrt_task tasks[TASKS];
static wrt_task *all[TASKS];
static unsigned sum;

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

static void join_all(void)
{
    for (int i = 0; i < TASKS; i++) must(wrt_task_join(&tasks[i], UINT64_MAX, NULL, NULL));
}

static void one_by_one(void)
{
    for (int i = 0; i < TASKS; i++) must(wrt_thread_pool_submit(&pool, &tasks[i]));
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

static void report(const char *name, void (*measured)(void))
{
    double best = 1e18;

    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        measured();
        const double taken = now() - start;
        if (taken < best) best = taken;
    }
    printf("%s %.1f\n", name, best / TASKS);
}

int main(void)
{
    const wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    const wrt_task_config task = {.struct_size = sizeof task, .run = work, .context = &sum};
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
    report("submit", one_by_one);
    report("batch", at_once);
    report("round_trip", there_and_back);
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL));
    must(wrt_thread_pool_deinit(&pool));
    return sum == 0;
}
