/* Threads against each other on semaphores, mutexes and conditions of Linux:
 *
 *     sync_stress <what> <rounds>
 *
 * A wake that is lost ends in a time-out, far beyond what a machine under load needs. `race` does
 * what nobody should: it is for the sanitizer to report. */
#include "wrt_platform/linux/sync_objects.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, SLOTS = 2 };
static const uint64_t LONG_NS = 20000000000;

static wrt_linux_semaphore full, room;
static wrt_linux_mutex mutex;
static wrt_linux_condition changed;
static uint32_t rounds;
static uint64_t count; /* what the objects guard: no atomic */
static uint32_t items;
static uint32_t racing;

static void must(wrt_status status, int line)
{
    char text[256];

    if (status == WRT_OK) return;
    (void)wrt_error_format(wrt_error_last(), text, sizeof text);
    fprintf(stderr, "line %d: %s\n", line, text);
    exit(1);
}

#define MUST(call) must((call), __LINE__)

static void expect(bool is_so, int line)
{
    if (is_so) return;
    fprintf(stderr, "line %d does not hold\n", line);
    exit(1);
}

#define EXPECT(condition) expect((condition), __LINE__)

/* ---- Makers and takers ---- */

static void *put_by_semaphore(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_semaphore_acquire(&room, LONG_NS, NULL));
        MUST(wrt_linux_semaphore_release(&full, 1));
    }
    return unused;
}

static void *get_by_semaphore(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_semaphore_acquire(&full, LONG_NS, NULL));
        MUST(wrt_linux_semaphore_release(&room, 1));
    }
    return unused;
}

static void *put_by_condition(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_mutex_lock(&mutex, LONG_NS, NULL));
        while (items == SLOTS) MUST(wrt_linux_condition_wait(&changed, &mutex, LONG_NS, NULL));
        items++;
        MUST(wrt_linux_condition_signal(&changed, UINT32_MAX));
        MUST(wrt_linux_mutex_unlock(&mutex));
    }
    return unused;
}

static void *get_by_condition(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_mutex_lock(&mutex, LONG_NS, NULL));
        while (items == 0) MUST(wrt_linux_condition_wait(&changed, &mutex, LONG_NS, NULL));
        items--;
        count++;
        MUST(wrt_linux_mutex_unlock(&mutex));
        MUST(wrt_linux_condition_signal(&changed, UINT32_MAX));
    }
    return unused;
}

/* ---- Turns: each is signalled once, so one that is lost is not made up for ---- */

static void *take_turns(void *number)
{
    const uint32_t own = (uint32_t)(uintptr_t)number % 2;

    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_mutex_lock(&mutex, LONG_NS, NULL));
        while (count % 2 != own) MUST(wrt_linux_condition_wait(&changed, &mutex, LONG_NS, NULL));
        count++;
        MUST(wrt_linux_mutex_unlock(&mutex));
        MUST(wrt_linux_condition_signal(&changed, 1));
    }
    return NULL;
}

/* ---- Counters that something guards, or nothing ---- */

static void *count_by_mutex(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_mutex_lock(&mutex, i % 2 == 0 ? LONG_NS : UINT64_MAX, NULL));
        if (i % 16 == 0) (void)sched_yield(); /* so that several wait */
        count++;
        MUST(wrt_linux_mutex_unlock(&mutex));
    }
    return unused;
}

static void *count_by_semaphore(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(wrt_linux_semaphore_acquire(&room, LONG_NS, NULL));
        count++;
        MUST(wrt_linux_semaphore_release(&room, 1));
    }
    return unused;
}

static void *count_by_nothing(void *unused)
{
    for (uint32_t i = 0; i < rounds; i++) racing++;
    return unused;
}

/* ---- All of them ---- */

static void run(uintptr_t thread_count, void *(*even)(void *), void *(*odd)(void *))
{
    pthread_t threads[THREADS];

    for (uintptr_t i = 0; i < thread_count; i++) {
        EXPECT(pthread_create(&threads[i], NULL, i % 2 == 0 ? even : odd, (void *)i) == 0);
    }
    for (uintptr_t i = 0; i < thread_count; i++) EXPECT(pthread_join(threads[i], NULL) == 0);
}

static void make(uint32_t in_room, bool inherits, uint32_t spin)
{
    wrt_linux_futex_config config = {.struct_size = sizeof config, .spin = spin};

    MUST(wrt_linux_semaphore_init(&full, &config));
    MUST(wrt_linux_condition_init(&changed, &config));
    config.initial_value = in_room;
    MUST(wrt_linux_semaphore_init(&room, &config));
    config.initial_value = 0;
    config.priority_inheritance = inherits;
    MUST(wrt_linux_mutex_init(&mutex, &config));
}

static void end(void)
{
    MUST(wrt_linux_semaphore_deinit(&full));
    MUST(wrt_linux_semaphore_deinit(&room));
    MUST(wrt_linux_condition_deinit(&changed));
    MUST(wrt_linux_mutex_deinit(&mutex));
}

int main(int argument_count, char **arguments)
{
    const char *what = argument_count == 3 ? arguments[1] : "";
    const bool inherits = strstr(what, "inherits") != NULL;
    const uint32_t spin = strstr(what, "spin") != NULL ? 200 : 0;
    uint64_t expected = 0;

    if (argument_count == 3) rounds = (uint32_t)strtoul(arguments[2], NULL, 10);
    make(strstr(what, "guard") != NULL ? 1 : SLOTS, inherits, spin);
    if (strncmp(what, "semaphore", 9) == 0) {
        run(THREADS, put_by_semaphore, get_by_semaphore);
    } else if (strncmp(what, "condition", 9) == 0) {
        run(THREADS, put_by_condition, get_by_condition);
        expected = (uint64_t)rounds * THREADS / 2;
    } else if (strncmp(what, "turns", 5) == 0) {
        run(2, take_turns, take_turns);
        expected = (uint64_t)rounds * 2;
    } else if (strncmp(what, "mutex", 5) == 0) {
        run(THREADS, count_by_mutex, count_by_mutex);
        expected = (uint64_t)rounds * THREADS;
    } else if (strncmp(what, "guard", 5) == 0) {
        run(THREADS, count_by_semaphore, count_by_semaphore);
        expected = (uint64_t)rounds * THREADS;
    } else {
        EXPECT(strcmp(what, "race") == 0);
        run(THREADS, count_by_nothing, count_by_nothing);
    }
    EXPECT(count == expected);
    EXPECT(items == 0);
    end();
    return 0;
}
