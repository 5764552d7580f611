// What a second snapshot has to save.
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/write_tracker.h"
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 4 * WRT_PAGE_SIZE / 4096 / 32 };

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "written: %s\n", sentence);
    exit(1);
}

int main(void)
{
    wrt_linux_allocator_config memory = {0};
    memory.struct_size = sizeof memory;
    wrt_linux_allocator allocator = {0};
    must(wrt_linux_allocator_init(&allocator, &memory));
    const wrt_page_allocator interface = wrt_linux_allocator_interface(&allocator);
    wrt_pages pages = {0};
    must(wrt_page_allocator_allocate(&interface, 4, 4, &pages));

    wrt_linux_write_tracker_config config = {0};
    config.struct_size = sizeof config;
    config.pages = &pages;
    wrt_linux_write_tracker tracker = {0};
    must(wrt_linux_write_tracker_init(&tracker, &config)); // the first mark

    pages.base[5] = 1;
    pages.base[70000] = 1;
    uint32_t bitmap[WORDS];
    uint32_t count;
    must(wrt_linux_write_tracker_take(&tracker, bitmap, WORDS, &count)); // and the next one
    for (int page = 0; page < 32 * WORDS; page++) {
        if ((bitmap[page / 32] >> page % 32 & 1) != 0) printf("save 4096 at %d\n", page * 4096);
    }
    must(wrt_linux_write_tracker_deinit(&tracker));
    must(wrt_page_allocator_deallocate(&interface, &pages));
    must(wrt_linux_allocator_deinit(&allocator));
    return 0;
}
