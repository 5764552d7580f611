/* What the stress programs ask of a backend; one file a system says what it is there. */
#ifndef TESTS_SYNC_BACKEND_H
#define TESTS_SYNC_BACKEND_H

#include "wrt_platform/lock.h"
#include "wrt_platform/sync.h"
#include <stdio.h>
#include <stdlib.h>

/* The thread system, a futex and a lock of the backend, made at their first use. */
wrt_thread_system backend_system(void);
wrt_futex backend_futex(void);
wrt_lock backend_lock(void);

/* Ends all three; nothing of them may be left. */
void backend_end(void);

/* Ends the program with the library's own words if a call failed. */
#define MUST(call) must((call), #call)

static inline void must(wrt_status status, const char *call)
{
    char text[400];

    if (status == WRT_OK) return;
    (void)wrt_error_format(wrt_error_last(), text, sizeof text);
    (void)fprintf(stderr, "%s: %s\n", call, text);
    exit(1);
}

#define EXPECT(condition) expect((condition), #condition, __LINE__)

static inline void expect(bool holds, const char *condition, int line)
{
    if (holds) return;
    (void)fprintf(stderr, "line %d: %s does not hold\n", line, condition);
    exit(1);
}

#endif
