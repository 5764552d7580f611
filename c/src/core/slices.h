/* Internal: a wait with a cancel token is cut into slices, with a look at the token between them;
 * time is counted by the clock, not by adding up slices, which end late. */
#ifndef WRT_CORE_SLICES_H
#define WRT_CORE_SLICES_H

#include "wrt_platform/cancel.h"

typedef struct wrt__slices {
    const char *operation;
    wrt_thread_now_fn now;
    void *self; /* of `now` */
    const wrt_cancel_token *cancel;
    uint64_t timeout_ns;
    uint64_t start_ns; /* 0 if the timeout needs no clock */
    uint64_t next_ns;  /* what the next slice may last */
} wrt__slices;

/* Prepares the first slice. Errors: INTERRUPTED (the token is requested already), those of `now`.
 */
wrt_status wrt__slices_begin(wrt__slices *slices, const char *operation, wrt_thread_now_fn now,
                             void *self, uint64_t timeout_ns, const wrt_cancel_token *cancel);

/* After a slice that TIMED_OUT: prepares the next one. Errors: INTERRUPTED, TIMED_OUT (that was
 * the last one), those of `now`. */
wrt_status wrt__slices_next(wrt__slices *slices);

#endif
