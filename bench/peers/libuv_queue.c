/* Times libuv's queue_work as bench/thread_pools.c times our pool; one thread. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum { TASKS = 500, ROUNDS = 200 };

static uv_work_t works[TASKS];
static unsigned sum;
static uv_work_t holder;
static uv_mutex_t gate;
static int is_held; /* atomic */

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

static void hold(uv_work_t *request)
{
    (void)request;
    __atomic_store_n(&is_held, 1, __ATOMIC_RELEASE);
    uv_mutex_lock(&gate);
    uv_mutex_unlock(&gate);
}

static void queue_all(void)
{
    for (int i = 0; i < TASKS; i++) uv_queue_work(uv_default_loop(), &works[i], work, NULL);
}

static double run(void)
{
    const double start = now();

    queue_all();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return now() - start;
}

/* The calls alone, while the thread waits at the gate. */
static double held(void)
{
    uv_mutex_lock(&gate);
    __atomic_store_n(&is_held, 0, __ATOMIC_RELEASE);
    uv_queue_work(uv_default_loop(), &holder, hold, NULL);
    while (__atomic_load_n(&is_held, __ATOMIC_ACQUIRE) == 0) {
    }
    const double start = now();
    queue_all();
    const double taken = now() - start;
    uv_mutex_unlock(&gate);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return taken;
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
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    uv_mutex_init(&gate);
    report("libuv", run);
    report("libuv_held", held);
    return sum == 0;
}
