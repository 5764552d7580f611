/* Calls that pause. The engine makes a call that answered PENDING again, with the same arguments,
 * when it is run on; most calls can simply start over, but one that sleeps must know since when.
 *
 * The guest's call may also have been dropped in between, and then the same call with the same
 * arguments is another one: it must not find what the dropped one left behind. Both are told
 * apart by the instructions that the guest has executed: at a call that is made again they are
 * the same, at any other call there are more. */
#include "state.h"

static uint64_t moment_of(const wasi_guest *guest)
{
    wrt_instance_usage usage = {0};

    return wrt_instance_query(guest->caller, &usage) == WRT_OK ? usage.fuel_used : 0;
}

uint64_t wrt__wasi_resumed(wrt_wasi *wasi, const wasi_guest *guest, uint64_t otherwise)
{
    const bool is_same = wasi->paused_caller != NULL && wasi->paused_caller == guest->caller &&
                         wasi->paused_call == wasi->current_call &&
                         wasi->paused_moment == moment_of(guest);

    wasi->paused_caller = NULL;
    return is_same ? wasi->paused_value : otherwise;
}

wasi_answer wrt__wasi_pause(wrt_wasi *wasi, const wasi_guest *guest, uint64_t value)
{
    wasi->paused_caller = guest->caller;
    wasi->paused_call = wasi->current_call;
    wasi->paused_moment = moment_of(guest);
    wasi->paused_value = value;
    return WASI_OUTCOME_PENDING;
}

uint64_t wrt__wasi_now(void)
{
    uint64_t now = 0;

    (void)wrt__wasi_port_time(WASI_CLOCK_MONOTONIC, &now);
    return now;
}
