/* Pages of reserved addresses. One mapping an allocation, without access at first:
 *
 *     | backend's | guard or canary | accessible pages | reserved, no access | guard or canary |
 *     ^ reservation                 ^ base
 *
 * A canary is one page of the system that can be written; a guard never can. A call
 * that fails takes back what it did. */
#include "reservation.h"

#include "fail.h"
#include "verification.h"

enum { GUARD_PAGES_MAX = WRT_PAGE_COUNT_MAX };

/* ---- Config ---- */

wrt_status wrt__reserve_init(wrt_page_reserve *reserve, const char *operation,
                             const wrt_verifier *verifier, uint64_t system_page,
                             uint32_t maximum_pages, uint64_t guard_bytes, bool guard_pages)
{
    const uint64_t most = (uint64_t)GUARD_PAGES_MAX * WRT_PAGE_SIZE;
    const bool canaries = !guard_pages && wrt__verifier_wants_canaries(verifier);

    if (maximum_pages > WRT_PAGE_COUNT_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_pages is {0}, a memory has at most {1}", maximum_pages,
                               WRT_PAGE_COUNT_MAX);
    }
    if (guard_bytes % system_page != 0 || guard_bytes > most) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "guard_bytes is {0}, not a multiple of the system's page ({1} "
                               "bytes) up to 4 GiB",
                               guard_bytes, system_page);
    }
    if (guard_bytes == 0) guard_bytes = WRT__GUARD_BYTES_DEFAULT;
    *reserve = (wrt_page_reserve){.verifier = *verifier,
                                  .system_page = system_page,
                                  .guard_bytes = guard_pages ? guard_bytes : 0,
                                  .canary_bytes = canaries ? system_page : 0,
                                  .maximum_pages =
                                      maximum_pages != 0 ? maximum_pages : WRT_PAGE_COUNT_MAX};
    return WRT_OK;
}

wrt_status wrt__reserve_check(const char *operation, const wrt_page_reserve *reserve,
                              const void *allocator, const void *self, bool is_ours)
{
    if (self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "allocator is not initialised");
    }
    if (self != allocator && reserve->allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, operation,
                               "allocator was moved while {0} allocations are out",
                               reserve->allocation_count, 0);
    }
    if (is_ours) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "allocator belongs to the process that forked this one; make a new one");
}

/* ---- Reservation ---- */

/* Guard or canary: what stands at either end. */
static size_t edge_of(const wrt_page_reserve *reserve)
{
    return (size_t)(reserve->guard_bytes + reserve->canary_bytes);
}

/* Bytes to reserve for `maximum_pages`; 0 if they are beyond the system's addresses. */
static size_t reservation_size(const wrt__reservation *of, uint32_t maximum_pages)
{
    const uint64_t edges = 2 * (uint64_t)edge_of(of->reserve) + of->front_bytes;
    const uint64_t unit = of->unit_bytes != 0 ? of->unit_bytes : WRT_PAGE_SIZE; /* powers of two */
    const uint64_t memory = ((uint64_t)maximum_pages * WRT_PAGE_SIZE + unit - 1) & ~(unit - 1);
    const uint64_t size = edges + memory;
    const size_t most = SIZE_MAX;

    if (size > most) return 0;
    return size != 0 ? (size_t)size : (size_t)of->reserve->system_page; /* an address of its own */
}

static wrt_status reserve(const char *operation, const wrt__reservation *of, uint32_t maximum_pages,
                          wrt_pages *pages_out)
{
    const size_t size = reservation_size(of, maximum_pages);
    void *start = NULL;

    if (size == 0) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "{0} pages and their guards are beyond this system's addresses",
                               maximum_pages, 0);
    }
    const wrt_status status = of->ops->map(operation, of->allocator, size, &start);
    if (status != WRT_OK) return status;
    *pages_out = (wrt_pages){.base = (uint8_t *)start + of->front_bytes + edge_of(of->reserve),
                             .maximum_pages = maximum_pages,
                             .owner = of->allocator,
                             .reservation = start,
                             .reserved_size = size};
    return WRT_OK;
}

static uint8_t *front_canary(const wrt_page_reserve *reserve, const wrt_pages *pages)
{
    return pages->base - reserve->canary_bytes;
}

static uint8_t *back_canary(const wrt_page_reserve *reserve, const wrt_pages *pages)
{
    return (uint8_t *)pages->reservation + pages->reserved_size - reserve->canary_bytes;
}

static wrt_status lay_canaries(const char *operation, const wrt__reservation *of,
                               const wrt_pages *pages)
{
    const size_t size = (size_t)of->reserve->canary_bytes;
    uint8_t *canaries[] = {front_canary(of->reserve, pages), back_canary(of->reserve, pages)};

    for (int i = 0; i < 2 && size != 0; i++) {
        const wrt_status status = of->ops->open_edge(operation, of->allocator, canaries[i], size);
        if (status != WRT_OK) return status;
        wrt__canary_lay(canaries[i], size);
    }
    return WRT_OK;
}

/* ---- Verification ---- */

static wrt_status verify_canaries(const char *operation, const wrt_page_reserve *reserve,
                                  const wrt_pages *pages)
{
    const size_t size = (size_t)reserve->canary_bytes;

    if (size == 0) return WRT_OK;
    const wrt_status status = wrt__canary_verify(operation, front_canary(reserve, pages), size);
    if (status != WRT_OK) return status;
    return wrt__canary_verify(operation, back_canary(reserve, pages), size);
}

/* Checks the allocator, and of the pages as much as the level asks. */
static wrt_status verify(const char *operation, const wrt__reservation *of, const wrt_pages *pages)
{
    wrt_status status = of->ops->check(operation, of->allocator);
    if (status != WRT_OK) return status;

    const wrt__check check = wrt__verifier_next(&of->reserve->verifier);
    if (check == WRT__CHECK_NOTHING) return WRT_OK;
    if (of->reserve->allocation_count == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "nothing is out of this allocator");
    }
    status = wrt__pages_verify(operation, pages, of->allocator);
    if (status != WRT_OK || check != WRT__CHECK_ALL) return status;
    return verify_canaries(operation, of->reserve, pages);
}

/* ---- The calls of wrt_page_allocator ---- */

static void count_pages(wrt_page_reserve *reserve, uint32_t additional_pages)
{
    reserve->page_count += additional_pages;
    if (reserve->peak_pages < reserve->page_count) reserve->peak_pages = reserve->page_count;
}

/* Gives the handle more pages. */
static wrt_status add_pages(const char *operation, const wrt__reservation *of, wrt_pages *pages,
                            uint32_t additional_pages)
{
    const size_t size = (size_t)additional_pages * WRT_PAGE_SIZE;

    if (size != 0) {
        const wrt_status status = of->ops->give_access(operation, of->allocator, pages, size);
        if (status != WRT_OK) return status;
    }
    pages->page_count += additional_pages;
    wrt__pages_seal(pages);
    return WRT_OK;
}

wrt_status wrt__reservation_allocate(const char *operation, const wrt__reservation *of,
                                     uint32_t initial_pages, uint32_t maximum_pages,
                                     wrt_pages *pages_out)
{
    wrt_page_reserve *all = of->reserve;
    wrt_pages pages;

    wrt_status status = of->ops->check(operation, of->allocator);
    if (status != WRT_OK) return status;
    if (maximum_pages > all->maximum_pages) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "maximum_pages is {0}, the allocator's config grants {1}",
                               maximum_pages, all->maximum_pages);
    }
    status = reserve(operation, of, maximum_pages, &pages);
    if (status != WRT_OK) return status;
    status = lay_canaries(operation, of, &pages);
    if (status == WRT_OK) status = add_pages(operation, of, &pages, initial_pages);
    if (status != WRT_OK) {
        const wrt_error error = *wrt_error_last(); /* the first one is what counts */
        if (of->ops->unmap(operation, of->allocator, &pages) == WRT_OK) return status;
        return wrt_fail_again(&error);
    }
    all->allocation_count++;
    all->reserved_bytes += pages.reserved_size;
    count_pages(all, initial_pages);
    *pages_out = pages;
    return WRT_OK;
}

wrt_status wrt__reservation_grow(const char *operation, const wrt__reservation *of,
                                 wrt_pages *pages, uint32_t additional_pages)
{
    wrt_status status = verify(operation, of, pages);
    if (status == WRT_OK) status = wrt__pages_check_growth(operation, pages, additional_pages);
    if (status != WRT_OK || additional_pages == 0) return status;
    status = add_pages(operation, of, pages, additional_pages);
    if (status == WRT_OK) count_pages(of->reserve, additional_pages);
    return status;
}

wrt_status wrt__reservation_protect(const char *operation, const wrt__reservation *of,
                                    wrt_pages *pages, size_t offset, size_t size,
                                    uint32_t protection)
{
    wrt_status status = verify(operation, of, pages);
    if (status == WRT_OK) status = wrt__pages_check_range(operation, pages, offset, size);
    if (status != WRT_OK) return status;
    if ((offset | size) % of->reserve->system_page != 0) {
        return wrt_fail_detail(
            WRT_ERR_INVALID_ARGUMENT, operation,
            "offset {0} or size is not a multiple of the system's page, {1} bytes", offset,
            of->reserve->system_page);
    }
    if (size == 0) return WRT_OK;
    return of->ops->protect(operation, of->allocator, pages, offset, size, protection);
}

wrt_status wrt__reservation_deallocate(const char *operation, const wrt__reservation *of,
                                       wrt_pages *pages)
{
    wrt_status status = verify(operation, of, pages);
    if (status == WRT_OK) status = of->ops->unmap(operation, of->allocator, pages);
    if (status != WRT_OK) return status;
    of->reserve->allocation_count--;
    of->reserve->page_count -= pages->page_count;
    of->reserve->reserved_bytes -= pages->reserved_size;
    *pages = (wrt_pages){0};
    return WRT_OK;
}

/* ---- Report ---- */

wrt_enforcement wrt__reserve_guards(const wrt_page_reserve *reserve)
{
    if (reserve->guard_bytes == 0) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED,
                                 .reason = "guard_pages is off"};
    }
    return (wrt_enforcement){
        .state = WRT_ENFORCEMENT_ENFORCED,
        .reason = "pages without access before the memory and behind the reservation"};
}

wrt_enforcement wrt__reserve_canaries(const wrt_page_reserve *reserve)
{
    if (reserve->guard_bytes != 0 && wrt__verifier_wants_canaries(&reserve->verifier)) {
        return (wrt_enforcement){
            .state = WRT_ENFORCEMENT_ENFORCED,
            .reason = "the guard pages stand for canaries: a stray access faults at once"};
    }
    return wrt__verifier_canaries(&reserve->verifier);
}
