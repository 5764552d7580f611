/* What is public about memory, partitions, budgets and processes: the kernel's own records, copied
 * out under its lock. */
#include "../common/host.h"

#include "wrt_platform/sim/qnx_memory.h"

#include "../../src/core/fail.h"
#include "../common/baton.h"
#include "control.h"
#include "kernel_arena.h"
#include "kernel_budget.h"
#include "kernel_environment.h"
#include "kernel_memory.h"
#include "kernel_partition.h"
#include "kernel_spawn.h"

_Static_assert((int)WRT_SIM_QNX_PARTITION_NAME_SIZE == QK_PARTITION_NAME_MAX, "names fit");
_Static_assert((int)WRT_SIM_QNX_BUDGET_NAME_SIZE == QK_BUDGET_NAME_MAX + 1, "names fit");
_Static_assert((int)WRT_SIM_QNX_READ == QK_READ && (int)WRT_SIM_QNX_WRITE == QK_WRITE &&
                   (int)WRT_SIM_QNX_EXECUTE == QK_EXECUTE,
               "access is handed on as it is");
_Static_assert((int)WRT_SIM_QNX_LAZY == QK_MAP_LAZY && (int)WRT_SIM_QNX_STACK == QK_MAP_STACK &&
                   (int)WRT_SIM_QNX_SHARED == QK_MAP_SHARED && (int)WRT_SIM_QNX_HEAP == QK_MAP_HEAP,
               "flags are handed on as they are");

wrt_status wrt_sim_qnx_install_memory_partitions(bool present)
{
    const wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    qk_partition_install(present);
    return sim_control_end(__func__, true);
}

wrt_status wrt_sim_qnx_install_adaptive_partitions(bool present)
{
    const wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    qk_budget_install(present);
    return sim_control_end(__func__, true);
}

wrt_status wrt_sim_qnx_set_system_memory(uint64_t bytes)
{
    const wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    const qk_error error = qk_partition_set_total(bytes);
    sim_unlock();
    if (error == QK_OK) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                           "{0} bytes are no multiple of {1}, or less than is in use", bytes,
                           QK_PARTITION_UNIT);
}

wrt_status wrt_sim_qnx_set_environment(const char *name, const char *value)
{
    const wrt_status status = sim_control_begin(__func__, name != NULL);

    if (status != WRT_OK) return status;
    const qk_error error = qk_environment_set(name, value);
    sim_unlock();
    if (error == QK_OK) return WRT_OK;
    if (error == QK_ENOMEM) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__, "{0} names are set, which is all",
                               QK_ENVIRONMENT_MAX, 0);
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                           "name is empty, or name or value is longer than {0} bytes",
                           QK_ENVIRONMENT_TEXT_MAX - 1, 0);
}

wrt_status wrt_sim_qnx_memory_query(wrt_sim_qnx_memory_view *view_out)
{
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    qk_process_settle();
    const qk_memory_usage usage = qk_memory_usage_now();
    const qk_arena_counters heap = qk_arena_count();
    *view_out = (wrt_sim_qnx_memory_view){.mapped_bytes = usage.mapped,
                                          .data_bytes = usage.data,
                                          .paid_bytes = usage.paid,
                                          .owed_bytes = usage.owed,
                                          .system_bytes = qk_partition_total(),
                                          .system_free_bytes = qk_partition_free(),
                                          .mapping_count = usage.mappings,
                                          .protected_copies = heap.protected_copies,
                                          .bad_frees = heap.bad_releases};
    return sim_control_end(__func__, true);
}

wrt_status wrt_sim_qnx_mapping_query(uint32_t index, wrt_sim_qnx_mapping_view *view_out)
{
    qk_mapping mapping;
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    const bool found = qk_memory_mapping(index, &mapping);
    if (found) {
        *view_out = (wrt_sim_qnx_mapping_view){.address = mapping.address,
                                               .host_address = mapping.host,
                                               .size = mapping.size,
                                               .paid_bytes = mapping.paid,
                                               .access = mapping.protection,
                                               .flags = mapping.flags};
    }
    return sim_control_end(__func__, found);
}

wrt_status wrt_sim_qnx_host_address(const void *address, size_t size, void **host_address_out)
{
    const wrt_status status =
        sim_control_begin(__func__, address != NULL && host_address_out != NULL);

    if (status != WRT_OK) return status;
    *host_address_out = qk_memory_host(address, size);
    sim_unlock();
    if (*host_address_out != NULL) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__,
                           "{1} bytes from {0} on are not mapped, or not by one mmap",
                           (uintptr_t)address, size);
}

wrt_status wrt_sim_qnx_arena_query(wrt_sim_qnx_arena_view *view_out)
{
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    const qk_arena_counters heap = qk_arena_count();
    *view_out = (wrt_sim_qnx_arena_view){.heap_bytes = heap.heap,
                                         .used_bytes = heap.used,
                                         .free_bytes = heap.free,
                                         .small_used_bytes = heap.small_used,
                                         .small_free_bytes = heap.small_free,
                                         .arenas_taken = heap.arenas_taken,
                                         .arenas_given_back = heap.arenas_given_back,
                                         .cached_arenas = heap.cached_arenas,
                                         .cached_bytes = heap.cached_bytes,
                                         .arena_size = heap.arena_size,
                                         .cache_arenas_limit = heap.cache_arenas_max,
                                         .cache_bytes_limit = heap.cache_bytes_max,
                                         .allocations = heap.allocations,
                                         .frees = heap.releases,
                                         .reallocations = heap.moves,
                                         .lifo = heap.lifo};
    return sim_control_end(__func__, true);
}

wrt_status wrt_sim_qnx_partition_query(uint32_t index, wrt_sim_qnx_partition_view *view_out)
{
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    qk_process_settle();
    const qk_partition *partition = qk_partition_at(index);
    if (partition != NULL) {
        *view_out = (wrt_sim_qnx_partition_view){
            .id = partition->id,
            .parent_id = partition->parent != NULL ? partition->parent->id : 0,
            .child_count = partition->children,
            .process_count = partition->processes,
            .used_bytes = partition->used,
            .peak_bytes = partition->peak,
            .minimum_bytes = partition->now.min,
            .maximum_bytes = partition->now.max,
            .terminal = partition->now.terminal,
            .locked = partition->now.locked,
            .permanent = partition->now.permanent,
            .hierarchical = partition->now.policy == QK_POLICY_HIERARCHICAL};
        memcpy(view_out->name, partition->name, sizeof view_out->name);
    }
    return sim_control_end(__func__, partition != NULL);
}

wrt_status wrt_sim_qnx_budget_query(int32_t id, wrt_sim_qnx_budget_view *view_out)
{
    qk_budget budget;
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    const bool found = qk_budget_get(id, &budget) == QK_OK;
    if (found) {
        *view_out = (wrt_sim_qnx_budget_view){.id = id,
                                              .parent_id = budget.parent,
                                              .percent = budget.percent,
                                              .critical_ms = (uint32_t)budget.critical_ms,
                                              .wanted = budget.wanted,
                                              .used = qk_budget_share(id)};
        memcpy(view_out->name, budget.name, sizeof view_out->name);
    }
    return sim_control_end(__func__, found);
}

wrt_status wrt_sim_qnx_budget_want(int32_t id, uint32_t percent)
{
    qk_budget budget;

    if (percent > 100) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__, "percent is {0}, not 0 to 100",
                               percent, 0);
    }
    const wrt_status status = sim_control_begin(__func__, true);
    if (status != WRT_OK) return status;
    const bool found = qk_budget_get(id, &budget) == QK_OK;
    if (found) (void)qk_budget_want(id, percent);
    return sim_control_end(__func__, found);
}

wrt_status wrt_sim_qnx_process_query(uint32_t index, wrt_sim_qnx_process_view *view_out)
{
    const wrt_status status = sim_control_begin(__func__, view_out != NULL);

    if (status != WRT_OK) return status;
    qk_process_settle();
    const qk_process *process = qk_process_at(index);
    if (process != NULL) {
        *view_out = (wrt_sim_qnx_process_view){.id = process->id,
                                               .partition_id = process->partition->id,
                                               .used_bytes = process->used,
                                               .ended = process->ended};
    }
    return sim_control_end(__func__, process != NULL);
}

wrt_status wrt_sim_qnx_process_use(int32_t id, uint64_t bytes)
{
    const wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    const qk_error error = qk_process_use(id, bytes);
    if (error != QK_ENOMEM) return sim_control_end(__func__, error == QK_OK);
    sim_unlock();
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                           "the partition of process {0} has no {1} bytes for it", (uint64_t)id,
                           bytes);
}

wrt_status wrt_sim_qnx_set_process_memory(uint64_t bytes)
{
    const wrt_status status = sim_control_begin(__func__, true);

    if (status != WRT_OK) return status;
    qk_process_set_start(bytes);
    return sim_control_end(__func__, true);
}
