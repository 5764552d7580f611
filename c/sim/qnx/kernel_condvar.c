/* Condition variables. A waiter that is woken, or whose time is up, runs again when its turn comes
 * and then takes the mutex like anybody else. */
#include "../common/host.h"

#include "kernel_sync.h"

/* What an initialiser stands for is made at its first use. */
static struct qk_sync *known_condvar(qk_words words, enum qk_clock clock)
{
    struct qk_sync *condition = qk_sync_find(words);

    if (condition != NULL) return condition;
    condition = qk_sync_new(words, QK_SYNC_CONDVAR, false);
    if (condition != NULL) condition->clock = clock;
    return condition;
}

/* The mutex comes back however the wait ended, and as often locked as it was; no time-out is meant
 * for that. */
static qk_error take_back(struct qk_sync *mutex, uint32_t depth, qk_error error)
{
    qk_current()->timeout_armed = false;
    if (error == QK_ETIMEDOUT && qk_switched(QK_BREAK_REACQUIRE)) return error;
    qk_error locked = qk_mutex_acquire(mutex, false);
    if (locked != QK_OK && locked != QK_EOWNERDEAD) return locked;
    mutex->depth = depth;
    qk_write_word(mutex->words.count, mutex->mutex.count_word + depth);
    return error == QK_OK ? locked : error;
}

static qk_error wait_for(struct qk_sync *condition, struct qk_sync *mutex)
{
    if (condition == NULL || condition->kind != QK_SYNC_CONDVAR) return QK_EINVAL;
    if (mutex == NULL) return QK_EPERM; /* an initialiser that nobody has locked */
    if (mutex->kind != QK_SYNC_MUTEX) return QK_EINVAL;
    if (mutex->owner != qk_current()) return QK_EPERM;
    if (condition->queue.first != NULL && condition->bound_mutex != mutex) return QK_EINVAL;
    condition->bound_mutex = mutex;
    uint32_t depth = mutex->depth;
    qk_mutex_let_go(mutex);
    qk_error error =
        qk_wait(&condition->queue, QK_STATE_CONDVAR, (uintptr_t)condition->words.owner);
    return take_back(mutex, depth, error);
}

qk_error qk_condvar_wait(qk_words condition, qk_words mutex, enum qk_clock clock)
{
    qk_error error = qk_enter("SyncCondvarWait");

    if (error == QK_OK) error = wait_for(known_condvar(condition, clock), qk_sync_find(mutex));
    return qk_leave(error);
}

static qk_error signal_all(struct qk_sync *condition, bool all)
{
    struct qk_thread *thread;

    if (condition == NULL) return QK_OK; /* nobody has ever waited */
    if (condition->kind != QK_SYNC_CONDVAR) return QK_EINVAL;
    do {
        thread = qk_queue_first(&condition->queue);
        if (thread != NULL) qk_wake(thread, QK_OK);
    } while (thread != NULL && all && !qk_switched(QK_BREAK_BROADCAST));
    return QK_OK;
}

qk_error qk_condvar_signal(qk_words words, bool all)
{
    qk_error error = qk_enter("SyncCondvarSignal");

    if (error == QK_OK) error = signal_all(qk_sync_find(words), all);
    return qk_leave(error);
}
