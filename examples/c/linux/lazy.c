// An image of five chunks, of which one is touched.
#include "wrt_platform/linux/lazy_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "lazy: %s\n", sentence);
    exit(1);
}

int main(void)
{
    static char image[300000];
    char path[64];
    for (int i = 0; i < 300000; i++) image[i] = (char)(i / 65536);
    const int file = memfd_create("image", 0); // it could be any file
    if (write(file, image, sizeof image) != (ssize_t)sizeof image) return 1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);

    wrt_linux_lazy_memory_config config = {0};
    config.struct_size = sizeof config;
    config.path = path;
    wrt_linux_lazy_memory lazy = {0};
    must(wrt_linux_lazy_memory_init(&lazy, &config));
    const wrt_page_allocator interface = wrt_linux_lazy_memory_interface(&lazy);
    wrt_pages pages = {0};
    must(wrt_page_allocator_allocate(&interface, 16, 256, &pages));
    printf("the byte at 200000 is %d\n", pages.base[200000]); // its chunk is read now

    wrt_linux_lazy_memory_report report;
    must(wrt_linux_lazy_memory_query(&lazy, &report));
    printf("loaded: %llu of %llu bytes\n", (unsigned long long)report.loaded_bytes,
           (unsigned long long)report.image_bytes);
    must(wrt_page_allocator_deallocate(&interface, &pages));
    must(wrt_linux_lazy_memory_deinit(&lazy));
    return 0;
}
