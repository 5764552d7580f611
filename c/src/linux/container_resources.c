/* What this process may use: a limit of any group above it binds as well as one of its own, and
 * what others below that group have used is gone for it, too. So the walk goes from own group up to
 * the mount, and at each level asks what is limited and what of it is left. The top of a hierarchy
 * has no limits. */
#include "cgroups.h"

#include "../core/fail.h"

#include "wrt_platform/linux/container.h"

enum { MILLI = 1000 };

/* Version 1 writes "no limit" as the largest number of whole pages. */
static const uint64_t V1_UNLIMITED = UINT64_C(0x7FFFFFFFFFFF0000);

static uint64_t least(uint64_t first, uint64_t second)
{
    return first < second ? first : second;
}

/* ---- Numbers of a group; `otherwise` where there is none ---- */

static uint64_t number_at(const char *path, const char *file, uint64_t otherwise)
{
    char text[64];
    uint64_t number = 0;

    if (wrt__cgroup_read(path, file, text, sizeof text) <= 0) return otherwise;
    return wrt__read_number(text, &number) == NULL ? otherwise : number;
}

static void limit_memory(wrt_linux_resources *resources, uint64_t limit, uint64_t used,
                         uint32_t source, uint32_t depth)
{
    if (limit == UINT64_MAX) return;
    if (limit < resources->memory_limit) {
        resources->memory_limit = limit;
        resources->memory_source = source;
        resources->memory_depth = depth;
    }
    resources->memory_available =
        least(resources->memory_available, limit > used ? limit - used : 0);
}

/* Thousandths of a CPU. A quota of less than one still lets the process run. */
static uint64_t milli_of(uint64_t quota, uint64_t period)
{
    if (quota == UINT64_MAX || period == 0) return UINT64_MAX;
    const uint64_t milli = quota > UINT64_MAX / MILLI ? UINT64_MAX : quota * MILLI / period;
    return milli == 0 ? 1 : milli;
}

/* ---- Version 2 ---- */

static void read_group(const char *path, uint32_t depth, wrt_linux_resources *resources)
{
    char text[64];
    uint64_t quota = UINT64_MAX, period = 0;
    const uint64_t max = number_at(path, "memory.max", UINT64_MAX);
    const uint64_t used = number_at(path, "memory.current", 0);

    limit_memory(resources, max, used, WRT_LINUX_LIMIT_CGROUP_V2, depth);
    resources->pids_limit = least(resources->pids_limit, number_at(path, "pids.max", UINT64_MAX));
    if (wrt__cgroup_read(path, "cpu.max", text, sizeof text) <= 0) return;
    const char *rest = wrt__read_number(text, &quota);
    if (rest == NULL || *rest != ' ' || wrt__read_number(rest + 1, &period) == NULL) return;
    const uint64_t milli = milli_of(quota, period);
    if (milli < resources->cpu_quota_milli) {
        resources->cpu_quota_milli = milli;
        resources->cpu_source = WRT_LINUX_LIMIT_CGROUP_V2;
    }
}

/* ---- Version 1 ---- */

static void read_memory_v1(const char *path, uint32_t depth, wrt_linux_resources *resources)
{
    char text[WRT__TEXT_SIZE];
    uint64_t max = number_at(path, "memory.limit_in_bytes", UINT64_MAX);
    const uint64_t used = number_at(path, "memory.usage_in_bytes", 0);

    /* What groups above limit stands here, too: some of them may not be seen. */
    if (wrt__cgroup_read(path, "memory.stat", text, sizeof text) > 0) {
        max = least(max, wrt__number_of(text, "hierarchical_memory_limit", UINT64_MAX));
    }
    if (max >= V1_UNLIMITED) return;
    limit_memory(resources, max, used, WRT_LINUX_LIMIT_CGROUP_V1, depth);
}

static void read_cpu_v1(const char *path, uint32_t depth, wrt_linux_resources *resources)
{
    char text[64];
    const uint64_t period = number_at(path, "cpu.cfs_period_us", 0);
    const ssize_t length = wrt__cgroup_read(path, "cpu.cfs_quota_us", text, sizeof text);
    uint64_t quota = 0;

    (void)depth;
    if (length <= 0 || wrt__read_number(text, &quota) == NULL) return; /* -1: none */
    const uint64_t milli = milli_of(quota, period);
    if (milli < resources->cpu_quota_milli) {
        resources->cpu_quota_milli = milli;
        resources->cpu_source = WRT_LINUX_LIMIT_CGROUP_V1;
    }
}

static void read_pids_v1(const char *path, uint32_t depth, wrt_linux_resources *resources)
{
    (void)depth;
    resources->pids_limit = least(resources->pids_limit, number_at(path, "pids.max", UINT64_MAX));
}

/* ---- From own group up ---- */

typedef void (*read_level)(const char *path, uint32_t depth, wrt_linux_resources *resources);

static uint32_t steps_in(const char *path)
{
    uint32_t steps = 0;

    for (; *path != '\0'; path++) steps += *path == '/';
    return steps;
}

static void walk_up(wrt__cgroup_place *place, read_level read, wrt_linux_resources *resources)
{
    uint32_t depth = steps_in(place->path + place->mount_length);

    for (;; depth--) {
        read(place->path, depth, resources);
        if (!wrt__cgroup_parent(place->path, place->mount_length, place->path)) return;
    }
}

static wrt_status read_hierarchy(const char *operation, const char *root, const char *controller,
                                 read_level read, wrt_linux_resources *resources, bool *is_there)
{
    wrt__cgroup_place place;

    const wrt_status status = wrt__cgroup_find(operation, root, controller, &place);
    if (status == WRT_OK && place.is_there) walk_up(&place, read, resources);
    *is_there = place.is_there;
    return status;
}

static wrt_status read_groups(const char *operation, const char *root,
                              wrt_linux_resources *resources)
{
    bool newer = false, older = false, other = false;

    wrt_status status = read_hierarchy(operation, root, NULL, read_group, resources, &newer);
    if (status == WRT_OK) {
        status = read_hierarchy(operation, root, "memory", read_memory_v1, resources, &older);
    }
    if (status == WRT_OK) {
        status = read_hierarchy(operation, root, "cpu", read_cpu_v1, resources, &other);
    }
    if (status == WRT_OK) {
        status = read_hierarchy(operation, root, "pids", read_pids_v1, resources, &other);
    }
    resources->cgroup_layout = (newer ? WRT_LINUX_CGROUP_V2 : WRT_LINUX_CGROUP_NONE) |
                               (older ? WRT_LINUX_CGROUP_V1 : WRT_LINUX_CGROUP_NONE);
    return status;
}

/* ---- The machine, and this process ---- */

static void read_machine(const char *text, wrt_linux_resources *resources)
{
    const uint64_t total = wrt__number_of(text, "MemTotal", 0) * 1024;
    const uint64_t available = wrt__number_of(text, "MemAvailable", total / 1024) * 1024;

    if (total == 0) return;
    resources->memory_total = total;
    resources->memory_limit = total;
    resources->memory_available = available;
    resources->memory_source = WRT_LINUX_LIMIT_MACHINE;
}

static uint32_t digit_bits(char digit)
{
    uint32_t value = 0;

    if (digit >= '0' && digit <= '9') value = (uint32_t)(digit - '0');
    if (digit >= 'a' && digit <= 'f') value = (uint32_t)(digit - 'a') + 10;
    return (value & 1) + (value >> 1 & 1) + (value >> 2 & 1) + (value >> 3 & 1);
}

/* "Cpus_allowed:\tffffffff,0000000f" */
static uint32_t count_cpus(const char *status)
{
    const char *at = strstr(status, "Cpus_allowed:");
    uint32_t count = 0;

    if (at == NULL) return 0;
    for (at += strlen("Cpus_allowed:"); *at != '\n' && *at != '\0'; at++) count += digit_bits(*at);
    return count;
}

static uint64_t address_space(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};

    (void)getrlimit(RLIMIT_AS, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

static void read_address_space(const char *status, wrt_linux_resources *resources)
{
    const uint64_t used = wrt__number_of(status, "VmSize", 0) * 1024;

    limit_memory(resources, address_space(), used, WRT_LINUX_LIMIT_ADDRESS_SPACE, 0);
}

static wrt_status read_file(const char *operation, const char *root, const char *file, char text[])
{
    char full[WRT_LINUX_CGROUP_PATH_SIZE];

    if (!wrt__join(full, sizeof full, root, file)) {
        return wrt_fail(WRT_ERR_LIMIT, operation, "root is too long");
    }
    if (wrt__file_read(AT_FDCWD, full, text, WRT__TEXT_SIZE) >= 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                           "/proc/meminfo or /proc/self/status can't be read: is proc mounted?",
                           errno, 0, 0);
}

static void decide_cpus(wrt_linux_resources *resources)
{
    const uint64_t cpus = (uint64_t)resources->cpu_count * MILLI;

    if (resources->cpu_quota_milli < cpus || cpus == 0) {
        resources->cpu_milli = (uint32_t)least(resources->cpu_quota_milli, UINT32_MAX);
        return;
    }
    resources->cpu_milli = (uint32_t)least(cpus, UINT32_MAX);
    resources->cpu_source = WRT_LINUX_LIMIT_AFFINITY;
}

wrt_status wrt_linux_resources_detect(const char *root, wrt_linux_resources *resources_out)
{
    wrt_linux_resources found = {.memory_total = UINT64_MAX,
                                 .memory_limit = UINT64_MAX,
                                 .memory_available = UINT64_MAX,
                                 .cpu_quota_milli = UINT64_MAX,
                                 .pids_limit = UINT64_MAX};
    char text[WRT__TEXT_SIZE];

    if (root == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "root is NULL");
    if (resources_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "resources_out is NULL");
    }
    *resources_out = (wrt_linux_resources){0};
    wrt_status status = read_file(__func__, root, "/proc/meminfo", text);
    if (status != WRT_OK) return status;
    read_machine(text, &found);
    status = read_file(__func__, root, "/proc/self/status", text);
    if (status != WRT_OK) return status;
    found.cpu_count = count_cpus(text);
    read_address_space(text, &found);
    status = read_groups(__func__, root, &found);
    if (status != WRT_OK) return status;
    decide_cpus(&found);
    *resources_out = found;
    return WRT_OK;
}
