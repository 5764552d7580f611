/* Which pages were written, by the best that a kernel has for it; each method is tried at init on
 * a page of its own, since a kernel may know the call and not do the work. */
#include "write_tracker.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/verification.h"
#include "fork.h"

/* Soft-dirty bits are cleared for all of a process: one tracker has them. */
static uint32_t soft_dirty_is_taken;

/* ---- Checks ---- */

static uint64_t bytes_of(const wrt_linux_write_tracker *tracker)
{
    return (uint64_t)tracker->pages->page_count * WRT_PAGE_SIZE;
}

static wrt_status check_self(const char *operation, const wrt_linux_write_tracker *tracker)
{
    if (tracker == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "tracker is NULL");
    if (tracker->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "tracker is not initialised");
    }
    if (tracker->self != tracker) return wrt_fail(WRT_ERR_STATE, operation, "tracker was moved");
    if (tracker->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "tracker belongs to the process that forked this one; make a new one");
}

static wrt_status check(const char *operation, const wrt_linux_write_tracker *tracker)
{
    const wrt_status status = check_self(operation, tracker);

    if (status != WRT_OK) return status;
    if (tracker->pages->base != tracker->base ||
        tracker->pages->maximum_pages != tracker->maximum_pages) {
        return wrt_fail(WRT_ERR_STATE, operation, "the pages have gone back, or are others now");
    }
    return wrt__pages_verify(operation, tracker->pages, tracker->pages->owner);
}

static wrt_status read_config(const char *operation, const wrt_linux_write_tracker_config *given,
                              wrt_linux_write_tracker_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (config->method > WRT_LINUX_TRACKING_COMPARE) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "method {0} is none of wrt_linux_tracking", config->method, 0);
    }
    if (config->pages == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pages is NULL");
    }
    if (config->pages->maximum_pages == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "the pages have no room for anything");
    }
    return wrt__pages_verify(operation, config->pages, config->pages->owner);
}

/* ---- The methods ---- */

wrt_status wrt__tracker_fail(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;
    const bool is_short = code == ENOMEM || code == EMFILE || code == ENFILE;

    return wrt_fail_system(is_short ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation, reason, code,
                           bytes, 0);
}

typedef struct tracking {
    wrt_status (*begin)(const char *operation, wrt_linux_write_tracker *tracker);
    wrt_status (*mark)(const char *operation, wrt_linux_write_tracker *tracker);
    wrt_status (*read)(const char *operation, wrt_linux_write_tracker *tracker,
                       uint32_t *bitmap_out, bool marks);
    void (*end)(wrt_linux_write_tracker *tracker);
} tracking;

static wrt_status begin_bits(const char *operation, wrt_linux_write_tracker *tracker)
{
    if (wrt__exchange(&soft_dirty_is_taken, 1) != 0) {
        return wrt_fail(WRT_ERR_BUSY, operation,
                        "another tracker of this process has the soft-dirty bits");
    }
    const wrt_status status = wrt__bits_begin(operation, tracker);
    if (status != WRT_OK) wrt__store_release(&soft_dirty_is_taken, 0);
    return status;
}

static void end_bits(wrt_linux_write_tracker *tracker)
{
    (void)tracker;
    wrt__store_release(&soft_dirty_is_taken, 0);
}

static const tracking methods[] = {
    [WRT_LINUX_TRACKING_KERNEL] = {wrt__protected_begin, wrt__protected_mark, wrt__protected_read,
                                   wrt__protected_end},
    [WRT_LINUX_TRACKING_SOFT_DIRTY] = {begin_bits, wrt__bits_mark, wrt__bits_read, end_bits},
    [WRT_LINUX_TRACKING_COMPARE] = {wrt__copy_begin, wrt__copy_mark, wrt__copy_read,
                                    wrt__copy_end}};

static void close_pagemap(wrt_linux_write_tracker *tracker)
{
    if (tracker->pagemap >= 0) (void)close(tracker->pagemap);
}

static wrt_status mark(const char *operation, wrt_linux_write_tracker *tracker)
{
    const wrt_status status = methods[tracker->method].mark(operation, tracker);

    if (status == WRT_OK) tracker->marked_bytes = bytes_of(tracker);
    return status;
}

/* Begins by one method; on error nothing is left of it. */
static wrt_status begin(const char *operation, wrt_linux_write_tracker *tracker, uint32_t method)
{
    const bool is_lazy =
        tracker->lazy_memory != NULL && !wrt__lazy_is_complete(tracker->lazy_memory);

    if (method != WRT_LINUX_TRACKING_KERNEL && is_lazy) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "memory that is loaded lazily can be tracked from Linux 6.7 on; load() all "
                        "of it before");
    }
    tracker->method = method;
    tracker->pagemap = wrt__sys_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY);
    wrt_status status = methods[method].begin(operation, tracker);
    if (status == WRT_OK) {
        status = mark(operation, tracker);
        if (status != WRT_OK) methods[method].end(tracker);
    }
    if (status != WRT_OK) close_pagemap(tracker);
    return status;
}

/* What one kernel lacks, or keeps from this process, the next method may have. */
static bool tries_next(wrt_status status, uint32_t method)
{
    if (method == WRT_LINUX_TRACKING_COMPARE) return false;
    if (method == WRT_LINUX_TRACKING_SOFT_DIRTY && status == WRT_ERR_BUSY) return true;
    return status == WRT_ERR_UNSUPPORTED || status == WRT_ERR_PERMISSION;
}

static wrt_status begin_somehow(const char *operation, wrt_linux_write_tracker *tracker)
{
    uint32_t method = WRT_LINUX_TRACKING_KERNEL;
    wrt_status status = begin(operation, tracker, method);

    while (tries_next(status, method)) status = begin(operation, tracker, ++method);
    return status;
}

/* ---- Calls ---- */

wrt_status wrt_linux_write_tracker_init(wrt_linux_write_tracker *tracker,
                                        const wrt_linux_write_tracker_config *config)
{
    wrt_linux_write_tracker_config known;

    if (tracker == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "tracker is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status == WRT_OK && known.lazy_memory != NULL) {
        status = wrt__lazy_check(__func__, known.lazy_memory);
    }
    if (status != WRT_OK) return status;
    wrt_linux_write_tracker made = {.self = tracker,
                                    .pages = known.pages,
                                    .base = known.pages->base,
                                    .maximum_pages = known.pages->maximum_pages,
                                    .lazy_memory = known.lazy_memory,
                                    .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
                                    .fork_generation = wrt__fork_generation(),
                                    .userfault = WRT__NO_DESCRIPTOR,
                                    .pagemap = WRT__NO_DESCRIPTOR};
    status = known.method == WRT_LINUX_TRACKING_DEFAULT ? begin_somehow(__func__, &made)
                                                        : begin(__func__, &made, known.method);
    if (status == WRT_OK) *tracker = made;
    return status;
}

wrt_status wrt_linux_write_tracker_mark(wrt_linux_write_tracker *tracker)
{
    const wrt_status status = check(__func__, tracker);

    return status != WRT_OK ? status : mark(__func__, tracker);
}

static wrt_status tell(const char *operation, wrt_linux_write_tracker *tracker,
                       uint32_t *bitmap_out, size_t word_count, uint32_t *count_out, bool marks)
{
    if (bitmap_out == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "bitmap_out or count_out is NULL");
    }
    wrt_status status = check(operation, tracker);
    if (status != WRT_OK) return status;
    const uint64_t needed = (bytes_of(tracker) / tracker->page_bytes + 31) / 32;
    if (word_count < needed) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the bitmap has {0} words, the memory needs {1}", word_count,
                               needed);
    }
    memset(bitmap_out, 0, word_count * sizeof *bitmap_out);
    status = methods[tracker->method].read(operation, tracker, bitmap_out, marks);
    if (status != WRT_OK) return status;
    uint32_t count = 0;
    for (uint64_t word = 0; word < needed; word++) {
        count += (uint32_t)__builtin_popcount(bitmap_out[word]);
    }
    *count_out = count;
    return WRT_OK;
}

wrt_status wrt_linux_write_tracker_read(wrt_linux_write_tracker *tracker, uint32_t *bitmap_out,
                                        size_t word_count, uint32_t *count_out)
{
    return tell(__func__, tracker, bitmap_out, word_count, count_out, false);
}

wrt_status wrt_linux_write_tracker_take(wrt_linux_write_tracker *tracker, uint32_t *bitmap_out,
                                        size_t word_count, uint32_t *count_out)
{
    return tell(__func__, tracker, bitmap_out, word_count, count_out, true);
}

wrt_status wrt_linux_write_tracker_query(const wrt_linux_write_tracker *tracker,
                                         wrt_linux_write_tracker_report *report_out)
{
    static const wrt_enforcement tracked[] = {
        [WRT_LINUX_TRACKING_KERNEL] = {.state = WRT_ENFORCEMENT_ENFORCED,
                                       .reason = "the kernel notes each first write "
                                                 "(PAGEMAP_SCAN)"},
        [WRT_LINUX_TRACKING_SOFT_DIRTY] = {.state = WRT_ENFORCEMENT_PARTIAL,
                                           .reason = "by soft-dirty bits: nobody may write while "
                                                     "they are read and cleared"},
        [WRT_LINUX_TRACKING_COMPARE] = {
            .state = WRT_ENFORCEMENT_PARTIAL,
            .reason = "compared with a copy: a page that was written with what it had is not "
                      "listed; Linux 6.7 and userfaultfd tell exactly"}};

    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check(__func__, tracker);
    if (status != WRT_OK) return status;
    *report_out =
        (wrt_linux_write_tracker_report){.method = tracker->method,
                                         .page_bytes = (uint32_t)tracker->page_bytes,
                                         .page_count = bytes_of(tracker) / tracker->page_bytes,
                                         .tracking = tracked[tracker->method]};
    return WRT_OK;
}

wrt_status wrt_linux_write_tracker_deinit(wrt_linux_write_tracker *tracker)
{
    if (tracker == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "tracker is NULL");
    if (wrt__is_zero(tracker, sizeof *tracker)) return WRT_OK;
    const wrt_status status = check_self(__func__, tracker);
    if (status != WRT_OK) return status;
    methods[tracker->method].end(tracker);
    close_pagemap(tracker);
    *tracker = (wrt_linux_write_tracker){0};
    return WRT_OK;
}
