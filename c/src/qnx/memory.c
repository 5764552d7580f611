/* Linear memory from QNX: what core/reservation.c asks of a system. One private mapping an
 * allocation, without access, and lazy if the config says so; mprotect() is what makes pages
 * accessible, and, if they are not lazy, what takes their memory.
 *
 * An allocation of a partition of the level ADDRESS has a record in the first page of its
 * reservation, by which entering another partition finds it. */
#include "memory.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/reservation.h"
#include "../core/verification.h"
#include "partition.h"

_Static_assert(WRT_QNX_GUARD_BYTES_DEFAULT == (int)WRT__GUARD_BYTES_DEFAULT, "as documented");
_Static_assert(sizeof(wrt__qnx_record) <= 4096, "a record fits into a page of the system");

/* ---- Mapping ---- */

static wrt_status fail_for_memory(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;
    const wrt_status status = code == ENOMEM || code == EAGAIN ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM;

    return wrt_fail_system(status, operation, reason, code, bytes, 0);
}

static bool has_records(const wrt_qnx_allocator *allocator)
{
    return allocator->partition != NULL && allocator->partition->level == WRT_QNX_ISOLATION_ADDRESS;
}

/* NULL at other levels. */
static wrt__qnx_record *record_of(const wrt_qnx_allocator *allocator, const wrt_pages *pages)
{
    return has_records(allocator) ? pages->reservation : NULL;
}

static size_t front_bytes(const wrt_qnx_allocator *allocator)
{
    return has_records(allocator) ? (size_t)allocator->reserve.system_page : 0;
}

static uint32_t data_protection(const wrt_qnx_allocator *allocator)
{
    switch (allocator->data_protection) {
    case WRT_QNX_PROTECTION_NONE:
        return WRT_PROTECTION_NONE;
    case WRT_QNX_PROTECTION_READ:
        return WRT_PROTECTION_READ;
    default:
        return WRT_PROTECTION_READ | WRT_PROTECTION_WRITE;
    }
}

static wrt_status open_edge(const char *operation, void *context, uint8_t *start, size_t size)
{
    (void)context;
    if (mprotect(start, size, PROT_READ | PROT_WRITE) == 0) return WRT_OK;
    return fail_for_memory(operation, "mprotect of a page beside the memory, {0} bytes, failed",
                           size);
}

static wrt_status add_record(const char *operation, const wrt_qnx_allocator *allocator,
                             uint8_t *start)
{
    const wrt_page_reserve *reserve = &allocator->reserve;
    const size_t front =
        (size_t)(reserve->system_page + reserve->guard_bytes + reserve->canary_bytes);
    wrt__qnx_record *record = (wrt__qnx_record *)(void *)start;

    wrt_status status = open_edge(operation, NULL, start, (size_t)reserve->system_page);
    if (status == WRT_OK) status = wrt__qnx_partitions_lock(operation);
    if (status != WRT_OK) return status;
    record->base = start + front;
    record->data_protection = data_protection(allocator);
    wrt__qnx_record_link(record, allocator->partition);
    wrt__qnx_partitions_unlock();
    return WRT_OK;
}

static wrt_status map(const char *operation, void *context, size_t size, void **start_out)
{
    const wrt_qnx_allocator *allocator = context;
    const int flags = MAP_PRIVATE | MAP_ANON | (allocator->lazy ? MAP_LAZY : 0);
    void *start = mmap(NULL, size, PROT_NONE, flags, NOFD, 0);

    if (start == MAP_FAILED) {
        return fail_for_memory(operation,
                               "reserving {0} bytes of addresses failed: RLIMIT_AS or the address "
                               "space is too small; ask for fewer maximum_pages",
                               size);
    }
    if (has_records(allocator)) {
        const wrt_status status = add_record(operation, allocator, start);
        if (status != WRT_OK) {
            (void)munmap(start, size);
            return status;
        }
    }
    *start_out = start;
    return WRT_OK;
}

/* ---- With the lock of all partitions, if there is one to charge ---- */

static wrt_status lock_for(const char *operation, const wrt_qnx_allocator *allocator)
{
    return allocator->partition != NULL ? wrt__qnx_partitions_lock(operation) : WRT_OK;
}

static void unlock_for(const wrt_qnx_allocator *allocator)
{
    if (allocator->partition != NULL) wrt__qnx_partitions_unlock();
}

static wrt_status unmap_locked(const char *operation, wrt_qnx_allocator *allocator,
                               const wrt_pages *pages)
{
    wrt__qnx_record *record = record_of(allocator, pages);

    if (record != NULL) wrt__qnx_record_unlink(record);
    if (munmap(pages->reservation, pages->reserved_size) != 0) {
        if (record != NULL) wrt__qnx_record_link(record, allocator->partition);
        return fail_for_memory(operation, "munmap of {0} bytes failed", pages->reserved_size);
    }
    wrt__qnx_partition_refund_pages(allocator->partition,
                                    (uint64_t)pages->page_count * WRT_PAGE_SIZE);
    return WRT_OK;
}

static wrt_status unmap(const char *operation, void *context, const wrt_pages *pages)
{
    wrt_qnx_allocator *allocator = context;
    wrt_status status = lock_for(operation, allocator);

    if (status != WRT_OK) return status;
    status = unmap_locked(operation, allocator, pages);
    unlock_for(allocator);
    return status;
}

static wrt_status open_pages(const char *operation, const wrt_qnx_allocator *allocator,
                             uint8_t *start, size_t size)
{
    const uint32_t protection = data_protection(allocator);

    if (protection == WRT_PROTECTION_NONE) return WRT_OK;
    if (mprotect(start, size, wrt__qnx_system_protection(protection)) == 0) return WRT_OK;
    return fail_for_memory(operation,
                           "mprotect of {0} bytes failed: the system, or the partition that this "
                           "process was spawned into, has not that much memory",
                           size);
}

static wrt_status give_locked(const char *operation, const wrt_qnx_allocator *allocator,
                              const wrt_pages *pages, size_t size)
{
    wrt__qnx_record *record = record_of(allocator, pages);
    uint8_t *start = pages->base + (size_t)pages->page_count * WRT_PAGE_SIZE;
    wrt_status status = WRT_OK;

    if (record != NULL) status = wrt__qnx_record_require_reach(operation, record);
    if (status == WRT_OK) {
        status = wrt__qnx_partition_charge_pages(operation, allocator->partition, size);
    }
    if (status != WRT_OK) return status;
    status = open_pages(operation, allocator, start, size);
    if (status != WRT_OK) {
        wrt__qnx_partition_refund_pages(allocator->partition, size);
        return status;
    }
    if (record != NULL) record->size += size;
    return WRT_OK;
}

static wrt_status give_access(const char *operation, void *context, const wrt_pages *pages,
                              size_t size)
{
    const wrt_qnx_allocator *allocator = context;
    wrt_status status = lock_for(operation, allocator);

    if (status != WRT_OK) return status;
    status = give_locked(operation, allocator, pages, size);
    unlock_for(allocator);
    return status;
}

static wrt_status protect_locked(const char *operation, const wrt_qnx_allocator *allocator,
                                 const wrt_pages *pages, size_t offset, size_t size,
                                 uint32_t protection)
{
    wrt__qnx_record *record = record_of(allocator, pages);

    if (record != NULL) {
        return wrt__qnx_record_protect(operation, record, offset, size, protection);
    }
    if (mprotect(pages->base + offset, size, wrt__qnx_system_protection(protection)) == 0) {
        return WRT_OK;
    }
    return fail_for_memory(operation, "mprotect of {0} bytes failed", size);
}

static wrt_status set_protection(const char *operation, void *context, const wrt_pages *pages,
                                 size_t offset, size_t size, uint32_t protection)
{
    const wrt_qnx_allocator *allocator = context;
    wrt_status status = lock_for(operation, allocator);

    if (status != WRT_OK) return status;
    status = protect_locked(operation, allocator, pages, offset, size, protection);
    unlock_for(allocator);
    return status;
}

/* ---- The calls of wrt_page_allocator ---- */

static wrt_status check(const char *operation, const void *context)
{
    return wrt__qnx_allocator_check(operation, context);
}

static wrt__reservation reservation_of(void *context)
{
    static const wrt__reservation_ops ops = {check,     map,         unmap,
                                             open_edge, give_access, set_protection};
    wrt_qnx_allocator *allocator = context;

    if (allocator == NULL) return (wrt__reservation){.ops = &ops};
    return (wrt__reservation){&ops, allocator, &allocator->reserve, front_bytes(allocator), 0};
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    wrt_qnx_allocator *allocator = context;
    const wrt__reservation of = reservation_of(context);
    const wrt_status status = wrt__reservation_allocate("wrt_page_allocator_allocate", &of,
                                                        initial_pages, maximum_pages, pages_out);

    if (status == WRT_OK) allocator->self = allocator;
    return status;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_grow("wrt_page_allocator_grow", &of, pages, additional_pages);
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_protect("wrt_page_allocator_protect", &of, pages, offset, size,
                                    protection);
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_deallocate("wrt_page_allocator_deallocate", &of, pages);
}

wrt_page_allocator wrt_qnx_allocator_interface(wrt_qnx_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}

/* ---- Life of the allocator ---- */

wrt_status wrt__qnx_allocator_open(const char *operation, wrt_qnx_allocator *allocator,
                                   const wrt_qnx_allocator_config *config)
{
    wrt_verifier verifier;
    wrt_page_reserve reserve;

    if (config->data_protection > WRT_QNX_PROTECTION_READ_WRITE) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "data_protection is {0}, not one of wrt_qnx_protection",
                               config->data_protection, 0);
    }
    wrt_status status = wrt__verifier_init(&verifier, operation, config->verification_level,
                                           config->sampling_interval);
    if (status != WRT_OK) return status;
    status = wrt__reserve_init(&reserve, operation, &verifier, (uint64_t)sysconf(_SC_PAGESIZE),
                               config->maximum_pages, config->guard_bytes, config->guard_pages);
    if (status == WRT_OK) status = wrt__qnx_partition_join(operation, config->partition);
    if (status != WRT_OK) return status;
    *allocator = (wrt_qnx_allocator){.self = allocator,
                                     .reserve = reserve,
                                     .partition = config->partition,
                                     .data_protection = config->data_protection,
                                     .owner_process = getpid(),
                                     .lazy = config->lazy};
    return WRT_OK;
}

wrt_status wrt_qnx_allocator_init(wrt_qnx_allocator *allocator,
                                  const wrt_qnx_allocator_config *config)
{
    wrt_qnx_allocator_config known;

    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    const wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes of the config are not 0");
    }
    return wrt__qnx_allocator_open(__func__, allocator, &known);
}

wrt_status wrt__qnx_allocator_check(const char *operation, const wrt_qnx_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL");
    }
    return wrt__reserve_check(operation, &allocator->reserve, allocator, allocator->self,
                              allocator->owner_process == getpid());
}

wrt_status wrt__qnx_allocator_close(const char *operation, wrt_qnx_allocator *allocator)
{
    if (allocator->reserve.allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, operation, "{0} allocations are still out",
                               allocator->reserve.allocation_count, 0);
    }
    const wrt_status status = wrt__qnx_partition_part(operation, allocator->partition);
    if (status == WRT_OK) *allocator = (wrt_qnx_allocator){0};
    return status;
}

wrt_status wrt_qnx_allocator_deinit(wrt_qnx_allocator *allocator)
{
    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    if (wrt__is_zero(allocator, sizeof *allocator)) return WRT_OK;
    const wrt_status status = wrt__qnx_allocator_check(__func__, allocator);
    return status == WRT_OK ? wrt__qnx_allocator_close(__func__, allocator) : status;
}

static wrt_enforcement report_commitment(const wrt_qnx_allocator *allocator)
{
    if (allocator->lazy) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED,
                                 .reason = "lazy: memory is taken when it is first touched"};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                             .reason = "mprotect takes the memory of pages that are not lazy"};
}

wrt_status wrt_qnx_allocator_query(const wrt_qnx_allocator *allocator,
                                   wrt_qnx_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = wrt__qnx_allocator_check(__func__, allocator);
    if (status != WRT_OK) return status;
    const wrt_page_reserve *all = &allocator->reserve;
    *report_out =
        (wrt_qnx_allocator_report){.allocation_count = all->allocation_count,
                                   .page_count = all->page_count,
                                   .peak_pages = all->peak_pages,
                                   .reserved_bytes = all->reserved_bytes,
                                   .guard_pages = wrt__reserve_guards(all),
                                   .canaries = wrt__reserve_canaries(all),
                                   .commitment = report_commitment(allocator),
                                   .partition = wrt__qnx_partition_charging(allocator->partition),
                                   .isolation = wrt__qnx_partition_isolation(allocator->partition)};
    return WRT_OK;
}
