/** Linear memory from Linux: reserved at once, made accessible page by page, never moved.
 *
 *     wrt_linux_allocator_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.maximum_pages = 4096;
 *     config.guard_pages = true;
 *     wrt_linux_allocator allocator;
 *     wrt_status status = wrt_linux_allocator_init(&allocator, &config);
 *     const wrt_page_allocator pages_of = wrt_linux_allocator_interface(&allocator);
 *
 * An allocation is one mapping without access, as large as `maximum_pages` of allocate() and the
 * guards; growth gives access to more of it. So the byte behind the accessible pages always
 * faults while more is reserved; guard pages add the same in front of the memory and behind the
 * reservation. Reserving costs addresses, not memory; RLIMIT_AS counts it all.
 *
 * Any number of allocations may be out at a time.
 *
 * Heap: none.  Threads: one caller at a time per allocator.  ISR: no.
 * Fork: the allocator refuses every call in the child (STATE). The child has its own copy of the
 * memory; but what a memfd names (see wrt_linux_name_source) parent and child share.
 */
#ifndef WRT_PLATFORM_LINUX_MEMORY_H
#define WRT_PLATFORM_LINUX_MEMORY_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"

WRT_BEGIN_DECLS

typedef struct wrt_linux_allocator wrt_linux_allocator;

/** Sizes. */
enum wrt_linux_allocator_limit {
    WRT_LINUX_GUARD_BYTES_DEFAULT = 65536, /* before and behind */
    WRT_LINUX_NAME_SIZE = 80               /* bytes of a name, the closing NUL included */
};

/** What carries the name that /proc/<pid>/maps shows. */
enum wrt_linux_name_source {
    WRT_LINUX_NAME_NONE = 0, /* no name was asked for, or the system takes none */
    WRT_LINUX_NAME_ANON = 1, /* the mapping itself: [anon:name] */
    WRT_LINUX_NAME_MEMFD = 2 /* a file in memory: /memfd:name (deleted) */
};

/** What a Linux allocator is made of. */
typedef struct wrt_linux_allocator_config {
    uint32_t struct_size;        /* sizeof(wrt_linux_allocator_config); 0 is refused */
    uint32_t maximum_pages;      /* one allocation reserves no more; 0: 65536 (4 GiB) */
    uint32_t verification_level; /* one of wrt_verification_level; without guard pages SAMPLING and
                                    FULL keep one page of the system as a canary at either end */
    uint32_t sampling_interval;  /* k of SAMPLING; 0: 16 */
    uint64_t guard_bytes;        /* size of each guard, a multiple of the system's page, at most
                                    4 GiB; 0: 64 KiB; counts with guard_pages */
    const char *name;            /* copied; 1 to 79 printable ASCII characters, none of [ ] \ $ ` ;
                                    NULL: none */
    bool guard_pages;            /* no access before the memory and behind the reservation */
    bool populate;               /* accessible pages get their memory at once: a shortage is an
                                    error of allocate and grow, not a signal later */
    bool mlock;                  /* accessible pages stay in RAM */
    uint8_t reserved[5];         /* zero */
} wrt_linux_allocator_config;

/** What is out, and what holds of what the config asks. */
typedef struct wrt_linux_allocator_report {
    uint32_t allocation_count; /* out now */
    uint32_t page_count;       /* accessible now, summed over all allocations */
    uint32_t peak_pages;       /* the most that ever were */
    uint32_t name_source;      /* one of wrt_linux_name_source */
    uint64_t reserved_bytes;   /* of address space, now, guards and canaries included */
    wrt_enforcement guard_pages;
    wrt_enforcement canaries;
    wrt_enforcement populate;
    wrt_enforcement mlock;
    wrt_enforcement name;
} wrt_linux_allocator_report;

/** Caller-provided storage. Fields are private. It may be moved while no allocation is out (else
 * STATE); then its interface is to be asked for again. */
struct wrt_linux_allocator {
    wrt_linux_allocator *self;
    wrt_page_reserve reserve;
    uint32_t fork_generation; /* of the process that made it */
    uint32_t name_source;
    bool populate;
    bool populate_by_advice; /* the kernel can say that it has no memory */
    bool mlock;
    uint8_t reserved_flags[5];
    char name[80]; /* WRT_LINUX_NAME_SIZE */
    uint64_t reserved[8];
};

/** Prepares `allocator`, and tries what of the config this kernel can do; no memory is taken yet.
 * On error it is left as it was. A name that the system can't carry is no error: the report says
 * so.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes),
 * NO_MEMORY (no room to register for forks).
 * Cost: a few system calls, which try what the config asks for.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_init(wrt_linux_allocator *allocator,
                                                          const wrt_linux_allocator_config *config);

/** The allocator as wrt_page_allocator_allocate() and the others take it.
 * Errors of those calls, beside their own: NO_MEMORY and PERMISSION (RLIMIT_MEMLOCK is too low
 * for mlock; the text says what to do), STATE (after fork), SYSTEM (os_code).
 * It cannot fail itself; of an allocator that is not initialised, the calls say STATE.
 * Cost: allocate is mmap and mprotect, grow one mprotect, deallocate munmap; populate and mlock
 * touch each page.
 */
WRT_API WRT_NODISCARD wrt_page_allocator
wrt_linux_allocator_interface(wrt_linux_allocator *allocator);

/** Reports what is out and what protects it. Cost: constant, no system call.
 * Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while an
 * allocation is out, or after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_query(const wrt_linux_allocator *allocator,
                                                           wrt_linux_allocator_report *report_out);

/** Ends the allocator. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or after fork). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_deinit(wrt_linux_allocator *allocator);

WRT_END_DECLS
#endif
