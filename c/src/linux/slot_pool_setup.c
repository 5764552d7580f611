/* A pool of slots before and after its work. How many slots fit is found by trying: what
 * RLIMIT_AS leaves, and what the kernel then really reserves. */
#include "slot_pool.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/verification.h"
#include "files.h"
#include "fork.h"

enum {
    MAPPINGS_PER_SLOT = 4,    /* guard, image, accessible, reserved; more where a tenant protects */
    MAPPINGS_DEFAULT = 65530, /* vm.max_map_count, where it can't be read */
    AREA_SHARE = 2            /* of the addresses that are left, one part in so many */
};

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* ---- Config ---- */

static wrt_status read_config(const char *operation, const wrt_linux_slot_pool_config *given,
                              wrt_linux_slot_pool_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (config->reserved != 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->slot_count > WRT_LINUX_SLOT_COUNT_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "slot_count is {0}, not 0 to {1}", config->slot_count,
                               WRT_LINUX_SLOT_COUNT_MAX);
    }
    if (config->slot_count == 0) config->slot_count = WRT_LINUX_SLOT_COUNT_DEFAULT;
    if (config->maximum_pages == 0) config->maximum_pages = WRT_LINUX_SLOT_PAGES_DEFAULT;
    if (config->keep_bytes == 0) config->keep_bytes = WRT_LINUX_SLOT_KEEP_DEFAULT;
    if ((config->image == NULL) != (config->image_size == 0) ||
        config->image_size > (uint64_t)config->maximum_pages * WRT_PAGE_SIZE) {
        return wrt_fail_detail(
            WRT_ERR_INVALID_ARGUMENT, operation,
            "image_size is {0}: not that of an image, or more than the {1} pages "
            "of a slot have room for",
            config->image_size, config->maximum_pages);
    }
    return WRT_OK;
}

/* ---- How many slots fit ---- */

/* Addresses that this process may still reserve. */
static uint64_t addresses_left(uint64_t system_page)
{
    struct rlimit limit;
    char text[128];
    uint64_t used = 0;

    if (wrt__sys_limit_of(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    if (wrt__file_read(AT_FDCWD, "/proc/self/statm", text, sizeof text) > 0) {
        (void)wrt__read_number(text, &used);
    }
    used *= system_page;
    return used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}

static uint64_t mappings_granted(void)
{
    uint64_t count = MAPPINGS_DEFAULT;
    char text[32];

    if (wrt__file_read(AT_FDCWD, "/proc/sys/vm/max_map_count", text, sizeof text) > 0) {
        (void)wrt__read_number(text, &count);
    }
    return count;
}

static void limit_slots(wrt_linux_slot_pool *pool, uint64_t most, uint32_t shortage)
{
    if (pool->slot_count <= most) return;
    pool->slot_count = (uint32_t)most;
    pool->shortage = shortage;
}

static uint64_t table_bytes(const wrt_linux_slot_pool *pool)
{
    return round_up((uint64_t)pool->slot_count * sizeof(wrt__slot), pool->reserve.system_page);
}

static uint64_t area_bytes(const wrt_linux_slot_pool *pool)
{
    return table_bytes(pool) + pool->slot_count * pool->stride + pool->reserve.guard_bytes;
}

/* Reserves as many slots as there are addresses for; the half of them, and again, where the kernel
 * has fewer than it lets hope. */
static wrt_status reserve_area(const char *operation, wrt_linux_slot_pool *pool)
{
    void *area = MAP_FAILED;

    limit_slots(pool, mappings_granted() / AREA_SHARE / MAPPINGS_PER_SLOT, WRT__SHORT_OF_MAPPINGS);
    limit_slots(pool, addresses_left(pool->reserve.system_page) / AREA_SHARE / pool->stride,
                WRT__SHORT_OF_ADDRESSES);
    errno = ENOMEM;
    while (pool->slot_count != 0) {
        pool->area_bytes = area_bytes(pool);
        if (pool->area_bytes <= SIZE_MAX) {
            area = wrt__sys_mmap((size_t)pool->area_bytes, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
        }
        if (area != MAP_FAILED) {
            pool->area = area;
            pool->first = pool->area + table_bytes(pool);
            return WRT_OK;
        }
        limit_slots(pool, pool->slot_count / 2, WRT__SHORT_OF_ADDRESSES);
    }
    return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                           "there are no addresses for one slot of {0} bytes: raise RLIMIT_AS "
                           "(ulimit -v) or vm.max_map_count, or give fewer maximum_pages",
                           errno, pool->stride, 0);
}

/* ---- Table ---- */

static wrt_status lay_table(const char *operation, wrt_linux_slot_pool *pool)
{
    if (wrt__sys_mprotect(pool->area, table_bytes(pool), PROT_READ | PROT_WRITE) != 0) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "mprotect of the table of slots, {0} bytes, failed", errno,
                               table_bytes(pool), 0);
    }
    pool->slots = pool->area;
    for (uint32_t i = 0; i < pool->slot_count; i++) {
        const uint32_t next = i + 1 < pool->slot_count ? i + 1 : WRT__NO_SLOT;
        ((wrt__slot *)pool->slots)[i] = (wrt__slot){.next = next};
    }
    return WRT_OK;
}

/* ---- Image ---- */

static wrt_status fail_for_image(const char *operation, const char *reason, uint64_t size)
{
    const int code = errno;

    if (code == ENOSYS) {
        return wrt_fail_system(
            WRT_ERR_UNSUPPORTED, operation,
            "this kernel has no files in memory (memfd_create) to keep the image "
            "of {0} bytes; build without image",
            code, size, 0);
    }
    return wrt_fail_system(code == ENOMEM || code == ENOSPC ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM,
                           operation, reason, code, size, 0);
}

static int write_all(int descriptor, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t count = wrt__sys_pwrite(descriptor, bytes + done, size - done, (off_t)done);
        if (count < 0 && errno != EINTR) return -1;
        if (count > 0) done += (size_t)count;
    }
    return 0;
}

/* From here on nobody changes the image: no slot can, and no process that gets at the file. */
static wrt_status keep_image(const char *operation, wrt_linux_slot_pool *pool,
                             const wrt_linux_slot_pool_config *config)
{
    if (config->image == NULL) return WRT_OK;
    pool->image_bytes = round_up(config->image_size, pool->reserve.system_page);
    pool->image_descriptor = wrt__sys_memfd_sealable("wrt_slot_image", (size_t)pool->image_bytes);
    if (pool->image_descriptor < 0) {
        return fail_for_image(operation, "memfd_create of {0} bytes failed", pool->image_bytes);
    }
    if (write_all(pool->image_descriptor, config->image, config->image_size) != 0) {
        return fail_for_image(operation, "pwrite of the image, {0} bytes, failed",
                              config->image_size);
    }
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (wrt__sys_add_seals(pool->image_descriptor, seals) != 0) {
        return fail_for_image(operation, "fcntl(F_ADD_SEALS) failed for the image of {0} bytes",
                              pool->image_bytes);
    }
    void *image = wrt__sys_mmap((size_t)pool->image_bytes, PROT_READ, MAP_PRIVATE | MAP_NORESERVE,
                                pool->image_descriptor);
    if (image == MAP_FAILED) {
        return fail_for_image(operation, "mmap of the image, {0} bytes, failed", pool->image_bytes);
    }
    pool->image = image;
    return WRT_OK;
}

/* ---- Life of the pool ---- */

static void close_files(wrt_linux_slot_pool *pool)
{
    if (pool->image_descriptor >= 0) (void)close(pool->image_descriptor);
    if (pool->pagemap_descriptor >= 0) (void)close(pool->pagemap_descriptor);
}

static void abandon(wrt_linux_slot_pool *pool)
{
    if (pool->area != NULL) (void)munmap(pool->area, (size_t)pool->area_bytes);
    if (pool->image != NULL) (void)munmap((void *)(uintptr_t)pool->image, pool->image_bytes);
    close_files(pool);
}

static wrt_status make(const char *operation, wrt_linux_slot_pool *pool,
                       const wrt_linux_slot_pool_config *config)
{
    wrt_status status = reserve_area(operation, pool);
    if (status == WRT_OK) status = lay_table(operation, pool);
    if (status == WRT_OK) status = keep_image(operation, pool, config);
    if (status == WRT_OK) {
        pool->pagemap_descriptor = wrt__sys_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY);
    }
    return status;
}

wrt_status wrt_linux_slot_pool_init(wrt_linux_slot_pool *pool,
                                    const wrt_linux_slot_pool_config *config)
{
    const uint64_t system_page = (uint64_t)sysconf(_SC_PAGESIZE);
    wrt_linux_slot_pool_config known;
    wrt_verifier verifier;
    wrt_page_reserve reserve;

    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    status =
        wrt__verifier_init(&verifier, __func__, known.verification_level, known.sampling_interval);
    if (status != WRT_OK) return status;
    status = wrt__reserve_init(&reserve, __func__, &verifier, system_page, known.maximum_pages,
                               known.guard_bytes, true);
    if (status != WRT_OK) return status;
    status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;

    wrt_linux_slot_pool made = {.self = pool,
                                .reserve = reserve,
                                .stride = reserve.guard_bytes +
                                          (uint64_t)reserve.maximum_pages * WRT_PAGE_SIZE,
                                .keep_bytes = known.keep_bytes / system_page * system_page,
                                .fork_generation = wrt__fork_generation(),
                                .asked_count = known.slot_count,
                                .slot_count = known.slot_count,
                                .image_descriptor = -1,
                                .pagemap_descriptor = -1};
    status = make(__func__, &made, &known);
    if (status == WRT_OK) {
        *pool = made;
    } else {
        abandon(&made);
    }
    return status;
}

wrt_status wrt_linux_slot_pool_deinit(wrt_linux_slot_pool *pool)
{
    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pool is NULL");
    if (wrt__is_zero(pool, sizeof *pool)) return WRT_OK;
    const wrt_status status = wrt__slot_pool_check(__func__, pool);
    if (status != WRT_OK) return status;
    if (pool->reserve.allocation_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "{0} slots are still out",
                               pool->reserve.allocation_count, 0);
    }
    if (wrt__sys_munmap(pool->area, (size_t)pool->area_bytes) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "munmap of {0} bytes failed", errno,
                               pool->area_bytes, 0);
    }
    pool->area = NULL;
    abandon(pool);
    *pool = (wrt_linux_slot_pool){0};
    return WRT_OK;
}

/* ---- Report ---- */

static wrt_enforcement enforcement(uint32_t state, const char *reason)
{
    return (wrt_enforcement){.state = state, .reason = reason};
}

static wrt_enforcement report_slots(const wrt_linux_slot_pool *pool)
{
    if (pool->shortage == WRT__SHORT_OF_MAPPINGS) {
        return enforcement(
            WRT_ENFORCEMENT_PARTIAL,
            "fewer than were asked for: each needs mappings; raise vm.max_map_count");
    }
    if (pool->shortage == WRT__SHORT_OF_ADDRESSES) {
        return enforcement(WRT_ENFORCEMENT_PARTIAL,
                           "fewer than were asked for: RLIMIT_AS (ulimit -v) or the address space "
                           "is too small; raise it, or give fewer maximum_pages");
    }
    return enforcement(WRT_ENFORCEMENT_ENFORCED, "as many as were asked for");
}

static wrt_enforcement report_cleaning(const wrt_linux_slot_pool *pool)
{
    if (pool->pagemap_descriptor >= 0) {
        return enforcement(WRT_ENFORCEMENT_ENFORCED,
                           "the kernel says which pages were written (/proc/self/pagemap)");
    }
    return enforcement(WRT_ENFORCEMENT_PARTIAL,
                       "/proc/self/pagemap can't be opened: each page that is kept is compared");
}

wrt_status wrt_linux_slot_pool_query(const wrt_linux_slot_pool *pool,
                                     wrt_linux_slot_pool_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = wrt__slot_pool_check(__func__, pool);
    if (status != WRT_OK) return status;
    *report_out = (wrt_linux_slot_pool_report){.slot_count = pool->slot_count,
                                               .allocation_count = pool->reserve.allocation_count,
                                               .page_count = pool->reserve.page_count,
                                               .peak_pages = pool->reserve.peak_pages,
                                               .reserved_bytes = pool->area_bytes,
                                               .cleaned_bytes = pool->cleaned_bytes,
                                               .dropped_bytes = pool->dropped_bytes,
                                               .slots = report_slots(pool),
                                               .cleaning = report_cleaning(pool)};
    return WRT_OK;
}
