/* Times the Linux allocator at each verification level beside the bare system calls that it
 * makes. All take turns in each round, and of all rounds the shortest time counts. */
#define _GNU_SOURCE
#include "wrt_platform/linux/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { ROUNDS = 40, GROWTHS = 256, MEMORIES = 200, RESERVED = 4096, TOUCH = 4096 };

typedef struct contestant {
    const char *name;
    uint32_t level; /* 0: the bare system calls */
    bool guard_pages;
    double grow;   /* nanoseconds a page, the best so far */
    double memory; /* nanoseconds a memory */
    wrt_page_allocator allocator;
} contestant;

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

static void keep_best(double *best, double value)
{
    if (*best == 0 || value < *best) *best = value;
}

static uint8_t *bare_reserve(size_t size)
{
    uint8_t *start =
        mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    must(start != MAP_FAILED, "mmap");
    return start;
}

static double bare_growth(void)
{
    const size_t size = (size_t)RESERVED * WRT_PAGE_SIZE;
    uint8_t *start = bare_reserve(size);
    const double begin = now();

    for (size_t i = 0; i < GROWTHS; i++) {
        uint8_t *page = start + i * WRT_PAGE_SIZE;
        must(mprotect(page, WRT_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    }
    const double end = now();
    munmap(start, size);
    return (end - begin) / GROWTHS;
}

static double growth(const wrt_page_allocator *allocator)
{
    wrt_pages pages;
    must(wrt_page_allocator_allocate(allocator, 0, RESERVED, &pages) == WRT_OK, "allocate");
    const double begin = now();

    for (int i = 0; i < GROWTHS; i++) {
        must(wrt_page_allocator_grow(allocator, &pages, 1) == WRT_OK, "grow");
    }
    const double end = now();
    must(wrt_page_allocator_deallocate(allocator, &pages) == WRT_OK, "deallocate");
    return (end - begin) / GROWTHS;
}

static void touch(volatile uint8_t *page)
{
    for (size_t offset = 0; offset < WRT_PAGE_SIZE; offset += TOUCH) page[offset] = 1;
}

/* A memory that is made, used and given back, without any room to grow. */
static double bare_memories(void)
{
    const double begin = now();

    for (int i = 0; i < MEMORIES; i++) {
        void *start =
            mmap(NULL, WRT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(start != MAP_FAILED, "mmap");
        touch(start);
        munmap(start, WRT_PAGE_SIZE);
    }
    return (now() - begin) / MEMORIES;
}

/* The same, with 256 MiB reserved. */
static double memories(const wrt_page_allocator *allocator)
{
    const double begin = now();

    for (int i = 0; i < MEMORIES; i++) {
        wrt_pages pages;
        must(wrt_page_allocator_allocate(allocator, 1, RESERVED, &pages) == WRT_OK, "allocate");
        touch(pages.base);
        must(wrt_page_allocator_deallocate(allocator, &pages) == WRT_OK, "deallocate");
    }
    return (now() - begin) / MEMORIES;
}

static void prepare(contestant *who, wrt_linux_allocator *allocator)
{
    wrt_linux_allocator_config config = {.struct_size = sizeof config,
                                         .verification_level = who->level,
                                         .guard_pages = who->guard_pages};

    must(wrt_linux_allocator_init(allocator, &config) == WRT_OK, "init");
    who->allocator = wrt_linux_allocator_interface(allocator);
}

int main(void)
{
    static contestant all[] = {
        {.name = "bare"},
        {.name = "off", .level = WRT_VERIFICATION_OFF, .guard_pages = true},
        {.name = "sampling", .level = WRT_VERIFICATION_SAMPLING, .guard_pages = true},
        {.name = "standard", .level = WRT_VERIFICATION_STANDARD, .guard_pages = true},
        {.name = "full", .level = WRT_VERIFICATION_FULL, .guard_pages = true},
        {.name = "full-canaries", .level = WRT_VERIFICATION_FULL},
    };
    enum { COUNT = sizeof all / sizeof all[0] };
    static wrt_linux_allocator allocators[COUNT];

    for (size_t i = 1; i < COUNT; i++) prepare(&all[i], &allocators[i]);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            const bool is_bare = all[i].level == 0;
            keep_best(&all[i].grow, is_bare ? bare_growth() : growth(&all[i].allocator));
            keep_best(&all[i].memory, is_bare ? bare_memories() : memories(&all[i].allocator));
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        printf("%s %.1f %.1f\n", all[i].name, all[i].grow, all[i].memory);
    }
    return 0;
}
