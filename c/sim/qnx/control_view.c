/* What is public about the kernel's tables: rows for tests and notebooks. */
#include "../common/host.h"

#include "wrt_platform/sim/qnx.h"

#include "../common/census.h"
#include "../common/trace.h"
#include "control.h"
#include "kernel_channel.h"
#include "kernel_state.h"

wrt_status wrt_sim_qnx_semantic_query(uint32_t index, wrt_sim_qnx_semantic_view *view_out)
{
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    bool found = index < QK_SWITCH_COUNT;
    if (found) {
        *view_out = (wrt_sim_qnx_semantic_view){.name = qk_switch_name(index),
                                                .meaning = qk_switch_meaning(index),
                                                .broken = qk_switched((enum qk_switch)index)};
    }
    return sim_control_end(__func__, found);
}

wrt_status wrt_sim_qnx_census_query(uint32_t index, wrt_sim_qnx_census_view *view_out)
{
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    return sim_control_end(__func__, sim_census_read(index, &view_out->kind, &view_out->count));
}

wrt_status wrt_sim_qnx_trace_query(uint64_t sequence, wrt_sim_qnx_trace_view *view_out)
{
    struct sim_trace_entry entry;
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    bool found = sim_trace_read(sequence, &entry);
    if (found) {
        *view_out = (wrt_sim_qnx_trace_view){.sequence = entry.sequence,
                                             .time = entry.time,
                                             .name = entry.name,
                                             .detail = {entry.detail[0], entry.detail[1]},
                                             .event = (int32_t)entry.event,
                                             .thread = entry.thread};
    }
    return sim_control_end(__func__, found);
}

static const char *place_of(const struct qk_thread *thread)
{
    if (thread->ended) return "ended";
    switch (thread->sim.place) {
    case SIM_READY:
        return "ready";
    case SIM_RUNNING:
        return "running";
    case SIM_BLOCKED:
        return "blocked";
    default:
        return "outside";
    }
}

static void show_thread(const struct qk_thread *thread, wrt_sim_qnx_thread_view *out)
{
    bool blocked = !thread->ended && thread->sim.place == SIM_BLOCKED;

    *out = (wrt_sim_qnx_thread_view){
        .id = thread->id,
        .policy = thread->policy < 0 ? 0 : thread->policy,
        .priority = thread->priority,
        .current = thread->sim.priority,
        .run_mask = thread->run_mask,
        .inherit_mask = thread->inherit_mask,
        .place = place_of(thread),
        .waits_in = blocked ? qk_state_name(thread->state) : "",
        .deadline = blocked ? thread->sim.deadline : SIM_NEVER,
        .worked = thread->sim.worked,
    };
    strcpy(out->name, thread->name);
}

wrt_status wrt_sim_qnx_thread_query(int32_t after, wrt_sim_qnx_thread_view *view_out)
{
    const struct qk_thread *thread = NULL;
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    for (uint32_t index = after < 0 ? 0 : (uint32_t)after; index < QK_THREAD_MAX; index++) {
        thread = qk_thread_at(index);
        if (thread != NULL) break;
    }
    if (thread != NULL) show_thread(thread, view_out);
    return sim_control_end(__func__, thread != NULL);
}

static uint32_t connections_to(const struct qk_channel *channel)
{
    uint32_t count = 0;

    for (uint32_t index = 0; index < QK_CONNECTION_MAX; index++) {
        const struct qk_connection *connection = qk_connection_at(index);
        count += connection != NULL && connection->channel == channel;
    }
    return count;
}

wrt_status wrt_sim_qnx_channel_query(int32_t after, wrt_sim_qnx_channel_view *view_out)
{
    const struct qk_channel *channel = NULL;
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    for (uint32_t index = after < 0 ? 0 : (uint32_t)after; index < QK_CHANNEL_MAX; index++) {
        channel = qk_channel_at(index);
        if (channel != NULL) break;
    }
    if (channel != NULL) {
        *view_out = (wrt_sim_qnx_channel_view){.id = channel->id,
                                               .pulses = channel->queued,
                                               .pool = channel->config.pool,
                                               .receivers = qk_queue_length(&channel->receivers),
                                               .connections = connections_to(channel),
                                               .fixed_priority = channel->config.fixed_priority};
    }
    return sim_control_end(__func__, channel != NULL);
}

wrt_status wrt_sim_qnx_pulse_query(int32_t channel, uint32_t index,
                                   wrt_sim_qnx_pulse_view *view_out)
{
    wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    const struct qk_channel *found = qk_channel_find(channel);
    const struct qk_queued_pulse *entry = found == NULL ? NULL : found->pulses;
    for (; entry != NULL && index > 0; index--) entry = entry->next;
    if (entry != NULL) {
        *view_out = (wrt_sim_qnx_pulse_view){.value = entry->pulse.value,
                                             .priority = entry->priority,
                                             .code = entry->pulse.code,
                                             .count = entry->count};
    }
    return sim_control_end(__func__, entry != NULL);
}
