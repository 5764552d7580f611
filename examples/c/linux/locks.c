// A semaphore of three, and what locks cost on this machine.
#include "wrt_platform/linux/sync_objects.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "locks: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_linux_futex_config config = {0};
    config.struct_size = sizeof config;
    config.initial_value = 3;
    config.spin = 1000;
    config.backoff_ns = 100;
    wrt_linux_semaphore semaphore = {0};
    must(wrt_linux_semaphore_init(&semaphore, &config));

    uint32_t value = 0;
    must(wrt_linux_semaphore_acquire(&semaphore, 1000000000, NULL)); // waits for at most 1 s
    must(wrt_linux_semaphore_value(&semaphore, &value));
    printf("left: %u\n", value);
    must(wrt_linux_semaphore_release(&semaphore, 1));
    must(wrt_linux_semaphore_deinit(&semaphore));

    wrt_linux_futex_strategy rows[WRT_LINUX_STRATEGY_COUNT];
    uint32_t count = 0;
    must(wrt_linux_benchmark_futex_strategies(100000, rows, WRT_LINUX_STRATEGY_COUNT, &count));
    for (uint32_t i = 0; i < count; i++) {
        printf("%s: %.1f ns\n", rows[i].name,
               (double)rows[i].nanoseconds / (double)rows[i].operations);
    }
    return 0;
}
