/** Which pages of a memory have been written since a mark: what a snapshot that follows another has
 * to save.
 *
 *     wrt_linux_write_tracker_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.pages = &pages;
 *     wrt_linux_write_tracker tracker;
 *     wrt_status status = wrt_linux_write_tracker_init(&tracker, &config); // the first mark
 *     run();
 *     uint32_t count;
 *     status = wrt_linux_write_tracker_take(&tracker, bitmap, word_count, &count); // the next one
 *
 * A page is one of the system's (4 KiB on most). The report says by which of these it is known:
 *
 * KERNEL (Linux 6.7): the kernel write-protects the pages and takes the protection off at the first
 * write by itself; take() reads and protects in one step, so no write is lost, whoever writes
 * meanwhile.
 * SOFT_DIRTY (kernels with CONFIG_MEM_SOFT_DIRTY): a bit of the page tables, which is cleared for
 * the whole process at once. So there is one such tracker a process, and nobody may write during
 * mark() and take().
 * COMPARE (always): with a copy of the memory, as large as it. A page that was written with what it
 * had before is not listed, and nobody may write during mark() and take().
 *
 * Heap: none; for COMPARE the kernel lends the copy.  Threads: one caller at a time per tracker.
 * ISR: no.  Fork: the child is refused every call (STATE).
 * Source: ioctl_userfaultfd(2), PAGEMAP_SCAN(2const), Documentation/admin-guide/mm/soft-dirty.rst.
 */
#ifndef WRT_PLATFORM_LINUX_WRITE_TRACKER_H
#define WRT_PLATFORM_LINUX_WRITE_TRACKER_H

#include "wrt_platform/linux/lazy_memory.h"

WRT_BEGIN_DECLS

/** By what it is known which pages were written. */
enum wrt_linux_tracking {
    WRT_LINUX_TRACKING_DEFAULT = 0, /* the first of those below that this system has */
    WRT_LINUX_TRACKING_KERNEL = 1,
    WRT_LINUX_TRACKING_SOFT_DIRTY = 2,
    WRT_LINUX_TRACKING_COMPARE = 3
};

/** What is tracked. */
typedef struct wrt_linux_write_tracker_config {
    uint32_t struct_size;   /* sizeof(wrt_linux_write_tracker_config); 0 is refused */
    uint32_t method;        /* one of wrt_linux_tracking; others than DEFAULT are not replaced */
    const wrt_pages *pages; /* of any Linux allocator, private memory; borrowed: they neither move
                               nor go back before deinit. They may grow: what is new counts */
    wrt_linux_lazy_memory *lazy_memory; /* that they come from, if it is one; borrowed; else NULL */
} wrt_linux_write_tracker_config;

/** What is known. */
typedef struct wrt_linux_write_tracker_report {
    uint32_t method;          /* one of wrt_linux_tracking, never DEFAULT */
    uint32_t page_bytes;      /* of the system's page, one bit of a bitmap */
    uint64_t page_count;      /* bits that a bitmap needs now */
    wrt_enforcement tracking; /* PARTIAL: COMPARE, or SOFT_DIRTY */
} wrt_linux_write_tracker_report;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
typedef struct wrt_linux_write_tracker {
    struct wrt_linux_write_tracker *self;
    const wrt_pages *pages;
    const uint8_t *base; /* of the pages, as they were at init */
    wrt_linux_lazy_memory *lazy_memory;
    uint8_t *copy;
    uint64_t copy_bytes;
    uint64_t marked_bytes; /* of the memory, at the last mark() */
    uint64_t page_bytes;
    uint32_t method;
    uint32_t fork_generation;
    int32_t userfault; /* of its own, or that of the lazy memory */
    int32_t pagemap;
    uint32_t borrows_userfault;
    uint32_t maximum_pages;
    uint64_t spare[3];
} wrt_linux_write_tracker;

/** Begins to track, with a first mark: nothing is written yet. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes; this
 * system has not the method; or lazy memory that is not loaded as a whole on a system without
 * KERNEL, where the loading itself would count), PERMISSION (userfaultfd is refused), BUSY (another
 * tracks the same pages, or by SOFT_DIRTY), STATE (the pages are damaged), NO_MEMORY, SYSTEM.
 * Cost: some system calls, linear in the memory; COMPARE copies it.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_init(
    wrt_linux_write_tracker *tracker, const wrt_linux_write_tracker_config *config);

/** Forgets what was written so far.
 * Errors: STATE (not initialised, moved, after fork, or the pages are damaged), NO_MEMORY, SYSTEM.
 * Cost: as init. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_mark(wrt_linux_write_tracker *tracker);

/** Tells which pages were written since the last mark, and goes on counting from that mark.
 * bitmap_out: bit i % 32 of word i / 32 is page i; bits behind the memory are 0.
 * word_count: at least a 32nd of page_count of the report, rounded up.
 * *count_out: how many bits are set.
 * Errors: as mark(); INVALID_ARGUMENT (word_count is too small).
 * Cost: KERNEL: one system call for each 256 ranges of written pages; else linear in the memory.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_read(wrt_linux_write_tracker *tracker,
                                                              uint32_t *bitmap_out,
                                                              size_t word_count,
                                                              uint32_t *count_out);

/** The same, and marks. Errors: as read(); then pages may be marked that it has not told: save all.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_take(wrt_linux_write_tracker *tracker,
                                                              uint32_t *bitmap_out,
                                                              size_t word_count,
                                                              uint32_t *count_out);

/** Reports. Cost: constant, no system call. Errors: INVALID_ARGUMENT (NULL), STATE (as mark()). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_query(
    const wrt_linux_write_tracker *tracker, wrt_linux_write_tracker_report *report_out);

/** Ends it. A zeroed one is accepted, so twice is harmless. Errors: STATE (moved, or after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_write_tracker_deinit(wrt_linux_write_tracker *tracker);

WRT_END_DECLS
#endif
