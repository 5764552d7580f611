/* Linear memory from Linux: what core/reservation.c asks of a system. One mapping an allocation,
 * private and anonymous, or of a file in memory where only that can carry a name. */
#include "memory.h"

#include "../core/fail.h"
#include "../core/reservation.h"

/* ---- Access ---- */

static wrt_status fail_for_memory(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;
    const wrt_status status = code == ENOMEM || code == EAGAIN ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM;

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
                                 uint8_t *start, size_t size)
{
    if (allocator->populate && populate(allocator, start, size) != 0) {
        return fail_for_memory(operation, "populating {0} bytes failed: there is not that much",
                               size);
    }
    if (allocator->mlock && wrt__sys_mlock(start, size) != 0) {
        return fail_for_lock(operation, size);
    }
    return WRT_OK;
}

/* Gives memory and access back, so that the range is as it was before. */
static void take_access(const wrt_linux_allocator *allocator, uint8_t *start, size_t size)
{
    const bool is_file = allocator->name_source == WRT_LINUX_NAME_MEMFD;

    (void)munlock(start, size); /* what is locked can't be given back */
    (void)madvise(start, size, is_file ? MADV_REMOVE : MADV_DONTNEED);
    (void)mprotect(start, size, PROT_NONE);
}

static wrt_status give_access(const char *operation, void *context, const wrt_pages *pages,
                              size_t size)
{
    const wrt_linux_allocator *allocator = context;
    uint8_t *start = pages->base + (size_t)pages->page_count * WRT_PAGE_SIZE;

    if (wrt__sys_mprotect(start, size, PROT_READ | PROT_WRITE) != 0) {
        return fail_for_memory(operation,
                               "mprotect of {0} bytes failed: the system commits no more memory, "
                               "or has no more mappings (vm.max_map_count)",
                               size);
    }
    const wrt_status status = hold_in_memory(operation, allocator, start, size);
    if (status != WRT_OK) take_access(allocator, start, size);
    return status;
}

static wrt_status open_edge(const char *operation, void *context, uint8_t *start, size_t size)
{
    (void)context;
    if (wrt__sys_mprotect(start, size, PROT_READ | PROT_WRITE) == 0) return WRT_OK;
    return fail_for_memory(operation, "mprotect of a canary page, {0} bytes, failed", size);
}

static int system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

static wrt_status set_protection(const char *operation, void *context, const wrt_pages *pages,
                                 size_t offset, size_t size, uint32_t protection)
{
    (void)context;
    if (wrt__sys_mprotect(pages->base + offset, size, system_protection(protection)) == 0) {
        return WRT_OK;
    }
    return fail_for_memory(operation,
                           "mprotect of {0} bytes failed: the system has no more mappings "
                           "(vm.max_map_count)",
                           size);
}

/* ---- Reservation ---- */

/* Shared, since a private mapping of a file has each written page twice. */
static void *map_named_file(const wrt_linux_allocator *allocator, size_t size)
{
    const int descriptor = wrt__sys_memfd(allocator->name, size);
    if (descriptor < 0) return MAP_FAILED;

    void *start = wrt__sys_mmap(size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, descriptor);
    const int code = errno;
    close(descriptor);
    errno = code;
    return start;
}

static void *map_reservation(const wrt_linux_allocator *allocator, size_t size)
{
    if (allocator->name_source == WRT_LINUX_NAME_MEMFD) return map_named_file(allocator, size);

    void *start = wrt__sys_mmap(size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (start != MAP_FAILED && allocator->name_source == WRT_LINUX_NAME_ANON) {
        (void)wrt__sys_name(start, size, allocator->name); /* a name is never worth a failure */
    }
    return start;
}

static wrt_status map(const char *operation, void *context, size_t size, void **start_out)
{
    void *start = map_reservation(context, size);

    if (start == MAP_FAILED) {
        return fail_for_memory(operation,
                               "reserving {0} bytes of addresses failed: RLIMIT_AS (ulimit -v), "
                               "vm.max_map_count or the address space is too small; ask for fewer "
                               "maximum_pages",
                               size);
    }
    *start_out = start;
    return WRT_OK;
}

static wrt_status unmap(const char *operation, void *context, const wrt_pages *pages)
{
    (void)context;
    if (wrt__sys_munmap(pages->reservation, pages->reserved_size) == 0) return WRT_OK;
    return fail_for_memory(operation, "munmap of {0} bytes failed", pages->reserved_size);
}

/* ---- The calls of wrt_page_allocator ---- */

static wrt_status check(const char *operation, const void *context)
{
    return wrt__linux_allocator_check(operation, context);
}

static wrt__reservation reservation_of(void *context)
{
    static const wrt__reservation_ops ops = {check,     map,         unmap,
                                             open_edge, give_access, set_protection};
    wrt_linux_allocator *allocator = context;

    return (wrt__reservation){&ops, allocator, allocator != NULL ? &allocator->reserve : NULL, 0};
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    wrt_linux_allocator *allocator = context;
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

wrt_page_allocator wrt_linux_allocator_interface(wrt_linux_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}
