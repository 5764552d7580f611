/* Internal: mutexes that notice misuse, and what their errors mean. */
#ifndef WRT_QNX_MUTEX_H
#define WRT_QNX_MUTEX_H

#include "sys.h"
#include "wrt_platform/status.h"

typedef struct wrt__qnx_mutex_kind {
    int protocol; /* PTHREAD_PRIO_... */
    int ceiling;  /* with PTHREAD_PRIO_PROTECT */
    bool robust;
} wrt__qnx_mutex_kind;

wrt_status wrt__qnx_mutex_init(const char *operation, pthread_mutex_t *mutex,
                               const wrt__qnx_mutex_kind *kind);

/* The failure that an error number of a mutex call stands for. */
wrt_status wrt__qnx_mutex_fail(const char *operation, int code);

#endif
