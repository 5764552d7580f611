/* Times kept slots and cold memories beside the bare system calls, and an image that is copied on
 * write beside one that is copied. All take turns in each round; the shortest time counts. */
#define _GNU_SOURCE
#include "wrt_platform/instance.h"
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/slot_pool.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS = 60, TURNS = 100, TOUCH = 4096, IMAGE = 1 << 20, IMAGE_PAGES = 16, GROWTHS = 256 };

static uint8_t image[IMAGE];
static wrt_module module; /* (module (memory (export "memory") 1 16)), as the peer has it */

static void must(bool is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s failed: %s\n", what, wrt_error_last()->reason);
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void touch(volatile uint8_t *start, size_t size)
{
    for (size_t offset = 0; offset < size; offset += TOUCH) start[offset] = 1;
}

static uint8_t *map(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(start != MAP_FAILED, "mmap");
    return start;
}

static double bare_memory(const wrt_page_allocator *allocator)
{
    const double begin = now();

    (void)allocator;
    for (int i = 0; i < TURNS; i++) {
        uint8_t *start = map(WRT_PAGE_SIZE);
        touch(start, WRT_PAGE_SIZE);
        munmap(start, WRT_PAGE_SIZE);
    }
    return (now() - begin) / TURNS;
}

static double life(const wrt_page_allocator *allocator, size_t touched)
{
    const double begin = now();

    for (int i = 0; i < TURNS; i++) {
        wrt_pages pages;
        must(wrt_page_allocator_allocate(allocator, 1, IMAGE_PAGES, &pages) == WRT_OK, "allocate");
        touch(pages.base, touched);
        must(wrt_page_allocator_deallocate(allocator, &pages) == WRT_OK, "deallocate");
    }
    return (now() - begin) / TURNS;
}

static double cold_memory(const wrt_page_allocator *allocator)
{
    return life(allocator, WRT_PAGE_SIZE);
}

static double warm_slot(const wrt_page_allocator *allocator)
{
    return life(allocator, TOUCH);
}

static double warm_full_slot(const wrt_page_allocator *allocator)
{
    return life(allocator, WRT_PAGE_SIZE);
}

/* A whole instance, as the peer makes one: made on a kept slot, 4 KiB written, ended. */
static double warm_instance(const wrt_page_allocator *allocator)
{
    static uint64_t buffer[2048];
    const wrt_instance_config config = {.struct_size = sizeof config,
                                        .module = &module,
                                        .allocator = *allocator,
                                        .stack_size = 4096,
                                        .buffer = buffer,
                                        .buffer_size = sizeof buffer};
    const double begin = now();

    for (int i = 0; i < TURNS; i++) {
        static wrt_instance instance;
        wrt_memory *memory;
        must(wrt_instance_init(&instance, &config) == WRT_OK, "wrt_instance_init");
        must(wrt_instance_memory(&instance, &memory) == WRT_OK, "wrt_instance_memory");
        touch(memory->base, TOUCH);
        must(wrt_instance_deinit(&instance) == WRT_OK, "wrt_instance_deinit");
    }
    return (now() - begin) / TURNS;
}

static double copied_image(const wrt_page_allocator *allocator)
{
    const double begin = now();

    (void)allocator;
    for (int i = 0; i < TURNS / 10; i++) {
        uint8_t *start = map(IMAGE);
        memcpy(start, image, IMAGE);
        touch(start, 4 * TOUCH);
        munmap(start, IMAGE);
    }
    return (now() - begin) / (TURNS / 10);
}

static double shared_image(const wrt_page_allocator *allocator)
{
    const double begin = now();

    for (int i = 0; i < TURNS; i++) {
        wrt_pages pages;
        must(wrt_page_allocator_allocate(allocator, IMAGE_PAGES, IMAGE_PAGES, &pages) == WRT_OK,
             "allocate");
        touch(pages.base, 4 * TOUCH);
        must(wrt_page_allocator_deallocate(allocator, &pages) == WRT_OK, "deallocate");
    }
    return (now() - begin) / TURNS;
}

static double bare_growth(const wrt_page_allocator *allocator)
{
    const size_t size = (size_t)GROWTHS * WRT_PAGE_SIZE;
    uint8_t *start = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const double begin = now();

    (void)allocator;
    for (size_t i = 0; i < GROWTHS; i++) {
        const int code = mprotect(start + i * WRT_PAGE_SIZE, WRT_PAGE_SIZE, PROT_READ | PROT_WRITE);
        must(code == 0, "mprotect");
    }
    const double end = now();
    munmap(start, size);
    return (end - begin) / GROWTHS;
}

static double growth(const wrt_page_allocator *allocator)
{
    wrt_pages pages;
    must(wrt_page_allocator_allocate(allocator, 0, GROWTHS, &pages) == WRT_OK, "allocate");
    const double begin = now();

    for (size_t i = 0; i < GROWTHS; i++) {
        must(wrt_page_allocator_grow(allocator, &pages, 1) == WRT_OK, "grow");
    }
    const double end = now();
    must(wrt_page_allocator_deallocate(allocator, &pages) == WRT_OK, "deallocate");
    return (end - begin) / GROWTHS;
}

static wrt_page_allocator slots(wrt_linux_slot_pool *pool, uint32_t maximum_pages,
                                const uint8_t *bytes, size_t size)
{
    const wrt_linux_slot_pool_config config = {.struct_size = sizeof config,
                                               .slot_count = 4,
                                               .maximum_pages = maximum_pages,
                                               .image = bytes,
                                               .image_size = size};

    must(wrt_linux_slot_pool_init(pool, &config) == WRT_OK, "init");
    return wrt_linux_slot_pool_interface(pool);
}

static void load_module(void)
{
    static const uint8_t bytes[] = "\0asm\1\0\0\0\5\4\1\1\1\20\7\12\1\6memory\2";
    static uint64_t buffer[512];
    const wrt_module_config config = {.struct_size = sizeof config,
                                      .bytes = bytes,
                                      .bytes_size = sizeof bytes,
                                      .buffer = buffer,
                                      .buffer_size = sizeof buffer};

    must(wrt_module_init(&module, &config) == WRT_OK, "wrt_module_init");
}

int main(void)
{
    static wrt_linux_slot_pool sparse, full, grown, imaged, lively;
    static wrt_linux_allocator allocator;
    const wrt_linux_allocator_config config = {
        .struct_size = sizeof config, .maximum_pages = IMAGE_PAGES, .guard_pages = true};

    for (size_t i = 0; i < IMAGE; i++) image[i] = (uint8_t)(i * 7 + i / TOUCH);
    must(wrt_linux_allocator_init(&allocator, &config) == WRT_OK, "init");
    load_module();
    struct {
        const char *name;
        double (*time)(const wrt_page_allocator *allocator);
        wrt_page_allocator of;
        double best;
    } all[] = {
        {"bare", bare_memory, {0}, 0},
        {"cold", cold_memory, wrt_linux_allocator_interface(&allocator), 0},
        {"warm", warm_slot, slots(&sparse, IMAGE_PAGES, NULL, 0), 0},
        {"warm-full", warm_full_slot, slots(&full, IMAGE_PAGES, NULL, 0), 0},
        {"instance", warm_instance, slots(&lively, IMAGE_PAGES, NULL, 0), 0},
        {"copied-image", copied_image, {0}, 0},
        {"shared-image", shared_image, slots(&imaged, IMAGE_PAGES, image, IMAGE), 0},
        {"bare-grow", bare_growth, {0}, 0},
        {"grow", growth, slots(&grown, GROWTHS, NULL, 0), 0},
    };

    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            const double time = all[i].time(&all[i].of);
            if (all[i].best == 0 || time < all[i].best) all[i].best = time;
        }
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        printf("%s %.1f\n", all[i].name, all[i].best);
    }
    return 0;
}
