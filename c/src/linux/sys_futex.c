/* The calls on words, as the backend makes them; see sys.c. */
#include "sys_futex.h"

/* Older headers than the kernel's lack them; the numbers are part of its interface. */
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

_Static_assert(WRT__FUTEX_PRIVATE == FUTEX_PRIVATE_FLAG, "as the system has it");
_Static_assert(WRT__FUTEX_REALTIME == FUTEX_CLOCK_REALTIME, "as the system has it");

int wrt__sys_futex_wait_until(const uint32_t *word, uint32_t expected, int flags,
                              const struct timespec *deadline)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_WAIT_BITSET | flags, expected, deadline, NULL,
                        FUTEX_BITSET_MATCH_ANY);
}

int wrt__sys_futex_wake_on(const uint32_t *word, uint32_t count, int flags)
{
    const int most = count > INT32_MAX ? INT32_MAX : (int)count;

    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_WAKE | (flags & WRT__FUTEX_PRIVATE), most, NULL,
                        NULL, 0);
}

int wrt__sys_futex_lock(uint32_t *word, int flags, const struct timespec *deadline)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_LOCK_PI | (flags & WRT__FUTEX_PRIVATE), 0, deadline,
                        NULL, 0);
}

int wrt__sys_futex_lock_monotonic(uint32_t *word, int flags, const struct timespec *deadline)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_LOCK_PI2 | (flags & WRT__FUTEX_PRIVATE), 0, deadline,
                        NULL, 0);
}

int wrt__sys_futex_unlock(uint32_t *word, int flags)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_UNLOCK_PI | (flags & WRT__FUTEX_PRIVATE), 0, NULL,
                        NULL, 0);
}

int wrt__sys_futex_waitv(wrt__futex_waiter *waiters, uint32_t count, clockid_t clock,
                         const struct timespec *deadline)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex_waitv, waiters, count, 0, deadline, clock);
}
