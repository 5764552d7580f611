/* QNX: channels and connections. */
#include <sys/neutrino.h>
#include <unistd.h>

#include "entry_answer.h"

/* Lower numbers are file descriptors of every program; the first side channel is the kernel's. */
enum { FIRST_DESCRIPTOR = 3 };

static const qk_pulse_codes codes = {
    .disconnect = _PULSE_CODE_DISCONNECT,
    .thread_death = _PULSE_CODE_THREADDEATH,
    .coid_death = _PULSE_CODE_COIDDEATH,
};

static qk_error create(const char *call, unsigned int flags, uint32_t pool, int32_t *channel_out)
{
    qk_channel_config config = {
        .fixed_priority = (flags & _NTO_CHF_FIXED_PRIORITY) != 0,
        .tells_thread_death = (flags & _NTO_CHF_THREAD_DEATH) != 0,
        .tells_disconnect = (flags & _NTO_CHF_DISCONNECT) != 0,
        .tells_coid_death = (flags & _NTO_CHF_COID_DISCONNECT) != 0,
        .pool = pool,
    };

    return qk_channel_create(call, &config, &codes, channel_out);
}

int ChannelCreate(unsigned int flags)
{
    int32_t channel;

    return sim_answer(create("ChannelCreate", flags, 0, &channel)) == 0 ? channel : -1;
}

int ChannelCreate_r(unsigned int flags)
{
    int32_t channel = 0;
    qk_error error = create("ChannelCreate", flags, 0, &channel);

    return error == QK_OK ? channel : sim_answer_negative(error);
}

/* A program that runs out of its pool would be told by an event, or be killed; here sending fails
 * with EAGAIN, as it does where there is no memory. */
int ChannelCreatePulsePool(unsigned int flags, const struct nto_channel_config *config)
{
    int32_t channel;
    uint32_t pool = 0;

    if ((flags & _NTO_CHF_PULSE_POOL) != 0) {
        if (!qk_may_read(config, sizeof *config)) return sim_answer(QK_EFAULT);
        if (config->num_pulses == 0) return sim_answer(QK_EINVAL);
        pool = config->num_pulses;
    }
    return sim_answer(create("ChannelCreatePulsePool", flags, pool, &channel)) == 0 ? channel : -1;
}

int ChannelDestroy(int channel)
{
    return sim_answer(qk_channel_destroy(channel));
}

int ChannelDestroy_r(int channel)
{
    return sim_answer_negative(qk_channel_destroy(channel));
}

static qk_error attach(uint32_t node, pid_t process, int channel, unsigned int index,
                       int32_t *connection_out)
{
    if (node != 0) return QK_ESRCH; /* there is no network */
    if (index == _NTO_SIDE_CHANNEL) index++;
    if (index < FIRST_DESCRIPTOR) index = FIRST_DESCRIPTOR;
    return qk_connect(process, channel, index, connection_out);
}

int ConnectAttach(uint32_t node, pid_t process, int channel, unsigned int index, int flags)
{
    int32_t connection;

    (void)flags;
    return sim_answer(attach(node, process, channel, index, &connection)) == 0 ? connection : -1;
}

int ConnectAttach_r(uint32_t node, pid_t process, int channel, unsigned int index, int flags)
{
    int32_t connection = 0;
    qk_error error = attach(node, process, channel, index, &connection);

    (void)flags;
    return error == QK_OK ? connection : sim_answer_negative(error);
}

int ConnectDetach(int connection)
{
    return sim_answer(qk_disconnect(connection));
}

int ConnectDetach_r(int connection)
{
    return sim_answer_negative(qk_disconnect(connection));
}
