/* One page allocator for several workers: they take turns, for it wants one caller at a time. */
#include "threading.h"

static wrt_status enter_pages(wrt__shared_pages *pages)
{
    return pages->system.ops->lock(pages->system.self, &pages->lock);
}

static wrt_status leave_pages(wrt__shared_pages *pages, wrt_status status)
{
    const wrt_status left = pages->system.ops->unlock(pages->system.self, &pages->lock);

    return status == WRT_OK ? left : status;
}

static wrt_status shared_allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                                  wrt_pages *pages_out)
{
    wrt__shared_pages *shared = context;
    const wrt_status status = enter_pages(shared);

    if (status != WRT_OK) return status;
    return leave_pages(shared, wrt_page_allocator_allocate(&shared->inner, initial_pages,
                                                           maximum_pages, pages_out));
}

static wrt_status shared_grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    wrt__shared_pages *shared = context;
    const wrt_status status = enter_pages(shared);

    if (status != WRT_OK) return status;
    return leave_pages(shared, wrt_page_allocator_grow(&shared->inner, pages, additional_pages));
}

static wrt_status shared_protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                                 uint32_t protection)
{
    wrt__shared_pages *shared = context;
    const wrt_status status = enter_pages(shared);

    if (status != WRT_OK) return status;
    return leave_pages(shared,
                       wrt_page_allocator_protect(&shared->inner, pages, offset, size, protection));
}

static wrt_status shared_deallocate(void *context, wrt_pages *pages)
{
    wrt__shared_pages *shared = context;
    const wrt_status status = enter_pages(shared);

    if (status != WRT_OK) return status;
    return leave_pages(shared, wrt_page_allocator_deallocate(&shared->inner, pages));
}

const wrt_page_allocator_ops wrt__shared_pages_ops = {shared_allocate, shared_grow, shared_protect,
                                                      shared_deallocate};
