/* What the kernel is told of memory that is out, and what it says of it: /proc/self/smaps, line by
 * line, whatever lies in the accessible pages. */
#include "memory.h"

#include "../core/fail.h"
#include "../core/verification.h"
#include "files.h"

/* ---- Advice ---- */

static const struct {
    uint32_t flag;
    int advice;
} ADVICES[] = {
    {WRT_LINUX_ADVICE_NORMAL, MADV_NORMAL},         {WRT_LINUX_ADVICE_RANDOM, MADV_RANDOM},
    {WRT_LINUX_ADVICE_SEQUENTIAL, MADV_SEQUENTIAL}, {WRT_LINUX_ADVICE_WILLNEED, MADV_WILLNEED},
    {WRT_LINUX_ADVICE_HUGEPAGE, MADV_HUGEPAGE},     {WRT_LINUX_ADVICE_NOHUGEPAGE, MADV_NOHUGEPAGE},
    {WRT_LINUX_ADVICE_COLLAPSE, MADV_COLLAPSE},     {WRT_LINUX_ADVICE_COLD, MADV_COLD},
    {WRT_LINUX_ADVICE_PAGEOUT, MADV_PAGEOUT},       {WRT_LINUX_ADVICE_DONTDUMP, MADV_DONTDUMP},
    {WRT_LINUX_ADVICE_DODUMP, MADV_DODUMP},
};

enum { ADVICE_COUNT = sizeof ADVICES / sizeof ADVICES[0], ALL_ADVICE = (1 << ADVICE_COUNT) - 1 };

static wrt_status fail_to_advise(const char *operation, uint32_t flag)
{
    const int code = errno;

    if (code == EINVAL || code == ENOSYS || code == EPERM) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "madvise refused advice {0}: this kernel, or this kind of memory, "
                               "does not know it; leave it out",
                               code, flag, 0);
    }
    if (code == EAGAIN || code == EBUSY) {
        return wrt_fail_system(WRT_ERR_BUSY, operation,
                               "madvise can't follow advice {0} at the moment; try again later",
                               code, flag, 0);
    }
    return wrt__fail_for_memory(operation, "madvise failed for advice {0}", flag);
}

/* Checks the allocator and a handle of it. */
static wrt_status check_pages(const char *operation, const wrt_linux_allocator *allocator,
                              const wrt_pages *pages)
{
    const wrt_status status = wrt__linux_allocator_check(operation, allocator);

    if (status != WRT_OK) return status;
    if (pages == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pages is NULL");
    return wrt__pages_verify(operation, pages, allocator);
}

wrt_status wrt_linux_allocator_madvise(wrt_linux_allocator *allocator, const wrt_pages *pages,
                                       size_t offset, size_t size, uint32_t advice)
{
    wrt_status status = check_pages(__func__, allocator, pages);
    if (status == WRT_OK) status = wrt__pages_check_range(__func__, pages, offset, size);
    if (status != WRT_OK) return status;
    if (advice > ALL_ADVICE || offset % allocator->reserve.system_page != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "advice {0} has unknown flags, or offset is not a multiple of the "
                               "system's page, {1} bytes",
                               advice, allocator->reserve.system_page);
    }
    for (size_t i = 0; i < ADVICE_COUNT && size != 0; i++) {
        if ((advice & ADVICES[i].flag) == 0) continue;
        if (wrt__sys_madvise(pages->base + offset, size, ADVICES[i].advice) != 0) {
            return fail_to_advise(__func__, ADVICES[i].flag);
        }
    }
    return WRT_OK;
}

/* ---- Transparent huge pages ---- */

bool wrt__linux_grants_thp(const wrt_linux_allocator *allocator)
{
    const char *path = wrt__linux_is_shared(allocator)
                           ? "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
                           : "/sys/kernel/mm/transparent_hugepage/enabled";
    char text[128];

    if (wrt__file_read(AT_FDCWD, path, text, sizeof text) <= 0) return false;
    if (strstr(text, "[never]") != NULL || strstr(text, "[deny]") != NULL) return false;
    return wrt__sys_thp_is_off() != 1;
}

wrt_status wrt_linux_allocator_set_thp_mode(wrt_linux_allocator *allocator, uint32_t mode)
{
    const wrt_status status = wrt__linux_allocator_check(__func__, allocator);

    if (status != WRT_OK) return status;
    if (mode > WRT_LINUX_THP_NEVER) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "mode {0} is none of wrt_linux_thp_mode", mode, 0);
    }
    allocator->thp_mode = mode;
    allocator->has_thp = wrt__linux_grants_thp(allocator);
    return WRT_OK;
}

/* ---- Statistics ---- */

typedef struct range {
    uintptr_t start, end;
} range;

static const char *read_address(const char *text, uintptr_t *address_out)
{
    uintptr_t address = 0;
    const char *at = text;

    for (;; at++) {
        if (*at >= '0' && *at <= '9') {
            address = address * 16 + (uintptr_t)(*at - '0');
        } else if (*at >= 'a' && *at <= 'f') {
            address = address * 16 + (uintptr_t)(*at - 'a' + 10);
        } else {
            break;
        }
    }
    *address_out = address;
    return at == text ? NULL : at;
}

/* The first line of a mapping: "7f00-7f01 rw-p ...". */
static bool read_mapping(const char *line, range *mapping_out)
{
    const char *at = read_address(line, &mapping_out->start);

    if (at == NULL || *at != '-') return false;
    at = read_address(at + 1, &mapping_out->end);
    return at != NULL && *at == ' ';
}

/* Adds what a line counts, if it is one of those that we read. */
static void count_line(const char *line, wrt_linux_memory_stats *stats)
{
    struct {
        const char *key;
        uint64_t *sum;
    } counted[] = {
        {"Rss", &stats->resident_bytes},        {"AnonHugePages", &stats->huge_bytes},
        {"ShmemPmdMapped", &stats->huge_bytes}, {"Shared_Hugetlb", &stats->huge_bytes},
        {"Locked", &stats->locked_bytes},       {"Private_Hugetlb", &stats->huge_bytes},
        {"Swap", &stats->swapped_bytes},
    };

    if (strncmp(line, "VmFlags:", 8) == 0 && stats->page_kind == WRT_LINUX_PAGE_KIND_SYSTEM &&
        wrt__list_has(line, "hg", ' ')) {
        stats->page_kind = WRT_LINUX_PAGE_KIND_TRANSPARENT;
    }
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        *counted[i].sum += wrt__number_of(line, counted[i].key, 0) * 1024;
    }
}

static uint64_t at_most(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

/* Adds up the mappings that lie in `wanted`, at least in part. */
static int add_up(const range *wanted, wrt_linux_memory_stats *stats)
{
    wrt__lines lines;
    bool is_inside = false;
    char *line;

    if (wrt__lines_open(&lines, "/proc/self/smaps") != 0) return -1;
    while ((line = wrt__lines_next(&lines)) != NULL) {
        range mapping;
        if (read_mapping(line, &mapping)) {
            is_inside = mapping.start < wanted->end && mapping.end > wanted->start;
            if (mapping.start >= wanted->end) break;
        } else if (is_inside) {
            count_line(line, stats);
        }
    }
    const int code = line == NULL ? lines.code : 0;
    wrt__lines_close(&lines);
    errno = code;
    return code == 0 ? 0 : -1;
}

/* Pages from the pool are in none of the sums but their own. */
static void fit(wrt_linux_memory_stats *stats, bool is_from_pool, uint64_t opened)
{
    if (is_from_pool) stats->resident_bytes += stats->huge_bytes;
    const uint64_t most = is_from_pool ? opened : stats->accessible_bytes;
    stats->huge_bytes = at_most(stats->huge_bytes, most);
    stats->huge_pages = (uint32_t)(stats->huge_bytes / stats->huge_page_bytes);
    stats->total_pages =
        (uint32_t)((stats->accessible_bytes + stats->huge_page_bytes - 1) / stats->huge_page_bytes);
    stats->resident_bytes = at_most(stats->resident_bytes, most);
    stats->locked_bytes = at_most(stats->locked_bytes, most);
    stats->swapped_bytes = at_most(stats->swapped_bytes, most);
}

wrt_status wrt_linux_allocator_memory_stats(wrt_linux_allocator *allocator, const wrt_pages *pages,
                                            wrt_linux_memory_stats *stats_out)
{
    const wrt_status status = check_pages(__func__, allocator, pages);

    if (status != WRT_OK) return status;
    if (stats_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stats_out is NULL");
    }
    const wrt__page_note *note = wrt__linux_note(allocator, pages);
    const bool is_from_pool = note != NULL && note->unit != 0;
    wrt_linux_memory_stats stats = {.accessible_bytes = (uint64_t)pages->page_count * WRT_PAGE_SIZE,
                                    .huge_page_bytes = is_from_pool ? note->unit : WRT__HUGE_2_MIB,
                                    .page_kind =
                                        is_from_pool ? note->kind : WRT_LINUX_PAGE_KIND_SYSTEM};
    const uint64_t opened = is_from_pool ? note->opened : stats.accessible_bytes;
    const uintptr_t base = (uintptr_t)pages->base;
    const range wanted = {base, base + (uintptr_t)opened};

    if (opened != 0 && add_up(&wanted, &stats) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__,
                               "/proc/self/smaps can't be read; mount /proc", errno, 0, 0);
    }
    fit(&stats, is_from_pool, opened);
    *stats_out = stats;
    return WRT_OK;
}
