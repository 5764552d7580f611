/* Linear memory from Linux: what core/reservation.c asks of a system, the part that gives access.
 * Huge pages from the pool are opened one at a time, and filled at once: behind a limit of their
 * own, of a node or of a control group, a touch that finds none would be SIGBUS. */
#include "memory.h"

#include "../core/fail.h"

/* ---- Access ---- */

wrt_status wrt__fail_for_memory(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;
    /* EFAULT is what populating says where a touch would be SIGBUS. */
    const bool is_short = code == ENOMEM || code == EAGAIN || code == EFAULT;
    const wrt_status status = is_short ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM;

    return wrt_fail_system(status, operation, reason, code, bytes, 0);
}

/* The kernel says ENOMEM, EAGAIN or EPERM for what is one cause, as a rule: the limit. */
static wrt_status fail_for_lock(const char *operation, size_t size)
{
    const int code = errno;
    const wrt_status status = code == EPERM ? WRT_ERR_PERMISSION : WRT_ERR_NO_MEMORY;
    struct rlimit limit = {0};

    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    return wrt_fail_system(status, operation,
                           "mlock of {0} bytes failed: RLIMIT_MEMLOCK is {1} bytes for all that "
                           "this process locks; raise it (ulimit -l, LimitMEMLOCK=), give "
                           "CAP_IPC_LOCK, or build without mlock",
                           code, size, limit.rlim_cur);
}

/* Before Linux 5.14 the kernel can't report a shortage: then each page is touched. */
static int populate(const wrt_linux_allocator *allocator, uint8_t *start, size_t size)
{
    if (allocator->populate_by_advice) return wrt__sys_madvise(start, size, MADV_POPULATE_WRITE);
    for (size_t offset = 0; offset < size; offset += (size_t)allocator->reserve.system_page) {
        *(volatile uint8_t *)(start + offset) = 0;
    }
    return 0;
}

/* What the config asks for memory that has just become accessible. */
static wrt_status hold_in_memory(const char *operation, const wrt_linux_allocator *allocator,
                                 uint8_t *start, size_t size, bool is_from_pool)
{
    if ((allocator->populate || is_from_pool) && populate(allocator, start, size) != 0) {
        return wrt__fail_for_memory(operation,
                                    "populating {0} bytes failed: there is not that much", size);
    }
    if (allocator->mlock && wrt__sys_mlock(start, size) != 0) {
        return fail_for_lock(operation, size);
    }
    return WRT_OK;
}

/* Gives memory and access back, so that the range is as it was before. */
static void take_access(const wrt_linux_allocator *allocator, uint8_t *start, size_t size)
{
    const bool is_shared = wrt__linux_is_shared(allocator);

    (void)munlock(start, size); /* what is locked can't be given back */
    (void)madvise(start, size, is_shared ? MADV_REMOVE : MADV_DONTNEED);
    (void)mprotect(start, size, PROT_NONE);
}

static wrt_status open_range(const char *operation, const wrt_linux_allocator *allocator,
                             uint8_t *start, size_t size, bool is_from_pool)
{
    if (wrt__sys_mprotect(start, size, PROT_READ | PROT_WRITE) != 0) {
        return wrt__fail_for_memory(operation,
                                    "mprotect of {0} bytes failed: the system commits no more "
                                    "memory, or has no more mappings (vm.max_map_count)",
                                    size);
    }
    const wrt_status status = hold_in_memory(operation, allocator, start, size, is_from_pool);
    if (status != WRT_OK) take_access(allocator, start, size);
    return status;
}

/* Opens as many huge pages as are needed. What lies between the pages and the border of a huge page
 * could be written before it is given out, so it is cleared then. */
static wrt_status open_huge(const char *operation, const wrt_linux_allocator *allocator,
                            const wrt_pages *pages, size_t size, wrt__page_note *note)
{
    const size_t begin = (size_t)pages->page_count * WRT_PAGE_SIZE;
    const size_t end = (begin + size + note->unit - 1) & ~(size_t)(note->unit - 1);
    const size_t opened = note->opened;

    if (end > opened) {
        const wrt_status status =
            open_range(operation, allocator, pages->base + opened, end - opened, true);
        if (status != WRT_OK) return status;
        note->opened = end;
    }
    const size_t known_end = begin + size < opened ? begin + size : opened;
    if (known_end > begin) memset(pages->base + begin, 0, known_end - begin);
    return WRT_OK;
}

static wrt_status give_access(const char *operation, void *context, const wrt_pages *pages,
                              size_t size)
{
    const wrt_linux_allocator *allocator = context;
    wrt__page_note *note = wrt__linux_note(allocator, pages);

    if (note != NULL && note->unit != 0) return open_huge(operation, allocator, pages, size, note);
    uint8_t *start = pages->base + (size_t)pages->page_count * WRT_PAGE_SIZE;
    return open_range(operation, allocator, start, size, false);
}

static wrt_status open_edge(const char *operation, void *context, uint8_t *start, size_t size)
{
    (void)context;
    if (wrt__sys_mprotect(start, size, PROT_READ | PROT_WRITE) == 0) return WRT_OK;
    return wrt__fail_for_memory(operation, "mprotect of a canary page, {0} bytes, failed", size);
}

static int system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

/* Of huge pages only whole ones can be protected; the last one ends with the accessible pages. */
static wrt_status fit_to_unit(const char *operation, const wrt_pages *pages, size_t offset,
                              size_t *size, const wrt__page_note *note)
{
    const size_t accessible = (size_t)pages->page_count * WRT_PAGE_SIZE;

    if (note == NULL || note->unit == 0) return WRT_OK;
    if (offset + *size == accessible) *size = note->opened - offset;
    if ((offset | *size) % note->unit == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "offset {0} or size is not a multiple of the huge pages that this "
                           "memory is made of, {1} bytes",
                           offset, note->unit);
}

static wrt_status set_protection(const char *operation, void *context, const wrt_pages *pages,
                                 size_t offset, size_t size, uint32_t protection)
{
    const wrt_status status =
        fit_to_unit(operation, pages, offset, &size, wrt__linux_note(context, pages));

    if (status != WRT_OK) return status;
    if (wrt__sys_mprotect(pages->base + offset, size, system_protection(protection)) == 0) {
        return WRT_OK;
    }
    return wrt__fail_for_memory(operation,
                                "mprotect of {0} bytes failed: the system has no more mappings "
                                "(vm.max_map_count)",
                                size);
}

/* ---- The calls of a reservation ---- */

static wrt_status unmap(const char *operation, void *context, const wrt_pages *pages)
{
    (void)context;
    if (wrt__sys_munmap(pages->reservation, pages->reserved_size) == 0) return WRT_OK;
    return wrt__fail_for_memory(operation, "munmap of {0} bytes failed", pages->reserved_size);
}

/* ---- The calls of wrt_page_allocator ---- */

static wrt_status check(const char *operation, const void *context)
{
    return wrt__linux_allocator_check(operation, context);
}

static wrt__reservation reservation_of(void *context)
{
    static const wrt__reservation_ops ops = {check,     wrt__linux_map, unmap,
                                             open_edge, give_access,    set_protection};
    wrt_linux_allocator *allocator = context;

    if (allocator == NULL) return (wrt__reservation){.ops = &ops};
    return (wrt__reservation){&ops, allocator, &allocator->reserve,
                              wrt__linux_note_bytes(allocator), 0};
}

/* Tries large pages first; where they are short, the next smaller ones. */
static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    wrt_linux_allocator *allocator = context;
    wrt__reservation of = reservation_of(context);
    const uint32_t latest = allocator != NULL ? allocator->page_kind : 0;
    uint32_t kind = allocator != NULL ? wrt__linux_first_kind(allocator, maximum_pages) : 0;
    wrt_status status;

    for (;; kind = wrt__linux_next_kind(allocator, maximum_pages, kind)) {
        if (allocator != NULL) allocator->page_kind = kind; /* as map has to know */
        of.unit_bytes = wrt__linux_unit_of(kind);
        status = wrt__reservation_allocate("wrt_page_allocator_allocate", &of, initial_pages,
                                           maximum_pages, pages_out);
        if (status != WRT_ERR_NO_MEMORY || kind <= WRT_LINUX_PAGE_KIND_SYSTEM) break;
    }
    if (status == WRT_OK) allocator->self = allocator;
    if (status != WRT_OK && allocator != NULL) allocator->page_kind = latest;
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

wrt_page_allocator wrt_linux_allocator_interface(wrt_linux_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}
