/* Internal: how long a call may wait, and what ends it before; and waits on futexes within it. */
#ifndef WRT_LINUX_LIMIT_H
#define WRT_LINUX_LIMIT_H

#include "sys.h"
#include "wrt_platform/linux/sync.h"

typedef struct wrt__limit {
    const char *operation;
    const wrt_cancel_token *cancel; /* NULL: nothing but the end ends it */
    clockid_t clock;
    uint64_t end_ns; /* on that clock; UINT64_MAX: never */
} wrt__limit;

/* `timeout_ns` from now on, on CLOCK_MONOTONIC; 0 is an end that is past. Errors: SYSTEM. */
wrt_status wrt__limit_after(wrt__limit *limit, const char *operation, uint64_t timeout_ns,
                            const wrt_cancel_token *cancel);

/* A point in time on the clock of `futex`. */
wrt__limit wrt__limit_at(const char *operation, const wrt_linux_futex *futex, uint64_t deadline_ns,
                         const wrt_cancel_token *cancel);

/* The end of the next stretch that may be slept at once: that of the limit, or of a slice when
 * there is a token to look at. Errors: INTERRUPTED, SYSTEM. */
wrt_status wrt__limit_next(const wrt__limit *limit, uint64_t *end_out);

/* ---- sync_futex.c ---- */

/* Errors: STATE, as all calls on a futex. */
wrt_status wrt__futex_check(const char *operation, const wrt_linux_futex *futex);

/* The rules of a config, and what init does, but for a lock. `kind` is of wrt__shared_kind. */
wrt_status wrt__futex_init(const char *operation, wrt_linux_futex *futex,
                           const wrt_linux_futex_config *config, uint32_t kind);
wrt_status wrt__futex_deinit(const char *operation, wrt_linux_futex *futex);

/* Flags of the system's calls on its word. */
int wrt__futex_flags(const wrt_linux_futex *futex);

/* Waits while the word is `expected`. WRT_OK: it was woken, or the word is another. */
wrt_status wrt__futex_wait_within(wrt_linux_futex *futex, uint32_t expected,
                                  const wrt__limit *limit);
wrt_status wrt__futex_wake(const char *operation, wrt_linux_futex *futex, uint32_t count,
                           uint32_t *woken_out);

/* ---- sync_spin.c ---- */

/* Looks whether there is a second CPU to wait for. */
void wrt__spin_init(wrt_linux_futex *futex);

/* Looks at the word for a while; true if it changed. */
bool wrt__spin(wrt_linux_futex *futex, uint32_t expected);

#endif
