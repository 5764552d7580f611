/** Linear memory that begins with an image whose bytes come when they are first touched, from a
 * file or from a function.
 *
 *     wrt_linux_lazy_memory_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.path = "image.bin";
 *     wrt_linux_lazy_memory lazy;
 *     wrt_status status = wrt_linux_lazy_memory_init(&lazy, &config);
 *     const wrt_page_allocator pages_of = wrt_linux_lazy_memory_interface(&lazy);
 *
 * The kernel stops a thread that touches a byte which is not there yet (userfaultfd), until the
 * chunk that it lies in has been loaded. Of a file, a thread of the library reads it, which calls
 * nobody's code. A function is never called from there: it runs inside of
 * wrt_linux_lazy_memory_serve(), which is for a thread that touches none of this memory, and inside
 * of wrt_linux_lazy_memory_load(). Nobody waits for ever: what serve() has not brought within the
 * time limit fails.
 *
 * A chunk that can't be loaded is out of reach from then on: the thread that waits for it, and each
 * later one, gets SIGBUS at the touch. Who wants a status instead calls load() before. The report
 * tells which failure was the first.
 *
 * Where this process may not use userfaultfd, the image is loaded as a whole by allocate(), whose
 * error a failure is then; the report says so, and why. `require_lazy` refuses that.
 *
 * One allocation is out at a time.
 *
 * Heap: none; the kernel lends a byte a chunk, and room for one.
 * Threads: one caller at a time for allocate and its like, init, deinit; load, serve, stop and
 * query take any.  ISR: no. Fork: the child has not got the memory (a touch is SIGSEGV there), and
 * is refused every call (STATE): it would see zeros in place of what was not loaded. Source:
 * userfaultfd(2), ioctl_userfaultfd(2).
 */
#ifndef WRT_PLATFORM_LINUX_LAZY_MEMORY_H
#define WRT_PLATFORM_LINUX_LAZY_MEMORY_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"

WRT_BEGIN_DECLS

/** Sizes and times. */
enum wrt_linux_lazy_limit {
    WRT_LINUX_LAZY_PAGES_DEFAULT = 4096,  /* 256 MiB */
    WRT_LINUX_LAZY_CHUNK_DEFAULT = 65536, /* bytes */
    WRT_LINUX_LAZY_CHUNK_MAX = 16777216,  /* bytes */
    WRT_LINUX_LAZY_TIMEOUT_DEFAULT_MS = 10000
};

/** Brings `size` bytes of the image from `offset` on. Never called twice at a time for a memory. It
 * must not touch the memory: that touch fails at once. What it returns beside WRT_OK is a failure
 * of the chunk. */
typedef wrt_status (*wrt_linux_lazy_load_fn)(void *context, uint64_t offset, uint8_t *bytes_out,
                                             size_t size);

/** What a memory that is loaded lazily is made of: either a path or a function. */
typedef struct wrt_linux_lazy_memory_config {
    uint32_t struct_size;        /* sizeof(wrt_linux_lazy_memory_config); 0 is refused */
    uint32_t maximum_pages;      /* an allocation reserves no more; 0: 4096 */
    uint32_t verification_level; /* one of wrt_verification_level */
    uint32_t sampling_interval;  /* k of SAMPLING; 0: 16 */
    uint64_t guard_bytes;        /* before and behind, a multiple of the system's page, at most
                                    4 GiB; 0: 64 KiB */
    uint64_t image_size;         /* bytes, at most what maximum_pages have; 0: the file's rest */
    uint64_t chunk_bytes;        /* loaded at a time, a multiple of the system's page up to 16 MiB;
                                    0: 64 KiB */
    uint64_t file_offset;        /* where the image begins in the file */
    uint64_t timeout_ns;         /* how long a touch waits for the function; 0: 10 s */
    const char *path;            /* of an ordinary file, copied by the kernel; it must not change
                                    until all is loaded; NULL: there is none */
    wrt_linux_lazy_load_fn load; /* NULL: there is none */
    void *context;               /* of `load` */
    bool require_lazy;           /* UNSUPPORTED or PERMISSION where this can't be lazy */
    uint8_t reserved[7];         /* zero */
} wrt_linux_lazy_memory_config;

/** What is out, and how it came. */
typedef struct wrt_linux_lazy_memory_report {
    uint32_t allocation_count; /* out now: 0 or 1 */
    uint32_t page_count;       /* accessible now */
    uint32_t peak_pages;       /* the most that ever were */
    uint32_t failed_chunks;    /* of the allocation that is out, or was last; likewise below */
    uint64_t reserved_bytes;   /* of address space, guards included */
    uint64_t image_bytes;
    uint64_t chunk_bytes;
    uint64_t loaded_bytes;  /* of the image */
    const uint8_t *base;    /* of the memory that is out; NULL: none is */
    uint64_t touch_count;   /* touches that had to wait */
    wrt_enforcement lazy;   /* ABSENT: the image is loaded as a whole */
    wrt_enforcement kernel; /* whether system calls wait, too, that are given this memory. PARTIAL:
                               they say EFAULT for what is not loaded, load() it before */
    wrt_error failure; /* the first; status WRT_OK: there was none. {0} is the chunk's offset */
} wrt_linux_lazy_memory_report;

/** Caller-provided storage. Fields are private. It may be moved while no allocation is out and no
 * call is inside. */
typedef struct wrt_linux_lazy_memory {
    struct wrt_linux_lazy_memory *self;
    wrt_page_reserve reserve;
    void *engine; /* what the thread that serves knows */
    uint64_t engine_bytes;
    uint32_t fork_generation;
    uint32_t reserved;
    uint64_t spare[4];
} wrt_linux_lazy_memory;

/** Prepares `lazy`: opens the file, and tries whether pages can come on demand. Nothing is loaded.
 * On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken; the path is none of an ordinary file,
 * or the file ends before the image), NOT_FOUND (no such file), PERMISSION (the file can't be read;
 * or userfaultfd is refused and require_lazy is set), UNSUPPORTED (reserved bytes; or this kernel
 * has no userfaultfd and require_lazy is set), NO_MEMORY, SYSTEM (os_code).
 * Cost: some ten system calls; a thread is started.
 */
WRT_API WRT_NODISCARD wrt_status
wrt_linux_lazy_memory_init(wrt_linux_lazy_memory *lazy, const wrt_linux_lazy_memory_config *config);

/** The memory as wrt_page_allocator_allocate() and the others take it; each new one begins with the
 * image, not loaded yet. Pages behind the image are zero.
 * Errors of those calls, beside their own: BUSY (one is out), INVALID_ARGUMENT (initial_pages has
 * no room for the image), NO_MEMORY, SYSTEM (os_code), STATE (after fork); and where the image is
 * loaded as a whole, of allocate those of load().
 * It cannot fail itself; of a memory that is not initialised, the calls say STATE.
 * Cost: allocate is an mmap and some system calls; the first touch of a chunk wakes a thread,
 * copies the chunk, and wakes the toucher: some 20 us and the reading.
 */
WRT_API WRT_NODISCARD wrt_page_allocator
wrt_linux_lazy_memory_interface(wrt_linux_lazy_memory *lazy);

/** Loads what is missing of `size` bytes from `offset` of the memory that is out, on the caller's
 * turn, so that touching them waits for nobody. Bytes behind the image are there already.
 * Errors: INVALID_ARGUMENT (beyond the accessible pages), STATE (nothing is out, or called from the
 * function that loads, or after fork), HOST (the function failed), TIMED_OUT (the function took
 * longer than the limit while another thread waited for its chunk), SYSTEM (the file can't be read,
 * or has ended; os_code), NO_MEMORY. Chunks before the one that failed are loaded. Threads: any.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lazy_memory_load(wrt_linux_lazy_memory *lazy,
                                                            uint64_t offset, uint64_t size);

/** Waits until a touch wants something of the function, calls it, and wakes who waits. It is for a
 * loop, in a thread that touches none of this memory.
 * timeout_ns: UINT64_MAX waits without limit.
 * Errors: TIMED_OUT (there was no touch), INTERRUPTED (wrt_linux_lazy_memory_stop() was called),
 * those of load(), INVALID_ARGUMENT (of a file: the library's thread serves it; or the image is
 * loaded as a whole). Threads: any; one at a time calls the function.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lazy_memory_serve(wrt_linux_lazy_memory *lazy,
                                                             uint64_t timeout_ns);

/** Ends all calls of serve(), now and later. What is touched afterwards and is not there fails at
 * once; load() goes on. Errors: STATE (not initialised, or after fork). Threads: any. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lazy_memory_stop(wrt_linux_lazy_memory *lazy);

/** Reports. Cost: constant, no system call. Threads: any.
 * Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, or after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lazy_memory_query(
    const wrt_linux_lazy_memory *lazy, wrt_linux_lazy_memory_report *report_out);

/** Ends the memory, its thread and its file. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or after fork), BUSY (serve() or load() is inside: stop()
 * first; or the file's system does not answer, and the thread could not be ended within 5 s: again
 * later). Nothing has changed then.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_lazy_memory_deinit(wrt_linux_lazy_memory *lazy);

WRT_END_DECLS
#endif
