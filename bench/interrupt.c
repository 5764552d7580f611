/* How long it takes from wrt_instance_interrupt() on one thread to the return of the call on
 * another, for a guest in a loop. Both threads run: the one that waits for the return spins, so no
 * wake-up of the system is in the figure. Prints nanoseconds: the median and the 99th percentile.
 */
#include "wrt_platform/instance.h"
#include "wrt_platform/linux/memory.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 2000, FOR_THE_GUEST_TO_LOOP_NS = 50000 };

/* (module (func (export "spin") (loop (br 0)))) */
static const uint8_t content[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1,    4,   1,   0x60, 0,
                                  0, 3,   2,   1,   0, 7, 8, 1, 4,    's', 'p', 'i',  'n',
                                  0, 0,   10,  9,   1, 7, 0, 3, 0x40, 12,  0,   0x0b, 0x0b};

static wrt_module module;
static wrt_instance instance;
static wrt_extern spin;
static uint32_t running, asked_to_end;
static uint64_t returned_at;

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void must(wrt_status status)
{
    char text[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), text, sizeof text);
    fprintf(stderr, "%s\n", text);
    exit(1);
}

static void load(void)
{
    wrt_module_config config = {.struct_size = sizeof config};
    wrt_layout layout;

    config.bytes = content;
    config.bytes_size = sizeof content;
    must(wrt_module_layout(&config, &layout));
    config.buffer = malloc(layout.bytes);
    config.buffer_size = layout.bytes;
    must(wrt_module_init(&module, &config));
}

static void instantiate(void)
{
    wrt_instance_config config = {.struct_size = sizeof config, .module = &module};
    wrt_layout layout;

    must(wrt_instance_layout(&config, &layout));
    config.buffer = malloc(layout.bytes);
    config.buffer_size = layout.bytes;
    must(wrt_instance_init(&instance, &config));
    must(wrt_instance_export(&instance, "spin", 4, &spin));
}

static void *run(void *context)
{
    wrt_call call = {.struct_size = sizeof call, .function = spin.of.function};

    (void)context;
    while (__atomic_load_n(&asked_to_end, __ATOMIC_ACQUIRE) == 0) {
        __atomic_store_n(&running, 1, __ATOMIC_RELEASE);
        if (wrt_instance_call(&instance, &call) != WRT_ERR_INTERRUPTED) exit(1);
        __atomic_store_n(&returned_at, now(), __ATOMIC_RELEASE);
        must(wrt_instance_abort(&instance));
        while (__atomic_load_n(&returned_at, __ATOMIC_ACQUIRE) != 0) continue;
    }
    return NULL;
}

static uint64_t one_round(bool is_last)
{
    while (__atomic_exchange_n(&running, 0, __ATOMIC_ACQ_REL) == 0) continue;
    const uint64_t begin = now();
    while (now() - begin < FOR_THE_GUEST_TO_LOOP_NS) continue;
    __atomic_store_n(&asked_to_end, is_last, __ATOMIC_RELEASE);
    const uint64_t asked_at = now();
    uint64_t end = 0;

    wrt_instance_interrupt(&instance);
    while ((end = __atomic_load_n(&returned_at, __ATOMIC_ACQUIRE)) == 0) continue;
    __atomic_store_n(&returned_at, 0, __ATOMIC_RELEASE);
    return end > asked_at ? end - asked_at : 0;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

int main(void)
{
    static uint64_t times[ROUNDS];
    pthread_t thread;

    load();
    instantiate();
    pthread_create(&thread, NULL, run, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        times[round] = one_round(round == ROUNDS - 1);
    }
    pthread_join(thread, NULL);
    qsort(times, ROUNDS, sizeof times[0], by_size);
    printf("median %llu\n99 %llu\n", (unsigned long long)times[ROUNDS / 2],
           (unsigned long long)times[ROUNDS * 99 / 100]);
    return 0;
}
