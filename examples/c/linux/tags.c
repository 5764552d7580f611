// A block with a tag, where the processor has them.
#include "wrt_platform/linux/mte.h"
#include <stdio.h>
#include <stdlib.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    printf("%s\n", sentence);
    exit(0);
}

int main(void)
{
    must(wrt_linux_mte_is_available());
    wrt_linux_mte_allocator_config config = {0};
    config.struct_size = sizeof config;
    config.maximum_pages = 1024;
    config.mte_mode = WRT_LINUX_MTE_SYNCHRONOUS;
    config.tag_check_on_free = true;
    wrt_linux_mte_allocator allocator = {0};
    must(wrt_linux_mte_allocator_init(&allocator, &config));

    void *pointer;
    size_t size;
    must(wrt_linux_mte_allocator_allocate_tagged(&allocator, 16, 0xA, &pointer, &size));
    *(char *)pointer = 42; // with any other tag this would be SIGSEGV
    printf("%zu bytes with tag %u\n", size, wrt_linux_mte_tag_of(pointer));
    must(wrt_linux_mte_allocator_free(&allocator, pointer)); // now with this one, too
    must(wrt_linux_mte_allocator_deinit(&allocator));
    return 0;
}
