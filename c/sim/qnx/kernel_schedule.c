/* Priorities: a thread's own, and what it has by those who wait for its mutexes. */
#include "../common/host.h"

#include "../common/trace.h"
#include "kernel_state.h"
#include "kernel_sync.h"

void qk_inherit(struct qk_thread *thread)
{
    int32_t priority = thread->priority;

    for (const struct qk_sync *mutex = thread->owned; mutex != NULL; mutex = mutex->next_owned) {
        int32_t lent = qk_mutex_lends(mutex);
        if (lent > priority) priority = lent;
    }
    if (priority == thread->sim.priority) return;
    sim_trace(SIM_TRACE_PRIORITY, thread->id, NULL, (uint64_t)priority,
              (uint64_t)thread->sim.priority);
    thread->sim.priority = priority;
    if (thread->wants != NULL && thread->wants->owner != NULL) qk_inherit(thread->wants->owner);
}

void qk_set_priority(struct qk_thread *thread, int32_t priority)
{
    thread->priority = priority;
    qk_inherit(thread);
}

static qk_error get(const struct qk_thread *thread, qk_scheduling *out)
{
    if (thread == NULL) return QK_ESRCH;
    *out = (qk_scheduling){thread->policy, thread->priority, thread->sim.priority};
    return QK_OK;
}

qk_error qk_scheduling_get(const char *call, int32_t thread, qk_scheduling *scheduling_out)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = get(qk_thread_find(thread), scheduling_out);
    return qk_leave(error);
}

static qk_error set(struct qk_thread *thread, int32_t policy, int32_t priority)
{
    if (thread == NULL) return QK_ESRCH;
    if (priority < QK_PRIORITY_MIN || priority > QK_PRIORITY_MAX) return QK_EINVAL;
    if (policy >= 0) thread->policy = policy;
    qk_set_priority(thread, priority);
    return QK_OK;
}

qk_error qk_scheduling_set(const char *call, int32_t thread, int32_t policy, int32_t priority)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = set(qk_thread_find(thread), policy, priority);
    return qk_leave(error);
}

qk_error qk_yield(void)
{
    qk_error error = qk_enter("SchedYield");

    if (error == QK_OK) sim_go_behind_equals(&qk_current()->sim);
    return qk_leave(error);
}
