// A program behind all walls. It sees the system's own files, and no others.
#include "wrt_platform/linux/confined_process.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "confined: %s\n", sentence);
    exit(1);
}

static void print_wall(const char *name, const wrt_enforcement *wall)
{
    static const char *const states[] = {"not asked", "enforced", "partial", "absent"};

    printf("%s: %s\n", name, states[wall->state]);
    if (wall->state == WRT_ENFORCEMENT_ABSENT) fprintf(stderr, "%s: %s\n", name, wall->reason);
}

int main(void)
{
    const char *const arguments[] = {"sh", "-c", "echo inside; exec cat /etc/passwd", NULL};
    const wrt_landlock_rule files[] = {{"/usr/share", WRT_LANDLOCK_READ, 0}};
    wrt_confined_process_config config = {0};
    config.struct_size = sizeof config;
    config.executable = "/bin/sh";
    config.arguments = arguments;
    config.files = files;
    config.file_count = 1;
    config.system_files = true; // its libraries
    config.memory_bytes = 512u << 20;
    config.cpu_seconds = 10;
    wrt_confined_process process = {0};
    must(wrt_confined_process_start(&process, &config));

    wrt_confined_result result;
    wrt_confined_report report;
    must(wrt_confined_process_wait(&process, 30000000000, &result));
    must(wrt_confined_process_query(&process, &report));
    print_wall("filter", &report.filter);
    print_wall("files", &report.files);
    printf("exited by itself: %s, with %d\n", result.end == WRT_CONFINED_EXITED ? "yes" : "no",
           result.code);
    must(wrt_confined_process_deinit(&process)); // kills it, if it still runs
    return 0;
}
