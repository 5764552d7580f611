/* Looking at a word before asking the system to wait. It is worth it while another CPU is about to
 * change the word, and a loss otherwise: so the window follows how many looks were of use of late,
 * and where there is no second CPU nobody looks. Now and then a wait tries the whole window, the
 * less often the longer that was in vain. */
#include "limit.h"

#include "../core/atomic.h"
#include "../core/port.h"

enum { PROBE = 16, PROBE_MAX = 4096, RECOUNT = 64, SMALLEST = 16, WEIGHT = 8 };

/* CPUs that this thread, or the process's first one, may run on: threads bound to a CPU each have
 * several between them. */
static bool has_second_cpu(void)
{
    cpu_set_t own;
    cpu_set_t first;

    if (wrt__sys_getaffinity(0, &own) != 0 || wrt__sys_getaffinity(getpid(), &first) != 0) {
        return false;
    }
    CPU_OR(&own, &own, &first);
    return CPU_COUNT(&own) > 1;
}

void wrt__spin_init(wrt_linux_futex *futex)
{
    if (futex->spin == 0) return;
    futex->may_spin = has_second_cpu();
    futex->window = futex->spin;
    futex->probe = PROBE;
}

static void pause_for(uint32_t nanoseconds)
{
    uint64_t start = 0;
    uint64_t now = 0;

    wrt__spin_hint();
    if (nanoseconds == 0 || wrt__port_now(&start) != WRT_OK) return;
    do {
        wrt__spin_hint();
    } while (wrt__port_now(&now) == WRT_OK && now - start < nanoseconds);
}

static uint32_t window_of(wrt_linux_futex *futex)
{
    const uint32_t turn = wrt__add(&futex->spin_turns, 1);

    if (turn % RECOUNT == RECOUNT - 1) wrt__store(&futex->may_spin, has_second_cpu());
    if (wrt__load(&futex->may_spin) == 0) return 0;
    if (turn % wrt__load(&futex->probe) == 0) return futex->spin;
    const uint32_t wide = 2 * wrt__load(&futex->window) + SMALLEST;
    return wide < futex->spin ? wide : futex->spin;
}

/* The window grows to what was of use at once. */
static void learn_hit(wrt_linux_futex *futex, uint32_t looks)
{
    const uint32_t window = wrt__load(&futex->window);

    (void)wrt__add(&futex->spin_hits, 1);
    wrt__store(&futex->window, looks > window ? looks : window - (window - looks) / WEIGHT);
    wrt__store(&futex->probe, PROBE);
}

static void learn_miss(wrt_linux_futex *futex, uint32_t looks)
{
    const uint32_t probe = wrt__load(&futex->probe);

    wrt__store(&futex->window, wrt__load(&futex->window) / 2);
    if (looks == futex->spin && probe < PROBE_MAX) wrt__store(&futex->probe, 2 * probe);
}

bool wrt__spin(wrt_linux_futex *futex, uint32_t expected)
{
    if (futex->spin == 0) return false;
    const uint32_t window = window_of(futex);
    if (window == 0) return false;
    (void)wrt__add(&futex->spins, 1);
    for (uint32_t looks = 0; looks < window; looks++) {
        if (wrt__load_acquire(&futex->state->word) != expected) {
            learn_hit(futex, looks);
            return true;
        }
        pause_for(futex->backoff_ns);
    }
    learn_miss(futex, window);
    return false;
}
