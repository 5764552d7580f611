/* Mutexes. One that is let go passes straight to the waiter that is due, so nobody who comes later
 * can be faster. Its owner has at least the priority of all who wait, or the mutex's ceiling. */
#include "../common/host.h"

#include "../common/trace.h"
#include "kernel_call.h"
#include "kernel_sync.h"

int32_t qk_mutex_lends(const struct qk_sync *mutex)
{
    const struct qk_thread *waiter;
    int32_t priority = 0;

    if (mutex->mutex.protocol == QK_PROTOCOL_PROTECT && !qk_switched(QK_BREAK_CEILING)) {
        priority = mutex->mutex.ceiling;
    }
    if (mutex->mutex.protocol == QK_PROTOCOL_NONE || qk_switched(QK_BREAK_INHERITANCE)) {
        return priority;
    }
    for (waiter = mutex->queue.first; waiter != NULL; waiter = waiter->behind) {
        if (waiter->sim.priority > priority) priority = waiter->sim.priority;
    }
    return priority;
}

static void own(struct qk_sync *mutex, struct qk_thread *thread)
{
    mutex->owner = thread;
    mutex->depth = 1;
    mutex->next_owned = thread->owned;
    thread->owned = mutex;
    qk_write_word(mutex->words.owner, (uint32_t)thread->id);
    qk_write_word(mutex->words.count, mutex->mutex.count_word + 1);
    sim_trace(SIM_TRACE_OWN, thread->id, NULL, (uintptr_t)mutex->words.owner, 0);
    qk_inherit(thread);
}

static void disown(struct qk_sync *mutex)
{
    struct qk_thread *owner = mutex->owner;
    struct qk_sync **link = &owner->owned;

    while (*link != mutex) link = &(*link)->next_owned;
    *link = mutex->next_owned;
    mutex->owner = NULL;
    mutex->depth = 0;
    qk_write_word(mutex->words.owner, 0);
    qk_write_word(mutex->words.count, mutex->mutex.count_word);
    sim_trace(SIM_TRACE_RELEASE, owner->id, NULL, (uintptr_t)mutex->words.owner, 0);
    qk_inherit(owner);
}

/* What the new owner is told. */
static qk_error state_of(const struct qk_sync *mutex)
{
    return mutex->owner_died && !qk_switched(QK_BREAK_ROBUST) ? QK_EOWNERDEAD : QK_OK;
}

static void pass_on(struct qk_sync *mutex)
{
    struct qk_thread *next = qk_queue_first(&mutex->queue);

    if (next == NULL) return;
    if (mutex->unrecoverable) {
        next->wants = NULL;
        qk_wake(next, QK_ENOTRECOVERABLE);
        pass_on(mutex);
        return;
    }
    next->wants = NULL;
    qk_wake(next, state_of(mutex));
    own(mutex, next);
}

void qk_mutex_let_go(struct qk_sync *mutex)
{
    disown(mutex);
    pass_on(mutex);
}

void qk_sync_waiters_changed(struct qk_sync *mutex)
{
    if (mutex->owner != NULL) qk_inherit(mutex->owner);
}

static qk_error lock_again(struct qk_sync *mutex)
{
    if (!mutex->mutex.recursive) return QK_EDEADLK;
    if (mutex->depth == QK_RECURSION_MAX) return QK_EAGAIN;
    mutex->depth++;
    qk_write_word(mutex->words.count, mutex->mutex.count_word + mutex->depth);
    return QK_OK;
}

static bool above_ceiling(const struct qk_sync *mutex, const struct qk_thread *thread)
{
    return mutex->mutex.protocol == QK_PROTOCOL_PROTECT &&
           thread->priority > mutex->mutex.ceiling && !qk_switched(QK_BREAK_CEILING);
}

qk_error qk_mutex_acquire(struct qk_sync *mutex, bool only_try)
{
    struct qk_thread *self = qk_current();

    if (mutex->unrecoverable) return QK_ENOTRECOVERABLE;
    if (above_ceiling(mutex, self)) return QK_EINVAL;
    if (mutex->owner == NULL && !mutex->orphaned) {
        own(mutex, self);
        return state_of(mutex);
    }
    if (mutex->owner == self && !(mutex->mutex.unchecked && !only_try)) {
        qk_error error = lock_again(mutex);
        return error == QK_EDEADLK && only_try ? QK_EBUSY : error;
    }
    if (only_try) return QK_EBUSY;
    self->wants = mutex;
    qk_error error = qk_wait(&mutex->queue, QK_STATE_MUTEX, (uintptr_t)mutex->words.owner);
    self->wants = NULL;
    return error;
}

static struct qk_sync *known_mutex(qk_words words, const qk_mutex_config *config)
{
    struct qk_sync *mutex = qk_sync_find(words);

    if (mutex != NULL || config == NULL) return mutex;
    mutex = qk_sync_new(words, QK_SYNC_MUTEX, false);
    if (mutex != NULL) mutex->mutex = *config;
    return mutex;
}

static qk_error lock(struct qk_sync *mutex, bool only_try)
{
    if (mutex == NULL || mutex->kind != QK_SYNC_MUTEX) return QK_EINVAL;
    return qk_mutex_acquire(mutex, only_try);
}

/* A lock that was free, or is only tried, never comes to the kernel of a real system: a time-out
 * that is armed stays so. */
qk_error qk_mutex_lock(const char *call, qk_words words, const qk_mutex_config *config,
                       bool only_try)
{
    qk_error error = qk_enter(call);

    if (error != QK_OK) return qk_leave(error);
    struct qk_sync *mutex = known_mutex(words, config);
    bool in_library = mutex != NULL && (mutex->owner == NULL || only_try);
    error = lock(mutex, only_try);
    return in_library ? qk_leave_armed(error) : qk_leave(error);
}

static qk_error unlock(struct qk_sync *mutex)
{
    if (mutex == NULL) return QK_EPERM; /* an initialiser that nobody has locked */
    if (mutex->kind != QK_SYNC_MUTEX) return QK_EINVAL;
    if (mutex->owner == NULL) return QK_EPERM;
    if (mutex->owner != qk_current() && !qk_switched(QK_BREAK_OWNER)) return QK_EPERM;
    if (mutex->depth > 1 && !qk_switched(QK_BREAK_RECURSION)) {
        mutex->depth--;
        qk_write_word(mutex->words.count, mutex->mutex.count_word + mutex->depth);
        return QK_OK;
    }
    if (mutex->owner_died) mutex->unrecoverable = true; /* nobody has mended what it guards */
    qk_mutex_let_go(mutex);
    return QK_OK;
}

qk_error qk_mutex_unlock(const char *call, qk_words words)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = unlock(qk_sync_find(words));
    return qk_leave(error);
}

static qk_error mend(struct qk_sync *mutex)
{
    if (mutex == NULL || mutex->kind != QK_SYNC_MUTEX) return QK_EINVAL;
    if (!mutex->owner_died) return QK_EINVAL;
    if (mutex->owner != qk_current()) return QK_EPERM;
    mutex->owner_died = false;
    return QK_OK;
}

qk_error qk_mutex_consistent(qk_words words)
{
    qk_error error = qk_enter("SyncCtl");

    if (error == QK_OK) error = mend(qk_sync_find(words));
    return qk_leave(error);
}

static qk_error ceiling(struct qk_sync *mutex, const int32_t *set, int32_t *ceiling_out)
{
    if (mutex == NULL || mutex->kind != QK_SYNC_MUTEX) return QK_EINVAL;
    if (mutex->mutex.protocol != QK_PROTOCOL_PROTECT) return QK_EINVAL;
    if (ceiling_out != NULL) *ceiling_out = mutex->mutex.ceiling;
    if (set == NULL) return QK_OK;
    if (*set < QK_PRIORITY_MIN || *set > QK_PRIORITY_MAX) return QK_EINVAL;
    mutex->mutex.ceiling = *set;
    if (mutex->owner != NULL) qk_inherit(mutex->owner);
    return QK_OK;
}

qk_error qk_mutex_ceiling(qk_words words, const int32_t *set, int32_t *ceiling_out)
{
    qk_error error = qk_enter("SyncCtl");

    if (error == QK_OK) error = ceiling(qk_sync_find(words), set, ceiling_out);
    return qk_leave(error);
}

/* A robust mutex passes on with a warning; any other stays locked for ever. */
void qk_sync_thread_ended(struct qk_thread *thread)
{
    while (thread->owned != NULL) {
        struct qk_sync *mutex = thread->owned;
        mutex->owner_died = mutex->mutex.robust;
        mutex->orphaned = !mutex->mutex.robust;
        disown(mutex);
        if (mutex->mutex.robust) pass_on(mutex);
    }
}
