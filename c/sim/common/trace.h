/* Internal: what happened, in order. Tests assert on it, since a log that Python keeps is in the
 * order of Python's own lock. The last SIM_TRACE_ROOM entries are kept. Under the lock. */
#ifndef SIM_COMMON_TRACE_H
#define SIM_COMMON_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_TRACE_ROOM = 8192 };

enum sim_trace_event {
    SIM_TRACE_CALL,     /* name of the call */
    SIM_TRACE_FAULT,    /* name of the call; code */
    SIM_TRACE_RUN,      /* got the baton; priority */
    SIM_TRACE_BLOCK,    /* name of the state; object */
    SIM_TRACE_WAKE,     /* priority, outcome */
    SIM_TRACE_PRIORITY, /* new, old */
    SIM_TRACE_SEND,     /* pulse: channel, code and value in one (value << 8 | code) */
    SIM_TRACE_RECEIVE,  /* pulse: as sent */
    SIM_TRACE_WORK,     /* left to do, done in all: nanoseconds */
    SIM_TRACE_OWN,      /* got a mutex; its address */
    SIM_TRACE_RELEASE   /* lets a mutex go; its address */
};

struct sim_trace_entry {
    uint64_t sequence; /* from 1 */
    uint64_t time;
    enum sim_trace_event event;
    int32_t thread;
    const char *name; /* static text, or NULL */
    uint64_t detail[2];
};

void sim_trace(enum sim_trace_event event, int32_t thread, const char *name, uint64_t detail0,
               uint64_t detail1);

/* The first entry from `sequence` on that is still kept. */
bool sim_trace_read(uint64_t sequence, struct sim_trace_entry *entry_out);

void sim_trace_reset(void);

#endif
