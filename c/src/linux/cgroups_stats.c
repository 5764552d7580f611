/* What a group has used, from the kernel's own files. A file that is not there (its controller is
 * not enabled, or the kernel is older) leaves its numbers 0. */
#include "cgroups.h"

#include "../core/fail.h"

/* One number that stands alone in its file. A file that is there and can't be read is told by its
 * error number in *code. */
static uint64_t number_in(const wrt_linux_cgroup *group, const char *file, int *code)
{
    char text[64];
    uint64_t number = 0;

    if (wrt__file_read(group->directory, file, text, sizeof text) < 0) {
        if (errno != ENOENT) *code = errno;
        return 0;
    }
    return wrt__read_number(text, &number) == NULL ? 0 : number;
}

/* A file of many numbers; empty if it is not there. */
static const char *text_of(const wrt_linux_cgroup *group, const char *file, char text_out[],
                           int *code)
{
    if (wrt__file_read(group->directory, file, text_out, WRT__TEXT_SIZE) < 0) {
        if (errno != ENOENT) *code = errno;
        text_out[0] = '\0';
    }
    return text_out;
}

static void read_memory(const wrt_linux_cgroup *group, wrt_linux_cgroup_stats *stats, char text[],
                        int *code)
{
    stats->memory_current = number_in(group, "memory.current", code);
    stats->memory_peak = number_in(group, "memory.peak", code);
    stats->memory_swap = number_in(group, "memory.swap.current", code);
    (void)text_of(group, "memory.stat", text, code);
    stats->memory_anonymous = wrt__number_of(text, "anon", 0);
    stats->memory_file = wrt__number_of(text, "file", 0);
    (void)text_of(group, "memory.events", text, code);
    stats->memory_high_events = wrt__number_of(text, "high", 0);
    stats->memory_max_events = wrt__number_of(text, "max", 0);
    stats->oom_kills = wrt__number_of(text, "oom_kill", 0);
}

static void read_cpu(const wrt_linux_cgroup *group, wrt_linux_cgroup_stats *stats, char text[],
                     int *code)
{
    (void)text_of(group, "cpu.stat", text, code);
    stats->cpu_usage_us = wrt__number_of(text, "usage_usec", 0);
    stats->cpu_user_us = wrt__number_of(text, "user_usec", 0);
    stats->cpu_system_us = wrt__number_of(text, "system_usec", 0);
    stats->cpu_periods = wrt__number_of(text, "nr_periods", 0);
    stats->cpu_throttled = wrt__number_of(text, "nr_throttled", 0);
    stats->cpu_throttled_us = wrt__number_of(text, "throttled_usec", 0);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0", a line a device. */
static uint64_t sum_of(const char *text, const char *key)
{
    const size_t length = strlen(key);
    uint64_t sum = 0, number = 0;

    for (const char *at = strstr(text, key); at != NULL; at = strstr(at + length, key)) {
        if (wrt__read_number(at + length, &number) != NULL) sum += number;
    }
    return sum;
}

static void read_io(const wrt_linux_cgroup *group, wrt_linux_cgroup_stats *stats, char text[],
                    int *code)
{
    (void)text_of(group, "io.stat", text, code);
    stats->io_read_bytes = sum_of(text, " rbytes=");
    stats->io_write_bytes = sum_of(text, " wbytes=");
    stats->io_reads = sum_of(text, " rios=");
    stats->io_writes = sum_of(text, " wios=");
}

wrt_status wrt_linux_cgroup_get_stats(const wrt_linux_cgroup *group,
                                      wrt_linux_cgroup_stats *stats_out)
{
    wrt_linux_cgroup_stats stats = {0};
    char text[WRT__TEXT_SIZE];
    int code = 0;

    if (stats_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stats_out is NULL");
    const wrt_status status = wrt__cgroup_check(__func__, group);
    if (status != WRT_OK) return status;
    read_memory(group, &stats, text, &code);
    read_cpu(group, &stats, text, &code);
    read_io(group, &stats, text, &code);
    stats.pids_current = number_in(group, "pids.current", &code);
    (void)text_of(group, "pids.events", text, &code);
    stats.pids_max_events = wrt__number_of(text, "max", 0);
    (void)text_of(group, "cgroup.events", text, &code);
    stats.is_populated = wrt__number_of(text, "populated", 0) != 0;
    stats.is_frozen = wrt__number_of(text, "frozen", 0) != 0;
    stats.controllers = wrt__cgroup_controllers(group->path, "cgroup.controllers");
    if (code != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__,
                               "the group's files can't be read: was it removed?", code, 0, 0);
    }
    *stats_out = stats;
    return WRT_OK;
}
