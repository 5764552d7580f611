/** Slots of linear memory that are kept from one tenant to the next, so that an instance starts
 * without asking the kernel for memory.
 *
 *     wrt_linux_slot_pool_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.slot_count = 64;
 *     config.maximum_pages = 256;
 *     wrt_linux_slot_pool pool;
 *     wrt_status status = wrt_linux_slot_pool_init(&pool, &config);
 *     const wrt_page_allocator pages_of = wrt_linux_slot_pool_interface(&pool);
 *
 * All slots lie in one reservation, with guards before and behind each. A slot that comes back is
 * cleaned at once: of its first `keep_bytes` those pages that its tenant has written, which then
 * stay in RAM for the next one; the rest goes back to the kernel. The next tenant sees what a fresh
 * allocation has. The slot that came back last is the first to go out.
 *
 * With an image each memory begins with its bytes in place of zeros: they are in RAM once for all
 * slots, and a page of them is copied when a tenant writes to it. So a tenant that has been set up
 * once can be started again and again. An allocation must then begin with room for the image.
 *
 * Heap: none; the kernel lends a few bytes a slot.  Threads: one caller at a time per pool.
 * ISR: no.  Fork: the pool refuses every call in the child (STATE).
 */
#ifndef WRT_PLATFORM_LINUX_SLOT_POOL_H
#define WRT_PLATFORM_LINUX_SLOT_POOL_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"

WRT_BEGIN_DECLS

typedef struct wrt_linux_slot_pool wrt_linux_slot_pool;

/** Counts and sizes. */
enum wrt_linux_slot_limit {
    WRT_LINUX_SLOT_COUNT_DEFAULT = 64,
    WRT_LINUX_SLOT_COUNT_MAX = 65536,
    WRT_LINUX_SLOT_PAGES_DEFAULT = 4096,  /* 256 MiB */
    WRT_LINUX_SLOT_KEEP_DEFAULT = 1048576 /* bytes */
};

/** What a pool is made of. */
typedef struct wrt_linux_slot_pool_config {
    uint32_t struct_size;        /* sizeof(wrt_linux_slot_pool_config); 0 is refused */
    uint32_t slot_count;         /* up to 65536; there are fewer where RLIMIT_AS, the address space
                                    or vm.max_map_count is too small, see the report; 0: 64 */
    uint32_t maximum_pages;      /* each slot has room for; 0: 4096 */
    uint32_t verification_level; /* one of wrt_verification_level */
    uint32_t sampling_interval;  /* k of SAMPLING; 0: 16 */
    uint32_t reserved;           /* zero */
    uint64_t guard_bytes;        /* between two slots, a multiple of the system's page, at most
                                    4 GiB; 0: 64 KiB */
    uint64_t keep_bytes;         /* of each slot stay in RAM, rounded down to whole pages of the
                                    system (1: nothing stays); 0: 1 MiB */
    const uint8_t *image;        /* copied; NULL: none */
    size_t image_size;           /* bytes, at most what a slot has room for */
} wrt_linux_slot_pool_config;

/** What is out, what the pool has done, and what holds. */
typedef struct wrt_linux_slot_pool_report {
    uint32_t slot_count;       /* there are */
    uint32_t allocation_count; /* out now */
    uint32_t page_count;       /* accessible now, summed over all that are out */
    uint32_t peak_pages;       /* the most that ever were */
    uint64_t reserved_bytes;   /* of address space, by the whole pool */
    uint64_t cleaned_bytes;    /* written by tenants and cleaned in place, so far */
    uint64_t dropped_bytes;    /* given back to the kernel, so far; of accessible pages */
    wrt_enforcement slots;     /* PARTIAL: fewer than were asked for */
    wrt_enforcement cleaning;  /* PARTIAL: which pages were written can't be asked of the kernel, so
                                  each one that is kept is compared */
} wrt_linux_slot_pool_report;

/** Caller-provided storage. Fields are private. It may be moved while no allocation is out (else
 * STATE); then its interface is to be asked for again. */
struct wrt_linux_slot_pool {
    wrt_linux_slot_pool *self;
    wrt_page_reserve reserve;
    uint8_t *area;        /* the whole reservation */
    uint8_t *first;       /* guard of the first slot */
    void *slots;          /* what is known of each */
    const uint8_t *image; /* as all slots share it; NULL: none */
    uint64_t area_bytes;
    uint64_t stride; /* from one slot to the next */
    uint64_t keep_bytes;
    uint64_t image_bytes; /* whole pages of the system */
    uint64_t cleaned_bytes;
    uint64_t dropped_bytes;
    uint32_t fork_generation;
    uint32_t asked_count;
    uint32_t slot_count;
    uint32_t free_slot; /* the one that came back last */
    uint32_t initial_pages;
    uint32_t shortage; /* why there are fewer slots than were asked for */
    int32_t image_descriptor;
    int32_t pagemap_descriptor;
    uint64_t spare[4];
};

/** Prepares `pool`: reserves all slots, and copies the image. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes, or this
 * kernel has no files in memory for an image), NO_MEMORY (not one slot fits, or the image does
 * not; os_code), SYSTEM (os_code).
 * Cost: a few system calls, and the copy of the image.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_slot_pool_init(wrt_linux_slot_pool *pool,
                                                          const wrt_linux_slot_pool_config *config);

/** The pool as wrt_page_allocator_allocate() and the others take it.
 * Errors of those calls, beside their own: BUSY (all slots are out), INVALID_ARGUMENT
 * (initial_pages has no room for the image), NO_MEMORY, SYSTEM (os_code), STATE (after fork).
 * Pages that deallocate fails for stay out; again later.
 * It cannot fail itself; of a pool that is not initialised, the calls say STATE.
 * Cost: allocate of a kept slot with as many pages as its last tenant had makes no system call;
 * else it is one mprotect, and one mmap for an image. grow is one mprotect. deallocate asks the
 * kernel once which pages were written, and cleans them; beyond keep_bytes it is one madvise.
 */
WRT_API WRT_NODISCARD wrt_page_allocator wrt_linux_slot_pool_interface(wrt_linux_slot_pool *pool);

/** Reports. Cost: constant, no system call.
 * Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while an allocation is out, or
 * after fork).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_slot_pool_query(const wrt_linux_slot_pool *pool,
                                                           wrt_linux_slot_pool_report *report_out);

/** Ends the pool. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or after fork), SYSTEM (munmap; nothing changed).
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_slot_pool_deinit(wrt_linux_slot_pool *pool);

WRT_END_DECLS
#endif
