/* Counted allocators: a page allocator that charges an account and leaves the pages to another.
 *
 * It has no room for a record of each allocation, so it marks the handle: `owner` is combined with
 * the view's own address while the caller has it, and taken apart before the inner allocator sees
 * it. Pages that did not come through this view then name an owner that nobody is, and the inner
 * allocator refuses them; the combination undoes itself, so views stand on views. */
#include "config.h"
#include "fail.h"
#include "memory_account.h"

wrt_status wrt_counted_allocator_init(wrt_counted_allocator *allocator,
                                      const wrt_counted_allocator_config *config)
{
    wrt_counted_allocator_config known;

    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes of the config are not 0");
    }
    if (known.inner.ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "inner is all zero");
    }
    status = wrt__memory_account_add_view(__func__, known.account, 1);
    if (status != WRT_OK) return status;
    *allocator =
        (wrt_counted_allocator){.self = allocator, .inner = known.inner, .account = known.account};
    return WRT_OK;
}

static wrt_status check_self(const char *operation, const wrt_counted_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL");
    }
    if (allocator->self == allocator) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    allocator->self == NULL ? "allocator is not initialised"
                                            : "allocator was moved");
}

/* The handle as the other side knows it. */
static wrt_pages other_side(const wrt_counted_allocator *allocator, const wrt_pages *pages)
{
    wrt_pages other = *pages;

    other.owner = (void *)((uintptr_t)pages->owner ^ (uintptr_t)allocator);
    return other;
}

static uint64_t bytes_of(uint64_t page_count)
{
    return page_count * WRT_PAGE_SIZE;
}

static wrt_status charge(const char *operation, wrt_counted_allocator *allocator, uint32_t pages)
{
    const wrt_status status =
        wrt__memory_account_charge(operation, allocator->account, bytes_of(pages));

    allocator->report.refused += status == WRT_ERR_NO_MEMORY;
    return status;
}

/* Takes back the charge for pages that the inner allocator then refused. */
static void undo_charge(wrt_counted_allocator *allocator, uint32_t pages)
{
    const wrt_status status = wrt_memory_account_refund(allocator->account, bytes_of(pages));
    (void)status; /* it was charged a moment ago */
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    static const char operation[] = "wrt_page_allocator_allocate";
    wrt_counted_allocator *allocator = context;

    wrt_status status = check_self(operation, allocator);
    if (status == WRT_OK) status = charge(operation, allocator, initial_pages);
    if (status != WRT_OK) return status;
    const wrt_page_allocator *inner = &allocator->inner;
    status = inner->ops->allocate(inner->self, initial_pages, maximum_pages, pages_out);
    if (status != WRT_OK) {
        undo_charge(allocator, initial_pages);
        return status;
    }
    *pages_out = other_side(allocator, pages_out);
    allocator->report.allocation_count++;
    allocator->report.page_count += initial_pages;
    return WRT_OK;
}

/* Growth beyond what was reserved is refused by the inner allocator, so nothing is charged for it:
 * it would show in the account's peak. */
static uint32_t pages_to_charge(const wrt_pages *pages, uint32_t additional_pages)
{
    return additional_pages <= pages->maximum_pages - pages->page_count ? additional_pages : 0;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    static const char operation[] = "wrt_page_allocator_grow";
    wrt_counted_allocator *allocator = context;
    const uint32_t charged = pages_to_charge(pages, additional_pages);

    wrt_status status = check_self(operation, allocator);
    if (status == WRT_OK) status = charge(operation, allocator, charged);
    if (status != WRT_OK) return status;
    const wrt_page_allocator *inner = &allocator->inner;
    wrt_pages inner_pages = other_side(allocator, pages);
    status = inner->ops->grow(inner->self, &inner_pages, additional_pages);
    if (status != WRT_OK) {
        undo_charge(allocator, charged);
        return status;
    }
    *pages = other_side(allocator, &inner_pages);
    allocator->report.page_count += charged;
    return WRT_OK;
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    wrt_counted_allocator *allocator = context;

    const wrt_status status = check_self("wrt_page_allocator_protect", allocator);
    if (status != WRT_OK) return status;
    const wrt_page_allocator *inner = &allocator->inner;
    wrt_pages inner_pages = other_side(allocator, pages);
    return inner->ops->protect(inner->self, &inner_pages, offset, size, protection);
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    static const char operation[] = "wrt_page_allocator_deallocate";
    wrt_counted_allocator *allocator = context;
    const uint32_t page_count = pages->page_count;

    wrt_status status = check_self(operation, allocator);
    if (status != WRT_OK) return status;
    if (page_count > allocator->report.page_count) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "the handle has {0} pages, {1} came through this view", page_count,
                               allocator->report.page_count);
    }
    const wrt_page_allocator *inner = &allocator->inner;
    wrt_pages inner_pages = other_side(allocator, pages);
    status = inner->ops->deallocate(inner->self, &inner_pages);
    if (status != WRT_OK) return status;
    *pages = (wrt_pages){0};
    allocator->report.allocation_count--;
    allocator->report.page_count -= page_count;
    return wrt_memory_account_refund(allocator->account, bytes_of(page_count));
}

wrt_page_allocator wrt_counted_allocator_interface(wrt_counted_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}

wrt_status wrt_counted_allocator_query(const wrt_counted_allocator *allocator,
                                       wrt_counted_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check_self(__func__, allocator);
    if (status != WRT_OK) return status;
    *report_out = allocator->report;
    return WRT_OK;
}

wrt_status wrt_counted_allocator_deinit(wrt_counted_allocator *allocator)
{
    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    if (wrt__is_zero(allocator, sizeof *allocator)) return WRT_OK;
    wrt_status status = check_self(__func__, allocator);
    if (status != WRT_OK) return status;
    if (allocator->report.allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "{0} allocations are still out",
                               allocator->report.allocation_count, 0);
    }
    status = wrt__memory_account_add_view(__func__, allocator->account, -1);
    if (status == WRT_OK) *allocator = (wrt_counted_allocator){0};
    return status;
}
