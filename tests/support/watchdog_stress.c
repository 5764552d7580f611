/* Threads that are watched, for ThreadSanitizer: they begin and end watches, beat, and now and then
 * hang until they are killed, while a monitor checks as often as it can and another thread stops
 * and starts it. With "racing" a thread writes into a watch that another beats, which is to be
 * found. */
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/watchdog.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS = 3, ROUNDS = 150 };

static wrt_watchdog watchdog;
static wrt_events events;
static wrt_thread_system threads_of;
static wrt_watch shared_watch;
static int working;

/* No engine is linked: instances have tests of their own. */
void wrt_instance_interrupt(wrt_instance *instance)
{
    (void)instance;
}

uint32_t wrt_instance_heartbeat(const wrt_instance *instance)
{
    (void)instance;
    return 0;
}

static void must(wrt_status status)
{
    if (status != WRT_OK) {
        fprintf(stderr, "status %d: %s\n", status, wrt_error_last()->reason);
        exit(1);
    }
}

static void pause_for(long microseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = microseconds * 1000}, NULL);
}

static void hang(wrt_watch *watch)
{
    wrt_watch_report report;

    do {
        pause_for(100);
        must(wrt_watch_query(watch, &report));
    } while (!report.is_hung);
}

static void *work(void *context)
{
    const size_t number = (size_t)context;

    for (int round = 0; round < ROUNDS; round++) {
        wrt_watch watch;
        must(wrt_watchdog_watch(&watchdog,
                                &(wrt_watch_config){.struct_size = sizeof(wrt_watch_config),
                                                    .source = number,
                                                    .timeout_ns = 300000},
                                &watch));
        for (int beat = 0; beat < 100; beat++) wrt_watch_heartbeat(&watch);
        if (round % 30 == 0) hang(&watch);
        must(wrt_watch_end(&watch));
    }
    __atomic_sub_fetch(&working, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *beat(void *context)
{
    while (__atomic_load_n(&working, __ATOMIC_SEQ_CST) != 0) {
        if (context != NULL) {
            shared_watch.beats++;
        } else {
            wrt_watch_heartbeat(&shared_watch);
        }
    }
    return NULL;
}

static void make_watchdog(void)
{
    static wrt_linux_thread_system system;
    static _Alignas(128) unsigned char buffer[65536];

    must(wrt_linux_thread_system_init(
        &system,
        &(wrt_linux_thread_system_config){.struct_size = sizeof(wrt_linux_thread_system_config)}));
    threads_of = wrt_linux_thread_system_interface(&system);
    must(wrt_events_init(&events, &(wrt_events_config){.struct_size = sizeof(wrt_events_config),
                                                       .capacity = 256,
                                                       .buffer = buffer,
                                                       .buffer_size = sizeof buffer}));
    must(wrt_watchdog_init(&watchdog,
                           &(wrt_watchdog_config){.struct_size = sizeof(wrt_watchdog_config),
                                                  .check_interval_ns = 50000,
                                                  .system = threads_of,
                                                  .events = &events}));
}

int main(int count, char **words)
{
    const int racing = count == 2 && strcmp(words[1], "racing") == 0;
    pthread_t workers[WORKERS], beaters[2];
    wrt_watchdog_report report;
    wrt_events_usage usage;

    make_watchdog();
    must(wrt_watchdog_start(&watchdog));
    must(wrt_watchdog_watch(
        &watchdog,
        &(wrt_watch_config){.struct_size = sizeof(wrt_watch_config), .timeout_ns = 60000000000u},
        &shared_watch));
    working = WORKERS;
    for (size_t i = 0; i < WORKERS; i++) pthread_create(&workers[i], NULL, work, (void *)i);
    pthread_create(&beaters[0], NULL, beat, NULL);
    if (racing) pthread_create(&beaters[1], NULL, beat, &working);
    for (int i = 0; __atomic_load_n(&working, __ATOMIC_SEQ_CST) != 0; i++) {
        pause_for(2000);
        if (i % 5 != 0) continue;
        must(wrt_watchdog_stop(&watchdog, UINT64_MAX));
        must(wrt_watchdog_start(&watchdog));
    }
    for (size_t i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
    pthread_join(beaters[0], NULL);
    if (racing) pthread_join(beaters[1], NULL);
    must(wrt_watch_end(&shared_watch));
    must(wrt_watchdog_stop(&watchdog, UINT64_MAX));
    must(wrt_watchdog_query(&watchdog, &report));
    must(wrt_events_query(&events, &usage));
    printf("watches %u hangs %s\n", report.watch_count,
           usage.posted + report.lost_events == report.hangs && report.hangs >= WORKERS * 5
               ? "as reported"
               : "otherwise");
    must(wrt_watchdog_deinit(&watchdog));
    return 0;
}
