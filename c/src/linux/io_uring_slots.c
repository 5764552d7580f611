/* The slots that requests lie in, and what becomes of a request after a part of it. It is the same
 * for both backends, so that a program that runs over the one runs over the other. */
#include "io_uring.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "times.h"

enum { TRIES_MAX = 100 }; /* of a request that is turned away for no reason of its own */

void wrt__io_push(wrt__io_state *state, wrt__io_list *list, uint32_t index)
{
    state->slots[index].next = WRT__NO_REQUEST;
    if (list->first == WRT__NO_REQUEST) {
        list->first = index;
    } else {
        state->slots[list->last].next = index;
    }
    list->last = index;
}

uint32_t wrt__io_pop(wrt__io_state *state, wrt__io_list *list)
{
    const uint32_t index = list->first;

    if (index != WRT__NO_REQUEST) list->first = state->slots[index].next;
    return index;
}

void wrt__io_remove(wrt__io_state *state, wrt__io_list *list, uint32_t index)
{
    uint32_t before = WRT__NO_REQUEST;

    for (uint32_t at = list->first; at != index; at = state->slots[at].next) before = at;
    const uint32_t next = state->slots[index].next;
    if (before == WRT__NO_REQUEST) {
        list->first = next;
    } else {
        state->slots[before].next = next;
    }
    if (list->last == index) list->last = before;
}

static bool is_transfer(const wrt__io_slot *slot)
{
    return slot->request.operation < WRT_IO_URING_FSYNC;
}

static bool is_nonblocking(int descriptor)
{
    const int flags = wrt__sys_status_flags(descriptor);

    return flags < 0 || (flags & O_NONBLOCK) != 0;
}

static bool is_ended(const wrt__io_progress *progress)
{
    return wrt__load(&progress->is_cancelled) != 0 || progress->has_timed_out != 0;
}

static bool is_worth_a_try(wrt__io_slot *slot, int32_t result)
{
    if (result != -EINTR && result != -EAGAIN) return false;
    if (is_ended(&slot->progress)) return false;
    if (++wrt__io_progress_of(slot)->tries > TRIES_MAX) return false;
    return result == -EINTR || !is_nonblocking(slot->request.descriptor);
}

void wrt__io_end(wrt__io_slot *slot, int32_t error)
{
    slot->result = slot->progress.done != 0 ? (int32_t)slot->progress.done : error;
}

bool wrt__io_goes_on(wrt__io_slot *slot, int32_t result)
{
    const bool ended = is_ended(&slot->progress);

    if (is_worth_a_try(slot, result)) return true;
    if (result < 0 && ended && (result == -EINTR || result == -ECANCELED)) {
        result = slot->progress.has_timed_out != 0 ? -ETIME : -ECANCELED;
    }
    if (result > 0 && is_transfer(slot)) {
        wrt__io_progress *const progress = wrt__io_progress_of(slot);
        progress->done += (uint32_t)result;
        progress->tries = 0;
        if (progress->done < slot->request.size && !ended &&
            wrt__io_is_file(slot->request.descriptor)) {
            return true;
        }
    }
    wrt__io_end(slot, result);
    return false;
}

void wrt__io_finish(wrt__io_state *state, uint32_t index)
{
    state->slots[index].state = WRT__SLOT_FINISHED;
    wrt__io_push(state, &state->finished, index);
}

uint32_t wrt__io_take_finished(wrt__io_state *state, wrt_io_uring_completion *completions_out,
                               uint32_t capacity)
{
    uint32_t count = 0;

    while (count < capacity && state->finished.first != WRT__NO_REQUEST) {
        wrt__io_give(state, wrt__io_pop(state, &state->finished), &completions_out[count]);
        count++;
    }
    return count;
}

wrt_status wrt__io_now(const char *operation, uint64_t *now_out)
{
    struct timespec now = {0};

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "clock_gettime failed", errno, 0, 0);
    }
    *now_out = wrt__nanoseconds(&now);
    return WRT_OK;
}
