/* Which partition is entered, and at the level ADDRESS, whose pages are within reach. Each
 * allocation of that level knows whether it is, so a change that fails half-way can be taken back,
 * or tried again, by asking for the reach that is wanted: what has it already is left alone. */
#include "partition.h"

#include "../core/config.h"
#include "../core/fail.h"

static wrt_qnx_partition *first_partition;    /* of all of this level */
static wrt_qnx_partition_token *active_token; /* of the one that is entered; NULL: none */
static int32_t owner_process;                 /* whose they are: a forked child starts with none */

/* ---- One allocation ---- */

int wrt__qnx_system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

static bool set_access(uint8_t *start, size_t size, uint32_t protection)
{
    return size == 0 || mprotect(start, size, wrt__qnx_system_protection(protection)) == 0;
}

static bool hide(wrt__qnx_record *record)
{
    if (!record->is_within_reach) return true;
    if (!set_access(record->base, record->size, WRT_PROTECTION_NONE)) return false;
    record->is_within_reach = false;
    return true;
}

static bool show(wrt__qnx_record *record)
{
    if (record->is_within_reach) return true;
    bool done = set_access(record->base, record->size, record->data_protection);
    for (uint32_t i = 0; i < record->range_count && done; i++) {
        const wrt__qnx_range *range = &record->ranges[i];
        done = set_access(record->base + range->offset, range->size, range->protection);
    }
    if (!done) {
        const int code = errno;
        (void)set_access(record->base, record->size, WRT_PROTECTION_NONE);
        errno = code;
        return false;
    }
    record->is_within_reach = true;
    return true;
}

/* ---- All of them ---- */

static bool has_reach(const wrt_qnx_partition *partition, const wrt_qnx_partition *active)
{
    return active == NULL || active == partition;
}

/* Does `change` to all allocations whose partition has, or has not, to be within reach. */
static bool change_all(const wrt_qnx_partition *active, bool within_reach,
                       bool (*change)(wrt__qnx_record *record))
{
    for (wrt_qnx_partition *at = first_partition; at != NULL; at = at->next) {
        if (has_reach(at, active) != within_reach) continue;
        for (wrt__qnx_record *record = at->reservations; record != NULL; record = record->next) {
            if (!change(record)) return false;
        }
    }
    return true;
}

/* First what has to go, so that never more is within reach than before or after. */
static bool reach(const wrt_qnx_partition *active)
{
    return change_all(active, false, hide) && change_all(active, true, show);
}

static const wrt_qnx_partition *partition_of(const wrt_qnx_partition_token *token)
{
    return token != NULL ? token->partition : NULL;
}

static wrt_status change_reach(const char *operation, const wrt_qnx_partition *from,
                               const wrt_qnx_partition *to)
{
    if (reach(to)) return WRT_OK;
    const int code = errno;
    const wrt_status status = code == ENOMEM || code == EAGAIN ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM;
    (void)reach(from);
    return wrt_fail_system(status, operation,
                           "mprotect of a partition's pages failed; what was active stays so", code,
                           0, 0);
}

void wrt__qnx_reach_add(wrt_qnx_partition *partition)
{
    if (owner_process != partition->owner_process) {
        first_partition = NULL;
        active_token = NULL;
        owner_process = partition->owner_process;
    }
    partition->previous = NULL;
    partition->next = first_partition;
    if (first_partition != NULL) first_partition->previous = partition;
    first_partition = partition;
}

void wrt__qnx_reach_remove(wrt_qnx_partition *partition)
{
    if (partition->next != NULL) partition->next->previous = partition->previous;
    if (partition->previous != NULL) {
        partition->previous->next = partition->next;
    } else {
        first_partition = partition->next;
    }
}

/* ---- For allocators ---- */

void wrt__qnx_record_link(wrt__qnx_record *record, wrt_qnx_partition *partition)
{
    record->partition = partition;
    record->is_within_reach = has_reach(partition, partition_of(active_token));
    record->previous = NULL;
    record->next = partition->reservations;
    if (record->next != NULL) record->next->previous = record;
    partition->reservations = record;
}

void wrt__qnx_record_unlink(wrt__qnx_record *record)
{
    if (record->next != NULL) record->next->previous = record->previous;
    if (record->previous != NULL) {
        record->previous->next = record->next;
    } else {
        record->partition->reservations = record->next;
    }
}

wrt_status wrt__qnx_record_require_reach(const char *operation, const wrt__qnx_record *record)
{
    if (record->is_within_reach) return WRT_OK;
    return wrt_fail(WRT_ERR_BUSY, operation,
                    "another partition is entered, so these pages are out of reach: leave it, or "
                    "enter theirs");
}

static bool is_inside(const wrt__qnx_range *range, size_t offset, size_t size)
{
    return range->offset >= offset && range->offset + range->size <= offset + size;
}

/* Ranges that the new one does not cover, moved to the front; returns how many. */
static uint32_t drop_covered(wrt__qnx_record *record, size_t offset, size_t size)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < record->range_count; i++) {
        if (!is_inside(&record->ranges[i], offset, size))
            record->ranges[kept++] = record->ranges[i];
    }
    return kept;
}

static bool has_room(const wrt__qnx_record *record, size_t offset, size_t size)
{
    if (record->range_count < WRT__QNX_RANGES_MAX) return true;
    for (uint32_t i = 0; i < record->range_count; i++) {
        if (is_inside(&record->ranges[i], offset, size)) return true;
    }
    return false;
}

/* What protect() did last comes last, as it will be done again. */
wrt_status wrt__qnx_record_protect(const char *operation, wrt__qnx_record *record, size_t offset,
                                   size_t size, uint32_t protection)
{
    const wrt_status status = wrt__qnx_record_require_reach(operation, record);

    if (status != WRT_OK) return status;
    if (!has_room(record, offset, size)) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "{0} ranges of these pages are set apart already, more can't be "
                               "kept; protect larger ranges",
                               WRT__QNX_RANGES_MAX, 0);
    }
    if (!set_access(record->base + offset, size, protection)) {
        return wrt_fail_system(errno == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation,
                               "mprotect of {0} bytes failed", errno, size, 0);
    }
    record->range_count = drop_covered(record, offset, size);
    record->ranges[record->range_count++] =
        (wrt__qnx_range){.offset = offset, .size = size, .protection = protection};
    return WRT_OK;
}

/* ---- Entering and leaving ---- */

/* The innermost token of the level ADDRESS, from `token` outwards. */
static wrt_qnx_partition_token *addressing(wrt_qnx_partition_token *token)
{
    while (token != NULL && token->partition->level != WRT_QNX_ISOLATION_ADDRESS) {
        token = token->outer;
    }
    return token;
}

static wrt_status check_token(const char *operation, const wrt_qnx_partition_token *token)
{
    if (token->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "this token has entered nothing, or left it");
    }
    if (token->self != token) return wrt_fail(WRT_ERR_STATE, operation, "token was moved");
    return wrt__qnx_partition_check(operation, token->partition);
}

static wrt_status activate(const char *operation, wrt_qnx_partition_token *token)
{
    const wrt_qnx_partition_token *outer = addressing(token->outer);

    if (token->partition->level != WRT_QNX_ISOLATION_ADDRESS) return WRT_OK;
    if (outer != active_token) {
        return wrt_fail(WRT_ERR_BUSY, operation,
                        "another partition of the level ADDRESS is entered, which is not among "
                        "the outer ones: one is active at a time in a process");
    }
    const wrt_status status = change_reach(operation, partition_of(outer), token->partition);
    if (status == WRT_OK) active_token = token;
    return status;
}

static wrt_status deactivate(const char *operation, const wrt_qnx_partition_token *token)
{
    wrt_qnx_partition_token *outer = addressing(token->outer);

    if (token->partition->level != WRT_QNX_ISOLATION_ADDRESS) return WRT_OK;
    const wrt_status status = change_reach(operation, token->partition, partition_of(outer));
    if (status == WRT_OK) active_token = outer;
    return status;
}

static wrt_status enter(const char *operation, wrt_qnx_partition_token *token,
                        wrt_qnx_partition_token *token_out)
{
    const wrt_status status = activate(operation, token);

    if (status != WRT_OK) return status;
    *token_out = *token;
    token_out->self = token_out;
    if (active_token == token) active_token = token_out;
    if (token_out->outer != NULL) token_out->outer->inner_count++;
    token_out->partition->entered_count++;
    return WRT_OK;
}

wrt_status wrt_qnx_partition_enter(wrt_qnx_partition *partition, wrt_qnx_partition_token *outer,
                                   wrt_qnx_partition_token *token_out)
{
    wrt_qnx_partition_token token = {.outer = outer, .partition = partition};

    if (token_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "token_out is NULL");
    wrt_status status = wrt__qnx_partition_check(__func__, partition);
    if (status == WRT_OK && partition->level == WRT_QNX_ISOLATION_PROCESS) {
        status = wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                          "a running process can't enter a partition of the level PROCESS: "
                          "association is made at spawn");
    }
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    if (outer != NULL) status = check_token(__func__, outer);
    if (status == WRT_OK) status = enter(__func__, &token, token_out);
    wrt__qnx_partitions_unlock();
    return status;
}

static wrt_status leave(const char *operation, wrt_qnx_partition_token *token)
{
    if (token->inner_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "out of order: {0} partitions were entered inside and are not left "
                               "yet",
                               token->inner_count, 0);
    }
    const wrt_status status = deactivate(operation, token);
    if (status != WRT_OK) return status;
    token->partition->entered_count--;
    if (token->outer != NULL) token->outer->inner_count--;
    *token = (wrt_qnx_partition_token){0};
    return WRT_OK;
}

wrt_status wrt_qnx_partition_leave(wrt_qnx_partition_token *token)
{
    if (token == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "token is NULL");
    if (wrt__is_zero(token, sizeof *token)) return WRT_OK;
    wrt_status status = check_token(__func__, token);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(__func__);
    if (status != WRT_OK) return status;
    status = leave(__func__, token);
    wrt__qnx_partitions_unlock();
    return status;
}
