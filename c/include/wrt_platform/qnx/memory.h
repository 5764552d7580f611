/** Linear memory from QNX: reserved at once, made accessible page by page, never moved.
 *
 *     wrt_qnx_allocator_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.maximum_pages = 256;
 *     config.guard_pages = true;
 *     wrt_qnx_allocator allocator;
 *     wrt_status status = wrt_qnx_allocator_init(&allocator, &config);
 *     const wrt_page_allocator pages_of = wrt_qnx_allocator_interface(&allocator);
 *
 * An allocation is one lazy mapping without access, as large as `maximum_pages` of allocate() and
 * the guards; growth gives access to more of it. So the byte behind the accessible pages always
 * faults while more is reserved; guard pages add the same in front of the memory and behind the
 * reservation. Reserving costs addresses, not memory; RLIMIT_AS counts it all.
 *
 * Any number of allocations may be out at a time.
 *
 * Heap: none.  Threads: one caller at a time per allocator.  ISR: no.
 * Fork: the allocator refuses every call in the child (STATE).
 */
#ifndef WRT_PLATFORM_QNX_MEMORY_H
#define WRT_PLATFORM_QNX_MEMORY_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"
#include "wrt_platform/qnx/partition.h"

WRT_BEGIN_DECLS

typedef struct wrt_qnx_allocator wrt_qnx_allocator;

/** Sizes. */
enum wrt_qnx_allocator_limit {
    WRT_QNX_GUARD_BYTES_DEFAULT = 65536 /* before and behind */
};

/** What may be done with pages that have just become accessible. */
enum wrt_qnx_protection {
    WRT_QNX_PROTECTION_DEFAULT = 0, /* READ_WRITE */
    WRT_QNX_PROTECTION_NONE = 1,    /* nothing, until protect() says otherwise */
    WRT_QNX_PROTECTION_READ = 2,
    WRT_QNX_PROTECTION_READ_WRITE = 3
};

/** What a QNX allocator is made of. */
typedef struct wrt_qnx_allocator_config {
    uint32_t struct_size;         /* sizeof(wrt_qnx_allocator_config); 0 is refused */
    uint32_t maximum_pages;       /* one allocation reserves no more; 0: 65536 (4 GiB) */
    uint32_t verification_level;  /* one of wrt_verification_level; without guard pages SAMPLING and
                                     FULL keep one page of the system as a canary at either end */
    uint32_t sampling_interval;   /* k of SAMPLING; 0: 16 */
    uint64_t guard_bytes;         /* size of each guard, a multiple of the system's page, at most
                                     4 GiB; 0: 64 KiB; counts with guard_pages */
    wrt_qnx_partition *partition; /* charged for accessible pages; borrowed until deinit; NULL:
                                     none */
    uint32_t data_protection;     /* of accessible pages, one of wrt_qnx_protection; an instance
                                     needs READ_WRITE */
    bool guard_pages;             /* no access before the memory and behind the reservation */
    bool lazy;                    /* accessible pages get their memory when they are first touched:
                                     a shortage ends the process then. Otherwise it is an error of
                                     allocate and grow */
    uint8_t reserved[2];          /* zero */
} wrt_qnx_allocator_config;

/** What is out, and what holds of what the config asks. */
typedef struct wrt_qnx_allocator_report {
    uint32_t allocation_count; /* out now */
    uint32_t page_count;       /* accessible now, summed over all allocations */
    uint32_t peak_pages;       /* the most that ever were */
    uint32_t reserved;
    uint64_t reserved_bytes; /* of address space, now, guards and canaries included */
    wrt_enforcement guard_pages;
    wrt_enforcement canaries;
    wrt_enforcement commitment; /* that accessible pages have their memory */
    wrt_enforcement partition;  /* that what is accessible is charged */
    wrt_enforcement isolation;  /* that other partitions can't reach the pages */
} wrt_qnx_allocator_report;

/** Caller-provided storage. Fields are private. It may be moved while no allocation is out (else
 * STATE); then its interface is to be asked for again. */
struct wrt_qnx_allocator {
    wrt_qnx_allocator *self;
    wrt_page_reserve reserve;
    wrt_qnx_partition *partition;
    uint32_t data_protection;
    int32_t owner_process;
    bool lazy;
    uint8_t reserved_flags[7];
    uint64_t reserved[8];
};

/** Prepares `allocator`; no memory is taken yet. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken; the partition is a CONTAINER),
 * UNSUPPORTED (reserved bytes; a partition of the level PROCESS, which counts other processes),
 * STATE (the partition is not initialised or was moved; after fork).
 * Cost: no system call.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_allocator_init(wrt_qnx_allocator *allocator,
                                                        const wrt_qnx_allocator_config *config);

/** The allocator as wrt_page_allocator_allocate() and the others take it.
 * Errors of those calls, beside their own: NO_MEMORY (the partition's limit as well: the text says
 * whose), BUSY (level ADDRESS: another partition is active, so that these pages would be out of
 * reach at once; or, of protect, so many ranges are set apart that no more can be kept), STATE
 * (after fork), SYSTEM (os_code).
 * It cannot fail itself; of an allocator that is not initialised, the calls say STATE.
 * Cost: allocate is two calls of the system, grow one, deallocate one; a charge is one step for
 * each partition above.
 */
WRT_API WRT_NODISCARD wrt_page_allocator wrt_qnx_allocator_interface(wrt_qnx_allocator *allocator);

/** Reports what is out and what protects it. Cost: constant, no system call.
 * Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while an
 * allocation is out, or after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_allocator_query(const wrt_qnx_allocator *allocator,
                                                         wrt_qnx_allocator_report *report_out);

/** Ends the allocator. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or after fork). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_qnx_allocator_deinit(wrt_qnx_allocator *allocator);

WRT_END_DECLS
#endif
