/* Internal: looking at the turn for as long as it has paid lately. Two wake-ups of the system take
 * a hundred times as long as a short answer; but who looks in vain keeps a processor from others.
 */
#ifndef WRT_WORKER_PATIENCE_H
#define WRT_WORKER_PATIENCE_H

#include "../core/atomic.h"
#include "protocol.h"

enum { WRT__REST_WAITS = 8 }; /* without a look, before one is tried again */

/* True if it is `mine` in time. */
static inline bool wrt__look_for_turn(wrt__patience *patience, const uint32_t *turn, uint32_t mine,
                                      uint32_t most)
{
    if (patience->looks == 0 && most != 0 && ++patience->rests >= WRT__REST_WAITS) {
        patience->rests = 0;
        patience->looks = most;
    }
    for (uint32_t i = 0; i < patience->looks; i++) {
        if (wrt__load_ordered(turn) == mine) {
            patience->looks = most;
            return true;
        }
        wrt__spin_hint();
    }
    patience->looks /= 2;
    return wrt__load_ordered(turn) == mine;
}

#endif
