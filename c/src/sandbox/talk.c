/* Taking turns with a worker. Who waits looks for a while, if that has paid lately, and sleeps
 * then; asleep, the end of the process is seen as well as its byte. */
#include "state.h"

#include "../core/atomic.h"
#include "../core/port.h"
#include "../linux/times.h"
#include "../worker/patience.h"

enum { BYTES_AT_ONCE = 64 };

uint64_t wrt__sandbox_now(void)
{
    uint64_t now = 0;

    return wrt__port_now(&now) == WRT_OK ? now : 0; /* Linux always has this clock */
}

uint64_t wrt__sandbox_after(uint64_t later)
{
    return wrt__time_after(wrt__sandbox_now(), later);
}

static bool has_turn(const wrt__sandbox *state)
{
    return wrt__load_ordered(&state->control->turn) == WRT__TURN_PARENT;
}

enum wrt__sandbox_news wrt__sandbox_await_byte(const wrt__sandbox *state, uint64_t until)
{
    for (;;) {
        struct pollfd polls[] = {{.fd = state->socket, .events = POLLIN},
                                 {.fd = state->pidfd, .events = POLLIN}};
        const uint64_t now = wrt__sandbox_now();
        const struct timespec left = wrt__timespec(until > now ? until - now : 0);
        const int count = wrt__process_poll(polls, 2, until == UINT64_MAX ? NULL : &left);
        if (count < 0 && errno != EINTR) return WRT__NEWS_FAILED;
        if (count <= 0 && wrt__sandbox_now() >= until) return WRT__NEWS_TIME;
        if (count <= 0) continue;
        if (polls[1].revents != 0) return WRT__NEWS_END;
        return WRT__NEWS_TURN;
    }
}

/* Bytes are hints: they are taken, and the turn is looked at. */
static bool take_bytes(const wrt__sandbox *state)
{
    char bytes[BYTES_AT_ONCE];
    const ssize_t got = recv(state->socket, bytes, sizeof bytes, MSG_DONTWAIT);

    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static enum wrt__sandbox_news sleep_for_turn(wrt__sandbox *state, uint64_t until)
{
    while (!has_turn(state)) {
        const enum wrt__sandbox_news news = wrt__sandbox_await_byte(state, until);
        if (news == WRT__NEWS_TURN && take_bytes(state) && wrt__sandbox_now() < until) continue;
        if (has_turn(state)) break;
        if (news == WRT__NEWS_FAILED) return news;
        return news == WRT__NEWS_TIME || wrt__sandbox_now() >= until ? WRT__NEWS_TIME
                                                                     : WRT__NEWS_END;
    }
    return WRT__NEWS_TURN;
}

enum wrt__sandbox_news wrt__sandbox_await(wrt__sandbox *state, uint64_t until)
{
    wrt__control *const control = state->control;

    if (wrt__look_for_turn(&state->patience[state->has_answered], &control->turn, WRT__TURN_PARENT,
                           state->looks)) {
        return WRT__NEWS_TURN;
    }
    wrt__store_ordered(&control->parent_sleeps, 1);
    const enum wrt__sandbox_news news = sleep_for_turn(state, until);
    wrt__store_ordered(&control->parent_sleeps, 0);
    return news;
}

void wrt__sandbox_order(wrt__sandbox *state, const wrt__order *order)
{
    static const char byte = 'O';
    wrt__control *const control = state->control;

    control->order = *order;
    state->has_answered = order->kind == WRT__ORDER_ANSWER;
    wrt__store_ordered(&control->turn, WRT__TURN_WORKER);
    if (wrt__load_ordered(&control->worker_sleeps) == 0) return;
    while (send(state->socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR) {
    }
}
