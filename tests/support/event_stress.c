/* Producers that post to one ring and a consumer that waits for them, for ThreadSanitizer. Full
 * rings are frequent: a producer tries again, and what was lost has to add up. With "racing" the
 * producers also share a counter without any care, which is to be found. */
#include "wrt_platform/events.h"
#include "wrt_platform/linux/threading.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRODUCERS = 3, EVENTS = 5000, CAPACITY = 16 };

static wrt_events events;
static uint32_t refused[PRODUCERS];
static int racing, shared;

static void must(wrt_status status)
{
    if (status != WRT_OK) {
        fprintf(stderr, "status %d: %s\n", status, wrt_error_last()->reason);
        exit(1);
    }
}

static void *produce(void *context)
{
    const size_t number = (size_t)context;

    for (uint64_t i = 0; i < EVENTS; i++) {
        const wrt_event event = {
            .kind = WRT_EVENT_USER, .source = number, .time_ns = ~i, .detail = {i, i * number}};
        while (wrt_events_post(&events, &event) != WRT_OK) {
            if (wrt_error_last()->status != WRT_ERR_NO_MEMORY) must(wrt_error_last()->status);
            refused[number]++;
            sched_yield();
        }
        if (racing) shared++;
    }
    return NULL;
}

static void check(const wrt_event *event, uint64_t *expected)
{
    const uint64_t i = expected[event->source]++;

    if (event->detail[0] != i || event->detail[1] != i * event->source || event->time_ns != ~i) {
        fprintf(stderr, "producer %llu: %llu came instead of %llu\n",
                (unsigned long long)event->source, (unsigned long long)event->detail[0],
                (unsigned long long)i);
        exit(1);
    }
}

int main(int count, char **words)
{
    wrt_linux_thread_system threads;
    pthread_t producers[PRODUCERS];
    uint64_t expected[PRODUCERS] = {0};
    wrt_events_config config = {.struct_size = sizeof config, .capacity = CAPACITY};
    wrt_layout layout;
    wrt_events_usage usage;
    uint32_t lost = 0, last = 0;
    wrt_event event;

    racing = count == 2 && strcmp(words[1], "racing") == 0;
    must(wrt_linux_thread_system_init(
        &threads,
        &(wrt_linux_thread_system_config){.struct_size = sizeof(wrt_linux_thread_system_config)}));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_events_layout(&config, &layout));
    config.buffer = aligned_alloc(layout.alignment, (layout.bytes / 128 + 1) * 128);
    config.buffer_size = layout.bytes;
    must(wrt_events_init(&events, &config));
    for (size_t i = 0; i < PRODUCERS; i++) {
        pthread_create(&producers[i], NULL, produce, (void *)i);
    }
    for (int i = 0; i < PRODUCERS * EVENTS; i++) {
        must(wrt_events_next(&events, &event, i % 2 == 0 ? UINT64_MAX : 10000000000u, NULL));
        check(&event, expected);
        last = event.lost;
    }
    for (size_t i = 0; i < PRODUCERS; i++) pthread_join(producers[i], NULL);
    for (size_t i = 0; i < PRODUCERS; i++) lost += refused[i];
    must(wrt_events_query(&events, &usage));
    printf("posted %u waiting %u lost %s\n", usage.posted, usage.waiting,
           usage.lost == lost && last <= lost ? "as counted" : "otherwise");
    must(wrt_events_deinit(&events));
    free(config.buffer);
    return 0;
}
