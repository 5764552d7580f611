/* Times libuv's queue_work as bench/thread_pools.c times our pool; one thread. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum { TASKS = 1000, ROUNDS = 100 };

static uv_work_t works[TASKS];
static unsigned sum;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void work(uv_work_t *request)
{
    (void)request;
    sum += 1;
}

int main(void)
{
    double best = 1e18;

    setenv("UV_THREADPOOL_SIZE", "1", 1);
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now();
        for (int i = 0; i < TASKS; i++) uv_queue_work(uv_default_loop(), &works[i], work, NULL);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        const double taken = now() - start;
        if (taken < best) best = taken;
    }
    printf("libuv %.1f\n", best / TASKS);
    return sum == 0;
}
