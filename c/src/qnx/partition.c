/* Partitions: their config, their life, and what allocators charge them. The counting itself is a
 * wrt_memory_account, but for partitions of the level PROCESS where the system counts.
 *
 * Pages leave free what the config reserves for small blocks: their charge is refused as if it
 * were larger by what small blocks have not used of it yet. */
#include "partition.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/name.h"
#include "process_lock.h"

enum {
    FLAGS_ALL = WRT_QNX_PARTITION_MEMORY_ISOLATION | WRT_QNX_PARTITION_CONTAINER |
                WRT_QNX_PARTITION_TERMINAL
};

_Static_assert(sizeof((wrt_qnx_partition *)0)->processes ==
                   WRT_QNX_PARTITION_PROCESSES_MAX * sizeof(wrt_qnx_partition_process),
               "processes[] is as long as documented");
_Static_assert(sizeof((wrt_qnx_partition *)0)->name == WRT_QNX_PARTITION_NAME_SIZE,
               "a name and its NUL fill `name`");

/* ---- The lock ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

wrt_status wrt__qnx_partitions_lock(const char *operation)
{
    return wrt__qnx_process_lock(operation, &lock);
}

void wrt__qnx_partitions_unlock(void)
{
    wrt__qnx_process_unlock(&lock);
}

wrt_status wrt__qnx_partition_check(const char *operation, const wrt_qnx_partition *partition)
{
    if (partition == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "partition is NULL");
    }
    if (partition->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "partition is not initialised");
    }
    if (partition->self != partition) {
        return wrt_fail(WRT_ERR_STATE, operation, "partition was moved");
    }
    if (partition->owner_process != getpid()) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "partition belongs to the process that forked this one; make a new one");
    }
    return WRT_OK;
}

/* ---- Config ---- */

static bool is_name_character(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_' || character == '-' ||
           character == '.';
}

static bool name_is_valid(const char *name)
{
    size_t length = 0;

    for (; name[length] != '\0'; length++) {
        if (length == WRT_QNX_PARTITION_NAME_SIZE - 1) return false;
        if (!is_name_character(name[length])) return false;
    }
    return length != 0 && name[0] != '.';
}

static wrt_status check_sizes(const char *operation, const wrt_qnx_partition_config *config)
{
    if (config->maximum_bytes != 0 && config->minimum_bytes > config->maximum_bytes) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "minimum_bytes is {0}, more than maximum_bytes, {1}",
                               config->minimum_bytes, config->maximum_bytes);
    }
    if (config->reserved_bytes > config->minimum_bytes) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "reserved_bytes is {0}, more than minimum_bytes, {1}",
                               config->reserved_bytes, config->minimum_bytes);
    }
    return WRT_OK;
}

static wrt_status check_config(const char *operation, const wrt_qnx_partition_config *config)
{
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if ((config->flags & ~(uint32_t)FLAGS_ALL) != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "flags are {0}, not a combination of wrt_qnx_partition_flag",
                               config->flags, 0);
    }
    if (config->isolation > WRT_QNX_ISOLATION_PROCESS) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "isolation is {0}, not one of wrt_qnx_isolation", config->isolation,
                               0);
    }
    if (config->name != NULL && !name_is_valid(config->name)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "name is not 1 to 31 letters, digits, _ - . without a . in front");
    }
    return check_sizes(operation, config);
}

static uint32_t level_of(const wrt_qnx_partition_config *config)
{
    if (config->isolation != WRT_QNX_ISOLATION_DEFAULT) return config->isolation;
    return config->parent != NULL ? config->parent->level : WRT_QNX_ISOLATION_ACCOUNTING;
}

static wrt_status check_level(const char *operation, const wrt_qnx_partition_config *config,
                              uint32_t level)
{
    const bool wants_isolation = (config->flags & WRT_QNX_PARTITION_MEMORY_ISOLATION) != 0;

    if (wants_isolation && level == WRT_QNX_ISOLATION_ACCOUNTING &&
        !config->allow_accounting_only) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "QNX partitions count memory, they keep nobody off it: for "
                        "MEMORY_ISOLATION ask for the level ADDRESS or PROCESS, or set "
                        "allow_accounting_only");
    }
    if (level == WRT_QNX_ISOLATION_PROCESS && config->name == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "a partition of the level PROCESS needs a name");
    }
    return WRT_OK;
}

static wrt_status check_parent(const char *operation, const wrt_qnx_partition_config *config,
                               uint32_t level)
{
    const wrt_qnx_partition *parent = config->parent;

    if ((parent->flags & WRT_QNX_PARTITION_TERMINAL) != 0) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the parent is TERMINAL: no partition can be below it");
    }
    if ((parent->level == WRT_QNX_ISOLATION_PROCESS) != (level == WRT_QNX_ISOLATION_PROCESS)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "the level PROCESS is not mixed with others in one tree: the parent's "
                        "differs");
    }
    return WRT_OK;
}

static uint32_t keeper_of(const wrt_qnx_partition_config *config, uint32_t level)
{
    if (level != WRT_QNX_ISOLATION_PROCESS) return WRT_QNX_KEEPER_LIBRARY;
    if (config->parent != NULL) return config->parent->keeper;
    return wrt__qnx_module_is_present() ? WRT_QNX_KEEPER_SYSTEM : WRT_QNX_KEEPER_LIBRARY;
}

/* ---- Life ---- */

/* Takes what is promised, from the parent's account or from the system. */
static wrt_status open_account(const char *operation, wrt_qnx_partition *partition)
{
    wrt_qnx_partition *parent = partition->parent;

    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return wrt__qnx_module_make(operation, partition);
    }
    const wrt_memory_account_config config = {.struct_size = sizeof config,
                                              .minimum = partition->minimum_bytes,
                                              .maximum = partition->maximum_bytes,
                                              .parent = parent != NULL ? &parent->account : NULL,
                                              .name = partition->name};
    return wrt_memory_account_init(&partition->account, &config);
}

static wrt_status close_account(const char *operation, wrt_qnx_partition *partition)
{
    if (partition->keeper == WRT_QNX_KEEPER_SYSTEM) {
        return wrt__qnx_module_remove(operation, partition);
    }
    return wrt_memory_account_deinit(&partition->account);
}

static wrt_status add_to_tree(const char *operation, wrt_qnx_partition *partition)
{
    const wrt_status status = open_account(operation, partition);

    if (status != WRT_OK) return status;
    partition->self = partition;
    if (partition->parent != NULL) partition->parent->child_count++;
    if (partition->level == WRT_QNX_ISOLATION_ADDRESS) wrt__qnx_reach_add(partition);
    return WRT_OK;
}

wrt_status wrt_qnx_partition_init(wrt_qnx_partition *partition,
                                  const wrt_qnx_partition_config *config)
{
    wrt_qnx_partition_config known;

    if (partition == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "partition is NULL");
    wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status == WRT_OK) status = check_config(__func__, &known);
    if (status == WRT_OK && known.parent != NULL) {
        status = wrt__qnx_partition_check(__func__, known.parent);
    }
    if (status != WRT_OK) return status;
    const uint32_t level = level_of(&known);
    status = check_level(__func__, &known, level);
    if (status == WRT_OK && known.parent != NULL) status = check_parent(__func__, &known, level);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;

    const wrt_qnx_partition before = *partition;
    *partition = (wrt_qnx_partition){.parent = known.parent,
                                     .minimum_bytes = known.minimum_bytes,
                                     .maximum_bytes = known.maximum_bytes,
                                     .reserved_bytes = known.reserved_bytes,
                                     .flags = known.flags,
                                     .level = level,
                                     .keeper = keeper_of(&known, level),
                                     .owner_process = getpid()};
    wrt__name_copy(partition->name, sizeof partition->name, known.name);
    status = add_to_tree(__func__, partition);
    if (status != WRT_OK) *partition = before;
    wrt__qnx_partitions_unlock();
    return status;
}

static uint32_t process_count(const wrt_qnx_partition *partition)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < WRT_QNX_PARTITION_PROCESSES_MAX; i++) {
        count += partition->processes[i].process_id != 0;
    }
    return count;
}

static wrt_status check_unused(const char *operation, const wrt_qnx_partition *partition)
{
    if (partition->entered_count != 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation, "partition is entered {0} times",
                               partition->entered_count, 0);
    }
    if (partition->allocator_count != 0 || partition->child_count != 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "partition has {0} allocators in it and {1} partitions below it",
                               partition->allocator_count, partition->child_count);
    }
    if (process_count(partition) != 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "partition has {0} processes in it: detach those that have ended",
                               process_count(partition), 0);
    }
    return WRT_OK;
}

static wrt_status take_from_tree(const char *operation, wrt_qnx_partition *partition)
{
    wrt_qnx_partition *parent = partition->parent;
    wrt_status status = check_unused(operation, partition);

    if (status == WRT_OK) status = close_account(operation, partition);
    if (status != WRT_OK) return status;
    if (parent != NULL) parent->child_count--;
    if (partition->level == WRT_QNX_ISOLATION_ADDRESS) wrt__qnx_reach_remove(partition);
    *partition = (wrt_qnx_partition){0};
    return WRT_OK;
}

wrt_status wrt_qnx_partition_deinit(wrt_qnx_partition *partition)
{
    if (partition == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "partition is NULL");
    if (wrt__is_zero(partition, sizeof *partition)) return WRT_OK;
    wrt_status status = wrt__qnx_partition_check(__func__, partition);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    status = take_from_tree(__func__, partition);
    wrt__qnx_partitions_unlock();
    return status;
}

/* ---- For allocators ---- */

wrt_status wrt__qnx_partition_join(const char *operation, wrt_qnx_partition *partition)
{
    if (partition == NULL) return WRT_OK;
    wrt_status status = wrt__qnx_partition_check(operation, partition);
    if (status != WRT_OK) return status;
    if ((partition->flags & WRT_QNX_PARTITION_CONTAINER) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "the partition is a CONTAINER: it holds partitions, no memory of its own");
    }
    if (partition->level == WRT_QNX_ISOLATION_PROCESS) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "a partition of the level PROCESS counts spawned processes: an allocator "
                        "of this process needs one of the level ACCOUNTING or ADDRESS");
    }
    status = wrt__qnx_partitions_lock(operation);
    if (status != WRT_OK) return status;
    partition->allocator_count++;
    wrt__qnx_partitions_unlock();
    return WRT_OK;
}

wrt_status wrt__qnx_partition_part(const char *operation, wrt_qnx_partition *partition)
{
    if (partition == NULL) return WRT_OK;
    wrt_status status = wrt__qnx_partition_check(operation, partition);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(operation);
    if (status != WRT_OK) return status;
    partition->allocator_count--;
    wrt__qnx_partitions_unlock();
    return WRT_OK;
}

/* The account's own words, in the name of the call that was made. */
static wrt_status say_again(const char *operation, wrt_status status)
{
    const wrt_error error = *wrt_error_last();

    return wrt_fail_detail(status, operation, error.reason, error.detail[0], error.detail[1]);
}

/* Bytes that small blocks may still have of what is reserved for them. */
static uint64_t left_for_blocks(const wrt_qnx_partition *partition,
                                const wrt_memory_account_usage *usage)
{
    uint64_t blocks = usage->charged - partition->page_bytes;

    for (uint32_t i = 0; i < WRT_QNX_PARTITION_PROCESSES_MAX; i++) {
        blocks -= partition->processes[i].charged_bytes;
    }
    return blocks < partition->reserved_bytes ? partition->reserved_bytes - blocks : 0;
}

wrt_status wrt__qnx_partition_charge_pages(const char *operation, wrt_qnx_partition *partition,
                                           uint64_t bytes)
{
    wrt_memory_account_usage usage;

    if (partition == NULL) return WRT_OK;
    wrt_status status = wrt_memory_account_query(&partition->account, &usage);
    if (status != WRT_OK) return say_again(operation, status);
    const uint64_t kept = left_for_blocks(partition, &usage);
    if (kept != 0 && usage.available >= bytes && usage.available - bytes < kept) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "{0} bytes are asked for, and the partition keeps the last {1} for "
                               "small blocks (reserved_bytes)",
                               bytes, kept);
    }
    status = wrt_memory_account_charge(&partition->account, bytes);
    if (status != WRT_OK) return say_again(operation, status);
    partition->page_bytes += bytes;
    return WRT_OK;
}

wrt_status wrt__qnx_partition_charge_block(const char *operation, wrt_qnx_partition *partition,
                                           uint64_t bytes)
{
    if (partition == NULL) return WRT_OK;
    const wrt_status status = wrt_memory_account_charge(&partition->account, bytes);
    return status == WRT_OK ? WRT_OK : say_again(operation, status);
}

/* What was charged can always be given back. */
void wrt__qnx_partition_refund_block(wrt_qnx_partition *partition, uint64_t bytes)
{
    if (partition == NULL || bytes == 0) return;
    const wrt_status status = wrt_memory_account_refund(&partition->account, bytes);
    (void)status;
}

void wrt__qnx_partition_refund_pages(wrt_qnx_partition *partition, uint64_t bytes)
{
    if (partition == NULL) return;
    wrt__qnx_partition_refund_block(partition, bytes);
    partition->page_bytes -= bytes;
}
