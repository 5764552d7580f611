#include "mutex.h"

#include "../core/fail.h"

static int make(pthread_mutex_t *mutex, pthread_mutexattr_t *attributes,
                const wrt__mutex_kind *kind)
{
    int code = pthread_mutexattr_settype(attributes, PTHREAD_MUTEX_ERRORCHECK);

    if (code == 0) code = pthread_mutexattr_setprotocol(attributes, kind->protocol);
    if (code == 0 && kind->protocol == PTHREAD_PRIO_PROTECT) {
        code = pthread_mutexattr_setprioceiling(attributes, kind->ceiling);
    }
    if (code == 0 && kind->robust) {
        code = pthread_mutexattr_setrobust(attributes, PTHREAD_MUTEX_ROBUST);
    }
    if (code == 0 && kind->shared) {
        code = pthread_mutexattr_setpshared(attributes, PTHREAD_PROCESS_SHARED);
    }
    return code == 0 ? wrt__sys_mutex_init(mutex, attributes) : code;
}

wrt_status wrt__mutex_init(const char *operation, pthread_mutex_t *mutex,
                           const wrt__mutex_kind *kind)
{
    pthread_mutexattr_t attributes;

    int code = pthread_mutexattr_init(&attributes);
    if (code == 0) {
        code = make(mutex, &attributes, kind);
        (void)pthread_mutexattr_destroy(&attributes);
    }
    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

wrt_status wrt__mutex_fail(const char *operation, int code)
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
    case ENOTSUP:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "this system has no such mutex: a ceiling can't be robust, and "
                               "inheritance takes a kernel with CONFIG_FUTEX_PI",
                               code, 0, 0);
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "there is no room for a mutex", code,
                               0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "a mutex call failed", code, 0, 0);
    }
}
