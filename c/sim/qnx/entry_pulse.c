/* QNX: pulses. */
#include <string.h>
#include <sys/neutrino.h>

#include "entry_answer.h"

enum { PRIORITY_FLAGS = _NTO_PULSE_IF_UNIQUE | _NTO_PULSE_REPLACE };

static qk_error send(const char *call, int connection, int priority, int code, int64_t value)
{
    uint32_t flags = 0;

    if (priority > 0 && (priority & _NTO_PULSE_IF_UNIQUE) != 0) flags |= QK_PULSE_UNIQUE;
    if (priority > 0 && (priority & _NTO_PULSE_REPLACE) != 0) flags |= QK_PULSE_REPLACE;
    if (priority > 0) priority &= ~PRIORITY_FLAGS;
    return qk_pulse_send(call, connection, priority, flags, (int8_t)code, value);
}

int MsgSendPulse(int connection, int priority, int code, int value)
{
    return sim_answer(send("MsgSendPulse", connection, priority, code, value));
}

int MsgSendPulse_r(int connection, int priority, int code, int value)
{
    return sim_answer_negative(send("MsgSendPulse", connection, priority, code, value));
}

int MsgSendPulsePtr(int connection, int priority, int code, void *value)
{
    return sim_answer(send("MsgSendPulsePtr", connection, priority, code, (intptr_t)value));
}

int MsgSendPulsePtr_r(int connection, int priority, int code, void *value)
{
    return sim_answer_negative(
        send("MsgSendPulsePtr", connection, priority, code, (intptr_t)value));
}

/* The buffer is written when the call is over, not under the kernel's lock. Nothing is told of
 * the sender of a pulse: `info` stays as it was. */
static qk_error receive(int channel, void *buffer, size_t bytes, struct _msg_info64 *info)
{
    struct _pulse pulse = {.type = _PULSE_TYPE, .subtype = _PULSE_SUBTYPE};
    qk_pulse received;
    bool room_ok = bytes >= sizeof pulse && qk_may_write(buffer, sizeof pulse);

    (void)info;
    qk_error error = qk_pulse_receive(channel, room_ok, &received);
    if (error != QK_OK) return error;
    pulse.code = (int8_t)received.code;
    pulse.value.sival_ptr = (void *)(intptr_t)received.value;
    pulse.scoid = received.connection;
    memcpy(buffer, &pulse, sizeof pulse);
    return QK_OK;
}

int MsgReceivePulse(int channel, void *pulse, size_t bytes, struct _msg_info64 *info)
{
    return sim_answer(receive(channel, pulse, bytes, info));
}

int MsgReceivePulse_r(int channel, void *pulse, size_t bytes, struct _msg_info64 *info)
{
    return sim_answer_negative(receive(channel, pulse, bytes, info));
}
