/* What a partition says of itself: its numbers, and how far its promises hold. QNX counts for
 * whole processes only, so most of this is said with its exception. */
#include "partition.h"

#include "../core/fail.h"

static wrt_enforcement not_asked(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED, .reason = reason};
}

static wrt_enforcement enforced(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED, .reason = reason};
}

static wrt_enforcement partial(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_PARTIAL, .reason = reason};
}

static wrt_enforcement absent(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ABSENT, .reason = reason};
}

wrt_enforcement wrt__qnx_partition_isolation(const wrt_qnx_partition *partition)
{
    if (partition == NULL) return not_asked("there is no partition");
    if (partition->level == WRT_QNX_ISOLATION_PROCESS) {
        return enforced("a process that is spawned into it has an address space of its own");
    }
    if (partition->level == WRT_QNX_ISOLATION_ADDRESS) {
        return partial("its pages are out of reach while another partition of this level is "
                       "entered; while none is, all are within reach, and small blocks always are");
    }
    if ((partition->flags & WRT_QNX_PARTITION_MEMORY_ISOLATION) == 0) {
        return not_asked("MEMORY_ISOLATION is not asked for");
    }
    return absent("accounting only: a module is kept off other memory by the engine's bounds "
                  "checks, nothing else in this process is");
}

wrt_enforcement wrt__qnx_partition_charging(const wrt_qnx_partition *partition)
{
    if (partition == NULL) return not_asked("there is no partition");
    return enforced("this library counts, before memory is made accessible");
}

static wrt_enforcement report_maximum(const wrt_qnx_partition *partition)
{
    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return enforced("QNX's partition module counts each process that is spawned into it");
    }
    if (partition->level == WRT_QNX_ISOLATION_PROCESS) {
        return partial("this system has no partition module: each spawned process gets a soft "
                       "RLIMIT_AS, which it can raise itself");
    }
    if (partition->maximum_bytes == 0) return not_asked("there is no maximum_bytes");
    return partial("this library counts what its allocators make accessible; memory that the "
                   "process takes past them is not seen");
}

static wrt_enforcement report_minimum(const wrt_qnx_partition *partition)
{
    if (partition->minimum_bytes == 0) return not_asked("there is no minimum_bytes");
    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return enforced("QNX's partition module keeps it; reserved_bytes has no meaning there");
    }
    if (partition->parent == NULL) {
        return absent("there is no parent to keep it from the others");
    }
    return partial("kept from all other partitions below the same parent; the system's own memory "
                   "is not reserved");
}

static wrt_status read_usage(const char *operation, wrt_qnx_partition *partition,
                             wrt_qnx_partition_report *report)
{
    wrt_memory_account_usage usage;

    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return wrt__qnx_module_usage(operation, partition, &report->used_bytes,
                                     &report->peak_bytes);
    }
    const wrt_status status = wrt_memory_account_query(&partition->account, &usage);
    if (status != WRT_OK) return status;
    report->used_bytes = usage.used;
    report->peak_bytes = usage.peak;
    return WRT_OK;
}

static wrt_status read_all(const char *operation, wrt_qnx_partition *partition,
                           wrt_qnx_partition_report *report)
{
    *report = (wrt_qnx_partition_report){
        .minimum_bytes = partition->minimum_bytes,
        .maximum_bytes = partition->maximum_bytes != 0 ? partition->maximum_bytes : UINT64_MAX,
        .reserved_bytes = partition->reserved_bytes,
        .level = partition->level,
        .keeper = partition->keeper,
        .flags = partition->flags,
        .allocator_count = partition->allocator_count,
        .child_count = partition->child_count,
        .entered_count = partition->entered_count,
        .isolation = wrt__qnx_partition_isolation(partition),
        .maximum = report_maximum(partition),
        .minimum = report_minimum(partition)};
    for (uint32_t i = 0; i < WRT_QNX_PARTITION_PROCESSES_MAX; i++) {
        report->process_count += partition->processes[i].process_id != 0;
    }
    return read_usage(operation, partition, report);
}

wrt_status wrt_qnx_partition_query(wrt_qnx_partition *partition,
                                   wrt_qnx_partition_report *report_out)
{
    wrt_qnx_partition_report report;

    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    wrt_status status = wrt__qnx_partition_check(__func__, partition);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    status = read_all(__func__, partition, &report);
    wrt__qnx_partitions_unlock();
    if (status == WRT_OK) *report_out = report;
    return status;
}
