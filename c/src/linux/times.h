/* Internal: nanoseconds as Linux's calls take them. */
#ifndef WRT_LINUX_TIMES_H
#define WRT_LINUX_TIMES_H

#include "sys.h"

enum { WRT__SECOND_NS = 1000000000 };

static inline struct timespec wrt__timespec(uint64_t nanoseconds)
{
    return (struct timespec){.tv_sec = (time_t)(nanoseconds / WRT__SECOND_NS),
                             .tv_nsec = (long)(nanoseconds % WRT__SECOND_NS)};
}

static inline uint64_t wrt__nanoseconds(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * WRT__SECOND_NS + (uint64_t)time->tv_nsec;
}

/* `later` after `now`, or the end of time. */
static inline uint64_t wrt__time_after(uint64_t now, uint64_t later)
{
    const uint64_t latest = INT64_MAX;

    return later > latest - now ? latest : now + later;
}

#endif
