/* Times libuv's queue_work as bench/thread_pools.c times our pool; libuv's default of threads. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum { TASKS = 500, ROUNDS = 200, STREAM_ROWS = 100, STREAM_ROUNDS = 15, THREADS = 4 };

/* A request and what it works on, which is its own, so that no two threads write one line. */
typedef struct request {
    uv_work_t work;
    unsigned sum;
} request;

static request requests[2][TASKS];
static int done[2]; /* of a row's requests */
static uv_work_t holders[THREADS];
static uv_mutex_t gate;
static int held_threads; /* atomic */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void work(uv_work_t *request)
{
    *(unsigned *)request->data += 1;
}

static void hold(uv_work_t *request)
{
    (void)request;
    __atomic_fetch_add(&held_threads, 1, __ATOMIC_RELEASE);
    uv_mutex_lock(&gate);
    uv_mutex_unlock(&gate);
}

static void count_first(uv_work_t *request, int status)
{
    (void)request;
    (void)status;
    done[0]++;
}

static void count_second(uv_work_t *request, int status)
{
    (void)request;
    (void)status;
    done[1]++;
}

static void queue_row(int row, uv_after_work_cb after)
{
    done[row] = 0;
    for (int i = 0; i < TASKS; i++) {
        uv_queue_work(uv_default_loop(), &requests[row][i].work, work, after);
    }
}

static void wait_for_row(int row)
{
    while (done[row] < TASKS) uv_run(uv_default_loop(), UV_RUN_ONCE);
}

static double stream(void)
{
    static const uv_after_work_cb counts[2] = {count_first, count_second};
    const double start = now();

    queue_row(0, counts[0]);
    for (int i = 1; i < STREAM_ROWS; i++) {
        queue_row(i % 2, counts[i % 2]);
        wait_for_row((i - 1) % 2);
    }
    wait_for_row((STREAM_ROWS - 1) % 2);
    return (now() - start) / STREAM_ROWS;
}

static double burst(void)
{
    const double start = now();

    queue_row(0, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return now() - start;
}

/* The calls alone, while all threads wait at the gate. */
static double held(void)
{
    uv_mutex_lock(&gate);
    __atomic_store_n(&held_threads, 0, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) uv_queue_work(uv_default_loop(), &holders[i], hold, NULL);
    while (__atomic_load_n(&held_threads, __ATOMIC_ACQUIRE) < THREADS) {
    }
    const double start = now();
    queue_row(0, NULL);
    const double taken = now() - start;
    uv_mutex_unlock(&gate);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return taken;
}

static int compare(const void *first, const void *second)
{
    const double difference = *(const double *)first - *(const double *)second;

    return (difference > 0) - (difference < 0);
}

static void report(const char *name, double (*round)(void), int rounds)
{
    double times[ROUNDS];

    for (int i = 0; i < rounds; i++) times[i] = round();
    qsort(times, (size_t)rounds, sizeof times[0], compare);
    printf("%s %.1f\n", name, times[rounds / 2] / TASKS);
}

int main(void)
{
    for (int i = 0; i < 2 * TASKS; i++) {
        requests[i / TASKS][i % TASKS].work.data = &requests[i / TASKS][i % TASKS].sum;
    }
    uv_mutex_init(&gate);
    report("libuv_stream", stream, STREAM_ROUNDS);
    report("libuv_burst", burst, ROUNDS);
    report("libuv_held", held, ROUNDS);
    return requests[0][0].sum == 0;
}
