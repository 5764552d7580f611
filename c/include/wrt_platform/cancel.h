/** Cancel tokens: one word that ends every wait which was given it.
 *
 * Each instance has a token (`wrt_instance_cancel_token()`); wrt_instance_interrupt() requests it.
 * A host function that has to wait passes the token on to the wait, and answers PENDING when the
 * wait ended INTERRUPTED: so a guest that hangs inside the host is stopped like one that loops.
 *
 *     wrt_status status = wrt_cancel_wait(token, &system, 5000000000u); // a sleep of 5 s
 *     if (status == WRT_ERR_INTERRUPTED) {
 *         return WRT_ERR_PENDING;
 *     }
 *
 * Waiting on a token itself ends at once. Other waits (futex, lock, events) sleep for at most
 * WRT_CANCEL_SLICE_NS at a time and look at the token in between.
 *
 * Heap: none.  Threads: any; one thread at a time waits on a token.
 */
#ifndef WRT_PLATFORM_CANCEL_H
#define WRT_PLATFORM_CANCEL_H

#include "wrt_platform/thread_system.h"

WRT_BEGIN_DECLS

/** Time. */
enum wrt_cancel_limit {
    WRT_CANCEL_SLICE_NS = 20000000 /* nanoseconds: 20 ms */
};

/** Caller's storage; all zero is a token that is ready for use. Not to be moved while somebody
 * waits. Fields are private. */
typedef struct wrt_cancel_token {
    uint32_t requested;       /* atomic */
    uint32_t waiting;         /* atomic: somebody waits on `requested`, or is just being woken */
    wrt_thread_system system; /* of the thread that waits */
} wrt_cancel_token;

/** Ends the waits on `token`, those that come later as well, until it is cleared. NULL does
 * nothing. Errors: none, it cannot fail. Threads: any.  ISR: yes, while nobody waits on the token
 * itself. Cost: one store; a wake of the system if a thread waits on the token itself. */
WRT_API void wrt_cancel_request(wrt_cancel_token *token);

/** Makes the token ready for use again. NULL does nothing. Errors: none, it cannot fail.
 * Threads: any.  ISR: yes. */
WRT_API void wrt_cancel_clear(wrt_cancel_token *token);

/** True if it was requested and not cleared; false for NULL. Errors: none, it cannot fail.
 * Threads: any.  ISR: yes. */
WRT_API bool wrt_cancel_is_requested(const wrt_cancel_token *token);

/** Sleeps until `token` is requested or the time is over. timeout_ns: nanoseconds, 0 just looks,
 * UINT64_MAX without limit. `system` is borrowed for the call.
 * Errors: INTERRUPTED (it was requested), BUSY (another thread waits on it), INVALID_ARGUMENT.
 * WRT_OK: the time is over. Cost: one wait of the system. */
WRT_API WRT_NODISCARD wrt_status wrt_cancel_wait(wrt_cancel_token *token,
                                                 const wrt_thread_system *system,
                                                 uint64_t timeout_ns);

WRT_END_DECLS
#endif
