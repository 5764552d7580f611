/* Internal: locks of what is one for the whole process, statically made. */
#ifndef WRT_QNX_PROCESS_LOCK_H
#define WRT_QNX_PROCESS_LOCK_H

#include "sys.h"
#include "wrt_platform/status.h"

/* Errors: SYSTEM (os_code). */
wrt_status wrt__qnx_process_lock(const char *operation, pthread_mutex_t *lock);

/* Tried again where it fails, since a lock that stays would stop everybody. */
void wrt__qnx_process_unlock(pthread_mutex_t *lock);

#endif
