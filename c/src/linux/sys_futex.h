/* Internal: the calls on words, as the backend makes them; see sys.h. */
#ifndef WRT_LINUX_SYS_FUTEX_H
#define WRT_LINUX_SYS_FUTEX_H

#include "sys.h"

/* How a word is used; the bits are those of the system call. */
enum { WRT__FUTEX_PRIVATE = 128, WRT__FUTEX_REALTIME = 256 };

/* Waits while *word is `expected`, until `deadline` (NULL: no end), on CLOCK_MONOTONIC or, with
 * WRT__FUTEX_REALTIME, CLOCK_REALTIME. -1 and errno: EAGAIN (it is another), ETIMEDOUT, EINTR. */
int wrt__sys_futex_wait_until(const uint32_t *word, uint32_t expected, int flags,
                              const struct timespec *deadline);
/* Wakes up to `count`; returns how many, or -1. */
int wrt__sys_futex_wake_on(const uint32_t *word, uint32_t count, int flags);

/* Takes the lock that is a word of FUTEX_LOCK_PI, and gives it back. The deadline is on
 * CLOCK_REALTIME; of the second call on CLOCK_MONOTONIC, ENOSYS before Linux 5.14. */
int wrt__sys_futex_lock(uint32_t *word, int flags, const struct timespec *deadline);
int wrt__sys_futex_lock_monotonic(uint32_t *word, int flags, const struct timespec *deadline);
int wrt__sys_futex_unlock(uint32_t *word, int flags);

/* One of the words that futex_waitv waits on, as the kernel has it. */
typedef struct wrt__futex_waiter {
    uint64_t expected;
    uint64_t word;
    uint32_t flags;
    uint32_t reserved;
} wrt__futex_waiter;

enum { WRT__WAITV_32_BITS = 2 };

/* Waits on several words until `deadline` on `clock`; returns the index of one that was woken, or
 * -1. ENOSYS before Linux 5.16. */
int wrt__sys_futex_waitv(wrt__futex_waiter *waiters, uint32_t count, clockid_t clock,
                         const struct timespec *deadline);

#endif
