/* Input, output and faults that are answered by programs: io_uring, files below a folder,
 * userfaultfd. Each is made, asked what it can do, and closed. */
#include "doctor.h"

#include "../core/fail.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup    425
#define SYS_io_uring_register 427
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* ---- io_uring ---- */

enum { PARAMETER_BYTES = 120, REGISTER_PROBE = 8, OPERATIONS = 64, SUPPORTED = 1 };
enum { READ = 22, WRITE = 23, FSYNC = 3, ASYNC_CANCEL = 14, LINK_TIMEOUT = 15 };

/* struct io_uring_probe */
typedef struct ring_probe {
    uint8_t last_operation;
    uint8_t operation_count;
    uint16_t reserved;
    uint32_t reserved_words[3];
    struct {
        uint8_t operation;
        uint8_t reserved;
        uint16_t flags;
        uint32_t reserved_word;
    } operations[OPERATIONS];
} ring_probe;

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

static wrt_status ask_ring(wrt_doctor_row *row, int ring)
{
    static const uint8_t needed[] = {READ, WRITE, FSYNC, ASYNC_CANCEL, LINK_TIMEOUT};
    ring_probe probe = {0};
    uint32_t missing = 0;

    if (wrt__doctor_call(SYS_io_uring_register, (uintptr_t)ring, REGISTER_PROBE, (uintptr_t)&probe,
                         OPERATIONS, 0, 0) != 0) {
        return wrt__refused("io_uring_register(IORING_REGISTER_PROBE)");
    }
    for (uint32_t i = 0; i < sizeof needed; i++) {
        if ((probe.operations[needed[i]].flags & SUPPORTED) == 0) missing++;
    }
    if (missing > 0) {
        return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL,
                                  "a ring was made; {0} of the {1} operations that are needed are "
                                  "missing",
                                  missing, sizeof needed);
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "a ring was made; it knows {0} operations",
                              (uint64_t)probe.last_operation + 1, 0);
}

static wrt_status try_ring(wrt_doctor_row *row)
{
    uint32_t parameters[PARAMETER_BYTES / 4] = {0};
    const int ring =
        (int)wrt__doctor_call(SYS_io_uring_setup, 2, (uintptr_t)parameters, 0, 0, 0, 0);

    if (ring < 0) {
        const int code = errno;
        explain_ring(row);
        errno = code;
        return wrt__refused("io_uring_setup");
    }
    const wrt_status status = ask_ring(row, ring);
    close(ring);
    return status;
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

/* ---- Faults that a program answers ---- */

#define FAULT_API      0xAAU
#define FAULT_API_CALL 0xc018aa3fUL
#define FAULT_REGISTER 0xc020aa00UL
#define FAULT_COPY     0xc028aa03UL

enum { USER_MODE_ONLY = 1, MISSING = 1, WRITE_PROTECT = 1 };

typedef struct fault_api {
    uint64_t api, features, ioctls;
} fault_api;
typedef struct fault_register {
    uint64_t start, size, mode, ioctls;
} fault_register;
typedef struct fault_copy {
    uint64_t to, from, size, mode;
    int64_t copied;
} fault_copy;

/* The page comes before it is touched, so that nobody has to wait for it. */
static wrt_status fill_page(wrt_doctor_row *row, int faults, uint8_t *page, uint64_t size,
                            uint64_t features)
{
    static const uint8_t image[65536] = {'w', 'r', 't'};
    fault_register all = {(uintptr_t)page, size, MISSING, 0};
    fault_copy copy = {(uintptr_t)page, (uintptr_t)image, size, 0, 0};

    if (wrt__doctor_ioctl(faults, FAULT_REGISTER, &all) != 0) {
        return wrt__refused("ioctl(UFFDIO_REGISTER)");
    }
    if (wrt__doctor_ioctl(faults, FAULT_COPY, &copy) != 0) {
        return wrt__refused("ioctl(UFFDIO_COPY)");
    }
    if (memcmp(page, image, (size_t)size) != 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "the page that was filled holds something else");
    }
    if ((features & WRITE_PROTECT) == 0) {
        return wrt__found(row, WRT_DOCTOR_PARTIAL,
                          "a page was filled; the kernel does not track writes (Linux 5.7)");
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a page was filled; writes can be tracked");
}

static wrt_status use_faults(wrt_doctor_row *row, int faults)
{
    fault_api api = {FAULT_API, 0, 0};
    const uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE);

    if (wrt__doctor_ioctl(faults, FAULT_API_CALL, &api) != 0) {
        return wrt__refused("ioctl(UFFDIO_API)");
    }
    uint8_t *const page =
        wrt__sys_mmap((size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (page == MAP_FAILED) return wrt__refused("mmap");
    const wrt_status status = fill_page(row, faults, page, size, api.features);
    (void)munmap(page, (size_t)size);
    return status;
}

static wrt_status try_faults(wrt_doctor_row *row)
{
    const uintptr_t flags = O_CLOEXEC | O_NONBLOCK;
    int faults = (int)wrt__doctor_call(SYS_userfaultfd, flags | USER_MODE_ONLY, 0, 0, 0, 0, 0);

    if (faults < 0 && errno == EINVAL) { /* before Linux 5.11 */
        faults = (int)wrt__doctor_call(SYS_userfaultfd, flags, 0, 0, 0, 0, 0);
    }
    if (faults < 0) return wrt__refused("userfaultfd");
    const wrt_status status = use_faults(row, faults);
    close(faults);
    return status;
}

static const wrt__attempt attempts[] = {
    {"io.uring", "io_uring", "IU-1", try_ring,
     "Linux 5.6, and a container that lets io_uring pass (Docker 25 and later refuse it: "
     "--security-opt seccomp=a profile that allows it); threads with pread are used until then"},
    {"files.beneath", "files stay below a folder", "WE-6", try_beneath,
     "Linux 5.6 or later, and a container that lets openat2 pass"},
    {"userfaultfd.fill", "lazy loading, write tracking", "UF-1", try_faults,
     "Linux 5.11, or sysctl vm.unprivileged_userfaultfd=1; in a container, a filter that lets "
     "userfaultfd pass"},
};

const wrt__topic wrt__topic_io = {attempts, sizeof attempts / sizeof *attempts};
