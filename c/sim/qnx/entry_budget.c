/* QNX: SchedCtl(), for the adaptive-partition scheduler. */
#include <errno.h>
#include <string.h>
#include <sys/neutrino.h>
#include <sys/sched_aps.h>

#include "entry_answer.h"
#include "kernel_budget.h"

static uint64_t cycles_of_percent(uint32_t percent)
{
    return (uint64_t)QK_BUDGET_WINDOW_MS * QK_BUDGET_CYCLES_PER_MS * percent / 100;
}

/* Rules by name, on both sides. */
static const struct {
    uint32_t flag;
    uint32_t rule;
} rules[] = {{SCHED_APS_SEC_SYS_MAKES_PARTITIONS, QK_BUDGET_SYSTEM_MAKES},
             {SCHED_APS_SEC_PARENT_MODIFIES, QK_BUDGET_PARENT_CHANGES},
             {SCHED_APS_SEC_NONZERO_BUDGETS, QK_BUDGET_NOT_ZERO},
             {SCHED_APS_SEC_PARTITIONS_LOCKED, QK_BUDGET_LOCKED}};

enum { RULES = sizeof rules / sizeof rules[0] };

static uint32_t flags_of(uint32_t bits)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < RULES; i++) flags |= (bits & rules[i].rule) != 0 ? rules[i].flag : 0U;
    return flags;
}

/* The commands; data is of the right size, and the guest's own. */

static qk_error query_parameters(void *data)
{
    sched_aps_info *info = data;

    if (info->reserved1 != 0 || info->reserved2 != 0) return QK_EDOM;
    *info = (sched_aps_info){.cycles_per_ms = QK_BUDGET_CYCLES_PER_MS,
                             .windowsize_cycles = cycles_of_percent(100),
                             .windowsize2_cycles = cycles_of_percent(100) * 10,
                             .windowsize3_cycles = cycles_of_percent(100) * 100,
                             .sec_flags = flags_of(qk_budget_rules()),
                             .num_partitions = (uint16_t)qk_budget_count(),
                             .max_partitions = QK_BUDGET_MAX};
    return QK_OK;
}

static qk_error create(void *data)
{
    sched_aps_create_parms *wanted = data;
    const bool names_parent = (wanted->aps_create_flags & APS_CREATE_FLAGS_USE_PARENT_ID) != 0;

    if (wanted->reserved1 != 0 || wanted->reserved2 != 0 || wanted->reserved3 != 0) return QK_EDOM;
    if (wanted->name != NULL && !qk_may_read(wanted->name, 1)) return QK_EFAULT;
    return qk_budget_make(wanted->name, names_parent ? wanted->parent_id : -1,
                          wanted->budget_percent, wanted->critical_budget_ms, &wanted->id);
}

static qk_error look_up(void *data)
{
    sched_aps_lookup_parms *wanted = data;

    if (wanted->reserved1 != 0) return QK_EDOM;
    if (!qk_may_read(wanted->name, 1)) return QK_EFAULT;
    return qk_budget_find(wanted->name, &wanted->id);
}

static qk_error query_partition(void *data)
{
    sched_aps_partition_info *info = data;
    const int16_t id = info->id;
    qk_budget budget;

    if (info->reserved1 != 0 || info->reserved2 != 0) return QK_EDOM;
    const qk_error error = qk_budget_get(id, &budget);
    if (error != QK_OK) return error;
    *info = (sched_aps_partition_info){.budget_cycles = cycles_of_percent(budget.percent),
                                       .critical_budget_cycles =
                                           (uint64_t)budget.critical_ms * QK_BUDGET_CYCLES_PER_MS,
                                       .parent_id = budget.parent,
                                       .budget_percent = budget.percent,
                                       .notify_pid = -1,
                                       .notify_tid = -1,
                                       .pid_at_last_bankruptcy = -1,
                                       .tid_at_last_bankruptcy = -1,
                                       .id = id};
    memcpy(info->name, budget.name, sizeof info->name);
    return QK_OK;
}

static qk_error join(void *data)
{
    const sched_aps_join_parms *wanted = data;

    if (wanted->reserved1 != 0 || wanted->reserved2 != 0) return QK_EDOM;
    return qk_budget_join(wanted->id, wanted->pid, wanted->tid);
}

static qk_error modify(void *data)
{
    const sched_aps_modify_parms *wanted = data;

    if (wanted->reserved1 != 0 || wanted->reserved2 != 0 || wanted->reserved3 != 0) return QK_EDOM;
    return qk_budget_change(wanted->id, wanted->new_budget_percent, wanted->new_critical_budget_ms);
}

static qk_error overall_stats(void *data)
{
    sched_aps_overall_stats *stats = data;
    qk_budget_times idle;

    qk_budget_idle(&idle);
    *stats = (sched_aps_overall_stats){.idle_cycles = idle.window,
                                       .idle_cycles_w2 = idle.window_2,
                                       .idle_cycles_w3 = idle.window_3,
                                       .id_at_last_bankruptcy = -1,
                                       .pid_at_last_bankruptcy = -1,
                                       .tid_at_last_bankruptcy = -1};
    return QK_OK;
}

static qk_error query_thread(void *data)
{
    sched_aps_query_thread_parms *wanted = data;

    if (wanted->reserved1 != 0 || wanted->reserved2 != 0) return QK_EDOM;
    const qk_error error = qk_budget_of(wanted->pid, wanted->tid, &wanted->id);
    wanted->inherited_id = wanted->id;
    wanted->crit_state_flags = 0;
    return error;
}

static qk_error add_security(void *data)
{
    sched_aps_security_parms *wanted = data;
    uint32_t bits = 0;

    if (wanted->reserved1 != 0 || wanted->reserved2 != 0) return QK_EDOM;
    for (size_t i = 0; i < RULES; i++) {
        bits |= (wanted->sec_flags & rules[i].flag) != 0 ? rules[i].rule : 0U;
    }
    const qk_error error = qk_budget_add_rules(bits, &bits);
    if (error == QK_OK) wanted->sec_flags = flags_of(bits);
    return error;
}

/* Statistics come as an array: from the partition that its first element names, up. */
static qk_error partition_stats(sched_aps_partition_stats *stats, size_t count)
{
    int32_t id = stats->id;

    for (size_t i = 0; i < count; i++) {
        qk_budget_times used = {0};
        while (id < QK_BUDGET_MAX && qk_budget_used(id, &used) != QK_OK) id++;
        stats[i] = (sched_aps_partition_stats){.run_time_cycles = used.window,
                                               .run_time_cycles_w2 = used.window_2,
                                               .run_time_cycles_w3 = used.window_3,
                                               .id = (int16_t)(id < QK_BUDGET_MAX ? id++ : -1)};
    }
    return QK_OK;
}

static const struct {
    int command;
    size_t size;
    qk_error (*run)(void *data);
} commands[] = {
    {SCHED_APS_QUERY_PARMS, sizeof(sched_aps_info), query_parameters},
    {SCHED_APS_CREATE_PARTITION, sizeof(sched_aps_create_parms), create},
    {SCHED_APS_LOOKUP, sizeof(sched_aps_lookup_parms), look_up},
    {SCHED_APS_QUERY_PARTITION, sizeof(sched_aps_partition_info), query_partition},
    {SCHED_APS_JOIN_PARTITION, sizeof(sched_aps_join_parms), join},
    {SCHED_APS_MODIFY_PARTITION, sizeof(sched_aps_modify_parms), modify},
    {SCHED_APS_OVERALL_STATS, sizeof(sched_aps_overall_stats), overall_stats},
    {SCHED_APS_QUERY_THREAD, sizeof(sched_aps_query_thread_parms), query_thread},
    {SCHED_APS_ADD_SECURITY, sizeof(sched_aps_security_parms), add_security},
};

static qk_error run(int command, void *data, size_t length)
{
    if (!qk_budget_installed()) return QK_ENOSYS;
    if (command == SCHED_APS_PARTITION_STATS) {
        const size_t size = sizeof(sched_aps_partition_stats);
        if (length == 0 || length % size != 0) return QK_EINVAL;
        if (!qk_may_write(data, length)) return QK_EFAULT;
        return partition_stats(data, length / size);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].command != command) continue;
        if (commands[i].size != length) return QK_EINVAL;
        return qk_may_write(data, length) ? commands[i].run(data) : QK_EFAULT;
    }
    return QK_EINVAL;
}

static qk_error control(const char *call, int command, void *data, size_t length)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = run(command, data, length);
    return qk_leave(error);
}

int SchedCtl(int command, void *data, size_t length)
{
    return sim_answer(control("SchedCtl", command, data, length));
}

int SchedCtl_r(int command, void *data, size_t length)
{
    return -sim_number(control("SchedCtl_r", command, data, length));
}
