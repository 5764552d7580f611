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
 * Huge pages are tried from large to small, each allocation on its own: pages of 1 GiB (if
 * `maximum_pages` is a multiple of 1 GiB), of 2 MiB, transparent ones, those of the system; the
 * report and the statistics say which it came to. Of the first two kinds the whole reservation is
 * taken from the pool at once, and access is given a huge page at a time: what lies between the
 * accessible pages and the next border of a huge page does not fault.
 *
 * Heap: none.  Threads: one caller at a time per allocator.  ISR: no.
 * Fork: the allocator refuses every call in the child (STATE). The child has its own copy of the
 * memory; but what a memfd names (see wrt_linux_name_source) parent and child share.
 */
#ifndef WRT_PLATFORM_LINUX_MEMORY_H
#define WRT_PLATFORM_LINUX_MEMORY_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/linux/numa.h"
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

/** How memory is mapped; flags, to be combined. None: private, without a claim on swap. */
enum wrt_linux_mmap_flag {
    WRT_LINUX_MMAP_SHARED = 1,    /* forked children share it */
    WRT_LINUX_MMAP_ANONYMOUS = 2, /* no file behind it: always so, a name aside */
    WRT_LINUX_MMAP_NORESERVE = 4, /* no claim on swap; without it other flags make one */
    WRT_LINUX_MMAP_STACK = 8      /* used like a stack */
};

/** Whether the system may put huge pages in place of small ones. */
enum wrt_linux_thp_mode {
    WRT_LINUX_THP_DEFAULT = 0, /* as the system has it */
    WRT_LINUX_THP_ALWAYS = 1,  /* wherever it can */
    WRT_LINUX_THP_NEVER = 2
};

/** What an allocation is made of, from small to large. */
enum wrt_linux_page_kind {
    WRT_LINUX_PAGE_KIND_NONE = 0,        /* there was no allocation yet */
    WRT_LINUX_PAGE_KIND_SYSTEM = 1,      /* the system's own, 4 KiB on most */
    WRT_LINUX_PAGE_KIND_TRANSPARENT = 2, /* huge ones where the system has them at hand */
    WRT_LINUX_PAGE_KIND_HUGE_2_MIB = 3,
    WRT_LINUX_PAGE_KIND_HUGE_1_GIB = 4
};

/** How memory is going to be used; flags, to be combined. None of them changes its contents. */
enum wrt_linux_advice {
    WRT_LINUX_ADVICE_NORMAL = 1,
    WRT_LINUX_ADVICE_RANDOM = 2,
    WRT_LINUX_ADVICE_SEQUENTIAL = 4,
    WRT_LINUX_ADVICE_WILLNEED = 8,
    WRT_LINUX_ADVICE_HUGEPAGE = 16,
    WRT_LINUX_ADVICE_NOHUGEPAGE = 32,
    WRT_LINUX_ADVICE_COLLAPSE = 64, /* into huge pages, now; Linux 6.1 */
    WRT_LINUX_ADVICE_COLD = 128,    /* the first to go when memory is short; Linux 5.4 */
    WRT_LINUX_ADVICE_PAGEOUT = 256, /* to swap, now; Linux 5.4 */
    WRT_LINUX_ADVICE_DONTDUMP = 512,
    WRT_LINUX_ADVICE_DODUMP = 1024
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
    bool huge_pages;    /* as above; not with NORESERVE, where a shortage would be SIGBUS */
    bool has_numa_node; /* numa_node is set; likewise below */
    bool has_preferred_node;
    uint8_t reserved[2];        /* zero */
    uint32_t custom_flags;      /* of wrt_linux_mmap_flag */
    uint32_t thp_mode;          /* one of wrt_linux_thp_mode */
    uint32_t numa_policy;       /* one of wrt_linux_numa_policy */
    uint32_t numa_node;         /* the one node to use; not with numa_mask */
    uint32_t preferred_node;    /* of those to use, the first to be asked; of BIND it is one of
                                   them */
    uint32_t largest_page_kind; /* one of wrt_linux_page_kind; huge_pages tries nothing larger; 0:
                                   all */
    const wrt_linux_numa_mask *numa_mask; /* copied; the nodes to use; NULL: none is named */
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
    wrt_enforcement huge_pages;
    wrt_enforcement thp;
    wrt_enforcement numa;
    uint32_t page_kind; /* one of wrt_linux_page_kind, of the latest allocation */
    uint32_t reserved;
} wrt_linux_allocator_report;

/** What the kernel says of one allocation. */
typedef struct wrt_linux_memory_stats {
    uint64_t accessible_bytes;
    uint64_t resident_bytes; /* of them in RAM */
    uint64_t huge_bytes;     /* of them in huge pages, of whichever kind */
    uint64_t locked_bytes;
    uint64_t swapped_bytes;
    uint64_t huge_page_bytes; /* size of a huge page here: 2 MiB, or 1 GiB */
    uint32_t huge_pages;      /* in RAM */
    uint32_t total_pages;     /* what accessible_bytes would be in huge pages, rounded up */
    uint32_t page_kind;       /* one of wrt_linux_page_kind */
    uint32_t reserved;
} wrt_linux_memory_stats;

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
    bool huge_pages;
    bool has_nodes; /* memory is put on `nodes` */
    bool has_home;
    bool has_thp; /* the system grants transparent huge pages */
    uint8_t reserved_flags[1];
    char name[80]; /* WRT_LINUX_NAME_SIZE */
    uint32_t custom_flags;
    uint32_t thp_mode;
    uint32_t largest_page_kind;
    uint32_t page_kind; /* of the latest allocation */
    uint32_t numa_policy;
    uint32_t home_node;
    wrt_enforcement numa;
    wrt_linux_numa_mask nodes;
    uint64_t reserved[8];
};

/** Prepares `allocator`, and tries what of the config this kernel can do; no memory is taken yet.
 * On error it is left as it was. A name that the system can't carry is no error: the report says
 * so.
 * Nor are huge pages or nodes that it can't grant. But a node without memory that this process may
 * use is refused.
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

/** Sets what holds for allocations from now on; those that are out stay as they are.
 * mode: one of wrt_linux_thp_mode. The report says whether the system grants it.
 * Errors: INVALID_ARGUMENT (NULL, unknown mode), STATE (as query). Cost: reads one small file.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_set_thp_mode(wrt_linux_allocator *allocator,
                                                                  uint32_t mode);

/** Tells the kernel how `size` bytes from `offset` are going to be used.
 * offset, size: inside of the accessible pages; offset is a multiple of the system's page.
 * advice: flags of wrt_linux_advice, given to the kernel in the order in which they stand there.
 * Errors: INVALID_ARGUMENT (a rule above), UNSUPPORTED (this kernel does not take it), BUSY (no
 * huge pages to collapse into at the moment; again later), NO_MEMORY, SYSTEM (os_code), STATE (as
 * query, or verification). Advice that came before the failing one stands.
 * Cost: a system call for each flag; COLLAPSE copies.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_madvise(wrt_linux_allocator *allocator,
                                                             const wrt_pages *pages, size_t offset,
                                                             size_t size, uint32_t advice);

/** Reads what the kernel says of the accessible bytes of `pages` (/proc/self/smaps). Without guard
 * pages the kernel may merge them with what lies beside them; then what is in RAM can't be told
 * apart, and is reported up to accessible_bytes.
 * Errors: INVALID_ARGUMENT (NULL), STATE (as query, or verification), SYSTEM (/proc can't be
 * read; os_code). Cost: the kernel looks at every page of this process.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_memory_stats(
    wrt_linux_allocator *allocator, const wrt_pages *pages, wrt_linux_memory_stats *stats_out);

/** Ends the allocator. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or after fork). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_allocator_deinit(wrt_linux_allocator *allocator);

WRT_END_DECLS
#endif
