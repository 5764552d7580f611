// A program within limits of memory, processor and processes that the kernel keeps.
#include "wrt_platform/linux/cgroups.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "cgroup: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_linux_cgroup_config config = {0};
    config.struct_size = sizeof config;
    config.name = "wasm_runtime";
    config.controllers = WRT_LINUX_CGROUP_MEMORY | WRT_LINUX_CGROUP_CPU | WRT_LINUX_CGROUP_PIDS;
    config.move_to_leaf = true; // processes that are in the way, this one for instance
    wrt_linux_cgroup group = {0};
    must(wrt_linux_cgroup_init(&group, &config));

    wrt_linux_cgroup_limits limits = {0};
    limits.struct_size = sizeof limits;
    limits.memory_max = 64 << 20;
    limits.cpu_quota_us = 50000; // in each 100000: half a processor
    limits.pids_max = 16;
    wrt_linux_cgroup_limits applied;
    must(wrt_linux_cgroup_set_limits(&group, &limits, &applied));
    printf("at most %llu bytes, %u processes\n", (unsigned long long)applied.memory_max,
           applied.pids_max);
    fflush(stdout);

    const char *const arguments[] = {"echo", "inside", NULL};
    const char *const environment[] = {NULL};
    int32_t process = 0;
    int status = 0;
    must(wrt_linux_cgroup_spawn(&group, "/bin/echo", arguments, environment, &process));
    waitpid(process, &status, 0);

    wrt_linux_cgroup_stats stats;
    must(wrt_linux_cgroup_get_stats(&group, &stats));
    printf("exit code %d, killed for want of memory: %llu\n", WEXITSTATUS(status),
           (unsigned long long)stats.oom_kills);
    must(wrt_linux_cgroup_remove(&group, 5000000000));
    must(wrt_linux_cgroup_deinit(&group));
    return 0;
}
