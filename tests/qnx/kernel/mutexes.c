/* Mutexes: inheritance, ceiling, owner, recursion, robustness, and the order of waiters. */
#include "concurrent.h"

#include <errno.h>
#include <sys/neutrino.h>

static pthread_mutex_t mutex, other;
static pthread_t low, middle, high;

static void make(pthread_mutex_t *made, int type, int protocol, int robust)
{
    pthread_mutexattr_t attributes;

    CHECK_IS(pthread_mutexattr_init(&attributes), EOK);
    CHECK_IS(pthread_mutexattr_settype(&attributes, type), EOK);
    CHECK_IS(pthread_mutexattr_setprotocol(&attributes, protocol), EOK);
    CHECK_IS(pthread_mutexattr_setprioceiling(&attributes, 40), EOK);
    CHECK_IS(pthread_mutexattr_setrobust(&attributes, robust), EOK);
    CHECK_IS(pthread_mutex_init(made, &attributes), EOK);
    CHECK_IS(pthread_mutexattr_destroy(&attributes), EOK);
}

static void make_default(void)
{
    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
}

static void destroy(void)
{
    CHECK_IS(pthread_mutex_destroy(&mutex), EOK);
}

static void pause_ticks(int ticks)
{
    uint64_t time = (uint64_t)ticks * TICK;

    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
}

/* The three threads of the well-known inversion: `low` holds the mutex for ten ticks of work,
 * `high` wants it after one, and `middle`, which wants nothing, works for fifty from then on. */

static void *hold_ten_ticks(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    work(10);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static void *want_after_one(void *unused)
{
    (void)unused;
    pause_ticks(1);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    note(now());
    note(current_priority());
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static void *work_fifty_after_one(void *unused)
{
    (void)unused;
    pause_ticks(1);
    work(50);
    note(now());
    return NULL;
}

static void invert(void)
{
    high = start(30, want_after_one, NULL);
    middle = start(20, work_fifty_after_one, NULL);
    low = start(11, hold_ten_ticks, NULL);
    finish(low);
    finish(middle);
    finish(high);
}

/* high waits for the nine ticks that are left, and not for the fifty of middle. */
static void inheritance_bounds_the_wait(void)
{
    make_default();
    invert();
    CHECK_NOTES(10, 30, 60);
    destroy();
}

/* The same three without it: the inversion is real. */
static void without_inheritance_the_wait_has_no_bound(void)
{
    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    invert();
    CHECK_NOTES(51, 60, 30);
    destroy();
}

static void *lock_other_then_mutex(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&other), EOK);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&other), EOK);
    note(20);
    return NULL;
}

static void *lock_other(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&other), EOK);
    CHECK_IS(pthread_mutex_unlock(&other), EOK);
    note(30);
    return NULL;
}

/* Whoever waits lends its priority to the owner, and to whom the owner waits for. */
static void inheritance_passes_along_a_chain(void)
{
    make_default();
    make(&other, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    middle = start(20, lock_other_then_mutex, NULL);
    CHECK_IS(current_priority(), 20);
    high = start(30, lock_other, NULL);
    CHECK_IS(current_priority(), 30);
    CHECK_IS(priority_of(middle), 30);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(current_priority(), MAIN_PRIORITY);
    finish(middle);
    finish(high);
    CHECK_NOTES(30, 20);
    CHECK_IS(pthread_mutex_destroy(&other), EOK);
    destroy();
}

static void *want_for_three_ticks(void *unused)
{
    (void)unused;
    limit_next(_NTO_TIMEOUT_MUTEX, 3);
    CHECK_IS(SyncMutexLock_r(&mutex), -ETIMEDOUT);
    note(now());
    return NULL;
}

/* Who gives up takes back what it lent. */
static void inheritance_ends_with_the_wait(void)
{
    make_default();
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    high = start(30, want_for_three_ticks, NULL);
    CHECK_IS(current_priority(), 30);
    work(5);
    CHECK_NOTES(3);
    CHECK_IS(current_priority(), MAIN_PRIORITY);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    finish(high);
    destroy();
}

static void *lock_and_note(void *number)
{
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    note(*(int *)number);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static void waiter_of_highest_priority_is_next(void)
{
    static int numbers[4] = {21, 24, 22, 23};
    pthread_t threads[4];

    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    for (int i = 0; i < 4; i++) threads[i] = start(numbers[i], lock_and_note, &numbers[i]);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    for (int i = 0; i < 4; i++) finish(threads[i]);
    CHECK_NOTES(24, 23, 22, 21);
    destroy();
}

static void *unlock_anothers(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_unlock(&mutex), EPERM);
    CHECK_IS(pthread_mutex_trylock(&mutex), EBUSY);
    return NULL;
}

static void only_the_owner_unlocks(void)
{
    make_default();
    CHECK_IS(pthread_mutex_unlock(&mutex), EPERM);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    finish(start(20, unlock_anothers, NULL));
    CHECK_IS(pthread_mutex_destroy(&mutex), EBUSY);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    destroy();
    CHECK_IS(pthread_mutex_lock(&mutex), EINVAL);
}

static void *must_be_busy(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_trylock(&mutex), EBUSY);
    note(1);
    return NULL;
}

static void locking_twice(void)
{
    make_default();
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_mutex_lock(&mutex), EDEADLK);
    CHECK_IS(pthread_mutex_trylock(&mutex), EBUSY);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    destroy();

    make(&mutex, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    for (int i = 0; i < 3; i++) CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    finish(start(20, must_be_busy, NULL));
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EPERM);
    CHECK_NOTES(1);
    destroy();

    make(&mutex, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    limit_next(_NTO_TIMEOUT_MUTEX, 2); /* else it would wait for itself for ever */
    CHECK_IS(pthread_mutex_lock(&mutex), ETIMEDOUT);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    destroy();
}

static void ceiling_raises_the_owner_at_once(void)
{
    int ceiling = 0;

    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_PROTECT, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(current_priority(), 40);
    CHECK_IS(SyncCtl_r(_NTO_SCTL_GETPRIOCEILING, &mutex, &ceiling), EOK);
    CHECK_IS(ceiling, 40);
    ceiling = 50;
    CHECK_IS(SyncCtl_r(_NTO_SCTL_SETPRIOCEILING, &mutex, &ceiling), EOK);
    CHECK_IS(current_priority(), 50);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(current_priority(), MAIN_PRIORITY);
    CHECK_IS(pthread_setschedprio(pthread_self(), 51), EOK);
    CHECK_IS(pthread_mutex_lock(&mutex), EINVAL); /* above the ceiling */
    destroy();

    make_default();
    CHECK_IS(SyncCtl_r(_NTO_SCTL_GETPRIOCEILING, &mutex, &ceiling), -EINVAL);
    CHECK_IS(SyncCtl_r(99, &mutex, &ceiling), -EINVAL);
    destroy();
}

static void *lock_and_end(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    return NULL;
}

static void dead_owner_of_a_robust_mutex_is_told(void)
{
    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ROBUST);
    finish(start(20, lock_and_end, NULL));
    CHECK_IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_consistent(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    CHECK_IS(pthread_mutex_consistent(&mutex), EINVAL);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);

    finish(start(20, lock_and_end, NULL));
    CHECK_IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK); /* not mended: nobody can use it again */
    CHECK_IS(pthread_mutex_lock(&mutex), ENOTRECOVERABLE);
    destroy();
}

static void *wait_for_the_dead(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_consistent(&mutex), EOK);
    CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    note(2);
    return NULL;
}

static void *lock_and_work(void *unused)
{
    (void)unused;
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    pause_ticks(5);
    note(1);
    return NULL;
}

static void waiters_learn_that_the_owner_died(void)
{
    pthread_t owner, waiter;

    make(&mutex, PTHREAD_MUTEX_DEFAULT, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ROBUST);
    owner = start(20, lock_and_work, NULL);
    waiter = start(20, wait_for_the_dead, NULL);
    finish(owner);
    finish(waiter);
    CHECK_NOTES(1, 2);
    destroy();
}

static void initialiser_is_a_mutex(void)
{
    static pthread_mutex_t fixed = PTHREAD_MUTEX_INITIALIZER;
    struct timespec until = {0, 0};

    for (int round = 0; round < 2; round++) {
        CHECK_IS(pthread_mutex_lock(&fixed), EOK);
        CHECK_IS(pthread_mutex_lock(&fixed), EDEADLK);
        CHECK_IS(pthread_mutex_unlock(&fixed), EOK);
    }
    CHECK_IS(pthread_mutex_timedlock(&fixed, &until), EOK); /* free: the time doesn't matter */
    CHECK_IS(pthread_mutex_unlock(&fixed), EOK);
    CHECK_IS(SyncMutexLock_r(NULL), -EFAULT);
    CHECK_IS(SyncTypeCreate_r(12345, &mutex, NULL), -EINVAL);
}

const struct kernel_test kernel_tests[] = {
    {"inheritance_bounds_the_wait", inheritance_bounds_the_wait},
    {"without_inheritance_the_wait_has_no_bound", without_inheritance_the_wait_has_no_bound},
    {"inheritance_passes_along_a_chain", inheritance_passes_along_a_chain},
    {"inheritance_ends_with_the_wait", inheritance_ends_with_the_wait},
    {"waiter_of_highest_priority_is_next", waiter_of_highest_priority_is_next},
    {"only_the_owner_unlocks", only_the_owner_unlocks},
    {"locking_twice", locking_twice},
    {"ceiling_raises_the_owner_at_once", ceiling_raises_the_owner_at_once},
    {"dead_owner_of_a_robust_mutex_is_told", dead_owner_of_a_robust_mutex_is_told},
    {"waiters_learn_that_the_owner_died", waiters_learn_that_the_owner_died},
    {"initialiser_is_a_mutex", initialiser_is_a_mutex},
    {0},
};
