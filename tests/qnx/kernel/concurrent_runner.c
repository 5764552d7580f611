/* Runs the tests of one file on the simulated kernel: runner [broken semantic]. A line a test:
 * "ok name", or "not ok name: why". The one program here that sees this machine's headers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wrt_platform/sim/qnx.h"

struct kernel_test {
    const char *name;
    void (*run)(void);
};

extern const struct kernel_test kernel_tests[];

enum { TICK = 1000000, MAIN_PRIORITY = 10, NOTES = 4096, WATCH_MICROSECONDS = 20000 };

static const char *running;
static char why[400];
static int notes[NOTES];
static int note_count;

void check_failed(const char *file, int line, const char *text, long long seen);
void note(int number);
void check_notes(const char *file, int line, const int *expected, int count);
void work(int ticks);

void check_failed(const char *file, int line, const char *text, long long seen)
{
    const char *name = strrchr(file, '/');

    if (why[0] != '\0') return; /* the first is what matters */
    snprintf(why, sizeof why, "%s:%d: %s (%lld)", name == NULL ? file : name + 1, line, text, seen);
}

void note(int number)
{
    if (note_count < NOTES) notes[note_count++] = number;
}

void check_notes(const char *file, int line, const int *expected, int count)
{
    char text[300] = "notes are";

    if (note_count == count && memcmp(notes, expected, sizeof *notes * (size_t)count) == 0) return;
    for (int i = 0; i < note_count && strlen(text) < 280; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), " %d", notes[i]);
    }
    check_failed(file, line, text, note_count);
}

static void must(wrt_status status)
{
    char text[200];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), text, sizeof text);
    printf("not ok %s: %s\n", running, text);
    fflush(stdout);
    _exit(2);
}

void work(int ticks)
{
    must(wrt_sim_qnx_work((uint64_t)ticks * TICK));
}

/* Whether no thread can ever go on. */
static bool all_wait_for_ever(void)
{
    wrt_sim_qnx_thread_view thread = {0};
    int threads = 0;

    while (wrt_sim_qnx_thread_query(thread.id, &thread) == WRT_OK) {
        if (strcmp(thread.place, "ended") == 0) continue;
        if (strcmp(thread.place, "blocked") != 0 || thread.deadline != UINT64_MAX) return false;
        threads++;
    }
    return threads > 0;
}

/* A broken kernel lets threads wait for ever: that is a failure, and not a reason to wait. */
static void *watch(void *unused)
{
    (void)unused;
    for (int seen = 0; seen < 3; seen = all_wait_for_ever() ? seen + 1 : 0) {
        usleep(WATCH_MICROSECONDS);
    }
    printf("not ok %s: all threads wait for ever%s%s\n", running, why[0] != '\0' ? "; " : "", why);
    fflush(stdout);
    _exit(1);
}

static void check_that_nothing_is_left(void)
{
    wrt_sim_qnx_census_view kind;

    for (uint32_t i = 0; wrt_sim_qnx_census_query(i, &kind) == WRT_OK; i++) {
        if (kind.count != 0) check_failed("", 0, kind.kind, kind.count);
    }
}

static bool run(const struct kernel_test *test, const char *broken)
{
    running = test->name;
    why[0] = '\0';
    note_count = 0;
    must(wrt_sim_qnx_reset());
    must(wrt_sim_qnx_use_clock(WRT_SIM_QNX_VIRTUAL_CLOCK));
    if (broken != NULL) must(wrt_sim_qnx_break(broken, true));
    must(wrt_sim_qnx_enter(MAIN_PRIORITY));
    test->run();
    must(wrt_sim_qnx_leave());
    check_that_nothing_is_left();
    printf(why[0] == '\0' ? "ok %s\n" : "not ok %s: %s\n", test->name, why);
    fflush(stdout);
    return why[0] == '\0';
}

int main(int argument_count, char **arguments)
{
    const char *broken = argument_count > 1 ? arguments[1] : NULL;
    pthread_t watcher;
    bool well = true;

    running = "start";
    pthread_create(&watcher, NULL, watch, NULL);
    for (const struct kernel_test *test = kernel_tests; test->name != NULL; test++) {
        if (!run(test, broken)) well = false;
    }
    fflush(stdout);
    _exit(well ? 0 : 1);
}
