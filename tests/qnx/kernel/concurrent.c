/* The part of the shared code that is written in QNX's own calls. */
#include "concurrent.h"

#include <errno.h>
#include <sys/neutrino.h>

pthread_t start(int priority, void *(*run)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    struct sched_param param = {.sched_priority = priority};
    pthread_t thread = 0;

    CHECK_IS(pthread_attr_init(&attributes), EOK);
    CHECK_IS(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED), EOK);
    CHECK_IS(pthread_attr_setschedpolicy(&attributes, SCHED_FIFO), EOK);
    CHECK_IS(pthread_attr_setschedparam(&attributes, &param), EOK);
    CHECK_IS(pthread_create(&thread, &attributes, run, argument), EOK);
    CHECK_IS(pthread_attr_destroy(&attributes), EOK);
    return thread;
}

void finish(pthread_t thread)
{
    CHECK_IS(pthread_join(thread, NULL), EOK);
}

int priority_of(pthread_t thread)
{
    struct sched_param param;

    CHECK(SchedGet_r(0, thread, &param) >= 0);
    return param.sched_curpriority;
}

int current_priority(void)
{
    return priority_of(0);
}

void limit_next(int states, int ticks)
{
    uint64_t time = (uint64_t)ticks * TICK;

    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, states, NULL, ticks == 0 ? NULL : &time, NULL), EOK);
}

int now(void)
{
    uint64_t time = 0;

    CHECK_IS(ClockTime_r(CLOCK_MONOTONIC, NULL, &time), EOK);
    return (int)(time / TICK);
}
