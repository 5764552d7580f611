/* How a slot loses what its tenant has left. The kernel knows which pages were written: it has
 * given memory to those alone. /proc/self/pagemap tells, in one read for many pages, also of those
 * in swap, where mincore() is silent. What it can't tell is compared. Small amounts are cleaned in
 * place, since the next tenant's first touch of each page would cost more; large ones are dropped.
 */
#include "slot_pool.h"

#include "../core/fail.h"

enum { ENTRIES = 512 };

#define PAGE_IS_PRESENT (UINT64_C(1) << 63)
#define PAGE_IS_SWAPPED (UINT64_C(1) << 62)
#define PAGE_IS_OF_FILE (UINT64_C(1) << 61)

/* Whether a page can have been written: it has memory of its own. */
static bool may_be_written(uint64_t entry)
{
    if ((entry & PAGE_IS_SWAPPED) != 0) return true;
    return (entry & PAGE_IS_PRESENT) != 0 && (entry & PAGE_IS_OF_FILE) == 0;
}

static bool is_zero(const uint8_t *page, size_t size)
{
    return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* Puts one page back to what it was at first. */
static void clean_page(wrt_linux_slot_pool *pool, uint8_t *base, size_t offset, size_t size)
{
    uint8_t *page = base + offset;

    if (offset < pool->image_bytes) {
        const uint8_t *original = pool->image + offset;
        if (memcmp(page, original, size) == 0) return;
        memcpy(page, original, size);
    } else {
        if (is_zero(page, size)) return;
        memset(page, 0, size);
    }
    pool->cleaned_bytes += size;
}

/* Which of `count` pages may be written; without the kernel's word, all. */
static void read_entries(const wrt_linux_slot_pool *pool, const uint8_t *start, size_t count,
                         uint64_t *entries)
{
    const size_t size = count * sizeof *entries;
    const uint64_t first = (uintptr_t)start / pool->reserve.system_page;
    const off_t offset = (off_t)(first * sizeof *entries);

    if (pool->pagemap_descriptor >= 0 &&
        wrt__sys_pread(pool->pagemap_descriptor, entries, size, offset) == (ssize_t)size) {
        return;
    }
    for (size_t i = 0; i < count; i++) entries[i] = PAGE_IS_PRESENT;
}

static void clean_in_place(wrt_linux_slot_pool *pool, uint8_t *base, size_t begin, size_t end)
{
    const size_t page = (size_t)pool->reserve.system_page;
    uint64_t entries[ENTRIES];

    while (begin < end) {
        const size_t left = (end - begin) / page;
        const size_t count = left < ENTRIES ? left : ENTRIES;
        read_entries(pool, base + begin, count, entries);
        for (size_t i = 0; i < count; i++) {
            if (may_be_written(entries[i])) clean_page(pool, base, begin + i * page, page);
        }
        begin += count * page;
    }
}

wrt_status wrt__slot_clean(const char *operation, wrt_linux_slot_pool *pool, uint8_t *base,
                           size_t size)
{
    const size_t kept = size < pool->keep_bytes ? size : (size_t)pool->keep_bytes;
    const size_t rest = size - kept;

    if (rest != 0 && wrt__sys_madvise(base + kept, rest, MADV_DONTNEED) != 0) {
        if (errno != EINVAL) { /* EINVAL: locked in RAM, as by mlockall() */
            return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                                   "madvise(MADV_DONTNEED) of {0} bytes failed; the slot stays out",
                                   errno, rest, 0);
        }
        clean_in_place(pool, base, kept, size);
    } else {
        pool->dropped_bytes += rest;
    }
    clean_in_place(pool, base, 0, kept);
    return WRT_OK;
}
