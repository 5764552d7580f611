/* Where linear memory comes from: one mapping an allocation, private and anonymous, shared, or of a
 * file in memory where only that can carry a name; its memory at the border of a huge page, on the
 * nodes and in the pages that the config asks for, all before anybody has touched it.
 *
 * Huge pages from the pool lie as a mapping of their own in the middle of the reservation, since
 * guards of their size would be a waste. */
#include "memory.h"

#include "../core/fail.h"
#include "numa.h"

enum { HUGE_SHIFT_2_MIB = 21, HUGE_SHIFT_1_GIB = 30 };

/* ---- Kinds of pages ---- */

size_t wrt__linux_unit_of(uint32_t kind)
{
    if (kind == WRT_LINUX_PAGE_KIND_HUGE_1_GIB) return WRT__HUGE_1_GIB;
    return kind >= WRT_LINUX_PAGE_KIND_TRANSPARENT ? WRT__HUGE_2_MIB : 0;
}

static bool fits(const wrt_linux_allocator *allocator, uint32_t maximum_pages, uint32_t kind)
{
    const uint64_t bytes = (uint64_t)maximum_pages * WRT_PAGE_SIZE;

    if (kind > allocator->largest_page_kind && allocator->largest_page_kind != 0) return false;
    if (kind == WRT_LINUX_PAGE_KIND_HUGE_1_GIB) {
        return allocator->huge_pages && bytes != 0 && bytes % WRT__HUGE_1_GIB == 0;
    }
    if (bytes < WRT__HUGE_2_MIB) return false;
    if (kind == WRT_LINUX_PAGE_KIND_HUGE_2_MIB) return allocator->huge_pages;
    return allocator->thp_mode != WRT_LINUX_THP_NEVER && allocator->has_thp &&
           (allocator->huge_pages || allocator->thp_mode == WRT_LINUX_THP_ALWAYS);
}

uint32_t wrt__linux_next_kind(const wrt_linux_allocator *allocator, uint32_t maximum_pages,
                              uint32_t kind)
{
    do {
        kind--;
    } while (kind > WRT_LINUX_PAGE_KIND_SYSTEM && !fits(allocator, maximum_pages, kind));
    return kind;
}

uint32_t wrt__linux_first_kind(const wrt_linux_allocator *allocator, uint32_t maximum_pages)
{
    return wrt__linux_next_kind(allocator, maximum_pages, WRT_LINUX_PAGE_KIND_HUGE_1_GIB + 1);
}

/* ---- Notes ---- */

size_t wrt__linux_note_bytes(const wrt_linux_allocator *allocator)
{
    return allocator->huge_pages ? (size_t)allocator->reserve.system_page : 0;
}

wrt__page_note *wrt__linux_note(const wrt_linux_allocator *allocator, const wrt_pages *pages)
{
    return allocator->huge_pages ? pages->reservation : NULL;
}

static int write_note(const wrt_linux_allocator *allocator, uint8_t *start)
{
    const bool is_from_pool = allocator->page_kind >= WRT_LINUX_PAGE_KIND_HUGE_2_MIB;
    const size_t unit = is_from_pool ? wrt__linux_unit_of(allocator->page_kind) : 0;

    if (!allocator->huge_pages) return 0;
    if (wrt__sys_mprotect(start, wrt__linux_note_bytes(allocator), PROT_READ | PROT_WRITE) != 0) {
        return -1;
    }
    *(wrt__page_note *)(void *)start = (wrt__page_note){.kind = allocator->page_kind, .unit = unit};
    return 0;
}

/* ---- Mapping ---- */

bool wrt__linux_is_shared(const wrt_linux_allocator *allocator)
{
    return allocator->name_source == WRT_LINUX_NAME_MEMFD ||
           (allocator->custom_flags & WRT_LINUX_MMAP_SHARED) != 0;
}

/* Flags beside SHARED and ANONYMOUS. Without any the kernel makes no claim on swap. */
static int further_flags(const wrt_linux_allocator *allocator)
{
    const uint32_t custom = allocator->custom_flags;
    int flags = custom == 0 || (custom & WRT_LINUX_MMAP_NORESERVE) != 0 ? MAP_NORESERVE : 0;

    if ((custom & WRT_LINUX_MMAP_STACK) != 0) flags |= MAP_STACK;
    return flags;
}

/* Shared, since a private mapping of a file has each written page twice. */
static void *map_named_file(const wrt_linux_allocator *allocator, size_t size)
{
    const int descriptor = wrt__sys_memfd(allocator->name, size);
    if (descriptor < 0) return MAP_FAILED;

    void *start = wrt__sys_mmap(size, PROT_NONE, MAP_SHARED | further_flags(allocator), descriptor);
    const int code = errno;
    close(descriptor);
    errno = code;
    return start;
}

static void *map_anywhere(const wrt_linux_allocator *allocator, size_t size)
{
    if (allocator->name_source == WRT_LINUX_NAME_MEMFD) return map_named_file(allocator, size);
    const int sharing = wrt__linux_is_shared(allocator) ? MAP_SHARED : MAP_PRIVATE;
    return wrt__sys_mmap(size, PROT_NONE, sharing | MAP_ANONYMOUS | further_flags(allocator), -1);
}

static void unmap_keeping_errno(void *start, size_t size)
{
    const int code = errno;

    (void)munmap(start, size);
    errno = code;
}

/* With `lead` bytes in front of a border of `unit` bytes: more is mapped, and what is too much at
 * either end goes back. */
static uint8_t *map_at_border(const wrt_linux_allocator *allocator, size_t size, size_t lead,
                              size_t unit)
{
    if (size > SIZE_MAX - unit) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    uint8_t *all = map_anywhere(allocator, size + unit);
    if (all == MAP_FAILED) return MAP_FAILED;
    const size_t before = (unit - ((uintptr_t)all + lead) % unit) % unit;
    if ((before != 0 && wrt__sys_munmap(all, before) != 0) ||
        (before != unit && wrt__sys_munmap(all + before + size, unit - before) != 0)) {
        unmap_keeping_errno(all, size + unit);
        return MAP_FAILED;
    }
    return all + before;
}

/* ---- Placing ---- */

static int map_huge(const wrt_linux_allocator *allocator, uint8_t *base, size_t size)
{
    const bool is_1_gib = allocator->page_kind == WRT_LINUX_PAGE_KIND_HUGE_1_GIB;
    const int size_flag = (is_1_gib ? HUGE_SHIFT_1_GIB : HUGE_SHIFT_2_MIB) << MAP_HUGE_SHIFT;
    const int sharing = wrt__linux_is_shared(allocator) ? MAP_SHARED : MAP_PRIVATE;

    if (allocator->page_kind < WRT_LINUX_PAGE_KIND_HUGE_2_MIB) return 0;
    void *start = wrt__sys_mmap_at(base, size, PROT_NONE,
                                   sharing | MAP_ANONYMOUS | MAP_HUGETLB | size_flag, -1);
    if (start != MAP_FAILED) return 0;
    errno = ENOMEM; /* whatever the reason (EINVAL, EPERM): the next smaller pages are tried */
    return -1;
}

static int advise_thp(const wrt_linux_allocator *allocator, uint8_t *base, size_t size)
{
    if (allocator->page_kind == WRT_LINUX_PAGE_KIND_TRANSPARENT) {
        return wrt__sys_madvise(base, size, MADV_HUGEPAGE);
    }
    if (allocator->thp_mode == WRT_LINUX_THP_NEVER &&
        allocator->page_kind < WRT_LINUX_PAGE_KIND_HUGE_2_MIB) {
        (void)wrt__sys_madvise(base, size, MADV_NOHUGEPAGE); /* EINVAL: there are none at all */
    }
    return 0;
}

static int place(const wrt_linux_allocator *allocator, uint8_t *start, size_t size, size_t lead)
{
    const size_t edge = lead - wrt__linux_note_bytes(allocator);
    const size_t memory = size - lead - edge;

    if (write_note(allocator, start) != 0 || memory == 0) return memory == 0 ? 0 : -1;
    if (map_huge(allocator, start + lead, memory) != 0) return -1;
    if (wrt__numa_place(allocator, start + lead, memory) != 0) return -1;
    return advise_thp(allocator, start + lead, memory);
}

static uint8_t *map_reservation(const wrt_linux_allocator *allocator, size_t size)
{
    const size_t edge = (size_t)(allocator->reserve.guard_bytes + allocator->reserve.canary_bytes);
    const size_t lead = wrt__linux_note_bytes(allocator) + edge;
    const size_t unit = wrt__linux_unit_of(allocator->page_kind);
    uint8_t *start =
        unit != 0 ? map_at_border(allocator, size, lead, unit) : map_anywhere(allocator, size);

    if (start == MAP_FAILED) return MAP_FAILED;
    if (allocator->name_source == WRT_LINUX_NAME_ANON) {
        (void)wrt__sys_name(start, size, allocator->name); /* a name is never worth a failure */
    }
    if (place(allocator, start, size, lead) == 0) return start;
    unmap_keeping_errno(start, size);
    return MAP_FAILED;
}

wrt_status wrt__linux_map(const char *operation, void *context, size_t size, void **start_out)
{
    uint8_t *start = map_reservation(context, size);

    if (start == MAP_FAILED) {
        return wrt__fail_for_memory(operation,
                                    "reserving {0} bytes of addresses and placing them failed: "
                                    "RLIMIT_AS (ulimit -v), vm.max_map_count or the address space "
                                    "is too small; ask for fewer maximum_pages",
                                    size);
    }
    *start_out = start;
    return WRT_OK;
}
