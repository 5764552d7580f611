/* Input and output, and memory that comes when it is touched: what a ring reads is compared, ways
 * out of a folder are tried, a page is loaded and its first write looked for. */
#include "doctor.h"

#include "../core/fail.h"
#include "../linux/sys_files.h"
#include "wrt_platform/linux/io_uring.h"
#include "wrt_platform/linux/write_tracker.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* ---- io_uring ---- */

enum { READ_BYTES = 64, OPERATION_COUNT = WRT_IO_URING_FDATASYNC, WAIT_NS = 1000000000 };

/* What the ring reads into is there as long as the ring. */
typedef struct ring_read {
    wrt_io_uring ring;
    uint8_t bytes[READ_BYTES];
} ring_read;

static void explain_ring(wrt_doctor_row *row)
{
    const uint64_t disabled = wrt__setting("/proc/sys/kernel/io_uring_disabled", 0);

    if (disabled != 0) {
        wrt__remedy(row, disabled == 1
                             ? "kernel.io_uring_disabled is 1: sysctl kernel.io_uring_disabled=0, "
                               "or the group of kernel.io_uring_group; threads with pread are used "
                               "until then"
                             : "kernel.io_uring_disabled is 2: sysctl kernel.io_uring_disabled=0; "
                               "threads with pread are used until then");
    }
}

static wrt_status tell_operations(wrt_doctor_row *row, const wrt_io_uring *ring)
{
    wrt_io_uring_report report;
    uint64_t missing = 0;

    const wrt_status status = wrt_io_uring_query(ring, &report);
    if (status != WRT_OK) return status;
    for (uint32_t operation = WRT_IO_URING_READ; operation <= OPERATION_COUNT; operation++) {
        if ((report.operations & 1u << operation) == 0) missing++;
    }
    if (missing == 0) {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                          "a ring read what pread reads, and knows every operation");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL,
                              "a ring read what pread reads; {0} of {1} operations are missing",
                              missing, OPERATION_COUNT);
}

/* The start of this program, which is a file that needs no waiting. */
static wrt_status compare_reads(wrt_doctor_row *row, ring_read *reading, int program)
{
    uint8_t expected[READ_BYTES];
    wrt_io_uring_completion done = {0};

    if (wrt__sys_pread(program, expected, READ_BYTES, 0) != READ_BYTES) {
        return wrt__refused("pread of /proc/self/exe");
    }
    wrt_status status =
        wrt_io_uring_submit_read(&reading->ring, program, reading->bytes, READ_BYTES, 0, 1);
    if (status == WRT_OK) {
        status = wrt_io_uring_wait_completion(&reading->ring, &done, (uint64_t)WAIT_NS);
    }
    if (status != WRT_OK) return status;
    if (done.result < 0) {
        errno = -done.result;
        return wrt__refused("a read through the ring");
    }
    if (done.result != READ_BYTES || memcmp(reading->bytes, expected, READ_BYTES) != 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "a ring read something else than pread");
    }
    return tell_operations(row, &reading->ring);
}

static wrt_status use_ring(wrt_doctor_row *row, ring_read *reading)
{
    const int program = wrt__sys_open("/proc/self/exe", O_RDONLY);

    if (program < 0) return wrt__refused("open of /proc/self/exe");
    const wrt_status status = compare_reads(row, reading, program);
    close(program);
    return status;
}

static wrt_status try_ring(wrt_doctor_row *row)
{
    const wrt_io_uring_config config = {
        .struct_size = sizeof config, .entries = 2, .backend = WRT_IO_URING_KERNEL};
    ring_read reading = {0};

    wrt_status status = wrt_io_uring_init(&reading.ring, &config);
    if (status != WRT_OK) {
        explain_ring(row);
        return status;
    }
    status = use_ring(row, &reading);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_io_uring_deinit(&reading.ring);
    if (ended != WRT_OK) ended = wrt_io_uring_deinit(&reading.ring);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

/* ---- Files below a folder ---- */

enum { BENEATH = 8 };

typedef struct how {
    uint64_t flags, mode, resolve;
} how;

static int open_beneath(int folder, const char *path)
{
    const how wanted = {O_PATH | O_CLOEXEC, 0, BENEATH};

    return (int)wrt__doctor_call(SYS_openat2, (uintptr_t)folder, (uintptr_t)path,
                                 (uintptr_t)&wanted, sizeof wanted, 0, 0);
}

/* Of /proc/self, "fd" is inside and "root", a link to /, leads out. */
static wrt_status look_beneath(wrt_doctor_row *row, int folder)
{
    const int inside = open_beneath(folder, "fd");
    if (inside < 0) return wrt__refused("openat2");
    close(inside);
    const char *const ways_out[] = {"..", "root", "/"};
    for (uint32_t i = 0; i < 3; i++) {
        const int outside = open_beneath(folder, ways_out[i]);
        if (outside < 0) continue;
        close(outside);
        return wrt__found_word(row, WRT_DOCTOR_ABSENT, "`{w}` led out of a folder", ways_out[i]);
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "openat2 refused `..`, an absolute path and a link that leads out");
}

static wrt_status try_beneath(wrt_doctor_row *row)
{
    const int folder = wrt__sys_open("/proc/self", O_RDONLY | O_DIRECTORY);

    if (folder < 0) return wrt__refused("open of /proc/self");
    const wrt_status status = look_beneath(row, folder);
    close(folder);
    return status;
}

/* ---- Memory that comes when it is touched ---- */

enum { LOADED = 'w', WRITTEN = 'x' };

/* As a wrt_linux_lazy_load_fn. */
static wrt_status load(void *context, uint64_t offset, uint8_t *bytes_out, size_t size)
{
    (void)context;
    (void)offset;
    memset(bytes_out, LOADED, size);
    return WRT_OK;
}

static wrt_status write_and_look(wrt_doctor_row *row, wrt_linux_write_tracker *tracker,
                                 const wrt_pages *pages)
{
    uint32_t written = 0;
    uint32_t count = 0;

    pages->base[0] = WRITTEN;
    const wrt_status status = wrt_linux_write_tracker_take(tracker, &written, 1, &count);
    if (status != WRT_OK) return status;
    if (written != 1) {
        return wrt__found_numbers(row, WRT_DOCTOR_ABSENT,
                                  "the first page was written, and those of {0} were told", written,
                                  0);
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "a page was loaded, and the kernel told that it was written");
}

static wrt_status track(wrt_doctor_row *row, wrt_linux_lazy_memory *lazy, const wrt_pages *pages)
{
    const wrt_linux_write_tracker_config config = {.struct_size = sizeof config,
                                                   .method = WRT_LINUX_TRACKING_KERNEL,
                                                   .pages = pages,
                                                   .lazy_memory = lazy};
    wrt_linux_write_tracker tracker = {0};

    wrt_status status = wrt_linux_write_tracker_init(&tracker, &config);
    if (status == WRT_ERR_UNSUPPORTED) {
        return wrt__found_word(row, WRT_DOCTOR_PARTIAL, "a page was loaded; of writes: {w}",
                               wrt_error_last()->reason);
    }
    if (status != WRT_OK) return status;
    status = write_and_look(row, &tracker, pages);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_linux_write_tracker_deinit(&tracker);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static wrt_status load_and_track(wrt_doctor_row *row, wrt_linux_lazy_memory *lazy,
                                 const wrt_pages *pages)
{
    const wrt_status status = wrt_linux_lazy_memory_load(lazy, 0, 1);

    if (status != WRT_OK) return status;
    if (pages->base[0] != LOADED) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "the page that was loaded holds something else");
    }
    return track(row, lazy, pages);
}

static wrt_status use_lazy_memory(wrt_doctor_row *row, wrt_linux_lazy_memory *lazy)
{
    wrt_page_allocator interface = wrt_linux_lazy_memory_interface(lazy);
    wrt_pages pages = {0};

    wrt_status status = wrt_page_allocator_allocate(&interface, 1, 1, &pages);
    if (status != WRT_OK) return status;
    status = load_and_track(row, lazy, &pages);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_page_allocator_deallocate(&interface, &pages);
    if (ended != WRT_OK) ended = wrt_page_allocator_deallocate(&interface, &pages);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static wrt_status try_lazy_memory(wrt_doctor_row *row)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const wrt_linux_lazy_memory_config config = {.struct_size = sizeof config,
                                                 .image_size = page,
                                                 .chunk_bytes = page,
                                                 .load = load,
                                                 .require_lazy = true};
    wrt_linux_lazy_memory lazy = {0};

    wrt_status status = wrt_linux_lazy_memory_init(&lazy, &config);
    if (status != WRT_OK) return status;
    status = use_lazy_memory(row, &lazy);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_linux_lazy_memory_deinit(&lazy);
    if (ended != WRT_OK) ended = wrt_linux_lazy_memory_deinit(&lazy);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static const wrt__attempt attempts[] = {
    {"io.uring", "io_uring", "IU-1", try_ring,
     "Linux 5.6, and a container that lets io_uring pass (Docker 25 and later refuse it: "
     "--security-opt seccomp=a profile that allows it); threads with pread are used until then"},
    {"files.beneath", "files stay below a folder", "WE-6", try_beneath,
     "Linux 5.6 or later, and a container that lets openat2 pass"},
    {"userfaultfd.fill", "lazy loading, write tracking", "UF-1", try_lazy_memory,
     "Linux 6.7 for both; sysctl vm.unprivileged_userfaultfd=1, or rights on /dev/userfaultfd; in "
     "a container, a filter that lets userfaultfd and eventfd2 pass"},
};

const wrt__topic wrt__topic_io = {attempts, sizeof attempts / sizeof *attempts};
