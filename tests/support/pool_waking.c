/* How a pool's threads go to sleep, and what keeps them from it.
 *
 *     pool_waking claimed    a submit that is stopped between its claim of a place and its task
 *     pool_waking ending     the same, while the last worker ends
 *     pool_waking joining    processor time of joins, most of them of tasks that take long
 *     pool_waking looking    processor time of a worker between tasks, most of them far apart
 */
#include "threading.h"
#include "wrt_platform/linux/threading.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MILLISECOND = 1000000, CALLS = 9, QUICK_CALL = 2, LOOKS = 300000 };

static wrt_linux_thread_system threads;
static wrt_thread_pool pool;
static wrt_task task;

static void must(wrt_status status)
{
    char text[400];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), text, sizeof text);
    fprintf(stderr, "status %d: %s\n", status, text);
    exit(1);
}

static void expect(int is_so, const char *what)
{
    if (is_so) return;
    fprintf(stderr, "not so: %s\n", what);
    exit(1);
}

static void make_pool(uint32_t spin)
{
    wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    wrt_thread_pool_config config = {.struct_size = sizeof config, .max_threads = 1, .spin = spin};
    wrt_layout layout;

    must(wrt_linux_thread_system_init(&threads, &system));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_thread_pool_layout(&config, &layout));
    config.buffer = calloc(layout.bytes / 8 + 1, 8);
    config.buffer_size = layout.bytes;
    must(wrt_thread_pool_init(&pool, &config));
}

static void make_task(wrt_task_fn run, void *context)
{
    const wrt_task_config config = {.struct_size = sizeof config, .run = run, .context = context};

    must(wrt_task_init(&task, &config));
}

static void rest(long nanoseconds)
{
    const struct timespec time = {0, nanoseconds};

    nanosleep(&time, NULL);
}

static void end_pool(void)
{
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL));
    must(wrt_thread_pool_deinit(&pool));
}

/* ---- A submit in two halves ---- */

static wrt_status note(void *context)
{
    *(int *)context = 1;
    return WRT_OK;
}

static void claim(uint32_t *position_out)
{
    wrt__queue *queue = &((wrt__pool *)pool.parts)->queues[WRT_THREAD_PRIORITY_NORMAL - 1];
    const uint32_t claimed =
        wrt__queue_claim(queue, queue->put_position, 0, sizeof(wrt__queue_cell), 1, position_out);

    expect(claimed == 1, "there is a place");
}

static void fill(uint32_t position)
{
    wrt__queue *queue = &((wrt__pool *)pool.parts)->queues[WRT_THREAD_PRIORITY_NORMAL - 1];

    task.pool = pool.parts;
    task.runs_at = WRT_THREAD_PRIORITY_NORMAL;
    wrt__store(&task.worker, WRT__NOBODY);
    wrt__store_release(&task.state, WRT_TASK_QUEUED);
    wrt__queue_pointer_cell(queue, position)->element = &task;
    wrt__queue_filled(queue, position, sizeof(wrt__queue_cell));
}

/* A wake without a reason lets the worker look again and sleep anew, now that the place is claimed;
 * nobody wakes it when the task is there. */
static void run_claimed(void)
{
    uint32_t position;
    int has_run = 0;

    make_pool(WRT_THREAD_POOL_SPIN_NONE);
    make_task(note, &has_run);
    wrt__pool *parts = pool.parts;
    rest(20 * MILLISECOND);
    claim(&position);
    (void)wrt__add(&parts->epoch, 1);
    parts->system.ops->wake(parts->system.self, &parts->epoch, 1);
    rest(20 * MILLISECOND);
    fill(position);
    must(wrt_task_join(&task, UINT64_C(5000) * MILLISECOND, NULL, NULL));
    expect(has_run, "the worker has found the task");
    end_pool();
}

static void run_ending(void)
{
    wrt_status outcome = WRT_OK;
    uint32_t position;
    int has_run = 0;

    make_pool(WRT_THREAD_POOL_SPIN_NONE);
    make_task(note, &has_run);
    claim(&position);
    const wrt_status early =
        wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, 50 * MILLISECOND, NULL);
    expect(early == WRT_ERR_TIMED_OUT, "the worker does not end before the task is there");
    fill(position);
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL));
    must(wrt_task_join(&task, 0, NULL, &outcome));
    expect(outcome == WRT_ERR_INTERRUPTED && !has_run, "the worker has cancelled the task");
    end_pool();
}

/* ---- Looks ---- */

static double processor_time(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static wrt_status take_time(void *context)
{
    rest(*(long *)context);
    return WRT_OK;
}

static void run_joining(void)
{
    long duration;

    make_pool(LOOKS);
    make_task(take_time, &duration);
    for (int i = 0; i < CALLS; i++) {
        duration = i == QUICK_CALL ? MILLISECOND : 100 * MILLISECOND;
        must(wrt_thread_pool_submit(&pool, &task));
        const double before = processor_time();
        must(wrt_task_join(&task, UINT64_MAX, NULL, NULL));
        printf("%.3f\n", processor_time() - before);
    }
    end_pool();
}

static wrt_status read_time(void *context)
{
    *(double *)context = processor_time();
    return WRT_OK;
}

/* The first task finds a worker that has looked once since it was started. */
static void run_looking(void)
{
    double before = 0;
    double time;

    make_pool(LOOKS);
    make_task(read_time, &time);
    for (int i = 0; i < CALLS; i++) {
        rest(i == QUICK_CALL ? MILLISECOND : 100 * MILLISECOND);
        must(wrt_thread_pool_submit(&pool, &task));
        must(wrt_task_join(&task, UINT64_MAX, NULL, NULL));
        printf("%.3f\n", time - before);
        before = time;
    }
    end_pool();
}

int main(int count, char **words)
{
    const char *mode = count > 1 ? words[1] : "";

    if (strcmp(mode, "claimed") == 0) run_claimed();
    if (strcmp(mode, "ending") == 0) run_ending();
    if (strcmp(mode, "joining") == 0) run_joining();
    if (strcmp(mode, "looking") == 0) run_looking();
    return 0;
}
