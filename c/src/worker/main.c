/* The worker program: sealed first, then at work. */
#include "worker.h"

static wrt__worker the_worker;

/* Value of an entry of the auxiliary vector, which lies behind arguments and environment. */
static uintptr_t auxiliary(const uintptr_t *stack, uintptr_t wanted)
{
    const uintptr_t *next = stack + 1 + stack[0] + 1;

    while (*next != 0) next++;
    for (next++; next[0] != AT_NULL; next += 2) {
        if (next[0] == wanted) return next[1];
    }
    return 0;
}

void wrt__worker_start(const uintptr_t *stack)
{
    wrt__worker_find_clock(auxiliary(stack, AT_SYSINFO_EHDR));
    wrt__worker_seal(&the_worker);
    the_worker.patience[0].looks = the_worker.patience[1].looks = the_worker.control->spins;
    wrt__worker_serve(&the_worker);
}
