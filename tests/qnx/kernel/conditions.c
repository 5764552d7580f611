/* Condition variables and semaphores. */
#include "concurrent.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/neutrino.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition;
static sem_t semaphore;

static void make_condition(void)
{
    pthread_condattr_t attributes;
    clockid_t id = -1;

    CHECK_IS(pthread_condattr_init(&attributes), EOK);
    CHECK_IS(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), EOK);
    CHECK_IS(pthread_condattr_getclock(&attributes, &id), EOK);
    CHECK_IS(id, CLOCK_MONOTONIC);
    CHECK_IS(pthread_condattr_setclock(&attributes, 77), EINVAL);
    CHECK_IS(pthread_cond_init(&condition, &attributes), EOK);
    CHECK_IS(pthread_condattr_destroy(&attributes), EOK);
}

static void *wait_and_note(void *number)
{
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_cond_wait(&condition, &mutex), EOK);
    note(*(int *)number);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static void start_waiters(int *numbers, pthread_t *threads, int count)
{
    for (int i = 0; i < count; i++) threads[i] = start(numbers[i], wait_and_note, &numbers[i]);
}

static void signal_wakes_the_highest_priority(void)
{
    static int numbers[3] = {21, 23, 22};
    pthread_t threads[3];

    make_condition();
    CHECK_IS(pthread_cond_signal(&condition), EOK); /* nobody waits: lost */
    start_waiters(numbers, threads, 3);
    for (int i = 0; i < 3; i++) CHECK_IS(pthread_cond_signal(&condition), EOK);
    for (int i = 0; i < 3; i++) finish(threads[i]);
    CHECK_NOTES(23, 22, 21);
    CHECK_IS(pthread_cond_destroy(&condition), EOK);
}

static void broadcast_wakes_all_by_priority(void)
{
    static int numbers[4] = {22, 21, 24, 23};
    pthread_t threads[4];

    make_condition();
    start_waiters(numbers, threads, 4);
    CHECK_IS(pthread_cond_destroy(&condition), EBUSY);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_cond_broadcast(&condition), EOK);
    note(0);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    for (int i = 0; i < 4; i++) finish(threads[i]);
    CHECK_NOTES(0, 24, 23, 22, 21);
    CHECK_IS(pthread_cond_destroy(&condition), EOK);
}

static void *must_not_get_it(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_trylock(&mutex), EBUSY);
    note(2);
    return NULL;
}

/* After the time is up, the mutex is the caller's again, even if that takes longer. */
static void time_out_returns_with_the_mutex(void)
{
    struct timespec until = {0, 5 * TICK};

    make_condition();
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_cond_timedwait(&condition, &mutex, &until), ETIMEDOUT);
    note(now());
    finish(start(20, must_not_get_it, NULL));
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_NOTES(5, 2);

    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_cond_timedwait(&condition, &mutex, &until), ETIMEDOUT); /* past already */
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    until.tv_nsec = 1000000000;
    CHECK_IS(pthread_cond_timedwait(&condition, &mutex, &until), EINVAL);
    CHECK_IS(pthread_cond_destroy(&condition), EOK);
}

static void *hold_from_two_to_nine(void *unused)
{
    uint64_t time = 2 * TICK;

    (void)unused;
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    work(7);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static void time_out_waits_for_the_mutex(void)
{
    struct timespec until = {0, 5 * TICK};
    pthread_t holder;

    make_condition();
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    holder = start(20, hold_from_two_to_nine, NULL);
    CHECK_IS(pthread_cond_timedwait(&condition, &mutex, &until), ETIMEDOUT);
    note(now());
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    finish(holder);
    CHECK_NOTES(9);
    CHECK_IS(pthread_cond_destroy(&condition), EOK);
}

static void wait_wants_the_mutex(void)
{
    static pthread_cond_t fixed = PTHREAD_COND_INITIALIZER;
    struct timespec until = {0, 0};

    CHECK_IS(pthread_cond_wait(&fixed, &mutex), EPERM);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_cond_timedwait(&fixed, &mutex, &until), ETIMEDOUT);
    CHECK_IS(SyncCondvarWait_r(&mutex, &mutex), -EINVAL);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(pthread_cond_signal(&fixed), EOK);
    CHECK_IS(SyncCondvarSignal_r(&mutex, 0), -EINVAL);
}

static void *take_and_note(void *number)
{
    CHECK_IS(sem_wait(&semaphore), 0);
    note(*(int *)number);
    return NULL;
}

static void semaphore_counts_and_wakes_by_priority(void)
{
    static int numbers[3] = {22, 21, 23};
    pthread_t threads[3];
    int value = -1;

    CHECK_IS(sem_init(&semaphore, 0, 1), 0);
    CHECK_IS(sem_wait(&semaphore), 0);
    CHECK_IS(sem_trywait(&semaphore), -1);
    CHECK_IS(errno, EAGAIN);
    CHECK_IS(SyncSemWait_r(&semaphore, 1), -EAGAIN);
    for (int i = 0; i < 3; i++) threads[i] = start(numbers[i], take_and_note, &numbers[i]);
    for (int i = 0; i < 5; i++) CHECK_IS(sem_post(&semaphore), 0);
    for (int i = 0; i < 3; i++) finish(threads[i]);
    CHECK_NOTES(23, 22, 21);
    CHECK_IS(sem_getvalue(&semaphore, &value), 0);
    CHECK_IS(value, 2);
    CHECK_IS(sem_trywait(&semaphore), 0);
    CHECK_IS(sem_destroy(&semaphore), 0);
    CHECK_IS(sem_post(&semaphore), -1);
    CHECK_IS(errno, EINVAL);
}

static void semaphore_times_out(void)
{
    struct timespec until;

    CHECK_IS(sem_init(&semaphore, 0, 0), 0);
    CHECK_IS(clock_gettime(CLOCK_REALTIME, &until), 0);
    until.tv_sec += 3;
    CHECK_IS(sem_timedwait(&semaphore, &until), -1);
    CHECK_IS(errno, ETIMEDOUT);
    CHECK_IS(now(), 3000);
    CHECK_IS(sem_init(&semaphore, 0, 0x80000000u), -1);
    CHECK_IS(errno, EINVAL);
    CHECK_IS(sem_destroy(&semaphore), 0);
}

const struct kernel_test kernel_tests[] = {
    {"signal_wakes_the_highest_priority", signal_wakes_the_highest_priority},
    {"broadcast_wakes_all_by_priority", broadcast_wakes_all_by_priority},
    {"time_out_returns_with_the_mutex", time_out_returns_with_the_mutex},
    {"time_out_waits_for_the_mutex", time_out_waits_for_the_mutex},
    {"wait_wants_the_mutex", wait_wants_the_mutex},
    {"semaphore_counts_and_wakes_by_priority", semaphore_counts_and_wakes_by_priority},
    {"semaphore_times_out", semaphore_times_out},
    {0},
};
