/* What it costs to wait: the system's calls are counted where it counts them, not by the library.
 *
 *     park <parks>
 *
 * One thread parks that often, then once for long; another wakes it. Prints the waits of the system
 * that the parks took, the processor time of the long park in millionths of its duration, the wakes
 * that were needed, and those that were made while nobody waited. */
#include "counts.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_US = 1000, LONG_US = 300000 };

static wrt_thread_system below;
static wrt_futex futex;
static uint32_t parks;
static uint32_t waits;
static uint64_t cpu_ns;
static uint64_t park_ns;

static uint64_t clock_of(clockid_t clock)
{
    struct timespec time;

    (void)clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void park_while(uint32_t expected)
{
    uint32_t seen = expected;

    while (seen == expected) {
        MUST(wrt_futex_wait(&futex, expected, UINT64_MAX, NULL));
        MUST(wrt_futex_load(&futex, &seen));
    }
}

static void park(void *unused)
{
    (void)unused;
    const uint32_t before = waits_of_this_thread();
    for (uint32_t i = 0; i < parks; i++) park_while(i);
    waits = waits_of_this_thread() - before;
    const uint64_t cpu_start = clock_of(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t start = clock_of(CLOCK_MONOTONIC);
    park_while(parks);
    cpu_ns = clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
    park_ns = clock_of(CLOCK_MONOTONIC) - start;
}

/* Wakes the thread from the park of that number, the first is 1. */
static void wake_once(uint32_t number, useconds_t pause)
{
    uint32_t woken = 0;

    while (parks_begun() < number) (void)usleep(PAUSE_US);
    (void)usleep(pause); /* from the count to the system's wait is not far */
    MUST(wrt_futex_fetch_add(&futex, 1, NULL));
    MUST(wrt_futex_wake(&futex, UINT32_MAX, &woken));
    EXPECT(woken == 1);
}

int main(int count, char **arguments)
{
    wrt_thread thread;

    EXPECT(count == 2);
    memset(&thread, 0, sizeof thread);
    parks = (uint32_t)strtoul(arguments[1], NULL, 10);
    below = backend_system();
    futex = backend_futex();
    const wrt_thread_config config = {.struct_size = sizeof config, .entry = park};
    MUST(below.ops->start(below.self, &thread, &config));
    const uint32_t before = wakes_of_the_process();
    for (uint32_t i = 0; i < parks; i++) wake_once(i + 1, PAUSE_US);
    wake_once(parks + 1, LONG_US);
    MUST(below.ops->join(below.self, &thread, UINT64_MAX));
    const uint32_t needed = wakes_of_the_process() - before;
    for (uint32_t i = 0; i < parks; i++) MUST(wrt_futex_wake(&futex, UINT32_MAX, NULL));
    const uint32_t idle = wakes_of_the_process() - before - needed;
    (void)printf("%u %llu %u %u\n", waits, (unsigned long long)(cpu_ns * 1000000 / park_ns), needed,
                 idle);
    return 0;
}
