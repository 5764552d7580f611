#include "mutex.h"

#include "../core/fail.h"
#include "error.h"

static int make(pthread_mutex_t *mutex, pthread_mutexattr_t *attributes,
                const wrt__qnx_mutex_kind *kind)
{
    int code = pthread_mutexattr_settype(attributes, PTHREAD_MUTEX_ERRORCHECK);

    if (code == EOK) code = pthread_mutexattr_setprotocol(attributes, kind->protocol);
    if (code == EOK && kind->protocol == PTHREAD_PRIO_PROTECT) {
        code = pthread_mutexattr_setprioceiling(attributes, kind->ceiling);
    }
    if (code == EOK && kind->robust) {
        code = pthread_mutexattr_setrobust(attributes, PTHREAD_MUTEX_ROBUST);
    }
    return code == EOK ? pthread_mutex_init(mutex, attributes) : code;
}

wrt_status wrt__qnx_mutex_init(const char *operation, pthread_mutex_t *mutex,
                               const wrt__qnx_mutex_kind *kind)
{
    pthread_mutexattr_t attributes;

    int code = pthread_mutexattr_init(&attributes);
    if (code == EOK) {
        code = make(mutex, &attributes, kind);
        (void)pthread_mutexattr_destroy(&attributes);
    }
    if (code == EOK) return WRT_OK;
    return wrt_fail_system(wrt__qnx_status(code), operation, "pthread_mutex_init failed", code, 0,
                           0);
}

wrt_status wrt__qnx_mutex_fail(const char *operation, int code)
{
    switch (code) {
    case EDEADLK:
        return wrt_fail(WRT_ERR_STATE, operation, "the caller holds the lock already");
    case EPERM:
        return wrt_fail(WRT_ERR_STATE, operation, "the caller does not hold the lock");
    case EBUSY:
        return wrt_fail(WRT_ERR_STATE, operation, "the lock is held");
    case ENOTRECOVERABLE:
        return wrt_fail(WRT_ERR_STATE, operation,
                        "an owner died, and the lock was given back without wrt_lock_recover(); "
                        "make a new one");
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "a mutex call failed", code, 0, 0);
    }
}
