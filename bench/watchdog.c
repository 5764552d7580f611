/* What a heartbeat takes from a loop that does next to nothing, and what one costs that is an
 * atomic addition, which any thread could make. Prints nanoseconds of each, the least of several
 * rounds, taken in turn. The library is linked as it is: a heartbeat is a call. */
#include "wrt_platform/watchdog.h"
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 9, STEPS = 2000000 };

static wrt_watch watch;
static uint32_t shared;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void empty(void)
{
    for (int i = 0; i < STEPS; i++) __asm__ volatile("" ::: "memory");
}

static void heartbeat(void)
{
    for (int i = 0; i < STEPS; i++) wrt_watch_heartbeat(&watch);
}

static void addition(void)
{
    for (int i = 0; i < STEPS; i++) __atomic_fetch_add(&shared, 1, __ATOMIC_SEQ_CST);
}

static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {{"empty", empty}, {"heartbeat", heartbeat}, {"addition", addition}};

enum { WAYS = sizeof ways / sizeof ways[0] };

int main(void)
{
    double least[WAYS];

    for (int way = 0; way < WAYS; way++) least[way] = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        for (int way = 0; way < WAYS; way++) {
            const double begin = seconds();
            ways[way].run();
            const double passed = seconds() - begin;
            if (passed < least[way]) least[way] = passed;
        }
    }
    for (int way = 0; way < WAYS; way++) {
        printf("%s %.4f\n", ways[way].name, least[way] / STEPS * 1e9);
    }
    return 0;
}
