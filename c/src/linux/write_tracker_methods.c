/* The three ways to know which pages were written; see write_tracker.c for which is taken. */
#include "write_tracker.h"

#include "../core/fail.h"
#include "files.h"

enum { RANGES = 256, ENTRIES = 512 };

#define PAGE_IS_SOFT_DIRTY (UINT64_C(1) << 55)

static uint64_t bytes_of(const wrt_linux_write_tracker *tracker)
{
    return (uint64_t)tracker->pages->page_count * WRT_PAGE_SIZE;
}

static void set_bits(const wrt_linux_write_tracker *tracker, uint32_t *bitmap, uint64_t start,
                     uint64_t end)
{
    const uint64_t base = (uintptr_t)tracker->pages->base;

    for (uint64_t page = (start - base) / tracker->page_bytes;
         page < (end - base) / tracker->page_bytes; page++) {
        bitmap[page / 32] |= UINT32_C(1) << (page % 32);
    }
}

/* ---- The kernel's protection ---- */

static wrt_status fail_for_userfault(const char *operation)
{
    const int code = errno;

    if (code == EPERM || code == EACCES) {
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "userfaultfd is refused, by a container's filter", code, 0, 0);
    }
    if (code == ENOMEM || code == EMFILE || code == ENFILE) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "userfaultfd failed", code, 0, 0);
    }
    return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                           "this kernel does not track writes by itself: Linux 6.7 does, with "
                           "CONFIG_USERFAULTFD",
                           code, 0, 0);
}

/* The kernel resolves all of it, so nobody has to serve this descriptor. */
static wrt_status open_own(const char *operation, wrt_linux_write_tracker *tracker)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                                         UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                         UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC};

    tracker->userfault = wrt__sys_userfault(UFFD_USER_MODE_ONLY);
    if (tracker->userfault < 0) return fail_for_userfault(operation);
    if (wrt__sys_userfault_control(tracker->userfault, UFFDIO_API, &api) == 0) return WRT_OK;
    const wrt_status status = fail_for_userfault(operation);
    (void)close(tracker->userfault);
    return status;
}

static const wrt__lazy_engine *lazy_engine(const wrt_linux_write_tracker *tracker)
{
    const wrt_linux_lazy_memory *lazy = tracker->lazy_memory;
    const wrt__lazy_engine *engine = lazy != NULL ? lazy->engine : NULL;

    if (engine == NULL || engine->refusal != 0) return NULL;
    return engine->base == tracker->pages->base ? engine : NULL;
}

/* From now on what is loaded counts as not written. */
static void set_tracked(const wrt_linux_write_tracker *tracker, bool is_tracked)
{
    if (lazy_engine(tracker) == NULL) return;
    wrt__lazy_engine *engine = tracker->lazy_memory->engine;
    (void)pthread_mutex_lock(&engine->guard);
    engine->tracks_writes = is_tracked;
    (void)pthread_mutex_unlock(&engine->guard);
}

static wrt_status open_tracking(const char *operation, wrt_linux_write_tracker *tracker)
{
    const wrt__lazy_engine *engine = lazy_engine(tracker);

    if (tracker->pagemap < 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "/proc/self/pagemap can't be opened");
    }
    if (engine == NULL) return open_own(operation, tracker);
    if (engine->can_track && !engine->tracks_writes) {
        tracker->userfault = engine->userfault;
        tracker->borrows_userfault = 1;
        return WRT_OK;
    }
    if (engine->tracks_writes) {
        return wrt_fail(WRT_ERR_BUSY, operation, "another tracks these pages");
    }
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "this kernel does not track writes by itself: Linux 6.7 does");
}

static wrt_status register_range(const char *operation, const wrt_linux_write_tracker *tracker,
                                 uint64_t start, uint64_t end, uint64_t mode)
{
    struct uffdio_register range = {.range = {.start = start, .len = end - start}, .mode = mode};

    if (start == end ||
        wrt__sys_userfault_control(tracker->userfault, UFFDIO_REGISTER, &range) == 0) {
        return WRT_OK;
    }
    const int code = errno;
    if (code == EBUSY) {
        return wrt_fail_system(WRT_ERR_BUSY, operation, "another tracks these pages", code, 0, 0);
    }
    if (code == EINVAL) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "the kernel does not track this kind of memory, {0} bytes", code,
                               end - start, 0);
    }
    return wrt__tracker_fail(operation, "ioctl(UFFDIO_REGISTER) of {0} bytes failed", end - start);
}

/* The image of a lazy memory goes on to be asked for. */
static wrt_status register_all(const char *operation, const wrt_linux_write_tracker *tracker)
{
    const wrt__lazy_engine *engine = lazy_engine(tracker);
    const uint64_t base = (uintptr_t)tracker->pages->base;
    const uint64_t end = base + (uint64_t)tracker->pages->maximum_pages * WRT_PAGE_SIZE;
    uint64_t image_end = base;

    if (engine != NULL) {
        const uint64_t page = tracker->page_bytes;
        image_end += (engine->image_size + page - 1) / page * page;
    }
    const wrt_status status =
        register_range(operation, tracker, base, image_end,
                       UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
    if (status != WRT_OK) return status;
    return register_range(operation, tracker, image_end, end, UFFDIO_REGISTER_MODE_WP);
}

void wrt__protected_end(wrt_linux_write_tracker *tracker)
{
    if (tracker->borrows_userfault != 0) {
        set_tracked(tracker, false);
    } else {
        (void)close(tracker->userfault);
    }
}

/* What becomes accessible later comes in small pages: of a huge one that was only read, the kernel
 * can't tell that nobody wrote it. */
wrt_status wrt__protected_begin(const char *operation, wrt_linux_write_tracker *tracker)
{
    const wrt_pages *pages = tracker->pages;
    const size_t later = (size_t)(pages->maximum_pages - pages->page_count) * WRT_PAGE_SIZE;

    wrt_status status = open_tracking(operation, tracker);
    if (status != WRT_OK) return status;
    if (later != 0) (void)wrt__sys_madvise(pages->base + bytes_of(tracker), later, MADV_NOHUGEPAGE);
    set_tracked(tracker, true);
    status = register_all(operation, tracker);
    if (status != WRT_OK) wrt__protected_end(tracker);
    return status;
}

/* Protects a range, pages that have no memory yet too: reading them gives them some. */
static wrt_status protect(const char *operation, const wrt_linux_write_tracker *tracker,
                          uint64_t begin, uint64_t end)
{
    struct uffdio_writeprotect range = {
        .range = {.start = (uintptr_t)tracker->pages->base + begin, .len = end - begin},
        .mode = UFFDIO_WRITEPROTECT_MODE_WP};

    while (begin < end) {
        if (wrt__sys_userfault_control(tracker->userfault, UFFDIO_WRITEPROTECT, &range) == 0) break;
        if (errno != EAGAIN && errno != EINTR) {
            return wrt__tracker_fail(operation, "ioctl(UFFDIO_WRITEPROTECT) of {0} bytes failed",
                                     end - begin);
        }
    }
    return WRT_OK;
}

wrt_status wrt__protected_mark(const char *operation, wrt_linux_write_tracker *tracker)
{
    return protect(operation, tracker, 0, bytes_of(tracker));
}

/* Sets the bits of the pages of a range that are written. Zero pages, which reading puts in place
 * of nothing, are not written, whatever their bits say. */
static wrt_status scan_range(const char *operation, const wrt_linux_write_tracker *tracker,
                             uint32_t *bitmap_out, wrt__page_scan scan)
{
    wrt__page_range ranges[RANGES];

    scan.size = sizeof scan;
    scan.vec = (uintptr_t)ranges;
    scan.vec_len = RANGES;
    scan.category_inverted = WRT__PAGE_IS_ZERO_PAGE;
    scan.category_mask = WRT__PAGE_IS_WRITTEN | WRT__PAGE_IS_ZERO_PAGE;
    scan.return_mask = WRT__PAGE_IS_WRITTEN;
    while (scan.start < scan.end) {
        const int count = wrt__sys_page_scan(tracker->pagemap, &scan);
        if (count < 0) {
            return wrt__tracker_fail(operation, "ioctl(PAGEMAP_SCAN) of {0} bytes failed",
                                     scan.end - scan.start);
        }
        for (int i = 0; i < count; i++) {
            set_bits(tracker, bitmap_out, ranges[i].start, ranges[i].end);
        }
        scan.start = scan.walk_end;
    }
    return WRT_OK;
}

/* What has become accessible since mark() is not protected before it is written: there, a page
 * without memory is one that nobody wrote. Where all was protected, it is one that was given back.
 */
wrt_status wrt__protected_read(const char *operation, wrt_linux_write_tracker *tracker,
                               uint32_t *bitmap_out, bool marks)
{
    const uint64_t base = (uintptr_t)tracker->pages->base;
    const uint64_t flags = marks ? WRT__SCAN_PROTECTS : 0;
    const wrt__page_scan marked = {
        .flags = flags, .start = base, .end = base + tracker->marked_bytes};
    const wrt__page_scan later = {.flags = flags,
                                  .start = base + tracker->marked_bytes,
                                  .end = base + bytes_of(tracker),
                                  .category_anyof_mask =
                                      WRT__PAGE_IS_PRESENT | WRT__PAGE_IS_SWAPPED};

    const wrt_status status = scan_range(operation, tracker, bitmap_out, marked);
    return status != WRT_OK ? status : scan_range(operation, tracker, bitmap_out, later);
}

/* ---- Soft-dirty bits ---- */

static wrt_status clear_bits(const char *operation)
{
    if (wrt__file_write(AT_FDCWD, "/proc/self/clear_refs", "4") == 0) return WRT_OK;
    const int code = errno;
    return wrt_fail_system(code == EACCES || code == EPERM ? WRT_ERR_PERMISSION : WRT_ERR_SYSTEM,
                           operation, "/proc/self/clear_refs can't be written", code, 0, 0);
}

static wrt_status read_entries(const char *operation, const wrt_linux_write_tracker *tracker,
                               const uint8_t *start, size_t count, uint64_t *entries)
{
    const size_t size = count * sizeof *entries;
    const off_t offset = (off_t)((uintptr_t)start / tracker->page_bytes * sizeof *entries);

    if (wrt__sys_pread(tracker->pagemap, entries, size, offset) == (ssize_t)size) return WRT_OK;
    return wrt__tracker_fail(operation, "/proc/self/pagemap can't be read, {0} bytes", size);
}

/* Whether a write to a page of our own shows, and clearing takes it away. */
static wrt_status try_bits(const char *operation, const wrt_linux_write_tracker *tracker,
                           uint8_t *page)
{
    uint64_t written = 0;
    uint64_t cleared = 0;

    *(volatile uint8_t *)page = 1;
    wrt_status status = read_entries(operation, tracker, page, 1, &written);
    if (status == WRT_OK && (written & PAGE_IS_SOFT_DIRTY) == 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
    }
    if (status == WRT_OK) status = clear_bits(operation);
    if (status == WRT_OK) status = read_entries(operation, tracker, page, 1, &cleared);
    if (status != WRT_OK || (cleared & PAGE_IS_SOFT_DIRTY) == 0) return status;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "soft-dirty bits of this kernel can't be cleared");
}

/* A huge page has one bit: what is tracked comes in small ones from now on. */
wrt_status wrt__bits_begin(const char *operation, wrt_linux_write_tracker *tracker)
{
    const size_t size = (size_t)tracker->page_bytes;

    if (tracker->pagemap < 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "/proc/self/pagemap can't be opened");
    }
    uint8_t *page = wrt__sys_mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (page == MAP_FAILED) {
        return wrt__tracker_fail(operation, "mmap of {0} bytes to try with failed", size);
    }
    const wrt_status status = try_bits(operation, tracker, page);
    (void)munmap(page, size);
    if (status != WRT_OK) return status;
    (void)wrt__sys_madvise(tracker->pages->base,
                           (size_t)tracker->pages->maximum_pages * WRT_PAGE_SIZE, MADV_NOHUGEPAGE);
    return WRT_OK;
}

wrt_status wrt__bits_mark(const char *operation, wrt_linux_write_tracker *tracker)
{
    (void)tracker;
    return clear_bits(operation);
}

/* Whether an entry is of a page that has memory; what has none may carry its mapping's bit. */
static bool has_memory(uint64_t entry)
{
    return (entry >> 62) != 0;
}

wrt_status wrt__bits_read(const char *operation, wrt_linux_write_tracker *tracker,
                          uint32_t *bitmap_out, bool marks)
{
    const uint64_t base = (uintptr_t)tracker->pages->base;
    const uint64_t page = tracker->page_bytes;
    uint64_t entries[ENTRIES];

    for (uint64_t begin = 0; begin < bytes_of(tracker); begin += ENTRIES * page) {
        const uint64_t left = (bytes_of(tracker) - begin) / page;
        const size_t count = left < ENTRIES ? (size_t)left : ENTRIES;
        const wrt_status status =
            read_entries(operation, tracker, tracker->pages->base + begin, count, entries);
        if (status != WRT_OK) return status;
        for (size_t i = 0; i < count; i++) {
            const uint64_t start = base + begin + i * page;
            if (has_memory(entries[i]) && (entries[i] & PAGE_IS_SOFT_DIRTY) != 0) {
                set_bits(tracker, bitmap_out, start, start + page);
            }
        }
    }
    return marks ? clear_bits(operation) : WRT_OK;
}

/* ---- A copy ---- */

wrt_status wrt__copy_begin(const char *operation, wrt_linux_write_tracker *tracker)
{
    const uint64_t bytes = (uint64_t)tracker->pages->maximum_pages * WRT_PAGE_SIZE;
    void *copy = wrt__sys_mmap((size_t)bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

    if (copy == MAP_FAILED) {
        return wrt__tracker_fail(operation, "mmap of {0} bytes for a copy failed", bytes);
    }
    tracker->copy = copy;
    tracker->copy_bytes = bytes;
    return WRT_OK;
}

/* Copies the pages that differ: what is zero in both takes no memory. */
wrt_status wrt__copy_mark(const char *operation, wrt_linux_write_tracker *tracker)
{
    (void)operation;
    for (uint64_t offset = 0; offset < bytes_of(tracker); offset += tracker->page_bytes) {
        const uint8_t *now = tracker->pages->base + offset;
        if (memcmp(tracker->copy + offset, now, (size_t)tracker->page_bytes) == 0) continue;
        memcpy(tracker->copy + offset, now, (size_t)tracker->page_bytes);
    }
    return WRT_OK;
}

wrt_status wrt__copy_read(const char *operation, wrt_linux_write_tracker *tracker,
                          uint32_t *bitmap_out, bool marks)
{
    const uint64_t base = (uintptr_t)tracker->pages->base;
    const size_t page = (size_t)tracker->page_bytes;

    (void)operation;
    for (uint64_t offset = 0; offset < bytes_of(tracker); offset += page) {
        const uint8_t *now = tracker->pages->base + offset;
        if (memcmp(tracker->copy + offset, now, page) == 0) continue;
        set_bits(tracker, bitmap_out, base + offset, base + offset + page);
        if (marks) memcpy(tracker->copy + offset, now, page);
    }
    return WRT_OK;
}

void wrt__copy_end(wrt_linux_write_tracker *tracker)
{
    (void)munmap(tracker->copy, (size_t)tracker->copy_bytes);
}
