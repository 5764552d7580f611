/* Internal: what a futex of QNX does, and what makes and ends it, share. */
#ifndef WRT_QNX_SYNC_FUTEX_H
#define WRT_QNX_SYNC_FUTEX_H

#include "sys.h"
#include "wrt_platform/qnx/sync.h"

enum wrt__qnx_place_state { WRT__PLACE_FREE, WRT__PLACE_WAITS, WRT__PLACE_WOKEN };

enum { WRT__NOBODY_WAITS = -1 };

static inline pthread_mutex_t *wrt__qnx_futex_mutex(wrt_qnx_futex *futex)
{
    return (pthread_mutex_t *)(void *)&futex->mutex;
}

static inline pthread_cond_t *wrt__qnx_futex_left(wrt_qnx_futex *futex)
{
    return (pthread_cond_t *)(void *)&futex->left;
}

wrt_status wrt__qnx_futex_check(const char *operation, const wrt_qnx_futex *futex);

/* Wakes the first waiter, under the mutex; an error number of QNX, or WRT__NOBODY_WAITS. */
int wrt__qnx_futex_kick(wrt_qnx_futex *futex);

#endif
