/* Waiting: in a queue, with a state that a time-out can be meant for. Queues hold threads as they
 * came; the choice is made when one is woken, so a priority that changes meanwhile counts. */
#include "../common/host.h"

#include "../common/clock.h"
#include "../common/trace.h"
#include "kernel_state.h"

const char *qk_state_name(enum qk_state state)
{
    switch (state) {
    case QK_STATE_RECEIVE:
        return "receive";
    case QK_STATE_SLEEP:
        return "sleep";
    case QK_STATE_MUTEX:
        return "mutex";
    case QK_STATE_CONDVAR:
        return "condvar";
    case QK_STATE_JOIN:
        return "join";
    case QK_STATE_SEMAPHORE:
        return "semaphore";
    default:
        return "outside";
    }
}

struct qk_thread *qk_queue_first(const struct qk_queue *queue)
{
    struct qk_thread *best = queue->first;

    if (best == NULL || qk_switched(QK_BREAK_WAKE_ORDER)) return best;
    for (struct qk_thread *thread = best->behind; thread != NULL; thread = thread->behind) {
        if (thread->sim.priority > best->sim.priority) best = thread;
    }
    return best;
}

uint32_t qk_queue_length(const struct qk_queue *queue)
{
    uint32_t length = 0;

    for (const struct qk_thread *thread = queue->first; thread != NULL; thread = thread->behind) {
        length++;
    }
    return length;
}

static void append(struct qk_queue *queue, struct qk_thread *thread)
{
    struct qk_thread **link = &queue->first;

    while (*link != NULL) link = &(*link)->behind;
    *link = thread;
    thread->queue = queue;
    thread->behind = NULL;
}

static void unlink_thread(struct qk_thread *thread)
{
    struct qk_thread **link = &thread->queue->first;

    while (*link != thread) link = &(*link)->behind;
    *link = thread->behind;
    thread->queue = NULL;
    thread->behind = NULL;
}

void qk_wake(struct qk_thread *thread, qk_error error)
{
    if (thread->queue != NULL) unlink_thread(thread);
    thread->state = QK_STATE_OUTSIDE;
    sim_wake(&thread->sim, (int32_t)error);
}

static void abandon(struct sim_thread *sim, int32_t code)
{
    struct qk_thread *thread = (struct qk_thread *)sim;
    struct qk_sync *wanted = thread->wants;

    thread->wants = NULL;
    qk_wake(thread, (qk_error)code);
    if (wanted != NULL) qk_sync_waiters_changed(wanted);
}

/* The deadline of the armed time-out, if it is meant for this state. */
static uint64_t armed_deadline(const struct qk_thread *self, enum qk_state state)
{
    bool meant = (self->timeout_states & state) != 0 || qk_switched(QK_BREAK_TIMEOUT_STATES);

    if (!self->timeout_armed || !meant) return QK_NEVER;
    if (self->timeout_deadline == 0 && qk_switched(QK_BREAK_TIMEOUT_NOW)) return QK_NEVER;
    return self->timeout_deadline;
}

qk_error qk_wait_until(struct qk_queue *queue, enum qk_state state, uint64_t object,
                       uint64_t deadline)
{
    struct qk_thread *self = qk_current();

    if (deadline <= sim_now()) return QK_ETIMEDOUT;
    append(queue, self);
    self->state = state;
    if (self->wants != NULL) qk_sync_waiters_changed(self->wants);
    sim_trace(SIM_TRACE_BLOCK, self->id, qk_state_name(state), object, 0);
    return (qk_error)sim_block(&self->sim, deadline, QK_ETIMEDOUT, abandon);
}

qk_error qk_wait(struct qk_queue *queue, enum qk_state state, uint64_t object)
{
    return qk_wait_until(queue, state, object, armed_deadline(qk_current(), state));
}
