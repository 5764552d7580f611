/* Taking turns with the parent. Who waits looks for a while, if that has paid lately, and sleeps
 * then. */
#include "worker.h"

#include "patience.h"

static bool has_turn(const wrt__worker *worker)
{
    return wrt__load_ordered(&worker->control->turn) == WRT__TURN_WORKER;
}

static void sleep_for_byte(void)
{
    char byte;
    const long got = wrt__call3(__NR_read, WRT__WORKER_IN, (long)(uintptr_t)&byte, 1);

    if (got == 1 || got == -EINTR) return;
    wrt__worker_exit(0); /* the parent has closed the socket */
}

void wrt__worker_await(wrt__worker *worker, bool is_answer)
{
    wrt__control *const control = worker->control;

    if (wrt__look_for_turn(&worker->patience[is_answer], &control->turn, WRT__TURN_WORKER,
                           control->spins)) {
        return;
    }
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
