/* Memory: addresses, guards, huge pages, locks, names, nodes, tags. */
#include "touch.h"

#include "../core/fail.h"
#include "../linux/sys_memory.h"
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/mte.h"
#include "wrt_platform/linux/slot_pool.h"

#define MIB             ((uint64_t)1 << 20)
#define GIB             ((uint64_t)1 << 30)
#define HUGE_SHIFT      26 /* where the mapping flags hold the size of a page, as its exponent */
#define PAGES_OF(bytes) ((uint32_t)((bytes) / WRT_PAGE_SIZE))

enum { TWO_MIB = 21, ONE_GIB = 30, PROTECTED_BY_TAGS = 0x20 /* PROT_MTE */ };

/* ---- Memory of the allocator ---- */

typedef struct held {
    wrt_linux_allocator allocator;
    wrt_page_allocator interface;
    wrt_pages pages;
} held;

static wrt_status hold(held *what, const wrt_linux_allocator_config *config, uint32_t pages,
                       uint32_t maximum)
{
    memset(what, 0, sizeof *what);
    wrt_status status = wrt_linux_allocator_init(&what->allocator, config);
    if (status != WRT_OK) return status;
    what->interface = wrt_linux_allocator_interface(&what->allocator);
    status = wrt_page_allocator_allocate(&what->interface, pages, maximum, &what->pages);
    if (status != WRT_OK) what->pages = (wrt_pages){0};
    return status;
}

/* Whether all of it could be given back. */
static wrt_status let_go(held *what)
{
    wrt_status status = WRT_OK;

    if (what->pages.base != NULL) {
        status = wrt_page_allocator_deallocate(&what->interface, &what->pages);
        if (status != WRT_OK) { /* a call that a test lets fail: the second try is another */
            status = wrt_page_allocator_deallocate(&what->interface, &what->pages);
        }
    }
    return status == WRT_OK ? wrt_linux_allocator_deinit(&what->allocator) : status;
}

static wrt_linux_allocator_config config_of(void)
{
    return (wrt_linux_allocator_config){.struct_size = sizeof(wrt_linux_allocator_config)};
}

/* Gives the memory back; the first failure counts. */
static wrt_status end_with(held *what, wrt_status status)
{
    const wrt_error first = *wrt_error_last();
    const wrt_status given_back = let_go(what);

    return status == WRT_OK ? given_back : wrt_fail_again(&first);
}

static wrt_status try_reserve(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    held memory;

    config.guard_pages = true;
    wrt_status status = hold(&memory, &config, 1, WRT_PAGE_COUNT_MAX);
    if (status == WRT_OK) {
        memory.pages.base[WRT_PAGE_SIZE - 1] = 1;
        status = wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                                    "{0} bytes of addresses, {1} of them in use",
                                    memory.pages.reserved_size, WRT_PAGE_SIZE);
    }
    return end_with(&memory, status);
}

static wrt_status touch_guards(wrt_doctor_row *row, const held *memory)
{
    const uint8_t *const base = memory->pages.base;
    wrt__touch touches[] = {{.address = base - 1},
                            {.address = base + WRT_PAGE_SIZE},
                            {.address = base + WRT_PAGE_SIZE, .kind = WRT__TOUCH_WRITE},
                            {.address = base, .kind = WRT__TOUCH_RUN}};

    for (uint32_t i = 0; i < sizeof touches / sizeof *touches; i++) {
        const wrt_status status = wrt__touch_in_child(&touches[i]);
        if (status != WRT_OK) return status;
        if (wrt__touch_is_refused(&touches[i])) continue;
        return wrt__found_numbers(row, WRT_DOCTOR_ABSENT,
                                  "touch {0} round the memory of a guest ended in signal {1}, not "
                                  "in SIGSEGV for want of a right at that address",
                                  i, (uint64_t)touches[i].signal_number);
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "in a child: the bytes before and behind the memory faulted, and so did "
                      "running what is in it");
}

static wrt_status try_guard(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    held memory;

    config.guard_pages = true;
    wrt_status status = hold(&memory, &config, 1, 2);
    if (status == WRT_OK) status = touch_guards(row, &memory);
    return end_with(&memory, status);
}

static wrt_status try_populate(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    wrt_linux_allocator_report report;
    held memory;

    config.populate = true;
    wrt_status status = hold(&memory, &config, PAGES_OF(MIB), PAGES_OF(MIB));
    if (status == WRT_OK) status = wrt_linux_allocator_query(&memory.allocator, &report);
    if (status == WRT_OK) {
        status =
            wrt__found_word(row,
                            report.populate.state == WRT_ENFORCEMENT_ENFORCED ? WRT_DOCTOR_AVAILABLE
                                                                              : WRT_DOCTOR_PARTIAL,
                            "1 MiB taken beforehand: {w}", report.populate.reason);
    }
    return end_with(&memory, status);
}

static wrt_status try_lock(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    struct rlimit limit = {0, 0};
    held memory;

    config.mlock = true;
    wrt_status status = hold(&memory, &config, PAGES_OF(MIB), PAGES_OF(MIB));
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (status == WRT_OK && limit.rlim_cur == RLIM_INFINITY) {
        status = wrt__found(row, WRT_DOCTOR_AVAILABLE, "1 MiB kept in RAM; without limit");
    } else if (status == WRT_OK) {
        status =
            wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                               "1 MiB kept in RAM; RLIMIT_MEMLOCK is {0} bytes", limit.rlim_cur, 0);
    }
    return end_with(&memory, status);
}

static wrt_status try_name(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    wrt_linux_allocator_report report;
    held memory;

    config.name = "wrt doctor";
    wrt_status status = hold(&memory, &config, 1, 1);
    if (status == WRT_OK) status = wrt_linux_allocator_query(&memory.allocator, &report);
    if (status == WRT_OK && report.name_source == WRT_LINUX_NAME_ANON) {
        status = wrt__found(row, WRT_DOCTOR_AVAILABLE, "mappings carry names, [anon:...]");
    } else if (status == WRT_OK && report.name_source == WRT_LINUX_NAME_MEMFD) {
        status = wrt__found(row, WRT_DOCTOR_PARTIAL,
                            "named by a file in memory, /memfd:..., since the kernel names no "
                            "mappings");
    } else if (status == WRT_OK) {
        status = wrt__found(row, WRT_DOCTOR_ABSENT, "neither prctl nor memfd_create names memory");
    }
    return end_with(&memory, status);
}

static wrt_status try_transparent(wrt_doctor_row *row)
{
    wrt_linux_allocator_config config = config_of();
    wrt_linux_memory_stats stats = {0};
    held memory;

    config.thp_mode = WRT_LINUX_THP_ALWAYS;
    wrt_status status = hold(&memory, &config, PAGES_OF(8 * MIB), PAGES_OF(8 * MIB));
    if (status == WRT_OK) {
        memset(memory.pages.base, 1, 8 * MIB);
        status = wrt_linux_allocator_memory_stats(&memory.allocator, &memory.pages, &stats);
    }
    if (status == WRT_OK && stats.huge_bytes > 0) {
        status = wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                                    "{0} of {1} bytes that were written lie in huge pages",
                                    stats.huge_bytes, 8 * MIB);
    } else if (status == WRT_OK) {
        status = wrt__found(row, WRT_DOCTOR_ABSENT, "8 MiB were written, and no page is huge");
    }
    return end_with(&memory, status);
}

/* ---- Pools ---- */

static wrt_status use_slot(wrt_doctor_row *row, wrt_linux_slot_pool *pool)
{
    const wrt_page_allocator interface = wrt_linux_slot_pool_interface(pool);
    wrt_linux_slot_pool_report report;
    wrt_pages pages = {0};

    wrt_status status = wrt_page_allocator_allocate(&interface, 1, 1, &pages);
    if (status != WRT_OK) return status;
    const bool has_image = pages.base[0] == 'i';
    pages.base[0] = 'x';
    status = wrt_page_allocator_deallocate(&interface, &pages);
    if (status != WRT_OK) status = wrt_page_allocator_deallocate(&interface, &pages);
    if (status == WRT_OK) status = wrt_linux_slot_pool_query(pool, &report);
    if (status != WRT_OK) return status;
    if (!has_image) return wrt__found(row, WRT_DOCTOR_ABSENT, "the image is not in the slot");
    return wrt__found_word(row,
                           report.cleaning.state == WRT_ENFORCEMENT_ENFORCED ? WRT_DOCTOR_AVAILABLE
                                                                             : WRT_DOCTOR_PARTIAL,
                           "an image shared by copy-on-write; cleaning: {w}",
                           report.cleaning.reason);
}

static wrt_status try_slots(wrt_doctor_row *row)
{
    wrt_linux_slot_pool_config config = {.struct_size = sizeof config};
    wrt_linux_slot_pool pool = {0};

    config.slot_count = 1;
    config.maximum_pages = 1;
    config.keep_bytes = 4096;
    config.image = (const uint8_t *)"image";
    config.image_size = 5;
    wrt_status status = wrt_linux_slot_pool_init(&pool, &config);
    if (status != WRT_OK) return status;
    status = use_slot(row, &pool);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_linux_slot_pool_deinit(&pool);
    if (ended != WRT_OK) ended = wrt_linux_slot_pool_deinit(&pool);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

/* ---- Pages by the system's own calls ---- */

static wrt_status try_huge(wrt_doctor_row *row, uint32_t exponent)
{
    const size_t size = (size_t)1 << exponent;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(exponent << HUGE_SHIFT);
    void *start = wrt__sys_mmap(size, PROT_READ | PROT_WRITE, flags, -1);

    if (start == MAP_FAILED) return wrt__refused("mmap(MAP_HUGETLB)");
    wrt__touch touch = {.address = start, .kind = WRT__TOUCH_WRITE};
    const wrt_status status = wrt__touch_in_child(&touch);
    (void)munmap(start, size);
    if (status != WRT_OK) return status;
    if (touch.signal_number != 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT,
                          "a page is reserved, but a control group (hugetlb) refuses it at the "
                          "first touch");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "a page of {0} bytes was written", size,
                              0);
}

static wrt_status try_huge_2_mib(wrt_doctor_row *row)
{
    return try_huge(row, TWO_MIB);
}

static wrt_status try_huge_1_gib(wrt_doctor_row *row)
{
    return try_huge(row, ONE_GIB);
}

static int write_mark(void *context)
{
    *(volatile uint8_t *)context = 1;
    return 0;
}

/* An ordinary forked child, since that is what the mapping is shared with. */
static wrt_status try_shared(wrt_doctor_row *row)
{
    int code = 0;
    uint8_t *const shared =
        wrt__sys_mmap(WRT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);

    if (shared == MAP_FAILED) return wrt__refused("mmap(MAP_SHARED)");
    const pid_t child = wrt__sys_fork_child();
    if (child == 0) _exit(write_mark(shared));
    wrt_status status = WRT_OK;
    if (child < 0) status = wrt__refused("fork");
    if (child > 0) (void)wrt__sys_wait_exit(child, &code);
    if (status == WRT_OK) {
        status =
            *shared == 1
                ? wrt__found(row, WRT_DOCTOR_AVAILABLE, "what a forked child wrote is seen here")
                : wrt__found(row, WRT_DOCTOR_ABSENT, "what a forked child wrote is not seen here");
    }
    (void)munmap(shared, WRT_PAGE_SIZE);
    return status;
}

/* The allocator asks for nothing where there is one node, so the call is made here. */
static wrt_status bind_to(wrt_doctor_row *row, uint32_t node, uint32_t count)
{
    wrt_linux_numa_mask nodes = {{0}};
    void *start =
        wrt__sys_mmap(WRT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    if (start == MAP_FAILED) return wrt__refused("mmap");
    nodes.words[node / 64] = (uint64_t)1 << node % 64;
    const int result = wrt__sys_mbind(start, WRT_PAGE_SIZE, WRT__POLICY_BIND, nodes.words);
    const int code = errno;
    (void)munmap(start, WRT_PAGE_SIZE);
    errno = code;
    if (result != 0) return wrt__refused("mbind");
    if (count > 1) {
        return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                                  "memory was bound to node {0} of {1} nodes", node, count);
    }
    wrt__remedy(row, "nothing: a machine with one node has no far memory");
    return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL, "memory was bound to node {0}, the only one",
                              node, 0);
}

static wrt_status try_nodes(wrt_doctor_row *row)
{
    wrt_linux_numa_node node;
    uint32_t count = 0;

    const wrt_status status = wrt_linux_numa_topology(&node, 1, &count);
    return status == WRT_OK ? bind_to(row, node.id, count) : status;
}

/* ---- Tags ---- */

static wrt_status try_tags(wrt_doctor_row *row)
{
    const wrt_status status = wrt_linux_mte_is_available();
    if (status != WRT_OK) return status;

    void *start = wrt__sys_mmap(WRT_PAGE_SIZE, PROT_READ | PROT_WRITE | PROTECTED_BY_TAGS,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (start == MAP_FAILED) return wrt__refused("mmap(PROT_MTE)");
    (void)munmap(start, WRT_PAGE_SIZE);
    return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a page with tags was mapped");
}

static const wrt__attempt attempts[] = {
    {"memory.reserve", "reserve 4 GiB", "LM-1 LM-5", try_reserve,
     "raise or remove the limit of addresses: ulimit -v unlimited"},
    {"memory.guards", "guard pages", "LM-1", try_guard,
     "report it with the kernel's version: memory without guards is not to be relied on"},
    {"memory.huge_1_gib", "huge pages of 1 GiB", "LM-1 LM-5", try_huge_1_gib,
     "boot with hugepagesz=1G hugepages=1, or as root: echo 1 > "
     "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages; smaller pages are used until "
     "then"},
    {"memory.huge_2_mib", "huge pages of 2 MiB", "LM-1 LM-5", try_huge_2_mib,
     "as root: echo 1024 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages (2 GiB of RAM); "
     "smaller pages are used until then"},
    {"memory.transparent_huge", "transparent huge pages", "LM-3", try_transparent,
     "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; a process that was "
     "started with PR_SET_THP_DISABLE has none"},
    {"memory.populate", "memory taken beforehand", "LM-1", try_populate,
     "Linux 5.14 says when memory is short; before, it shows at the first touch"},
    {"memory.lock", "lock 1 MiB in RAM", "LM-1 LM-5", try_lock,
     "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit"},
    {"memory.name", "named memory", "LM-1", try_name,
     "a kernel with CONFIG_ANON_VMA_NAME (Linux 5.17); few distributions have it"},
    {"memory.shared", "shared memory", "LM-2", try_shared,
     "let the container's filter pass mmap and fork"},
    {"memory.numa", "memory of a node", "LM-4", try_nodes,
     "let the container pass mbind: with Docker --cap-add SYS_NICE, or a seccomp profile that "
     "allows it"},
    {"memory.slots", "kept slots, shared images", "LM-6", try_slots,
     "let the container pass memfd_create and /proc/self/pagemap"},
    {"memory.tags", "tagged memory (MTE)", "MT-1", try_tags,
     "a 64-bit Arm processor with the Memory Tagging Extension (Armv8.5), and Linux 5.10"},
};

const wrt__topic wrt__topic_memory = {attempts, sizeof attempts / sizeof *attempts};
