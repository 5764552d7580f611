/* Internal: channels, connections and the pulses between them. All of it under the lock. */
#ifndef SIM_QNX_KERNEL_CHANNEL_H
#define SIM_QNX_KERNEL_CHANNEL_H

#include "kernel_state.h"

enum { QK_CHANNEL_MAX = 256, QK_CONNECTION_MAX = 1024, QK_PULSE_MAX = 4096 };

/* A queued pulse, and how many times it stands for itself. */
struct qk_queued_pulse {
    struct qk_queued_pulse *next;
    int32_t priority;
    qk_pulse pulse;
    uint32_t count;
};

struct qk_channel {
    int32_t id; /* from 1; 0 while this place is free */
    qk_channel_config config;
    qk_pulse_codes codes;
    int32_t server_connection; /* what its pulses say where they are from; 0 before the first */
    struct qk_queued_pulse *pulses;
    uint32_t queued; /* entries of `pulses` */
    struct qk_queue receivers;
};

struct qk_connection {
    bool used;
    uint32_t id;
    struct qk_channel *channel; /* NULL: it is gone */
};

struct qk_channel *qk_channel_find(int32_t id);
struct qk_channel *qk_channel_at(uint32_t index);
struct qk_connection *qk_connection_find(uint32_t id);
struct qk_connection *qk_connection_at(uint32_t index);

/* Delivers or queues. */
qk_error qk_channel_put(struct qk_channel *channel, const qk_pulse *pulse, int32_t priority,
                        uint32_t flags);

/* Takes the first pulse out; false if there is none. */
bool qk_channel_get(struct qk_channel *channel, qk_pulse *pulse_out, int32_t *priority_out);

/* Forgets all queued pulses of a channel, or of all. */
void qk_channel_drop(struct qk_channel *channel);
void qk_pulse_reset(void);

#endif
