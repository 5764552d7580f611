/* How long it is worth looking before sleeping.
 *
 * A look in vain costs the whole of it, a sleep that a look would have saved costs some
 * microseconds. Where two threads run at once, looks mostly pay; where the system has put both on
 * one processor they never do, for whoever is waited for gets no time before the looking ends. No
 * thread can tell which it is, and the system moves them about. So who has looked in vain looks
 * only briefly for some turns, twice as many each time it happens again; one thing found makes all
 * of it forgotten. */
#include "threading.h"

enum { BRIEF = 64, RESTS_MAX = 31 };

uint32_t wrt__luck_looks(wrt__luck *luck, uint32_t spin)
{
    const uint32_t left = wrt__load(&luck->left);

    if (left == 0 || spin <= BRIEF) return spin;
    wrt__store(&luck->left, left - 1);
    return BRIEF;
}

void wrt__luck_note(wrt__luck *luck, bool was_long, bool is_found)
{
    const uint32_t rests = wrt__load(&luck->rests);
    uint32_t next = 0;

    if (is_found ? rests == 0 : !was_long) return;
    if (!is_found) next = rests < RESTS_MAX ? 2 * rests + 1 : RESTS_MAX;
    wrt__store(&luck->rests, next);
    wrt__store(&luck->left, next);
}
