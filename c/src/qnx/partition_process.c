/* Processes in partitions. QNX associates a process when it is spawned, so that is when it can be
 * limited: by the system's own partition where there is one, else by RLIMIT_AS, which a child has
 * from its parent. posix_spawn() has no attribute for limits; so the soft limit of this process is
 * lowered for the moment of the call. */
#include "partition.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "error.h"

/* ---- What is to be spawned ---- */

static wrt_status read_program(const char *operation, const wrt_qnx_program *given,
                               wrt_qnx_program *program)
{
    const wrt_status status = wrt__config_read(operation, given, program, sizeof *program);
    if (status != WRT_OK) return status;
    if (program->reserved != 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the program are not 0");
    }
    if (program->path == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "the program's path is NULL");
    }
    return WRT_OK;
}

static wrt_status check_partition(const char *operation, const wrt_qnx_partition *partition,
                                  const wrt_qnx_program *program)
{
    const wrt_status status = wrt__qnx_partition_check(operation, partition);
    if (status != WRT_OK) return status;
    if ((partition->flags & WRT_QNX_PARTITION_CONTAINER) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "the partition is a CONTAINER: it holds partitions, no processes");
    }
    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM && program->memory_bytes != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "memory_bytes is set, but the system's own partition limits the process");
    }
    return WRT_OK;
}

/* ---- Places for processes ---- */

static wrt_qnx_partition_process *find_process(wrt_qnx_partition *partition, int32_t process_id)
{
    for (uint32_t i = 0; i < WRT_QNX_PARTITION_PROCESSES_MAX; i++) {
        if (partition->processes[i].process_id == process_id) return &partition->processes[i];
    }
    return NULL;
}

/* What the process is to have, and is charged for; 0 if nothing limits it. */
static wrt_status take_memory(const char *operation, wrt_qnx_partition *partition,
                              const wrt_qnx_program *program, uint64_t *bytes_out)
{
    wrt_memory_account_usage usage;

    *bytes_out = program->memory_bytes;
    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) return WRT_OK;
    if (*bytes_out == 0) { /* all that is left */
        const wrt_status status = wrt_memory_account_query(&partition->account, &usage);
        if (status != WRT_OK) return status;
        if (usage.available == UINT64_MAX) return WRT_OK;
        *bytes_out = usage.available;
    }
    if (*bytes_out == 0) {
        return wrt_fail(WRT_ERR_NO_MEMORY, operation, "the partition has no memory left");
    }
    return wrt__qnx_partition_charge_block(operation, partition, *bytes_out);
}

/* ---- The soft limit ---- */

static wrt_status lower_limit(const char *operation, uint64_t bytes, struct rlimit *before)
{
    if (getrlimit(RLIMIT_AS, before) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "RLIMIT_AS can't be read", errno, 0, 0);
    }
    if (bytes == 0 || bytes >= before->rlim_cur) return WRT_OK;
    const struct rlimit lowered = {.rlim_cur = bytes, .rlim_max = before->rlim_max};
    if (setrlimit(RLIMIT_AS, &lowered) == 0) return WRT_OK;
    return wrt_fail_system(wrt__qnx_status(errno), operation,
                           "RLIMIT_AS can't be lowered to {0} bytes for the process", errno, bytes,
                           0);
}

/* Tried twice: a limit that stays would be this process's own. */
static wrt_status restore_limit(const char *operation, uint64_t bytes, const struct rlimit *before)
{
    if (bytes == 0 || bytes >= before->rlim_cur) return WRT_OK;
    if (setrlimit(RLIMIT_AS, before) == 0 || setrlimit(RLIMIT_AS, before) == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                           "the process was spawned, but RLIMIT_AS of this one stays at {0} bytes",
                           errno, bytes, 0);
}

/* ---- Spawning ---- */

static int start(const wrt_qnx_partition *partition, const wrt_qnx_program *program,
                 posix_spawnattr_t *attributes, pid_t *process_id_out)
{
    char *const alone[] = {(char *)(uintptr_t)program->path, NULL};
    char *const *arguments = (char *const *)(uintptr_t)program->arguments;
    char *const *environment = (char *const *)(uintptr_t)program->environment;
    int code = EOK;

    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        code = wrt__qnx_module_associate(attributes, partition);
    }
    if (code != EOK) return code;
    return posix_spawn(process_id_out, program->path, NULL, attributes,
                       arguments != NULL ? arguments : alone, environment);
}

static wrt_status start_with_attributes(const char *operation, const wrt_qnx_partition *partition,
                                        const wrt_qnx_program *program, pid_t *process_id_out)
{
    posix_spawnattr_t attributes;
    int code = posix_spawnattr_init(&attributes);

    if (code == EOK) {
        code = start(partition, program, &attributes, process_id_out);
        if (posix_spawnattr_destroy(&attributes) != EOK) (void)posix_spawnattr_destroy(&attributes);
    }
    if (code == EOK) return WRT_OK;
    const wrt_status status = code == ENOENT ? WRT_ERR_NOT_FOUND : wrt__qnx_status(code);
    return wrt_fail_system(status, operation, "posix_spawn failed", code, 0, 0);
}

static wrt_status start_within(const char *operation, const wrt_qnx_partition *partition,
                               const wrt_qnx_program *program, uint64_t bytes,
                               pid_t *process_id_out)
{
    struct rlimit before;

    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return start_with_attributes(operation, partition, program, process_id_out);
    }
    wrt_status status = lower_limit(operation, bytes, &before);
    if (status != WRT_OK) return status;
    const wrt_status started = start_with_attributes(operation, partition, program, process_id_out);
    const wrt_error error = *wrt_error_last();
    status = restore_limit(operation, bytes, &before);
    if (started == WRT_OK || status == WRT_OK) return started != WRT_OK ? started : status;
    return wrt_fail_system(started, operation, error.reason, error.os_code, 0, 0);
}

static wrt_status spawn(const char *operation, wrt_qnx_partition *partition,
                        const wrt_qnx_program *program, int32_t *process_id_out)
{
    wrt_qnx_partition_process *place = find_process(partition, 0);
    pid_t process_id = 0;
    uint64_t bytes;

    if (place == NULL) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "{0} processes are in the partition: detach those that have ended",
                               WRT_QNX_PARTITION_PROCESSES_MAX, 0);
    }
    wrt_status status = take_memory(operation, partition, program, &bytes);
    if (status != WRT_OK) return status;
    status = start_within(operation, partition, program, bytes, &process_id);
    if (process_id == 0) {
        wrt__qnx_partition_refund_block(partition, bytes);
        return status;
    }
    *place = (wrt_qnx_partition_process){.charged_bytes = bytes, .process_id = process_id};
    *process_id_out = process_id;
    return status;
}

wrt_status wrt_qnx_partition_spawn(wrt_qnx_partition *partition, const wrt_qnx_program *program,
                                   int32_t *process_id_out)
{
    wrt_qnx_program known;

    if (process_id_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "process_id_out is NULL");
    }
    *process_id_out = 0;
    wrt_status status = read_program(__func__, program, &known);
    if (status == WRT_OK) status = check_partition(__func__, partition, &known);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    status = spawn(__func__, partition, &known, process_id_out);
    wrt__qnx_partitions_unlock();
    return status;
}

wrt_status wrt_qnx_partition_attach_process(wrt_qnx_partition *partition, int32_t process_id)
{
    const wrt_status status = wrt__qnx_partition_check(__func__, partition);

    if (status != WRT_OK) return status;
    if (process_id < 1) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__, "process_id is not 1 or more", 0,
                               0);
    }
    return wrt_fail_detail(WRT_ERR_UNSUPPORTED, __func__,
                           "process {0} is running, and QNX associates a process with a partition "
                           "when it is spawned: use wrt_qnx_partition_spawn()",
                           (uint64_t)process_id, 0);
}

/* ---- The end of a process ---- */

static wrt_status collect(const char *operation, int32_t process_id, int32_t *wait_status)
{
    int found = 0;
    const pid_t ended = waitpid(process_id, &found, WNOHANG);

    if (ended == 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation, "process {0} runs on", (uint64_t)process_id,
                               0);
    }
    if (ended < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "waitpid for process {0} failed", errno,
                               (uint64_t)process_id, 0);
    }
    *wait_status = found;
    return WRT_OK;
}

static wrt_status detach(const char *operation, wrt_qnx_partition *partition, int32_t process_id,
                         int32_t *wait_status)
{
    wrt_qnx_partition_process *process =
        process_id > 0 ? find_process(partition, process_id) : NULL;

    if (process == NULL) {
        return wrt_fail(WRT_ERR_NOT_FOUND, operation,
                        "no process of this number was spawned into the partition, or it is "
                        "detached already");
    }
    const wrt_status status = collect(operation, process_id, wait_status);
    if (status != WRT_OK && wrt_error_last()->os_code != ECHILD) return status;
    wrt__qnx_partition_refund_block(partition, process->charged_bytes);
    *process = (wrt_qnx_partition_process){0};
    return status;
}

wrt_status wrt_qnx_partition_detach(wrt_qnx_partition *partition, int32_t process_id,
                                    int32_t *wait_status_out)
{
    int32_t wait_status = 0;
    wrt_status status = wrt__qnx_partition_check(__func__, partition);

    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    status = detach(__func__, partition, process_id, &wait_status);
    wrt__qnx_partitions_unlock();
    if (status == WRT_OK && wait_status_out != NULL) *wait_status_out = wait_status;
    return status;
}
