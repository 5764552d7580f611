/* QNX: clocks. */
#ifndef QNX_TIME_H
#define QNX_TIME_H

#include <sys/types.h>

struct timespec {
    time_t tv_sec;
    long tv_nsec;
};

#define CLOCK_REALTIME           0
#define CLOCK_MONOTONIC          2
#define CLOCK_PROCESS_CPUTIME_ID 3
#define CLOCK_THREAD_CPUTIME_ID  4

#define TIMER_ABSTIME 0x80000000u

int clock_gettime(clockid_t id, struct timespec *time) __QNX_SYMBOL(clock_gettime);
int clock_getres(clockid_t id, struct timespec *resolution) __QNX_SYMBOL(clock_getres);
int nanosleep(const struct timespec *time, struct timespec *left) __QNX_SYMBOL(nanosleep);
int clock_nanosleep(clockid_t id, int flags, const struct timespec *time, struct timespec *left)
    __QNX_SYMBOL(clock_nanosleep);

#endif
