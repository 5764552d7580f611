/* Channels and connections: tables of what a process has. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_channel.h"

static struct qk_channel channels[QK_CHANNEL_MAX];
static struct qk_connection connections[QK_CONNECTION_MAX];

struct qk_channel *qk_channel_at(uint32_t index)
{
    return index < QK_CHANNEL_MAX && channels[index].id != 0 ? &channels[index] : NULL;
}

struct qk_channel *qk_channel_find(int32_t id)
{
    return id < 1 || id > QK_CHANNEL_MAX ? NULL : qk_channel_at((uint32_t)id - 1);
}

struct qk_connection *qk_connection_at(uint32_t index)
{
    return index < QK_CONNECTION_MAX && connections[index].used ? &connections[index] : NULL;
}

struct qk_connection *qk_connection_find(uint32_t id)
{
    for (uint32_t index = 0; index < QK_CONNECTION_MAX; index++) {
        if (connections[index].used && connections[index].id == id) return &connections[index];
    }
    return NULL;
}

static qk_error create(const qk_channel_config *config, const qk_pulse_codes *codes,
                       int32_t *channel_out)
{
    uint32_t index = 0;

    while (index < QK_CHANNEL_MAX && channels[index].id != 0) index++;
    if (index == QK_CHANNEL_MAX) return QK_EAGAIN;
    channels[index] = (struct qk_channel){.id = (int32_t)index + 1};
    channels[index].config = *config;
    channels[index].codes = *codes;
    sim_census_count("channel", 1);
    *channel_out = channels[index].id;
    return QK_OK;
}

qk_error qk_channel_create(const char *call, const qk_channel_config *config,
                           const qk_pulse_codes *codes, int32_t *channel_out)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = create(config, codes, channel_out);
    return qk_leave(error);
}

/* Tells the channels that want to know: as the kernel's own pulses do, it gets lost where there is
 * no room. */
static void tell(struct qk_channel *channel, int32_t code, int32_t value, int32_t connection)
{
    qk_pulse pulse = {code, value, connection};

    (void)qk_channel_put(channel, &pulse, qk_current()->sim.priority, 0);
}

static void tell_of_dead_connection(uint32_t id)
{
    for (uint32_t index = 0; index < QK_CHANNEL_MAX; index++) {
        struct qk_channel *channel = &channels[index];
        if (channel->id == 0 || !channel->config.tells_coid_death) continue;
        tell(channel, channel->codes.coid_death, (int32_t)id, channel->server_connection);
    }
}

static qk_error destroy(struct qk_channel *channel)
{
    struct qk_thread *receiver;

    if (channel == NULL) return QK_EINVAL;
    qk_channel_drop(channel);
    channel->id = 0;
    while (!qk_switched(QK_BREAK_DEAD_CHANNEL) &&
           (receiver = qk_queue_first(&channel->receivers)) != NULL) {
        qk_wake(receiver, QK_ESRCH);
    }
    for (uint32_t index = 0; index < QK_CONNECTION_MAX; index++) {
        struct qk_connection *connection = &connections[index];
        if (!connection->used || connection->channel != channel) continue;
        connection->channel = NULL;
        tell_of_dead_connection(connection->id);
    }
    sim_census_count("channel", -1);
    return QK_OK;
}

qk_error qk_channel_destroy(int32_t channel)
{
    qk_error error = qk_enter("ChannelDestroy");

    if (error == QK_OK) error = destroy(qk_channel_find(channel));
    return qk_leave(error);
}

static struct qk_connection *new_connection(uint32_t first)
{
    uint32_t index = 0;

    while (index < QK_CONNECTION_MAX && connections[index].used) index++;
    if (index == QK_CONNECTION_MAX) return NULL;
    while (qk_connection_find(first) != NULL) first++;
    connections[index] = (struct qk_connection){.used = true, .id = first};
    return &connections[index];
}

static qk_error attach(int32_t process, struct qk_channel *channel, uint32_t first,
                       int32_t *connection_out)
{
    if (process != 0 && process != qk_process_id()) return QK_ESRCH;
    if (channel == NULL) return QK_ESRCH;
    struct qk_connection *connection = new_connection(first);
    if (connection == NULL) return QK_EAGAIN;
    connection->channel = channel;
    if (channel->server_connection == 0) channel->server_connection = channel->id;
    sim_census_count("connection", 1);
    *connection_out = (int32_t)connection->id;
    return QK_OK;
}

qk_error qk_connect(int32_t process, int32_t channel, uint32_t first, int32_t *connection_out)
{
    qk_error error = qk_enter("ConnectAttach");

    if (error == QK_OK) error = attach(process, qk_channel_find(channel), first, connection_out);
    return qk_leave(error);
}

static bool has_connections(const struct qk_channel *channel)
{
    for (uint32_t index = 0; index < QK_CONNECTION_MAX; index++) {
        if (connections[index].used && connections[index].channel == channel) return true;
    }
    return false;
}

static qk_error detach(struct qk_connection *connection)
{
    if (connection == NULL) return QK_EINVAL;
    struct qk_channel *channel = connection->channel;
    connection->used = false;
    sim_census_count("connection", -1);
    if (channel != NULL && channel->config.tells_disconnect && !has_connections(channel)) {
        tell(channel, channel->codes.disconnect, 0, channel->server_connection);
    }
    return QK_OK;
}

qk_error qk_disconnect(int32_t connection)
{
    qk_error error = qk_enter("ConnectDetach");

    if (error == QK_OK) error = detach(qk_connection_find((uint32_t)connection));
    return qk_leave(error);
}

void qk_channel_thread_ended(const struct qk_thread *thread)
{
    if (!thread->made || qk_switched(QK_BREAK_THREAD_DEATH)) return;
    for (uint32_t index = 0; index < QK_CHANNEL_MAX; index++) {
        struct qk_channel *channel = &channels[index];
        if (channel->id == 0 || !channel->config.tells_thread_death) continue;
        tell(channel, channel->codes.thread_death, thread->id, channel->server_connection);
    }
}

void qk_channel_reset(void)
{
    memset(channels, 0, sizeof channels);
    memset(connections, 0, sizeof connections);
    qk_pulse_reset();
}
