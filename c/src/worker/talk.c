/* Taking turns with the parent. Who waits looks for a while, if that has paid lately, since two
 * wake-ups of the system take a hundred times as long as a short answer; then it sleeps. */
#include "worker.h"

#include "../core/atomic.h"

enum { REST_WAITS = 32 }; /* waits without a look, before one is tried again */

static bool has_turn(const wrt__worker *worker)
{
    return wrt__load_ordered(&worker->control->turn) == WRT__TURN_WORKER;
}

/* Looks as often as it has paid; learns from how it went. */
static bool look(wrt__worker *worker)
{
    const uint32_t most = worker->control->spins;

    if (worker->spins == 0 && most != 0 && ++worker->rests >= REST_WAITS) {
        worker->rests = 0;
        worker->spins = most;
    }
    for (uint32_t i = 0; i < worker->spins; i++) {
        if (has_turn(worker)) {
            worker->spins = most;
            return true;
        }
        wrt__spin_hint();
    }
    worker->spins /= 2;
    return has_turn(worker);
}

static void sleep_for_byte(void)
{
    char byte;
    const long got = wrt__call3(__NR_read, WRT__WORKER_IN, (long)(uintptr_t)&byte, 1);

    if (got == 1 || got == -EINTR) return;
    wrt__worker_exit(0); /* the parent has closed the socket */
}

void wrt__worker_await(wrt__worker *worker)
{
    wrt__control *const control = worker->control;

    if (look(worker)) return;
    wrt__store_ordered(&control->worker_sleeps, 1);
    while (!has_turn(worker)) sleep_for_byte();
    wrt__store_ordered(&control->worker_sleeps, 0);
}

void wrt__worker_hand_over(wrt__worker *worker)
{
    static const char byte = 'R';

    wrt__store_ordered(&worker->control->turn, WRT__TURN_PARENT);
    if (wrt__load_ordered(&worker->control->parent_sleeps) == 0) return;
    while (wrt__call3(__NR_write, WRT__WORKER_OUT, (long)(uintptr_t)&byte, 1) == -EINTR) {
    }
}
