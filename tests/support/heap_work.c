/* A program that does everything the allocators and pools can do, over and over, and prints
 * how many heap calls that took. It has to be started with the spy in LD_PRELOAD. */
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/pool.h"
#include "wrt_platform/static_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 100 };

extern unsigned long heap_spy_calls(void);

static uint8_t heap[4 * WRT_PAGE_SIZE];
static uint64_t blocks[64];

static void must(int is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s: %s\n", what, wrt_error_last()->reason);
    exit(2);
}

static void use_pages(wrt_page_allocator allocator)
{
    wrt_pages pages;

    must(wrt_page_allocator_allocate(&allocator, 1, 3, &pages) == WRT_OK, "allocate");
    memset(pages.base, 1, WRT_PAGE_SIZE);
    must(wrt_page_allocator_grow(&allocator, &pages, 2) == WRT_OK, "grow");
    must(wrt_page_allocator_grow(&allocator, &pages, 1) == WRT_ERR_LIMIT, "grow too far");
    (void)!wrt_page_allocator_protect(&allocator, &pages, 0, WRT_PAGE_SIZE, WRT_PROTECTION_READ);
    must(wrt_page_allocator_deallocate(&allocator, &pages) == WRT_OK, "deallocate");
}

static void use_linux(bool is_guarded)
{
    wrt_linux_allocator_config config = {.struct_size = sizeof config,
                                         .maximum_pages = 3,
                                         .verification_level = WRT_VERIFICATION_FULL,
                                         .name = "heap_work",
                                         .guard_pages = is_guarded,
                                         .populate = true};
    wrt_linux_allocator allocator;
    wrt_linux_allocator_report report;

    must(wrt_linux_allocator_init(&allocator, &config) == WRT_OK, "init");
    use_pages(wrt_linux_allocator_interface(&allocator));
    must(wrt_linux_allocator_query(&allocator, &report) == WRT_OK, "query");
    must(wrt_linux_allocator_deinit(&allocator) == WRT_OK, "deinit");
}

static void use_static(void)
{
    wrt_static_allocator_config config = {.struct_size = sizeof config,
                                          .verification_level = WRT_VERIFICATION_FULL,
                                          .buffer = heap,
                                          .buffer_size = sizeof heap};
    wrt_static_allocator allocator;

    must(wrt_static_allocator_init(&allocator, &config) == WRT_OK, "init");
    use_pages(wrt_static_allocator_interface(&allocator));
    must(wrt_static_allocator_deinit(&allocator) == WRT_OK, "deinit");
}

static void use_pool(void)
{
    wrt_pool_config config = {.struct_size = sizeof config,
                              .class_count = 1,
                              .classes = {{64, 8}},
                              .buffer = blocks,
                              .buffer_size = sizeof blocks};
    wrt_pool pool;
    void *block;

    must(wrt_pool_init(&pool, &config) == WRT_OK, "init");
    must(wrt_pool_allocate(&pool, 64, &block) == WRT_OK, "allocate");
    must(wrt_pool_release(&pool, block) == WRT_OK, "release");
    must(wrt_pool_deinit(&pool) == WRT_OK, "deinit");
}

static void use_everything(void)
{
    char text[256];

    use_linux(true);
    use_linux(false);
    use_static();
    use_pool();
    must(wrt_error_format(wrt_error_last(), text, sizeof text) != 0, "format");
}

int main(int argument_count, char **arguments)
{
    const bool takes_heap = argument_count > 1 && strcmp(arguments[1], "heap") == 0;

    use_everything(); /* the first round may register with the system's libraries */
    const unsigned long before = heap_spy_calls();
    for (int round = 0; round < ROUNDS; round++) {
        use_everything();
        if (takes_heap) free(malloc(1 + (size_t)round));
    }
    printf("%lu\n", heap_spy_calls() - before);
    return 0;
}
