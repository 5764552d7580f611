/* A Linux allocator before and after its work: its config, what this kernel can do, its
 * end, its report. What the kernel offers beyond mmap and mprotect is tried at init, so
 * that the report is true before the first allocation. */
#include "memory.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/verification.h"
#include "fork.h"
#include "numa.h"

_Static_assert(WRT_LINUX_GUARD_BYTES_DEFAULT == (int)WRT__GUARD_BYTES_DEFAULT, "as documented");
_Static_assert(WRT_LINUX_NAME_SIZE == sizeof((wrt_linux_allocator *)0)->name,
               "a name and its NUL fill `name`");

/* ---- Config ---- */

static bool name_is_valid(const char *name)
{
    size_t length = 0;

    for (; name[length] != '\0'; length++) {
        const char character = name[length];
        if (length == WRT_LINUX_NAME_SIZE - 1) return false;
        if (character < ' ' || character > '~' || strchr("[]\\$`", character) != NULL) return false;
    }
    return length != 0;
}

static wrt_status check_pages(const char *operation, const wrt_linux_allocator_config *config)
{
    const uint32_t all_flags = WRT_LINUX_MMAP_SHARED | WRT_LINUX_MMAP_ANONYMOUS |
                               WRT_LINUX_MMAP_NORESERVE | WRT_LINUX_MMAP_STACK;

    if ((config->custom_flags & ~all_flags) != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "custom_flags has {0}, which is none of wrt_linux_mmap_flag",
                               config->custom_flags & ~all_flags, 0);
    }
    if (config->huge_pages && (config->custom_flags & WRT_LINUX_MMAP_NORESERVE) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "huge_pages with NORESERVE: a huge page that is missing would be SIGBUS at "
                        "the first touch; leave out one of them");
    }
    if (config->thp_mode > WRT_LINUX_THP_NEVER) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "thp_mode {0} is none of wrt_linux_thp_mode", config->thp_mode, 0);
    }
    if (config->largest_page_kind > WRT_LINUX_PAGE_KIND_HUGE_1_GIB) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "largest_page_kind {0} is none of wrt_linux_page_kind",
                               config->largest_page_kind, 0);
    }
    return WRT_OK;
}

/* Reads a caller's config of any age, with its defaults filled in. */
static wrt_status read_config(const char *operation, const wrt_linux_allocator_config *given,
                              wrt_linux_allocator_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->name != NULL && !name_is_valid(config->name)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "name is not 1 to 79 printable ASCII characters without [ ] \\ $ `");
    }
    return check_pages(operation, config);
}

/* ---- What this kernel can do ---- */

/* No bytes to name: the kernel checks the rest of the call and is done. */
static bool kernel_names_mappings(const wrt_linux_allocator *allocator)
{
    return wrt__sys_name(NULL, 0, allocator->name) == 0;
}

static bool kernel_has_files_in_memory(const wrt_linux_allocator *allocator)
{
    const int descriptor = wrt__sys_memfd(allocator->name, (size_t)allocator->reserve.system_page);

    if (descriptor >= 0) close(descriptor);
    return descriptor >= 0;
}

/* Files in memory have transparent huge pages on few systems; pages are worth more than a name. */
static bool gives_up_name(const wrt_linux_allocator *allocator)
{
    const bool wants_huge = allocator->huge_pages || allocator->thp_mode == WRT_LINUX_THP_ALWAYS;

    return wants_huge && (allocator->custom_flags & WRT_LINUX_MMAP_SHARED) == 0;
}

static uint32_t find_name_source(const wrt_linux_allocator *allocator)
{
    if (allocator->name[0] == '\0') return WRT_LINUX_NAME_NONE;
    if (kernel_names_mappings(allocator)) return WRT_LINUX_NAME_ANON;
    if (gives_up_name(allocator)) return WRT_LINUX_NAME_NONE;
    return kernel_has_files_in_memory(allocator) ? WRT_LINUX_NAME_MEMFD : WRT_LINUX_NAME_NONE;
}

static wrt_status find_out(const char *operation, wrt_linux_allocator *allocator,
                           const wrt_linux_allocator_config *config)
{
    allocator->populate_by_advice = wrt__sys_madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
    allocator->name_source = find_name_source(allocator);
    if (config->huge_pages || config->thp_mode == WRT_LINUX_THP_ALWAYS) {
        allocator->has_thp = wrt__linux_grants_thp(allocator);
    }
    return wrt__numa_init(operation, allocator, config);
}

/* ---- Life of the allocator ---- */

wrt_status wrt_linux_allocator_init(wrt_linux_allocator *allocator,
                                    const wrt_linux_allocator_config *config)
{
    const uint64_t system_page = (uint64_t)sysconf(_SC_PAGESIZE);
    wrt_linux_allocator_config known;
    wrt_verifier verifier;
    wrt_page_reserve reserve;

    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    status =
        wrt__verifier_init(&verifier, __func__, known.verification_level, known.sampling_interval);
    if (status != WRT_OK) return status;
    status = wrt__reserve_init(&reserve, __func__, &verifier, system_page, known.maximum_pages,
                               known.guard_bytes, known.guard_pages);
    if (status != WRT_OK) return status;
    status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;

    wrt_linux_allocator made = {.self = allocator,
                                .reserve = reserve,
                                .fork_generation = wrt__fork_generation(),
                                .populate = known.populate,
                                .mlock = known.mlock,
                                .huge_pages = known.huge_pages,
                                .custom_flags = known.custom_flags,
                                .thp_mode = known.thp_mode,
                                .largest_page_kind = known.largest_page_kind};
    if (known.name != NULL) memcpy(made.name, known.name, strlen(known.name));
    status = find_out(__func__, &made, &known);
    if (status == WRT_OK) *allocator = made;
    return status;
}

wrt_status wrt__linux_allocator_check(const char *operation, const wrt_linux_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL");
    }
    return wrt__reserve_check(operation, &allocator->reserve, allocator, allocator->self,
                              allocator->fork_generation == wrt__fork_generation());
}

wrt_status wrt_linux_allocator_deinit(wrt_linux_allocator *allocator)
{
    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    if (wrt__is_zero(allocator, sizeof *allocator)) return WRT_OK;
    const wrt_status status = wrt__linux_allocator_check(__func__, allocator);
    if (status != WRT_OK) return status;
    if (allocator->reserve.allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "{0} allocations are still out",
                               allocator->reserve.allocation_count, 0);
    }
    *allocator = (wrt_linux_allocator){0};
    return WRT_OK;
}

/* ---- Report ---- */

static wrt_enforcement not_asked(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED, .reason = reason};
}

static wrt_enforcement enforced(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED, .reason = reason};
}

static wrt_enforcement partial(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_PARTIAL, .reason = reason};
}

static wrt_enforcement absent(const char *reason)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ABSENT, .reason = reason};
}

static bool is_from_pool(const wrt_linux_allocator *allocator)
{
    return allocator->page_kind >= WRT_LINUX_PAGE_KIND_HUGE_2_MIB;
}

static wrt_enforcement report_populate(const wrt_linux_allocator *allocator)
{
    if (!allocator->populate) return not_asked("populate is off");
    if (allocator->populate_by_advice) return enforced("MADV_POPULATE_WRITE");
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_PARTIAL,
                             .reason = "each page is touched, but before Linux 5.14 a shortage "
                                       "ends the process instead of being an error"};
}

static wrt_enforcement report_mlock(const wrt_linux_allocator *allocator)
{
    return allocator->mlock ? enforced("mlock") : not_asked("mlock is off");
}

static wrt_enforcement report_name(const wrt_linux_allocator *allocator)
{
    if (allocator->name[0] == '\0') return not_asked("there is no name");
    if (is_from_pool(allocator)) {
        return partial("round the huge pages, which themselves have none");
    }
    if (allocator->name_source == WRT_LINUX_NAME_ANON) return enforced("PR_SET_VMA_ANON_NAME");
    if (allocator->name_source == WRT_LINUX_NAME_MEMFD) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_PARTIAL,
                                 .reason = "this kernel names no anonymous memory "
                                           "(CONFIG_ANON_VMA_NAME): a file in memory has the name, "
                                           "and forked children share it"};
    }
    if (gives_up_name(allocator)) {
        return absent("this kernel names no anonymous memory (CONFIG_ANON_VMA_NAME), and a file in "
                      "memory, which has a name, would have no transparent huge pages");
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ABSENT,
                             .reason = "this system names neither anonymous memory nor files in "
                                       "memory"};
}

/* Before the first allocation nobody knows what the pool will have. */
static wrt_enforcement report_huge_pages(const wrt_linux_allocator *allocator)
{
    if (!allocator->huge_pages) return not_asked("huge_pages is off");
    if (allocator->page_kind == WRT_LINUX_PAGE_KIND_HUGE_1_GIB) return enforced("pages of 1 GiB");
    if (allocator->page_kind == WRT_LINUX_PAGE_KIND_HUGE_2_MIB) return enforced("pages of 2 MiB");
    if (allocator->page_kind == WRT_LINUX_PAGE_KIND_TRANSPARENT) {
        return partial("the pool of huge pages is too small (vm.nr_hugepages): transparent ones, "
                       "where the system has them at hand");
    }
    if (allocator->page_kind == WRT_LINUX_PAGE_KIND_SYSTEM) {
        return absent("the pool of huge pages is too small (vm.nr_hugepages), or the memory is, "
                      "and there are no transparent ones: pages of the system");
    }
    return partial("there was no allocation yet; each tries the pool for itself");
}

static wrt_enforcement report_thp(const wrt_linux_allocator *allocator)
{
    if (allocator->thp_mode == WRT_LINUX_THP_DEFAULT) return not_asked("as the system has it");
    if (allocator->thp_mode == WRT_LINUX_THP_NEVER) return enforced("MADV_NOHUGEPAGE");
    if (!allocator->has_thp) {
        return absent("the system grants no transparent huge pages: "
                      "/sys/kernel/mm/transparent_hugepage/enabled (shmem_enabled if it is shared) "
                      "says never or is not there, or PR_SET_THP_DISABLE holds for this process");
    }
    return enforced("MADV_HUGEPAGE, for memory of 2 MiB and more");
}

static wrt_enforcement report_guards(const wrt_linux_allocator *allocator)
{
    if (allocator->reserve.guard_bytes == 0 || !is_from_pool(allocator)) {
        return wrt__reserve_guards(&allocator->reserve);
    }
    return partial("pages without access round the reservation; from the end of the accessible "
                   "pages to the border of a huge page nothing faults");
}

wrt_status wrt_linux_allocator_query(const wrt_linux_allocator *allocator,
                                     wrt_linux_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = wrt__linux_allocator_check(__func__, allocator);
    if (status != WRT_OK) return status;
    const wrt_page_reserve *all = &allocator->reserve;
    *report_out = (wrt_linux_allocator_report){.allocation_count = all->allocation_count,
                                               .page_count = all->page_count,
                                               .peak_pages = all->peak_pages,
                                               .name_source = allocator->name_source,
                                               .reserved_bytes = all->reserved_bytes,
                                               .guard_pages = report_guards(allocator),
                                               .canaries = wrt__reserve_canaries(all),
                                               .populate = report_populate(allocator),
                                               .mlock = report_mlock(allocator),
                                               .name = report_name(allocator),
                                               .huge_pages = report_huge_pages(allocator),
                                               .thp = report_thp(allocator),
                                               .numa = allocator->numa,
                                               .page_kind = allocator->page_kind};
    return WRT_OK;
}
