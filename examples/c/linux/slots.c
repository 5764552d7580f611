// Two tenants of one slot: the second finds nothing of the first.
#include "wrt_platform/linux/slot_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "slots: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_linux_slot_pool_config config = {0};
    config.struct_size = sizeof config;
    config.slot_count = 4;
    config.maximum_pages = 256;
    wrt_linux_slot_pool pool = {0};
    must(wrt_linux_slot_pool_init(&pool, &config));

    const wrt_page_allocator interface = wrt_linux_slot_pool_interface(&pool);
    wrt_pages pages = {0};
    must(wrt_page_allocator_allocate(&interface, 1, 256, &pages));
    memcpy(pages.base, "hello", 5);
    must(wrt_page_allocator_deallocate(&interface, &pages));

    must(wrt_page_allocator_allocate(&interface, 1, 256, &pages)); // the same slot
    printf("the next tenant reads %d\n", pages.base[0]);
    must(wrt_page_allocator_deallocate(&interface, &pages));

    wrt_linux_slot_pool_report report;
    must(wrt_linux_slot_pool_query(&pool, &report));
    printf("cleaned: %llu bytes\n", (unsigned long long)report.cleaned_bytes);
    must(wrt_linux_slot_pool_deinit(&pool));
    return 0;
}
