/* Pulses: queued by priority, and in the order of their arrival within one; equal neighbours share
 * an entry. Whoever receives takes over the pulse's priority, and while one waits, who received
 * last has at least its priority: else a server of low priority would hold up an urgent client. */
#include "../common/host.h"

#include "../common/trace.h"
#include "kernel_channel.h"

static struct qk_queued_pulse pulses[QK_PULSE_MAX];
static struct qk_queued_pulse *unused;
static uint32_t ever_used;

static struct qk_queued_pulse *new_entry(const struct qk_channel *channel)
{
    bool own_is_full = channel->config.pool > 0 && channel->queued >= channel->config.pool;
    struct qk_queued_pulse *entry = unused;

    if (own_is_full && !qk_switched(QK_BREAK_PULSE_POOL)) return NULL;
    if (entry != NULL) {
        unused = entry->next;
    } else if (ever_used < QK_PULSE_MAX) {
        entry = &pulses[ever_used++];
    }
    return entry;
}

static void free_entry(struct qk_channel *channel, struct qk_queued_pulse *entry)
{
    channel->queued--;
    entry->next = unused;
    unused = entry;
}

static uint64_t in_one(const qk_pulse *pulse)
{
    return (uint64_t)pulse->value << 8 | (uint8_t)pulse->code;
}

static void take_priority(const struct qk_channel *channel, struct qk_thread *thread,
                          int32_t priority)
{
    bool fixed = channel->config.fixed_priority && !qk_switched(QK_BREAK_FIXED_PRIORITY);

    thread->served_channel = channel->id;
    if (!fixed && !qk_switched(QK_BREAK_RECEIVER_PRIORITY)) qk_set_priority(thread, priority);
}

static void boost_servers(const struct qk_channel *channel, int32_t priority)
{
    bool fixed = channel->config.fixed_priority && !qk_switched(QK_BREAK_FIXED_PRIORITY);

    if (fixed || qk_switched(QK_BREAK_BOOST)) return;
    for (uint32_t index = 0; index < QK_THREAD_MAX; index++) {
        struct qk_thread *thread = qk_thread_at(index);
        if (thread == NULL || thread->ended || thread->served_channel != channel->id) continue;
        if (thread->priority < priority) qk_set_priority(thread, priority);
    }
}

/* Where a pulse of this priority belongs: behind all that go before it. */
static struct qk_queued_pulse **place_for(struct qk_channel *channel, int32_t priority,
                                          struct qk_queued_pulse **before_out)
{
    struct qk_queued_pulse **link = &channel->pulses;

    *before_out = NULL;
    while (*link != NULL) {
        bool goes_before = (*link)->priority >= priority || qk_switched(QK_BREAK_PULSE_ORDER);
        if (qk_switched(QK_BREAK_PULSE_LEVEL) && (*link)->priority == priority) break;
        if (!goes_before) break;
        *before_out = *link;
        link = &(*link)->next;
    }
    return link;
}

static bool same(const qk_pulse *one, const qk_pulse *other)
{
    return one->code == other->code && one->value == other->value &&
           one->connection == other->connection;
}

/* The queued pulse of this level with the same code and sender. */
static struct qk_queued_pulse *same_kind(struct qk_channel *channel, const qk_pulse *pulse,
                                         int32_t priority)
{
    for (struct qk_queued_pulse *entry = channel->pulses; entry != NULL; entry = entry->next) {
        bool alike = entry->pulse.code == pulse->code &&
                     entry->pulse.connection == pulse->connection && entry->priority == priority;
        if (alike) return entry;
    }
    return NULL;
}

/* Whether what is queued already does for this pulse as well. */
static bool merged(struct qk_channel *channel, const qk_pulse *pulse, int32_t priority,
                   uint32_t flags, struct qk_queued_pulse *before)
{
    struct qk_queued_pulse *kind = same_kind(channel, pulse, priority);
    bool replaces = (flags & QK_PULSE_REPLACE) != 0 && !qk_switched(QK_BREAK_REPLACE);
    bool unique = (flags & QK_PULSE_UNIQUE) != 0 && !qk_switched(QK_BREAK_UNIQUE);

    if (replaces && kind != NULL) {
        kind->pulse.value = pulse->value;
        return true;
    }
    if (unique && kind != NULL && same(&kind->pulse, pulse)) return true;
    if (qk_switched(QK_BREAK_COMPRESSION) || before == NULL) return false;
    if (before->priority != priority || !same(&before->pulse, pulse)) return false;
    before->count++;
    return true;
}

static qk_error queue(struct qk_channel *channel, const qk_pulse *pulse, int32_t priority,
                      uint32_t flags)
{
    struct qk_queued_pulse *before;
    struct qk_queued_pulse **link = place_for(channel, priority, &before);

    if (!merged(channel, pulse, priority, flags, before)) {
        struct qk_queued_pulse *entry = new_entry(channel);
        if (entry == NULL) return QK_EAGAIN;
        *entry = (struct qk_queued_pulse){*link, priority, *pulse, 1};
        *link = entry;
        channel->queued++;
    }
    boost_servers(channel, priority);
    return QK_OK;
}

qk_error qk_channel_put(struct qk_channel *channel, const qk_pulse *pulse, int32_t priority,
                        uint32_t flags)
{
    struct qk_thread *receiver = qk_queue_first(&channel->receivers);

    sim_trace(SIM_TRACE_SEND, qk_current()->id, NULL, (uint64_t)channel->id, in_one(pulse));
    if (receiver == NULL) return queue(channel, pulse, priority, flags);
    receiver->inbox = *pulse;
    take_priority(channel, receiver, priority);
    sim_trace(SIM_TRACE_RECEIVE, receiver->id, NULL, (uint64_t)channel->id, in_one(pulse));
    qk_wake(receiver, QK_OK);
    return QK_OK;
}

bool qk_channel_get(struct qk_channel *channel, qk_pulse *pulse_out, int32_t *priority_out)
{
    struct qk_queued_pulse *entry = channel->pulses;

    if (entry == NULL) return false;
    *pulse_out = entry->pulse;
    *priority_out = entry->priority;
    if (--entry->count > 0) return true;
    channel->pulses = entry->next;
    free_entry(channel, entry);
    return true;
}

void qk_channel_drop(struct qk_channel *channel)
{
    while (channel->pulses != NULL) {
        struct qk_queued_pulse *entry = channel->pulses;
        channel->pulses = entry->next;
        free_entry(channel, entry);
    }
}

static qk_error send(int32_t id, int32_t priority, uint32_t flags, const qk_pulse *given)
{
    const struct qk_connection *connection = qk_connection_find((uint32_t)id);
    bool in_range = priority >= QK_PRIORITY_MIN && priority <= QK_PRIORITY_MAX;
    qk_pulse pulse = *given;

    if (connection == NULL || connection->channel == NULL) return QK_EBADF;
    if (priority < 0) {
        priority = qk_current()->sim.priority;
    } else if (!in_range && !qk_switched(QK_BREAK_PULSE_CHECKS)) {
        return QK_EINVAL;
    }
    pulse.connection = connection->channel->server_connection;
    return qk_channel_put(connection->channel, &pulse, priority, flags);
}

qk_error qk_pulse_send(const char *call, int32_t connection, int32_t priority, uint32_t flags,
                       int32_t code, int64_t value)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = send(connection, priority, flags, &(qk_pulse){code, value, 0});
    return qk_leave(error);
}

static qk_error receive(struct qk_channel *channel, bool room_ok, qk_pulse *pulse_out)
{
    struct qk_thread *self = qk_current();
    int32_t priority;

    if (channel == NULL) return QK_ESRCH;
    if (!room_ok) return QK_EFAULT;
    if (qk_channel_get(channel, pulse_out, &priority)) {
        take_priority(channel, self, priority);
        sim_trace(SIM_TRACE_RECEIVE, self->id, NULL, (uint64_t)channel->id, in_one(pulse_out));
        return QK_OK;
    }
    self->served_channel = 0;
    qk_error error = qk_wait(&channel->receivers, QK_STATE_RECEIVE, (uint64_t)channel->id);
    if (error == QK_OK) *pulse_out = self->inbox;
    return error;
}

qk_error qk_pulse_receive(int32_t channel, bool room_ok, qk_pulse *pulse_out)
{
    qk_error error = qk_enter("MsgReceivePulse");

    if (error == QK_OK) error = receive(qk_channel_find(channel), room_ok, pulse_out);
    return qk_leave(error);
}

void qk_pulse_reset(void)
{
    memset(pulses, 0, sizeof pulses);
    unused = NULL;
    ever_used = 0;
}
