/* A ring that forgets its oldest entries. */
#include "host.h"

#include "clock.h"
#include "trace.h"

static struct sim_trace_entry ring[SIM_TRACE_ROOM];
static uint64_t last; /* sequence of the newest entry */

void sim_trace(enum sim_trace_event event, int32_t thread, const char *name, uint64_t detail0,
               uint64_t detail1)
{
    struct sim_trace_entry *entry = &ring[++last % SIM_TRACE_ROOM];

    entry->sequence = last;
    entry->time = sim_now();
    entry->event = event;
    entry->thread = thread;
    entry->name = name;
    entry->detail[0] = detail0;
    entry->detail[1] = detail1;
}

bool sim_trace_read(uint64_t sequence, struct sim_trace_entry *entry_out)
{
    uint64_t oldest = last > SIM_TRACE_ROOM ? last - SIM_TRACE_ROOM + 1 : 1;

    if (sequence < oldest) sequence = oldest;
    if (sequence > last) return false;
    *entry_out = ring[sequence % SIM_TRACE_ROOM];
    return true;
}

void sim_trace_reset(void)
{
    last = 0;
}
