/* QNX: mutexes, condition variables and semaphores. An initialiser is all that a program may have
 * written, so the words of a mutex say what it is until the kernel knows it. */
#include <pthread.h>
#include <sys/neutrino.h>

#include "entry_answer.h"
#include "entry_clock.h"
#include "entry_sync.h"

qk_words sim_words(sync_t *sync)
{
    qk_words words = {&sync->__u.__count, &sync->__owner};

    return words;
}

/* The kernel writes the words while others look at them. */
static unsigned int owner_of(const sync_t *sync)
{
    return __atomic_load_n(&sync->__owner, __ATOMIC_RELAXED);
}

static unsigned int count_of(const sync_t *sync)
{
    return __atomic_load_n(&sync->__u.__count, __ATOMIC_RELAXED);
}

static void set_words(sync_t *sync, unsigned int count, unsigned int owner)
{
    __atomic_store_n(&sync->__u.__count, count, __ATOMIC_RELAXED);
    __atomic_store_n(&sync->__owner, owner, __ATOMIC_RELAXED);
}

qk_error sim_check_sync(const sync_t *sync)
{
    if (!qk_may_write(sync, sizeof *sync)) return QK_EFAULT;
    return owner_of(sync) == _NTO_SYNC_DESTROYED ? QK_EINVAL : QK_OK;
}

/* What the flags in the count of a free mutex stand for. */
static qk_mutex_config config_of(unsigned int count)
{
    qk_mutex_config config = {
        .protocol = (count & _NTO_SYNC_PRIONONE) != 0 ? QK_PROTOCOL_NONE : QK_PROTOCOL_INHERIT,
        .recursive = (count & _NTO_SYNC_NONRECURSIVE) == 0,
        .unchecked = (count & _NTO_SYNC_NOERRORCHECK) != 0,
        .count_word = count & ~_NTO_SYNC_COUNTMASK,
    };

    return config;
}

static bool is_mutex(const sync_t *sync)
{
    unsigned int owner = owner_of(sync);

    return owner == _NTO_SYNC_INITIALIZER || (owner & _NTO_SYNC_WAITING) == 0;
}

qk_error sim_lock_mutex(const char *call, sync_t *sync, bool only_try)
{
    qk_error error = sim_check_sync(sync);

    if (error != QK_OK) return error;
    if (!is_mutex(sync)) return QK_EINVAL;
    qk_mutex_config config = config_of(count_of(sync));
    return qk_mutex_lock(call, sim_words(sync), &config, only_try);
}

qk_error sim_unlock_mutex(const char *call, sync_t *sync)
{
    qk_error error = sim_check_sync(sync);

    if (error != QK_OK) return error;
    return is_mutex(sync) ? qk_mutex_unlock(call, sim_words(sync)) : QK_EINVAL;
}

int SyncMutexLock(sync_t *sync)
{
    return sim_answer(sim_lock_mutex("SyncMutexLock", sync, false));
}

int SyncMutexLock_r(sync_t *sync)
{
    return sim_answer_negative(sim_lock_mutex("SyncMutexLock", sync, false));
}

int SyncMutexUnlock(sync_t *sync)
{
    return sim_answer(sim_unlock_mutex("SyncMutexUnlock", sync));
}

int SyncMutexUnlock_r(sync_t *sync)
{
    return sim_answer_negative(sim_unlock_mutex("SyncMutexUnlock", sync));
}

/* What the attributes of a mutex are in its count. */
static unsigned int count_word_of(const struct _sync_attr *attributes)
{
    unsigned int count = 0;

    if ((attributes->__flags & PTHREAD_RECURSIVE_ENABLE) == 0) count |= _NTO_SYNC_NONRECURSIVE;
    if ((attributes->__flags & PTHREAD_ERRORCHECK_DISABLE) != 0) count |= _NTO_SYNC_NOERRORCHECK;
    if (attributes->__protocol == PTHREAD_PRIO_PROTECT) count |= _NTO_SYNC_PRIOCEILING;
    if (attributes->__protocol == PTHREAD_PRIO_NONE) count |= _NTO_SYNC_PRIONONE;
    return count;
}

static qk_error create_mutex(sync_t *sync, const struct _sync_attr *attributes)
{
    qk_mutex_config config = config_of(count_word_of(attributes));

    config.robust = (attributes->__flags & PTHREAD_MUTEX_ROBUST) != 0;
    if (attributes->__protocol == PTHREAD_PRIO_PROTECT) {
        config.protocol = QK_PROTOCOL_PROTECT;
        config.ceiling = attributes->__prioceiling;
        if (config.ceiling < QK_PRIORITY_MIN || config.ceiling > QK_PRIORITY_MAX) return QK_EINVAL;
    }
    return qk_mutex_create(sim_words(sync), &config);
}

static qk_error create_condition(sync_t *sync, const struct _sync_attr *attributes)
{
    enum qk_clock clock;
    int32_t thread;
    qk_error error = sim_clock_of(attributes->__clockid, &clock, &thread);

    if (error == QK_OK) error = qk_condvar_create(sim_words(sync), clock);
    if (error == QK_OK) set_words(sync, (unsigned int)attributes->__clockid, _NTO_SYNC_COND);
    return error;
}

static qk_error create_semaphore(sync_t *sync, const struct _sync_attr *attributes)
{
    qk_error error = qk_semaphore_create(sim_words(sync), (uint32_t)attributes->__count);

    if (error == QK_OK) set_words(sync, (unsigned int)attributes->__count, _NTO_SYNC_SEM);
    return error;
}

qk_error sim_create_sync(unsigned int type, sync_t *sync, const struct _sync_attr *attributes)
{
    const struct _sync_attr defaults = {.__protocol = PTHREAD_PRIO_INHERIT};

    if (!qk_may_write(sync, sizeof *sync)) return QK_EFAULT;
    if (attributes == NULL) attributes = &defaults;
    if (!qk_may_read(attributes, sizeof *attributes)) return QK_EFAULT;
    switch (type) {
    case _NTO_SYNC_MUTEX_FREE:
        return create_mutex(sync, attributes);
    case _NTO_SYNC_COND:
        return create_condition(sync, attributes);
    case _NTO_SYNC_SEM:
        return create_semaphore(sync, attributes);
    default:
        return QK_EINVAL;
    }
}

int SyncTypeCreate(unsigned int type, sync_t *sync, const struct _sync_attr *attributes)
{
    return sim_answer(sim_create_sync(type, sync, attributes));
}

int SyncTypeCreate_r(unsigned int type, sync_t *sync, const struct _sync_attr *attributes)
{
    return sim_answer_negative(sim_create_sync(type, sync, attributes));
}

qk_error sim_destroy_sync(sync_t *sync)
{
    qk_error error = sim_check_sync(sync);

    return error == QK_OK ? qk_sync_destroy(sim_words(sync), _NTO_SYNC_DESTROYED) : error;
}

int SyncDestroy(sync_t *sync)
{
    return sim_answer(sim_destroy_sync(sync));
}

int SyncDestroy_r(sync_t *sync)
{
    return sim_answer_negative(sim_destroy_sync(sync));
}

static qk_error semaphore_value(sync_t *sync, int *value_out)
{
    uint32_t value = 0;
    qk_error error = qk_semaphore_value(sim_words(sync), &value);

    if (error == QK_OK) *value_out = (int)value;
    return error;
}

qk_error sim_control_sync(int command, sync_t *sync, void *data)
{
    qk_error error = sim_check_sync(sync);

    if (error != QK_OK) return error;
    if (command != _NTO_SCTL_MUTEX_CONSISTENT && !qk_may_write(data, sizeof(int))) return QK_EFAULT;
    switch (command) {
    case _NTO_SCTL_SETPRIOCEILING:
        return qk_mutex_ceiling(sim_words(sync), data, NULL);
    case _NTO_SCTL_GETPRIOCEILING:
        return qk_mutex_ceiling(sim_words(sync), NULL, data);
    case _NTO_SCTL_MUTEX_CONSISTENT:
        return qk_mutex_consistent(sim_words(sync));
    case _NTO_SCTL_SEM_VALUE:
        return semaphore_value(sync, data);
    default:
        return QK_EINVAL;
    }
}

int SyncCtl(int command, sync_t *sync, void *data)
{
    return sim_answer(sim_control_sync(command, sync, data));
}

int SyncCtl_r(int command, sync_t *sync, void *data)
{
    return sim_answer_negative(sim_control_sync(command, sync, data));
}

/* An initialiser of <pthread.h>, or what SyncTypeCreate has written, holds the clock. */
static bool is_condition(const sync_t *sync)
{
    unsigned int owner = owner_of(sync);

    return owner == _NTO_SYNC_COND || owner == _NTO_SYNC_INITIALIZER;
}

qk_error sim_wait_condition(sync_t *condition, sync_t *mutex)
{
    enum qk_clock clock = QK_CLOCK_REAL;
    int32_t thread;
    qk_error error = sim_check_sync(condition);

    if (error == QK_OK) error = sim_check_sync(mutex);
    if (error != QK_OK) return error;
    if (!is_condition(condition) || !is_mutex(mutex)) return QK_EINVAL;
    error = sim_clock_of((clockid_t)count_of(condition), &clock, &thread);
    if (error != QK_OK) return error;
    return qk_condvar_wait(sim_words(condition), sim_words(mutex), clock);
}

qk_error sim_signal_condition(sync_t *condition, bool all)
{
    qk_error error = sim_check_sync(condition);

    if (error != QK_OK) return error;
    return is_condition(condition) ? qk_condvar_signal(sim_words(condition), all) : QK_EINVAL;
}

int SyncCondvarWait(sync_t *condition, sync_t *mutex)
{
    return sim_answer(sim_wait_condition(condition, mutex));
}

int SyncCondvarWait_r(sync_t *condition, sync_t *mutex)
{
    return sim_answer_negative(sim_wait_condition(condition, mutex));
}

int SyncCondvarSignal(sync_t *condition, int all)
{
    return sim_answer(sim_signal_condition(condition, all != 0));
}

int SyncCondvarSignal_r(sync_t *condition, int all)
{
    return sim_answer_negative(sim_signal_condition(condition, all != 0));
}
