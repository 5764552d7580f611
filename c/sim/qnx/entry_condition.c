/* QNX: the condition variables of <pthread.h>, thin calls over those of the kernel. */
#include <pthread.h>
#include <sys/neutrino.h>

#include "entry_answer.h"
#include "entry_clock.h"
#include "entry_sync.h"

int pthread_condattr_init(pthread_condattr_t *attributes)
{
    *attributes = (pthread_condattr_t){.__clockid = CLOCK_REALTIME};
    return 0;
}

int pthread_condattr_destroy(pthread_condattr_t *attributes)
{
    *attributes = (pthread_condattr_t){.__clockid = -1};
    return 0;
}

int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t id)
{
    if (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC) return sim_number(QK_EINVAL);
    attributes->__clockid = id;
    return 0;
}

int pthread_condattr_getclock(const pthread_condattr_t *attributes, clockid_t *id)
{
    *id = attributes->__clockid;
    return 0;
}

int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    return sim_number(sim_create_sync(_NTO_SYNC_COND, condition, attributes));
}

int pthread_cond_destroy(pthread_cond_t *condition)
{
    return sim_number(sim_destroy_sync(condition));
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    return sim_number(sim_wait_condition(condition, mutex));
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until)
{
    qk_timeout timeout;
    qk_error error = sim_check_sync(condition);

    if (error == QK_OK) {
        clockid_t id = __atomic_load_n(&condition->__u.__clockid, __ATOMIC_RELAXED);
        error = sim_timeout_until(id, until, QK_STATE_CONDVAR, &timeout);
    }
    if (error == QK_OK) error = qk_timeout_arm("TimerTimeout", &timeout);
    return sim_number(error == QK_OK ? sim_wait_condition(condition, mutex) : error);
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    return sim_number(sim_signal_condition(condition, false));
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    return sim_number(sim_signal_condition(condition, true));
}
