#include "process_lock.h"

#include "../core/fail.h"

enum { UNLOCK_TRIES = 3 };

wrt_status wrt__qnx_process_lock(const char *operation, pthread_mutex_t *lock)
{
    const int code = pthread_mutex_lock(lock);

    if (code == EOK) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                           "pthread_mutex_lock failed, for what the whole process shares", code, 0,
                           0);
}

void wrt__qnx_process_unlock(pthread_mutex_t *lock)
{
    for (int i = 0; i < UNLOCK_TRIES && pthread_mutex_unlock(lock) != EOK; i++) {
    }
}
