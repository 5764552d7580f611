// An ordinary program behind the walls of a sandbox's strict profile.
#include "wrt_platform/linux/sandbox.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "strict: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_sandbox_config walls = {0};
    walls.struct_size = sizeof walls;
    walls.profile = WRT_SANDBOX_STRICT;
    walls.network_namespace = WRT_SANDBOX_WALL_PREFERRED;
    wrt_confined_process_config program = {0};
    must(wrt_sandbox_confine(&walls, &program));

    const char *const arguments[] = {"echo", "inside", NULL};
    program.executable = "/bin/echo";
    program.arguments = arguments;
    program.system_files = true; // its libraries
    program.memory_bytes = 1u << 30;
    wrt_confined_process process = {0};
    must(wrt_confined_process_start(&process, &program));

    wrt_confined_result result;
    wrt_confined_report report;
    must(wrt_confined_process_wait(&process, 5000000000, &result));
    must(wrt_confined_process_query(&process, &report));
    if (result.end == WRT_CONFINED_EXITED) printf("exited with %d\n", result.code);
    if (report.filter.state == WRT_ENFORCEMENT_ENFORCED) puts("filter enforced");
    must(wrt_confined_process_deinit(&process));
    return 0;
}
