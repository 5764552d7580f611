/* QNX: the mutexes of <pthread.h>, thin calls over those of the kernel. */
#include <pthread.h>
#include <sys/neutrino.h>

#include "entry_answer.h"
#include "entry_clock.h"
#include "entry_sync.h"

enum { TYPE_FLAGS = PTHREAD_RECURSIVE_ENABLE | PTHREAD_ERRORCHECK_DISABLE };

int pthread_mutexattr_init(pthread_mutexattr_t *attributes)
{
    *attributes = (pthread_mutexattr_t){.__protocol = PTHREAD_PRIO_INHERIT};
    return 0;
}

int pthread_mutexattr_destroy(pthread_mutexattr_t *attributes)
{
    *attributes = (pthread_mutexattr_t){.__protocol = -1};
    return 0;
}

int pthread_mutexattr_settype(pthread_mutexattr_t *attributes, int type)
{
    int flags = 0;

    if (type < PTHREAD_MUTEX_DEFAULT || type > PTHREAD_MUTEX_NORMAL) return sim_number(QK_EINVAL);
    if (type == PTHREAD_MUTEX_RECURSIVE) flags = PTHREAD_RECURSIVE_ENABLE;
    if (type == PTHREAD_MUTEX_NORMAL) flags = PTHREAD_ERRORCHECK_DISABLE;
    attributes->__flags = (attributes->__flags & ~TYPE_FLAGS) | flags;
    return 0;
}

int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attributes, int protocol)
{
    if (protocol < PTHREAD_PRIO_INHERIT || protocol > PTHREAD_PRIO_PROTECT) {
        return sim_number(QK_EINVAL);
    }
    attributes->__protocol = protocol;
    return 0;
}

int pthread_mutexattr_setprioceiling(pthread_mutexattr_t *attributes, int ceiling)
{
    if (ceiling < QK_PRIORITY_MIN || ceiling > QK_PRIORITY_MAX) return sim_number(QK_EINVAL);
    attributes->__prioceiling = ceiling;
    return 0;
}

int pthread_mutexattr_setpshared(pthread_mutexattr_t *attributes, int shared)
{
    if (shared != PTHREAD_PROCESS_PRIVATE && shared != PTHREAD_PROCESS_SHARED) {
        return sim_number(QK_EINVAL);
    }
    attributes->__flags = (attributes->__flags & ~PTHREAD_PROCESS_SHARED) | shared;
    return 0;
}

int pthread_mutexattr_setrobust(pthread_mutexattr_t *attributes, int robust)
{
    if (robust != PTHREAD_MUTEX_STALLED && robust != PTHREAD_MUTEX_ROBUST) {
        return sim_number(QK_EINVAL);
    }
    attributes->__flags = (attributes->__flags & ~PTHREAD_MUTEX_ROBUST) | robust;
    return 0;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    return sim_number(sim_create_sync(_NTO_SYNC_MUTEX_FREE, mutex, attributes));
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    return sim_number(sim_destroy_sync(mutex));
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return sim_number(sim_lock_mutex("SyncMutexLock", mutex, false));
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return sim_number(sim_lock_mutex("SyncMutexLock", mutex, true));
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
    qk_timeout timeout;
    qk_error error = sim_lock_mutex("SyncMutexLock", mutex, true);

    if (error != QK_EBUSY) return sim_number(error);
    error = sim_timeout_until(CLOCK_REALTIME, until, QK_STATE_MUTEX, &timeout);
    if (error == QK_OK) error = qk_timeout_arm("TimerTimeout", &timeout);
    return error == QK_OK ? pthread_mutex_lock(mutex) : sim_number(error);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    return sim_number(sim_unlock_mutex("SyncMutexUnlock", mutex));
}

int pthread_mutex_consistent(pthread_mutex_t *mutex)
{
    return sim_number(sim_control_sync(_NTO_SCTL_MUTEX_CONSISTENT, mutex, NULL));
}

int pthread_mutex_setprioceiling(pthread_mutex_t *mutex, int ceiling, int *old)
{
    int before = 0;
    qk_error error = sim_control_sync(_NTO_SCTL_GETPRIOCEILING, mutex, &before);

    if (error == QK_OK) error = sim_control_sync(_NTO_SCTL_SETPRIOCEILING, mutex, &ceiling);
    if (error == QK_OK && old != NULL) *old = before;
    return sim_number(error);
}

int pthread_mutex_getprioceiling(pthread_mutex_t *mutex, int *ceiling)
{
    return sim_number(sim_control_sync(_NTO_SCTL_GETPRIOCEILING, mutex, ceiling));
}
