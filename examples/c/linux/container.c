// Where this process runs, and how much of the machine it may use.
#include "wrt_platform/linux/container.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "container: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_linux_environment found;
    wrt_linux_resources resources;

    must(wrt_linux_environment_detect("", &found));
    printf("signs found: %u\n", found.evidence_count);
    for (uint32_t i = 0; i < found.evidence_count; i++) printf("- %s\n", found.evidence[i].text);

    must(wrt_linux_resources_detect("", &resources));
    printf("memory: at most %llu bytes\n", (unsigned long long)resources.memory_limit);
    printf("processors: %.2f\n", resources.cpu_milli / 1000.0);
    return 0;
}
