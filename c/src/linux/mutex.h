/* Internal: mutexes that notice misuse, and what their errors mean. */
#ifndef WRT_LINUX_MUTEX_H
#define WRT_LINUX_MUTEX_H

#include "sys.h"
#include "wrt_platform/status.h"

typedef struct wrt__mutex_kind {
    int protocol; /* PTHREAD_PRIO_... */
    int ceiling;  /* of SCHED_FIFO, with PTHREAD_PRIO_PROTECT */
    bool robust;
    bool shared; /* between processes */
} wrt__mutex_kind;

wrt_status wrt__mutex_init(const char *operation, pthread_mutex_t *mutex,
                           const wrt__mutex_kind *kind);

/* The failure that an error number of a mutex call stands for. */
wrt_status wrt__mutex_fail(const char *operation, int code);

#endif
