/* A thread system whose clock stands until the test moves it; for one thread beside the test's own.
 * Its thread is a real one, and so are its locks: only time is not. */
#include "wrt_platform/thread_system.h"
#include <pthread.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t clock_ns;
static uint32_t epoch;          /* counts the moves of the clock */
static uint32_t asleep;         /* the last move that the thread has slept through to its end */
static wrt_thread_config given; /* of the last thread */

static void *run(void *config)
{
    const wrt_thread_config *known = config;

    known->entry(known->context);
    return NULL;
}

static wrt_status start(void *self, wrt_thread *thread, const wrt_thread_config *config)
{
    (void)self;
    given = *config;
    return pthread_create((pthread_t *)thread, NULL, run, &given) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static wrt_status join(void *self, wrt_thread *thread, uint64_t timeout_ns)
{
    (void)self, (void)timeout_ns;
    return pthread_join(*(pthread_t *)thread, NULL) == 0 ? WRT_OK : WRT_ERR_STATE;
}

static wrt_status now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    pthread_mutex_lock(&world);
    *nanoseconds_out = clock_ns;
    pthread_mutex_unlock(&world);
    return WRT_OK;
}

static wrt_status wait(void *self, const uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    (void)self;
    pthread_mutex_lock(&world);
    const uint64_t end = clock_ns + timeout_ns;
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == expected && clock_ns < end) {
        asleep = epoch;
        pthread_cond_broadcast(&changed);
        pthread_cond_wait(&changed, &world);
    }
    const int is_over = clock_ns >= end;
    pthread_mutex_unlock(&world);
    return is_over ? WRT_ERR_TIMED_OUT : WRT_OK;
}

static void wake(void *self, const uint32_t *word, uint32_t count)
{
    (void)self, (void)word, (void)count;
    pthread_mutex_lock(&world);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&world);
}

static wrt_status lock_init(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_init((pthread_mutex_t *)lock, NULL) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static wrt_status lock(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_lock((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_STATE;
}

static wrt_status unlock(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_unlock((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_STATE;
}

static wrt_status lock_deinit(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_destroy((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_STATE;
}

EXPORT const wrt_thread_system_ops virtual_ops = {.start = start,
                                                  .join = join,
                                                  .now = now,
                                                  .wait = wait,
                                                  .wake = wake,
                                                  .lock_init = lock_init,
                                                  .lock = lock,
                                                  .unlock = unlock,
                                                  .lock_deinit = lock_deinit};

/* Moves the clock, and returns when the thread has done what was due and sleeps again. */
EXPORT void virtual_advance(uint64_t nanoseconds)
{
    pthread_mutex_lock(&world);
    clock_ns += nanoseconds;
    epoch++;
    pthread_cond_broadcast(&changed);
    while (asleep != epoch) pthread_cond_wait(&changed, &world);
    pthread_mutex_unlock(&world);
}

/* Returns when the thread sleeps. */
EXPORT void virtual_settle(void)
{
    virtual_advance(0);
}

EXPORT int virtual_priority(void)
{
    return (int)given.priority;
}
