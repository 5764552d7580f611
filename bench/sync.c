/* Times locks that nobody else wants, and hand-overs of a word between two threads, beside
 * what the C library has for them; in a process of several threads, as those that need a lock are:
 * where there is one, the C library's takes no atomic steps. Both players have one CPU where they
 * sleep, so that no CPU has to be woken, and one each where they spin. Of some rounds, each short
 * enough to find a quiet moment, the shortest counts. */

#define _GNU_SOURCE
#include "wrt_platform/linux/sync_objects.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 25, OPERATIONS = 100000, TURNS = 400, HAND_ROUNDS = 15, SPIN = 4000 };

typedef struct contestant {
    const char *name;
    void (*work)(void);
    uint32_t operations;
    int rounds;
} contestant;

static wrt_linux_mutex plain, inheriting;
static pthread_mutex_t system_plain, system_inheriting, table;
static pthread_cond_t turned;
static uint32_t turn;
static wrt_linux_futex parking, spinning;

static void must(wrt_status status)
{
    if (status == WRT_OK) return;
    fprintf(stderr, "%s failed: %s\n", wrt_error_last()->operation, wrt_error_last()->reason);
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* ---- Locks ---- */

static void lock_ours(wrt_linux_mutex *mutex)
{
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        must(wrt_linux_mutex_lock(mutex, UINT64_MAX, NULL));
        must(wrt_linux_mutex_unlock(mutex));
    }
}

static void lock_theirs(pthread_mutex_t *mutex)
{
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (pthread_mutex_lock(mutex) != 0 || pthread_mutex_unlock(mutex) != 0) exit(1);
    }
}

static void mutex_plain(void)
{
    lock_ours(&plain);
}

static void mutex_inheriting(void)
{
    lock_ours(&inheriting);
}

static void pthread_plain(void)
{
    lock_theirs(&system_plain);
}

static void pthread_inheriting(void)
{
    lock_theirs(&system_inheriting);
}

/* ---- Hand-overs ---- */

static void play(wrt_linux_futex *raw, uint32_t player)
{
    const wrt_futex futex = wrt_linux_futex_interface(raw);
    uint32_t seen = 0;

    for (int i = 0; i < TURNS; i++) {
        for (;;) {
            must(wrt_futex_load(&futex, &seen));
            if (seen % 2 == player) break;
            must(wrt_futex_wait(&futex, seen, UINT64_MAX, NULL));
        }
        must(wrt_futex_fetch_add(&futex, 1, NULL));
        must(wrt_futex_wake(&futex, 1, NULL));
    }
}

static void play_by_condition(uint32_t player)
{
    for (int i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&table);
        while (turn % 2 != player) pthread_cond_wait(&turned, &table);
        turn++;
        pthread_cond_signal(&turned);
        pthread_mutex_unlock(&table);
    }
}

typedef struct player {
    wrt_linux_futex *futex; /* NULL: by the condition */
    uint32_t number;
    int cpu;
} player;

static void *run_player(void *context)
{
    const player *playing = context;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET(playing->cpu, &cpus);
    if (pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus) != 0) exit(1);
    if (playing->futex != NULL) play(playing->futex, playing->number);
    if (playing->futex == NULL) play_by_condition(playing->number);
    return NULL;
}

/* The first and the last CPU that there is. */
static void choose_cpus(int *first, int *last)
{
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) exit(1);
    *first = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &cpus)) continue;
        if (*first < 0) *first = cpu;
        *last = cpu;
    }
}

static void hand_over(wrt_linux_futex *futex, bool apart)
{
    player players[2] = {{futex, 0, 0}, {futex, 1, 0}};
    pthread_t threads[2];

    choose_cpus(&players[0].cpu, &players[1].cpu);
    if (!apart) players[1].cpu = players[0].cpu;
    for (int i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, run_player, &players[i]) != 0) exit(1);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static void hand_parking(void)
{
    hand_over(&parking, false);
}

static void hand_parking_apart(void)
{
    hand_over(&parking, true);
}

static void hand_spinning(void)
{
    hand_over(&spinning, true);
}

static void hand_by_condition(void)
{
    hand_over(NULL, false);
}

/* ---- All of them ---- */

static void make(void)
{
    wrt_linux_futex_config config = {.struct_size = sizeof config};
    pthread_mutexattr_t attributes;

    must(wrt_linux_mutex_init(&plain, &config));
    must(wrt_linux_futex_init(&parking, &config));
    config.spin = SPIN;
    must(wrt_linux_futex_init(&spinning, &config));
    config.spin = 0;
    config.priority_inheritance = true;
    must(wrt_linux_mutex_init(&inheriting, &config));
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&system_inheriting, &attributes);
    pthread_mutex_init(&system_plain, NULL);
    pthread_mutex_init(&table, NULL);
    pthread_cond_init(&turned, NULL);
}

int main(void)
{
    static const contestant contestants[] = {
        {"mutex", mutex_plain, OPERATIONS, ROUNDS},
        {"pthread", pthread_plain, OPERATIONS, ROUNDS},
        {"inheriting", mutex_inheriting, OPERATIONS, ROUNDS},
        {"pthread_inheriting", pthread_inheriting, OPERATIONS, ROUNDS},
        {"parking", hand_parking, 2 * TURNS, HAND_ROUNDS},
        {"condition", hand_by_condition, 2 * TURNS, HAND_ROUNDS},
        {"parking_apart", hand_parking_apart, 2 * TURNS, 2},
        {"spinning", hand_spinning, 2 * TURNS, HAND_ROUNDS},
    };
    enum { COUNT = sizeof contestants / sizeof contestants[0] };
    double best[COUNT] = {0};

    make();
    hand_parking();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < COUNT; i++) {
            if (round >= contestants[i].rounds) continue;
            const double start = now();
            contestants[i].work();
            const double each = (now() - start) / contestants[i].operations;
            if (best[i] == 0 || each < best[i]) best[i] = each;
        }
    }
    for (int i = 0; i < COUNT; i++) printf("%s %.3f\n", contestants[i].name, best[i]);
    return 0;
}
