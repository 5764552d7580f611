// Waits for half a second for memory to run short.
#include "wrt_platform/linux/pressure.h"
#include "wrt_platform/events.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "pressure: %s\n", sentence);
    exit(1);
}

int main(void)
{
    static const char *const levels[] = {"", "low", "medium", "critical"};
    _Alignas(128) static uint8_t buffer[4096];
    wrt_events_config ring = {0};
    wrt_events events = {0};
    ring.struct_size = sizeof ring;
    ring.capacity = 16;
    ring.buffer = buffer;
    ring.buffer_size = sizeof buffer;
    must(wrt_events_init(&events, &ring));

    wrt_linux_pressure_config config = {0};
    wrt_linux_pressure pressure = {0};
    config.struct_size = sizeof config;
    config.events = &events; // of the whole system; `cgroup` for a group's own
    must(wrt_linux_pressure_init(&pressure, &config));

    uint32_t count = 0;
    const wrt_status status = wrt_linux_pressure_collect(&pressure, 500000000, &count);
    if (status != WRT_ERR_TIMED_OUT) must(status);
    while (count-- > 0) {
        wrt_event event;
        must(wrt_events_next(&events, &event, 0, NULL));
        printf("memory is short: %s\n", levels[event.detail[0]]);
    }
    puts("looked");
    must(wrt_linux_pressure_deinit(&pressure));
    must(wrt_events_deinit(&events));
    return 0;
}
