// Linear memory in huge pages on the first node, and what the kernel makes of it.
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/numa.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "memory: %s\n", sentence);
    exit(1);
}

int main(void)
{
    static const char *const states[] = {"not asked", "enforced", "partial", "absent"};
    wrt_linux_numa_node nodes[64];
    uint32_t node_count = 0;
    must(wrt_linux_numa_topology(nodes, 64, &node_count));

    wrt_linux_allocator_config config = {0};
    config.struct_size = sizeof config;
    config.maximum_pages = 4096;
    config.guard_pages = true;
    config.huge_pages = true;
    config.has_numa_node = true;
    config.numa_node = nodes[0].id;
    wrt_linux_allocator allocator = {0};
    must(wrt_linux_allocator_init(&allocator, &config));

    const wrt_page_allocator interface = wrt_linux_allocator_interface(&allocator);
    wrt_pages pages = {0};
    must(wrt_page_allocator_allocate(&interface, 1024, 4096, &pages));
    pages.base[0] = 1;

    wrt_linux_memory_stats stats;
    wrt_linux_allocator_report report;
    must(wrt_linux_allocator_memory_stats(&allocator, &pages, &stats));
    must(wrt_linux_allocator_query(&allocator, &report));
    printf("huge pages: %u of %u in RAM; %s\n", stats.huge_pages, stats.total_pages,
           report.huge_pages.reason);
    printf("node %u %s: %s\n", config.numa_node, states[report.numa.state], report.numa.reason);
    must(wrt_page_allocator_deallocate(&interface, &pages));
    must(wrt_linux_allocator_deinit(&allocator));
    return 0;
}
