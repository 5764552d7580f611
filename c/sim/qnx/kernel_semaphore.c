/* Counting semaphores: a post goes to the waiter that is due, or is counted. */
#include "../common/host.h"

#include "kernel_sync.h"

static struct qk_sync *semaphore_at(qk_words words)
{
    struct qk_sync *semaphore = qk_sync_find(words);

    return semaphore != NULL && semaphore->kind == QK_SYNC_SEMAPHORE ? semaphore : NULL;
}

static qk_error post(struct qk_sync *semaphore)
{
    if (semaphore == NULL) return QK_EINVAL;
    struct qk_thread *thread = qk_queue_first(&semaphore->queue);
    if (thread != NULL) {
        qk_wake(thread, QK_OK);
        return QK_OK;
    }
    if (semaphore->value == QK_SEMAPHORE_MAX) return QK_EAGAIN;
    if (!qk_switched(QK_BREAK_SEMAPHORE)) semaphore->value++;
    qk_write_word(semaphore->words.count, semaphore->value);
    return QK_OK;
}

qk_error qk_semaphore_post(const char *call, qk_words words)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = post(semaphore_at(words));
    return qk_leave(error);
}

static qk_error wait_for(struct qk_sync *semaphore, bool only_try)
{
    if (semaphore == NULL) return QK_EINVAL;
    if (semaphore->value > 0) {
        qk_write_word(semaphore->words.count, --semaphore->value);
        return QK_OK;
    }
    if (only_try) return QK_EAGAIN;
    return qk_wait(&semaphore->queue, QK_STATE_SEMAPHORE, (uintptr_t)semaphore->words.owner);
}

qk_error qk_semaphore_wait(const char *call, qk_words words, bool only_try)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = wait_for(semaphore_at(words), only_try);
    return qk_leave(error);
}

static qk_error value_of(const struct qk_sync *semaphore, uint32_t *value_out)
{
    if (semaphore == NULL) return QK_EINVAL;
    *value_out = semaphore->value;
    return QK_OK;
}

qk_error qk_semaphore_value(qk_words words, uint32_t *value_out)
{
    qk_error error = qk_enter("SyncCtl");

    if (error == QK_OK) error = value_of(semaphore_at(words), value_out);
    return qk_leave(error);
}
