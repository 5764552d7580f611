/** Futexes: a word that threads wait on, and others wake.
 *
 * wrt_futex is the interface; each backend has an object behind it (`wrt_linux_futex`,
 * `wrt_qnx_futex`). The word belongs to the object: change it with the calls below, then wake.
 *
 *     wrt_futex_store(&futex, 1);
 *     wrt_status status = wrt_futex_wake(&futex, 1, NULL);
 *
 * A backend's object with priority inheritance is a lock (see lock.h): nobody owns a word, so there
 * is nobody to inherit from, and wait and wake on it are UNSUPPORTED.
 *
 * Times are nanoseconds: a `timeout_ns` of 0 does not wait, UINT64_MAX waits without limit.
 *
 * Heap: none.  Threads: any.  ISR: no, but for the loads and stores.
 */
#ifndef WRT_PLATFORM_SYNC_H
#define WRT_PLATFORM_SYNC_H

#include "wrt_platform/cancel.h"

WRT_BEGIN_DECLS

/** As wrt_futex_wait(), but may return WRT_OK early for no reason; the token is not its affair. */
typedef wrt_status (*wrt_futex_wait_fn)(void *self, uint32_t expected, uint64_t timeout_ns);
/** As wrt_futex_wake(); woken_out is not NULL. */
typedef wrt_status (*wrt_futex_wake_fn)(void *self, uint32_t count, uint32_t *woken_out);
/** The object's word; NULL if the object cannot be used (and why is the last error). */
typedef uint32_t *(*wrt_futex_word_fn)(void *self);
/** The system's clock, see wrt_thread_now_fn. */
typedef wrt_status (*wrt_futex_now_fn)(void *self, uint64_t *nanoseconds_out);

/** The calls of a backend; none may be NULL. */
typedef struct wrt_futex_ops {
    wrt_futex_wait_fn wait;
    wrt_futex_wake_fn wake;
    wrt_futex_word_fn word;
    wrt_futex_now_fn now;
} wrt_futex_ops;

/** A futex of any backend. Copy it freely; `self` must outlive all copies. */
typedef struct wrt_futex {
    const wrt_futex_ops *ops;
    void *self;
} wrt_futex;

/** Waits until it is woken, if the word is `expected`; returns at once if it is another. A wake
 * after the word was looked at is never lost. `cancel` ends the wait; NULL: nothing does.
 * WRT_OK: woken, or the word was another; look again before you rely on it.
 * Errors: TIMED_OUT, INTERRUPTED (cancel), UNSUPPORTED (made with priority inheritance), STATE (not
 * initialised, or deinitialised meanwhile, or after fork), INVALID_ARGUMENT, SYSTEM.
 * Cost: one wait of the system, with a token one every 20 ms; none if the word is another. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_wait(const wrt_futex *futex, uint32_t expected,
                                                uint64_t timeout_ns, wrt_cancel_token *cancel);

/** Wakes at most `count` of the threads that wait; UINT32_MAX: all. *woken_out, if not NULL: how
 * many there were. Errors: UNSUPPORTED (made with priority inheritance), STATE,
 * INVALID_ARGUMENT (count 0), SYSTEM. Cost: no system call while nobody waits. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_wake(const wrt_futex *futex, uint32_t count,
                                                uint32_t *woken_out);

/** Reads the word, with acquire order. Errors: STATE, INVALID_ARGUMENT. ISR: yes. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_load(const wrt_futex *futex, uint32_t *value_out);

/** Writes the word, with release order; wakes nobody. Errors: STATE, INVALID_ARGUMENT. ISR: yes. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_store(const wrt_futex *futex, uint32_t value);

/** Adds to the word, which wraps; *before_out, if not NULL, is what it was. Errors: STATE,
 * INVALID_ARGUMENT. ISR: yes. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_fetch_add(const wrt_futex *futex, uint32_t value,
                                                     uint32_t *before_out);

/** Puts `value` in place of *expected; else *expected becomes what is there, and *exchanged_out
 * false. Errors: STATE, INVALID_ARGUMENT. ISR: yes. */
WRT_API WRT_NODISCARD wrt_status wrt_futex_compare_exchange(const wrt_futex *futex,
                                                            uint32_t *expected, uint32_t value,
                                                            bool *exchanged_out);

WRT_END_DECLS
#endif
