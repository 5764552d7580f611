/* Mappings and limits. */
#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGE = 4096 };

static const int anonymous = MAP_PRIVATE | MAP_ANON;

static uint8_t *map(size_t size, int prot, int flags)
{
    void *address = mmap(NULL, size, prot, flags, NOFD, 0);

    return CHECK(address != MAP_FAILED) ? address : NULL;
}

static void mapped_memory_is_zero_and_holds_what_is_written(void)
{
    uint8_t *memory = map(3 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    CHECK((uintptr_t)memory % PAGE == 0);
    for (size_t i = 0; i < 3 * PAGE; i += 511) CHECK(memory[i] == 0);
    memset(memory, 0x5a, 3 * PAGE);
    CHECK(memory[0] == 0x5a && memory[3 * PAGE - 1] == 0x5a);
    CHECK(munmap(memory, 3 * PAGE) == 0);
    CHECK(!can_read(memory));
}

static void protection_is_that_of_the_last_mprotect(void)
{
    uint8_t *memory = map(3 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    memory[PAGE] = 7;
    CHECK(mprotect(memory + PAGE, PAGE, PROT_NONE) == 0);
    CHECK(can_write(memory) && can_write(memory + 2 * PAGE));
    CHECK(!can_read(memory + PAGE) && !can_read(memory + 2 * PAGE - 1));
    CHECK(mprotect(memory, 3 * PAGE, PROT_READ) == 0);
    CHECK(can_read(memory + PAGE) && !can_write(memory + PAGE) && !can_write(memory));
    CHECK(memory[PAGE] == 7);
    CHECK(mprotect(memory, 3 * PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK(can_write(memory + PAGE));
    CHECK(munmap(memory, 3 * PAGE) == 0);
}

static void mprotect_of_a_range_with_a_hole_changes_nothing(void)
{
    uint8_t *memory = map(4 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    CHECK(munmap(memory + 2 * PAGE, PAGE) == 0);
    errno = 0;
    CHECK_EQUAL(mprotect(memory, 4 * PAGE, PROT_NONE), -1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(can_write(memory) && can_write(memory + PAGE) && can_write(memory + 3 * PAGE));
    CHECK(munmap(memory, 4 * PAGE) == 0); /* holes are nothing to complain of here */
    CHECK(!can_read(memory) && !can_read(memory + 3 * PAGE));
}

static void part_of_a_mapping_can_be_unmapped(void)
{
    uint8_t *memory = map(3 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    memory[0] = 1;
    memory[2 * PAGE] = 2;
    CHECK(munmap(memory + PAGE, PAGE) == 0);
    CHECK(!can_read(memory + PAGE) && !can_read(memory + 2 * PAGE - 1));
    CHECK(memory[0] == 1 && memory[2 * PAGE] == 2);
    CHECK(munmap(memory, 3 * PAGE) == 0);
}

static void a_fixed_mapping_takes_the_place_and_reads_as_zero(void)
{
    uint8_t *memory = map(3 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    memset(memory, 9, 3 * PAGE);
    void *again = mmap(memory + PAGE, PAGE, PROT_READ | PROT_WRITE, anonymous | MAP_FIXED, NOFD, 0);
    CHECK(again == memory + PAGE);
    CHECK(memory[PAGE - 1] == 9 && memory[PAGE] == 0 && memory[2 * PAGE - 1] == 0);
    CHECK(memory[2 * PAGE] == 9);
    CHECK(munmap(memory, 3 * PAGE) == 0);
}

static void wrong_arguments_are_refused(void)
{
    uint8_t *memory = map(2 * PAGE, PROT_READ | PROT_WRITE, anonymous);
    const struct {
        size_t size;
        int prot, flags, fd, number;
    } wrong[] = {
        {0, PROT_READ, anonymous, NOFD, EINVAL},
        {PAGE, 1, anonymous, NOFD, EINVAL}, /* Linux's PROT_READ */
        {PAGE, PROT_READ, anonymous, 5, EINVAL},
        {PAGE, PROT_READ, MAP_PRIVATE | MAP_PHYS | MAP_LAZY, NOFD, EINVAL},
        {PAGE, PROT_READ, anonymous | MAP_SYSRAM, NOFD, EINVAL},
        {PAGE, PROT_READ, MAP_PRIVATE, 999, EBADF},
    };

    if (memory == NULL) return;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        errno = 0;
        CHECK(mmap(NULL, wrong[i].size, wrong[i].prot, wrong[i].flags, wrong[i].fd, 0) ==
              MAP_FAILED);
        CHECK_EQUAL(errno, wrong[i].number);
    }
    CHECK(mmap(memory + 1, PAGE, PROT_READ, anonymous | MAP_FIXED, NOFD, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(mprotect(memory, PAGE, 1), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(munmap(memory, 0), -1);
    CHECK_EQUAL(errno, EINVAL);
    CHECK_EQUAL(posix_madvise(memory, PAGE, 99), EINVAL);
    CHECK_EQUAL(posix_madvise(memory, 2 * PAGE, POSIX_MADV_DONTNEED), EOK);
    CHECK(munmap(memory, 2 * PAGE) == 0);
    CHECK_EQUAL(posix_madvise(memory, 2 * PAGE, POSIX_MADV_WILLNEED), ENOMEM);
}

static void a_buffer_out_of_reach_is_efault(void)
{
    uint8_t *memory = map(2 * PAGE, PROT_READ | PROT_WRITE, anonymous);

    if (memory == NULL) return;
    struct rlimit *inside = (struct rlimit *)memory;
    struct rlimit *across = (struct rlimit *)(memory + PAGE - sizeof(rlim_t));
    CHECK(getrlimit(RLIMIT_AS, inside) == 0);
    CHECK(mprotect(memory + PAGE, PAGE, PROT_NONE) == 0);
    CHECK(getrlimit(RLIMIT_AS, inside) == 0);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, across), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK(mprotect(memory, PAGE, PROT_READ) == 0);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, inside), -1);
    CHECK(setrlimit(RLIMIT_AS, inside) == 0);
    CHECK(munmap(memory, 2 * PAGE) == 0);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, inside), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(getrlimit(RLIMIT_AS, NULL), -1);
}

static void limit(int resource, rlim_t bytes)
{
    struct rlimit both = {bytes, RLIM_INFINITY};

    CHECK(setrlimit(resource, &both) == 0);
    both = (struct rlimit){0, 0};
    CHECK(getrlimit(resource, &both) == 0);
    CHECK(both.rlim_cur == bytes && both.rlim_max == RLIM_INFINITY);
}

static bool can_map(size_t size, int prot, int flags)
{
    void *memory = mmap(NULL, size, prot, flags, NOFD, 0);

    if (memory == MAP_FAILED) {
        CHECK_EQUAL(errno, ENOMEM);
        return false;
    }
    CHECK(munmap(memory, size) == 0);
    return true;
}

/* A process of a real QNX has more mapped than this one, so the limits are far above what either
 * has, and what is asked for is larger. */
enum { FAR_ABOVE = 512 * 1024 * 1024 };

static void limit_of_addresses_counts_reservations(void)
{
    limit(RLIMIT_AS, FAR_ABOVE);
    CHECK(can_map(FAR_ABOVE / 2, PROT_NONE, anonymous | MAP_LAZY));
    CHECK(!can_map(FAR_ABOVE + PAGE, PROT_NONE, anonymous | MAP_LAZY));
    limit(RLIMIT_AS, RLIM_INFINITY);
    CHECK(can_map(FAR_ABOVE + PAGE, PROT_NONE, anonymous | MAP_LAZY));
}

static void limit_of_data_counts_private_memory(void)
{
    limit(RLIMIT_DATA, FAR_ABOVE);
    CHECK(!can_map(FAR_ABOVE + PAGE, PROT_NONE, anonymous | MAP_LAZY));
    CHECK(can_map(FAR_ABOVE + PAGE, PROT_NONE, MAP_SHARED | MAP_ANON | MAP_LAZY));
    limit(RLIMIT_DATA, RLIM_INFINITY);
}

static void a_limit_can_be_lowered_for_good(void)
{
    struct rlimit both = {FAR_ABOVE, FAR_ABOVE / 2};

    CHECK_EQUAL(setrlimit(RLIMIT_AS, &both), -1);
    CHECK_EQUAL(errno, EINVAL);
    both = (struct rlimit){FAR_ABOVE / 2, FAR_ABOVE};
    CHECK(setrlimit(RLIMIT_AS, &both) == 0);
    both.rlim_cur = FAR_ABOVE;
    CHECK(setrlimit(RLIMIT_AS, &both) == 0);
    CHECK_EQUAL(getrlimit(-1, &both), -1);
    CHECK_EQUAL(errno, EINVAL);
}

const struct check memory_checks[] = {
    {"mapped memory is zero and holds what is written",
     mapped_memory_is_zero_and_holds_what_is_written},
    {"protection is that of the last mprotect", protection_is_that_of_the_last_mprotect},
    {"mprotect of a range with a hole changes nothing",
     mprotect_of_a_range_with_a_hole_changes_nothing},
    {"part of a mapping can be unmapped", part_of_a_mapping_can_be_unmapped},
    {"a fixed mapping takes the place and reads as zero",
     a_fixed_mapping_takes_the_place_and_reads_as_zero},
    {"wrong arguments are refused", wrong_arguments_are_refused},
    {"a buffer out of reach is EFAULT", a_buffer_out_of_reach_is_efault},
    {"limit of addresses counts reservations", limit_of_addresses_counts_reservations},
    {"limit of data counts private memory", limit_of_data_counts_private_memory},
    {"a limit can be lowered for good", a_limit_can_be_lowered_for_good},
    {NULL, NULL},
};
