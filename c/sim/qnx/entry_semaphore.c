/* QNX: semaphores. */
#include <pthread.h>
#include <semaphore.h>
#include <sys/neutrino.h>

#include "entry_answer.h"
#include "entry_clock.h"
#include "entry_sync.h"

static qk_error post(const char *call, sync_t *semaphore)
{
    qk_error error = sim_check_sync(semaphore);

    return error == QK_OK ? qk_semaphore_post(call, sim_words(semaphore)) : error;
}

static qk_error wait(const char *call, sync_t *semaphore, bool only_try)
{
    qk_error error = sim_check_sync(semaphore);

    return error == QK_OK ? qk_semaphore_wait(call, sim_words(semaphore), only_try) : error;
}

int SyncSemPost(sync_t *semaphore)
{
    return sim_answer(post("SyncSemPost", semaphore));
}

int SyncSemPost_r(sync_t *semaphore)
{
    return sim_answer_negative(post("SyncSemPost", semaphore));
}

int SyncSemWait(sync_t *semaphore, int only_try)
{
    return sim_answer(wait("SyncSemWait", semaphore, only_try != 0));
}

int SyncSemWait_r(sync_t *semaphore, int only_try)
{
    return sim_answer_negative(wait("SyncSemWait", semaphore, only_try != 0));
}

int sem_init(sem_t *semaphore, int shared, unsigned int value)
{
    struct _sync_attr attributes = {.__count = (int)value};

    if (value > 0x7fffffffu) return sim_answer(QK_EINVAL);
    if (shared != 0) attributes.__flags = PTHREAD_PROCESS_SHARED;
    return sim_answer(sim_create_sync(_NTO_SYNC_SEM, semaphore, &attributes));
}

int sem_destroy(sem_t *semaphore)
{
    return sim_answer(sim_destroy_sync(semaphore));
}

int sem_post(sem_t *semaphore)
{
    return sim_answer(post("SyncSemPost", semaphore));
}

int sem_wait(sem_t *semaphore)
{
    return sim_answer(wait("SyncSemWait", semaphore, false));
}

int sem_trywait(sem_t *semaphore)
{
    return sim_answer(wait("SyncSemWait", semaphore, true));
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until)
{
    qk_timeout timeout;
    qk_error error = wait("SyncSemWait", semaphore, true);

    if (error != QK_EAGAIN) return sim_answer(error);
    error = sim_timeout_until(CLOCK_REALTIME, until, QK_STATE_SEMAPHORE, &timeout);
    if (error == QK_OK) error = qk_timeout_arm("TimerTimeout", &timeout);
    return error == QK_OK ? sem_wait(semaphore) : sim_answer(error);
}

int sem_getvalue(sem_t *semaphore, int *value)
{
    return sim_answer(sim_control_sync(_NTO_SCTL_SEM_VALUE, semaphore, value));
}
