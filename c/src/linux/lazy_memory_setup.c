/* Lazily loaded memory before and after its work: its config, what this process may do, its thread,
 * its end, its report. */
#include "lazy_memory.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/verification.h"
#include "fork.h"
#include "times.h"

enum { MILLISECOND_NS = 1000000, STACK_BYTES = 262144 };
static const uint64_t LEAVE_NS = 5000000000;

/* ---- Config ---- */

static wrt_status check_image(const char *operation, const wrt_linux_lazy_memory_config *config)
{
    const uint64_t most = (uint64_t)config->maximum_pages * WRT_PAGE_SIZE;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    if ((config->path == NULL) == (config->load == NULL)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "either a path or a function that loads is needed");
    }
    if (config->image_size > most || (config->load != NULL && config->image_size == 0)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "image_size is {0}, not 1 to the {1} bytes of maximum_pages",
                               config->image_size, most);
    }
    if (config->chunk_bytes % page != 0 || config->chunk_bytes > WRT_LINUX_LAZY_CHUNK_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "chunk_bytes is {0}, not a multiple of the system's page ({1} "
                               "bytes) up to 16 MiB",
                               config->chunk_bytes, page);
    }
    if (config->load != NULL && config->file_offset != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "file_offset without a path");
    }
    return WRT_OK;
}

static wrt_status read_config(const char *operation, const wrt_linux_lazy_memory_config *given,
                              wrt_linux_lazy_memory_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);

    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->maximum_pages == 0) config->maximum_pages = WRT_LINUX_LAZY_PAGES_DEFAULT;
    if (config->chunk_bytes == 0) config->chunk_bytes = WRT_LINUX_LAZY_CHUNK_DEFAULT;
    if (config->timeout_ns == 0) {
        config->timeout_ns = (uint64_t)WRT_LINUX_LAZY_TIMEOUT_DEFAULT_MS * MILLISECOND_NS;
    }
    return check_image(operation, config);
}

/* ---- The file ---- */

static wrt_status fail_to_open(const char *operation, int code)
{
    if (code == ENOENT || code == ENOTDIR) {
        return wrt_fail_system(WRT_ERR_NOT_FOUND, operation, "there is no such file", code, 0, 0);
    }
    if (code == EACCES || code == EPERM) {
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the file can't be opened for reading", code, 0, 0);
    }
    return wrt_fail_system(code == ENOMEM || code == EMFILE || code == ENFILE ? WRT_ERR_NO_MEMORY
                                                                              : WRT_ERR_SYSTEM,
                           operation, "open of the file failed", code, 0, 0);
}

/* Anything but an ordinary file could keep its reader waiting. */
static wrt_status measure_file(const char *operation, const wrt_linux_lazy_memory_config *config,
                               int file, uint64_t *image_size)
{
    struct stat status;

    if (wrt__sys_fstat(file, &status) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "fstat of the file failed", errno, 0, 0);
    }
    if (!S_ISREG(status.st_mode)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "the path is none of an ordinary file");
    }
    const uint64_t size = (uint64_t)status.st_size;
    const uint64_t rest = config->file_offset < size ? size - config->file_offset : 0;
    const uint64_t most = (uint64_t)config->maximum_pages * WRT_PAGE_SIZE;
    if (*image_size == 0) *image_size = rest;
    if (*image_size != 0 && *image_size <= rest && *image_size <= most) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "the file has {0} bytes from file_offset on: none, fewer than "
                           "image_size, or more than the {1} of maximum_pages",
                           rest, most);
}

static wrt_status open_file(const char *operation, const wrt_linux_lazy_memory_config *config,
                            wrt__lazy_engine *engine)
{
    if (config->path == NULL) return WRT_OK;
    engine->file = wrt__sys_openat(AT_FDCWD, config->path, O_RDONLY | O_NONBLOCK);
    if (engine->file < 0) return fail_to_open(operation, errno);
    return measure_file(operation, config, engine->file, &engine->image_size);
}

/* ---- What this process may do ---- */

/* The kernel can wait for pages in its own accesses, too, for whoever has the right. */
static void open_userfault(wrt__lazy_engine *engine)
{
    engine->kernel_waits = true;
    engine->userfault = wrt__sys_userfault(0);
    if (engine->userfault >= 0 || errno != EPERM) return;
    engine->userfault = wrt__sys_userfault_device();
    if (engine->userfault >= 0) return;
    engine->kernel_waits = false;
    engine->userfault = wrt__sys_userfault(UFFD_USER_MODE_ONLY);
    if (engine->userfault < 0 && errno == EINVAL) errno = EPERM; /* before Linux 5.11 */
}

/* The best that this kernel takes: who it was that touched, and writes that it tracks itself. */
static bool greet(wrt__lazy_engine *engine)
{
    const uint64_t tracking = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                              UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC;
    const uint64_t wishes[] = {UFFD_FEATURE_THREAD_ID | tracking, UFFD_FEATURE_THREAD_ID, 0};

    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        struct uffdio_api api = {.api = UFFD_API, .features = wishes[i]};
        engine->can_track = i == 0;
        if (wrt__sys_userfault_control(engine->userfault, UFFDIO_API, &api) == 0) return true;
    }
    return false;
}

static void close_one(int *descriptor)
{
    if (*descriptor >= 0) (void)close(*descriptor);
    *descriptor = WRT__NO_DESCRIPTOR;
}

/* Finds out whether pages can come on demand; `refusal` says why they can't. */
static void try_userfault(wrt__lazy_engine *engine)
{
    open_userfault(engine);
    if (engine->userfault < 0) {
        engine->refusal = errno;
        return;
    }
    if (!greet(engine)) engine->refusal = errno;
    if (engine->refusal == 0) engine->nothing = wrt__sys_memfd("wrt_nothing", 0);
    if (engine->refusal == 0 && engine->nothing < 0) engine->refusal = errno;
    if (engine->refusal != 0) close_one(&engine->userfault);
}

static const char *reason_for(int refusal)
{
    switch (refusal) {
    case EPERM:
    case EACCES:
        return "loaded as a whole: userfaultfd is refused, by vm.unprivileged_userfaultfd before "
               "Linux 5.11, or by a container's filter; allow it there, or give CAP_SYS_PTRACE";
    case ENOSYS:
        return "loaded as a whole: this kernel has no userfaultfd (CONFIG_USERFAULTFD)";
    default:
        return "loaded as a whole: userfaultfd failed on this system";
    }
}

static wrt_status refuse(const char *operation, int refusal)
{
    const bool is_forbidden = refusal == EPERM || refusal == EACCES;
    const bool is_short = refusal == ENOMEM || refusal == EMFILE || refusal == ENFILE;
    const wrt_status status = is_forbidden ? WRT_ERR_PERMISSION : WRT_ERR_UNSUPPORTED;

    return wrt_fail_system(is_short ? WRT_ERR_NO_MEMORY : status, operation,
                           "require_lazy is set, but pages can't come on demand here: userfaultfd "
                           "failed; without require_lazy the image is loaded as a whole",
                           refusal, 0, 0);
}

/* ---- The thread ---- */

/* It takes no signals but those of its own faults. */
static int create_thread(wrt__lazy_engine *engine, const pthread_attr_t *attributes)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked;
    sigset_t before;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int code = wrt__sys_thread_create(&engine->thread, attributes, wrt__lazy_run, engine);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void init_locks(wrt__lazy_engine *engine)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&engine->guard, NULL);
    (void)pthread_cond_init(&engine->moved, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

static wrt_status start_thread(const char *operation, wrt__lazy_engine *engine)
{
    pthread_attr_t attributes;

    engine->wake = wrt__sys_eventfd();
    if (engine->wake < 0) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "eventfd failed", errno, 0, 0);
    }
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    const int code = create_thread(engine, &attributes);
    (void)pthread_attr_destroy(&attributes);
    if (code == 0) {
        (void)wrt__sys_thread_set_name(engine->thread, "wrt-lazy-memory");
        return WRT_OK;
    }
    return wrt_fail_system(code == EAGAIN || code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM,
                           operation,
                           "pthread_create failed: see RLIMIT_NPROC (ulimit -u) and the control "
                           "group's pids.max",
                           code, 0, 0);
}

/* ---- Life ---- */

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* | engine | states of the chunks | staging | */
static wrt_status lay_out(const char *operation, const wrt__lazy_engine *known,
                          wrt__lazy_engine **engine_out, uint64_t *bytes_out)
{
    const uint64_t page = known->system_page;
    const uint64_t front = round_up(sizeof *known + known->chunk_count, page);
    const uint64_t bytes = front + known->chunk_bytes;
    void *start = wrt__sys_mmap((size_t)bytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

    if (start == MAP_FAILED) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "mmap of {0} bytes for a chunk and a table failed", errno, bytes, 0);
    }
    wrt__lazy_engine *engine = start;
    *engine = *known;
    engine->states = (uint8_t *)start + sizeof *engine;
    engine->staging = (uint8_t *)start + front;
    *engine_out = engine;
    *bytes_out = bytes;
    return WRT_OK;
}

static void close_all(wrt__lazy_engine *engine)
{
    close_one(&engine->file);
    close_one(&engine->userfault);
    close_one(&engine->wake);
    close_one(&engine->nothing);
}

/* An engine that runs, or nothing. */
static wrt_status make(const char *operation, const wrt_linux_lazy_memory_config *config,
                       wrt__lazy_engine **engine_out, uint64_t *bytes_out)
{
    wrt__lazy_engine known = {.load = config->load,
                              .context = config->context,
                              .file_offset = config->file_offset,
                              .image_size = config->image_size,
                              .chunk_bytes = config->chunk_bytes,
                              .system_page = (uint64_t)sysconf(_SC_PAGESIZE),
                              .timeout_ns = config->timeout_ns,
                              .file = WRT__NO_DESCRIPTOR,
                              .userfault = WRT__NO_DESCRIPTOR,
                              .wake = WRT__NO_DESCRIPTOR,
                              .nothing = WRT__NO_DESCRIPTOR,
                              .failure = {.operation = "", .reason = ""}};
    wrt__lazy_engine *engine = NULL;

    wrt_status status = open_file(operation, config, &known);
    if (status == WRT_OK) {
        known.chunk_count = round_up(known.image_size, known.chunk_bytes) / known.chunk_bytes;
        try_userfault(&known);
        if (known.refusal != 0 && config->require_lazy) status = refuse(operation, known.refusal);
    }
    if (status == WRT_OK) status = lay_out(operation, &known, &engine, bytes_out);
    if (status == WRT_OK) {
        init_locks(engine);
        if (engine->refusal == 0) status = start_thread(operation, engine);
        if (status != WRT_OK) known = *engine;
    }
    if (status == WRT_OK) {
        *engine_out = engine;
        return WRT_OK;
    }
    close_all(&known);
    if (engine != NULL) (void)munmap(engine, (size_t)*bytes_out);
    return status;
}

wrt_status wrt_linux_lazy_memory_init(wrt_linux_lazy_memory *lazy,
                                      const wrt_linux_lazy_memory_config *config)
{
    wrt_linux_lazy_memory_config known;
    wrt_verifier verifier;
    wrt_page_reserve reserve;
    wrt__lazy_engine *engine = NULL;
    uint64_t bytes = 0;

    if (lazy == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lazy is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    status =
        wrt__verifier_init(&verifier, __func__, known.verification_level, known.sampling_interval);
    if (status != WRT_OK) return status;
    status = wrt__reserve_init(&reserve, __func__, &verifier, (uint64_t)sysconf(_SC_PAGESIZE),
                               known.maximum_pages, known.guard_bytes, true);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status == WRT_OK) status = make(__func__, &known, &engine, &bytes);
    if (status != WRT_OK) return status;
    *lazy = (wrt_linux_lazy_memory){.self = lazy,
                                    .reserve = reserve,
                                    .engine = engine,
                                    .engine_bytes = bytes,
                                    .fork_generation = wrt__fork_generation()};
    return WRT_OK;
}

/* Tells the thread to end, and waits for it. */
static wrt_status end_thread(const char *operation, wrt__lazy_engine *engine)
{
    const struct timespec deadline = wrt__timespec(wrt__time_after(wrt__lazy_now(), LEAVE_NS));
    const uint64_t one = 1;

    if (engine->refusal != 0) return WRT_OK;
    (void)pthread_mutex_lock(&engine->guard);
    const uint32_t callers = engine->callers;
    engine->is_ending = callers == 0;
    (void)pthread_mutex_unlock(&engine->guard);
    if (callers != 0) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "{0} calls of serve() or load() are inside; stop() first", callers,
                               0);
    }
    (void)!write(engine->wake, &one, sizeof one);
    const int code = wrt__sys_thread_join(engine->thread, &deadline);
    if (code == 0) return WRT_OK;
    return wrt_fail_system(code == ETIMEDOUT ? WRT_ERR_BUSY : WRT_ERR_SYSTEM, operation,
                           "the thread that serves has not ended: the file's system does not "
                           "answer; again later",
                           code, 0, 0);
}

wrt_status wrt_linux_lazy_memory_deinit(wrt_linux_lazy_memory *lazy)
{
    if (lazy == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "lazy is NULL");
    if (wrt__is_zero(lazy, sizeof *lazy)) return WRT_OK;
    wrt_status status = wrt__lazy_check(__func__, lazy);
    if (status != WRT_OK) return status;
    if (lazy->reserve.allocation_count != 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the memory is still out");
    }
    wrt__lazy_engine *engine = lazy->engine;
    status = end_thread(__func__, engine);
    if (status != WRT_OK) return status;
    close_all(engine);
    (void)pthread_cond_destroy(&engine->moved);
    (void)pthread_mutex_destroy(&engine->guard);
    (void)munmap(engine, (size_t)lazy->engine_bytes);
    *lazy = (wrt_linux_lazy_memory){0};
    return WRT_OK;
}

/* ---- Report ---- */

static wrt_enforcement report_lazy(const wrt__lazy_engine *engine)
{
    if (engine->refusal != 0) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_ABSENT,
                                 .reason = reason_for(engine->refusal)};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                             .reason = "the kernel asks for what is touched (userfaultfd)"};
}

static wrt_enforcement report_kernel(const wrt__lazy_engine *engine)
{
    if (engine->refusal != 0 || engine->kernel_waits) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                                 .reason = "system calls may be given this memory at any time"};
    }
    return (wrt_enforcement){
        .state = WRT_ENFORCEMENT_PARTIAL,
        .reason = "a system call that is given memory which is not loaded says EFAULT: load() it "
                  "before, set vm.unprivileged_userfaultfd to 1, or give CAP_SYS_PTRACE"};
}

wrt_status wrt_linux_lazy_memory_query(const wrt_linux_lazy_memory *lazy,
                                       wrt_linux_lazy_memory_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = wrt__lazy_check(__func__, lazy);
    if (status != WRT_OK) return status;
    wrt__lazy_engine *engine = lazy->engine;

    (void)pthread_mutex_lock(&engine->guard);
    *report_out = (wrt_linux_lazy_memory_report){
        .allocation_count = lazy->reserve.allocation_count,
        .page_count = lazy->reserve.page_count,
        .peak_pages = lazy->reserve.peak_pages,
        .failed_chunks = engine->failed_chunks,
        .reserved_bytes = lazy->reserve.reserved_bytes,
        .image_bytes = engine->image_size,
        .chunk_bytes = engine->chunk_bytes,
        .loaded_bytes = engine->loaded_bytes,
        .base = lazy->reserve.allocation_count != 0 ? engine->base : NULL,
        .touch_count = engine->touch_count,
        .lazy = report_lazy(engine),
        .kernel = report_kernel(engine),
        .failure = engine->failure};
    (void)pthread_mutex_unlock(&engine->guard);
    return WRT_OK;
}
