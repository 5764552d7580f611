/* The public calls of page allocators: what can be said about the arguments without
 * knowing the backend is said here, once; the rest is the backend's. */
#include "wrt_platform/page_allocator.h"

#include "config.h"
#include "fail.h"

_Static_assert(sizeof(size_t) >= 4, "a range of pages is counted in bytes");

enum { PROTECTION_ALL = WRT_PROTECTION_READ | WRT_PROTECTION_WRITE };

static wrt_status check_allocator(const char *operation, const wrt_page_allocator *allocator,
                                  const wrt_pages *pages)
{
    if (allocator == NULL || allocator->ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL or all zero");
    }
    if (pages == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pages is NULL");
    return WRT_OK;
}

wrt_status wrt_page_allocator_allocate(const wrt_page_allocator *allocator, uint32_t initial_pages,
                                       uint32_t maximum_pages, wrt_pages *pages_out)
{
    const size_t addressable_pages = SIZE_MAX / WRT_PAGE_SIZE;

    if (pages_out != NULL) *pages_out = (wrt_pages){0};
    const wrt_status status = check_allocator(__func__, allocator, pages_out);
    if (status != WRT_OK) return status;
    if (maximum_pages > WRT_PAGE_COUNT_MAX || initial_pages > maximum_pages) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "initial_pages {0} <= maximum_pages {1} <= 65536 does not hold",
                               initial_pages, maximum_pages);
    }
    if (maximum_pages > addressable_pages) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "{0} pages are beyond this system's addresses", maximum_pages, 0);
    }
    return allocator->ops->allocate(allocator->self, initial_pages, maximum_pages, pages_out);
}

wrt_status wrt_page_allocator_grow(const wrt_page_allocator *allocator, wrt_pages *pages,
                                   uint32_t additional_pages)
{
    const wrt_status status = check_allocator(__func__, allocator, pages);
    if (status != WRT_OK) return status;
    return allocator->ops->grow(allocator->self, pages, additional_pages);
}

wrt_status wrt_page_allocator_protect(const wrt_page_allocator *allocator, wrt_pages *pages,
                                      size_t offset, size_t size, uint32_t protection)
{
    const wrt_status status = check_allocator(__func__, allocator, pages);
    if (status != WRT_OK) return status;
    if ((protection & ~(uint32_t)PROTECTION_ALL) != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "protection is {0}, not a combination of wrt_protection", protection,
                               0);
    }
    return allocator->ops->protect(allocator->self, pages, offset, size, protection);
}

wrt_status wrt_page_allocator_deallocate(const wrt_page_allocator *allocator, wrt_pages *pages)
{
    const wrt_status status = check_allocator(__func__, allocator, pages);
    if (status != WRT_OK) return status;
    if (wrt__is_zero(pages, sizeof *pages)) return WRT_OK;
    return allocator->ops->deallocate(allocator->self, pages);
}
