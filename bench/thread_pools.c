/* Times a pool of one worker: what a task costs in a long stream, in a burst from the first submit
 * to the last join, in a batch, what the submit alone costs while the worker is held, and there and
 * back. The stream has two rows of tasks in turns: while one runs the other is joined and submitted
 * again, so that the queue bounds how far the producer is ahead. A row is joined from its last task
 * on, as the peers do who wait for all at once.
 * "<name> <nanoseconds>" a line: the median of some rounds; there and back the shortest, which
 * tells what it costs where each thread has a processor. */
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/threading.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS = 500, ROUNDS = 200, STREAM_ROWS = 100, STREAM_ROUNDS = 15 };

static wrt_linux_thread_system threads;
static wrt_thread_pool pool;
/* Two rows; all but the stream need one. */
static _Alignas(64) wrt_task tasks[2 * TASKS];
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

static void join_row(wrt_task *row)
{
    for (int i = TASKS; i-- > 0;) must(wrt_task_join(&row[i], UINT64_MAX, NULL, NULL));
}

static void submit_row(wrt_task *row)
{
    for (int i = 0; i < TASKS; i++) must(wrt_thread_pool_submit(&pool, &row[i]));
}

static void join_all(void)
{
    join_row(tasks);
}

static void submit_all(void)
{
    submit_row(tasks);
}

static void stream(void)
{
    submit_row(&tasks[0]);
    for (int i = 1; i < STREAM_ROWS; i++) {
        submit_row(&tasks[i % 2 * TASKS]);
        join_row(&tasks[(i - 1) % 2 * TASKS]);
    }
    join_row(&tasks[(STREAM_ROWS - 1) % 2 * TASKS]);
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

static double run_stream(void)
{
    return timed(stream) / STREAM_ROWS;
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

static int compare(const void *first, const void *second)
{
    const double difference = *(const double *)first - *(const double *)second;

    return (difference > 0) - (difference < 0);
}

/* place: which of the sorted rounds. */
static void report(const char *name, double (*round)(void), int rounds, int place)
{
    double times[ROUNDS];

    for (int i = 0; i < rounds; i++) times[i] = round();
    qsort(times, (size_t)rounds, sizeof times[0], compare);
    printf("%s %.1f\n", name, times[place] / TASKS);
}

int main(void)
{
    const wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    const wrt_task_config task = {.struct_size = sizeof task, .run = work, .context = &sum};
    const wrt_task_config gated = {.struct_size = sizeof gated, .run = hold, .context = &gate};
    wrt_thread_pool_config config = {
        .struct_size = sizeof config, .max_threads = 1, .queue_capacity = 2 * TASKS};
    wrt_layout layout;

    must(wrt_linux_thread_system_init(&threads, &system));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_thread_pool_layout(&config, &layout));
    config.buffer = calloc(layout.bytes / 8 + 1, 8);
    config.buffer_size = layout.bytes;
    must(wrt_thread_pool_init(&pool, &config));
    for (int i = 0; i < 2 * TASKS; i++) must(wrt_task_init(&tasks[i], &task));
    for (int i = 0; i < TASKS; i++) all[i] = &tasks[i];
    must(wrt_task_init(&holder, &gated));
    report("stream", run_stream, STREAM_ROUNDS, STREAM_ROUNDS / 2);
    report("burst", run_one_by_one, ROUNDS, ROUNDS / 2);
    report("batch", run_at_once, ROUNDS, ROUNDS / 2);
    report("held", held, ROUNDS, ROUNDS / 2);
    report("round_trip", run_there_and_back, ROUNDS, 0);
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL));
    must(wrt_thread_pool_deinit(&pool));
    return sum == 0;
}
