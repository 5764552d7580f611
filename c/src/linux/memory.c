/* Linear memory from Linux. One mapping an allocation, without access at first:
 *
 *     | guard or canary | accessible pages | reserved, no access | guard or canary |
 *     ^ reservation     ^ base
 *
 * A canary is one page of the system that can be written; a guard never can. A call
 * that fails takes back what it did. */
#include "memory.h"

#include "../core/fail.h"
#include "../core/verification.h"

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
    for (size_t offset = 0; offset < size; offset += (size_t)allocator->system_page) {
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

static wrt_status give_access(const char *operation, const wrt_linux_allocator *allocator,
                              uint8_t *start, size_t size)
{
    if (size == 0) return WRT_OK;
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

/* ---- Reservation ---- */

/* Guard or canary: what stands at either end. */
static size_t edge_of(const wrt_linux_allocator *allocator)
{
    return (size_t)(allocator->guard_bytes + allocator->canary_bytes);
}

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

/* Bytes to reserve for `maximum_pages`; 0 if they are beyond the system's addresses. */
static size_t reservation_size(const wrt_linux_allocator *allocator, uint32_t maximum_pages)
{
    const uint64_t edges = 2 * (uint64_t)edge_of(allocator);
    const uint64_t size = edges + (uint64_t)maximum_pages * WRT_PAGE_SIZE;
    const size_t most = SIZE_MAX;

    if (size > most) return 0;
    return size != 0 ? (size_t)size : (size_t)allocator->system_page; /* an address of its own */
}

static wrt_status reserve(const char *operation, const wrt_linux_allocator *allocator,
                          uint32_t maximum_pages, wrt_pages *pages_out)
{
    const size_t size = reservation_size(allocator, maximum_pages);
    errno = ENOMEM;
    void *start = size != 0 ? map_reservation(allocator, size) : MAP_FAILED;

    if (start == MAP_FAILED) {
        return fail_for_memory(operation,
                               "reserving {0} bytes of addresses failed: RLIMIT_AS (ulimit -v), "
                               "vm.max_map_count or the address space is too small; ask for fewer "
                               "maximum_pages",
                               size);
    }
    *pages_out = (wrt_pages){.base = (uint8_t *)start + edge_of(allocator),
                             .maximum_pages = maximum_pages,
                             .owner = (void *)(uintptr_t)allocator,
                             .reservation = start,
                             .reserved_size = size};
    return WRT_OK;
}

static uint8_t *back_canary(const wrt_linux_allocator *allocator, const wrt_pages *pages)
{
    return (uint8_t *)pages->reservation + pages->reserved_size - allocator->canary_bytes;
}

static wrt_status lay_canaries(const char *operation, const wrt_linux_allocator *allocator,
                               const wrt_pages *pages)
{
    const size_t size = (size_t)allocator->canary_bytes;
    uint8_t *canaries[] = {pages->reservation, back_canary(allocator, pages)};

    for (int i = 0; i < 2 && size != 0; i++) {
        if (wrt__sys_mprotect(canaries[i], size, PROT_READ | PROT_WRITE) != 0) {
            return fail_for_memory(operation, "mprotect of a canary page, {0} bytes, failed", size);
        }
        wrt__canary_lay(canaries[i], size);
    }
    return WRT_OK;
}

/* ---- Verification ---- */

static wrt_status verify_canaries(const char *operation, const wrt_linux_allocator *allocator,
                                  const wrt_pages *pages)
{
    const size_t size = (size_t)allocator->canary_bytes;
    const wrt_status status = wrt__canary_verify(operation, pages->reservation, size);

    if (status != WRT_OK) return status;
    return wrt__canary_verify(operation, back_canary(allocator, pages), size);
}

/* Checks the allocator, and of the pages as much as the level asks. */
static wrt_status verify(const char *operation, wrt_linux_allocator *allocator,
                         const wrt_pages *pages)
{
    wrt_status status = wrt__linux_allocator_check(operation, allocator);
    if (status != WRT_OK) return status;

    const wrt__check check = wrt__verifier_next(&allocator->verifier);
    if (check == WRT__CHECK_NOTHING) return WRT_OK;
    if (allocator->allocation_count == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "nothing is out of this allocator");
    }
    status = wrt__pages_verify(operation, pages, allocator);
    if (status != WRT_OK || check != WRT__CHECK_ALL) return status;
    return verify_canaries(operation, allocator, pages);
}

/* ---- The calls of wrt_page_allocator ---- */

static void count_pages(wrt_linux_allocator *allocator, uint32_t additional_pages)
{
    allocator->page_count += additional_pages;
    if (allocator->peak_pages < allocator->page_count) {
        allocator->peak_pages = allocator->page_count;
    }
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    static const char operation[] = "wrt_page_allocator_allocate";
    wrt_linux_allocator *allocator = context;
    wrt_pages pages;

    wrt_status status = wrt__linux_allocator_check(operation, allocator);
    if (status != WRT_OK) return status;
    if (maximum_pages > allocator->maximum_pages) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "maximum_pages is {0}, the allocator's config grants {1}",
                               maximum_pages, allocator->maximum_pages);
    }
    status = reserve(operation, allocator, maximum_pages, &pages);
    if (status != WRT_OK) return status;
    status = lay_canaries(operation, allocator, &pages);
    if (status == WRT_OK) {
        status =
            give_access(operation, allocator, pages.base, (size_t)initial_pages * WRT_PAGE_SIZE);
    }
    if (status != WRT_OK) {
        (void)munmap(pages.reservation, pages.reserved_size);
        return status;
    }
    pages.page_count = initial_pages;
    wrt__pages_seal(&pages);
    allocator->self = allocator;
    allocator->allocation_count++;
    allocator->reserved_bytes += pages.reserved_size;
    count_pages(allocator, initial_pages);
    *pages_out = pages;
    return WRT_OK;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    static const char operation[] = "wrt_page_allocator_grow";
    wrt_linux_allocator *allocator = context;

    wrt_status status = verify(operation, allocator, pages);
    if (status == WRT_OK) status = wrt__pages_check_growth(operation, pages, additional_pages);
    if (status != WRT_OK || additional_pages == 0) return status;
    status =
        give_access(operation, allocator, pages->base + (size_t)pages->page_count * WRT_PAGE_SIZE,
                    (size_t)additional_pages * WRT_PAGE_SIZE);
    if (status != WRT_OK) return status;
    pages->page_count += additional_pages;
    wrt__pages_seal(pages);
    count_pages(allocator, additional_pages);
    return WRT_OK;
}

static int system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    static const char operation[] = "wrt_page_allocator_protect";
    const wrt_linux_allocator *allocator = context;

    wrt_status status = verify(operation, context, pages);
    if (status == WRT_OK) status = wrt__pages_check_range(operation, pages, offset, size);
    if (status != WRT_OK) return status;
    if ((offset | size) % allocator->system_page != 0) {
        return wrt_fail_detail(
            WRT_ERR_INVALID_ARGUMENT, operation,
            "offset {0} or size is not a multiple of the system's page, {1} bytes", offset,
            allocator->system_page);
    }
    if (size == 0) return WRT_OK;
    if (wrt__sys_mprotect(pages->base + offset, size, system_protection(protection)) != 0) {
        return fail_for_memory(operation,
                               "mprotect of {0} bytes failed: the system has no more mappings "
                               "(vm.max_map_count)",
                               size);
    }
    return WRT_OK;
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    static const char operation[] = "wrt_page_allocator_deallocate";
    wrt_linux_allocator *allocator = context;

    const wrt_status status = verify(operation, allocator, pages);
    if (status != WRT_OK) return status;
    if (wrt__sys_munmap(pages->reservation, pages->reserved_size) != 0) {
        return fail_for_memory(operation, "munmap of {0} bytes failed", pages->reserved_size);
    }
    allocator->allocation_count--;
    allocator->page_count -= pages->page_count;
    allocator->reserved_bytes -= pages->reserved_size;
    *pages = (wrt_pages){0};
    return WRT_OK;
}

wrt_page_allocator wrt_linux_allocator_interface(wrt_linux_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}
