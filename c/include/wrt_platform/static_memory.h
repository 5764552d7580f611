/** Static memory: a page allocator over one buffer that the caller owns.
 *
 *     static uint8_t heap[256 * 1024];
 *
 *     wrt_static_allocator_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.buffer = heap;
 *     config.buffer_size = sizeof heap;
 *     wrt_static_allocator allocator;
 *     wrt_status status = wrt_static_allocator_init(&allocator, &config);
 *     const wrt_page_allocator pages_of = wrt_static_allocator_interface(&allocator);
 *
 * It serves one allocation at a time, from the start of the buffer. Growth clears the next pages
 * of the buffer. Nothing but the engine's own bounds checks stands round the memory, unless the
 * verification level lays canaries; what is there is said by wrt_static_allocator_query().
 *
 * Heap: none.  OS calls: none.  Threads and ISR: one caller at a time per allocator.
 * Fork: each process goes on with its own copy, if the buffer is private memory.
 */
#ifndef WRT_PLATFORM_STATIC_MEMORY_H
#define WRT_PLATFORM_STATIC_MEMORY_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/layout.h"
#include "wrt_platform/page_allocator.h"

WRT_BEGIN_DECLS

typedef struct wrt_static_allocator wrt_static_allocator;

/** Alignments and sizes. */
enum wrt_static_limit {
    WRT_STATIC_ALIGNMENT_MIN = 8,       /* bytes */
    WRT_STATIC_ALIGNMENT_DEFAULT = 16,  /* bytes */
    WRT_STATIC_ALIGNMENT_MAX = 1048576, /* bytes */
    WRT_STATIC_CANARY_SIZE = 32         /* bytes, before and behind the memory */
};

/** Regions without access round the memory, by a memory protection unit. */
enum wrt_guard_regions {
    WRT_GUARD_REGIONS_OFF = 0,
    WRT_GUARD_REGIONS_PREFERRED = 1, /* where there is hardware for it */
    WRT_GUARD_REGIONS_REQUIRED = 2   /* or init fails */
};

/** What a static allocator is made of. */
typedef struct wrt_static_allocator_config {
    uint32_t struct_size;        /* sizeof(wrt_static_allocator_config); 0 is refused */
    uint32_t maximum_pages;      /* an allocation reserves no more; 0: what the buffer holds */
    uint32_t verification_level; /* one of wrt_verification_level; SAMPLING and FULL lay canaries */
    uint32_t sampling_interval;  /* k of SAMPLING; 0: 16 */
    uint32_t guard_regions;      /* one of wrt_guard_regions */
    uint8_t reserved[4];         /* zero */
    size_t alignment;            /* of the memory's first byte: bytes, a power of two, 8 to 1 MiB;
                                    0: 16 */
    void *buffer;                /* borrowed until wrt_static_allocator_deinit; any alignment, but
                                    bytes up to the first aligned one are lost */
    size_t buffer_size;          /* bytes */
} wrt_static_allocator_config;

/** What there is, what is out, and what protects it. */
typedef struct wrt_static_allocator_report {
    uint32_t maximum_pages;    /* that the buffer and the config grant */
    uint32_t allocation_count; /* out now: 0 or 1 */
    uint32_t page_count;       /* accessible now */
    uint32_t peak_pages;       /* the most that ever were */
    wrt_enforcement guard_regions;
    wrt_enforcement canaries;
} wrt_static_allocator_report;

/** Caller-provided storage. Fields are private. It may be moved while no allocation is out (else
 * STATE); then its interface is to be asked for again. */
struct wrt_static_allocator {
    wrt_static_allocator *self;
    uint8_t *base;      /* of every allocation */
    uint64_t live_seal; /* of the pages that are out; only the latest handle has it */
    wrt_verifier verifier;
    uint32_t maximum_pages;
    uint32_t page_count;
    uint32_t peak_pages;
    uint32_t guard_regions; /* as the config asked */
    uint8_t is_out;
    uint8_t reserved[39];
};

/** Says what buffer `maximum_pages` of the config need; its buffer fields are not looked at.
 * A buffer of that alignment loses no byte.
 * Errors: INVALID_ARGUMENT (maximum_pages is 0 or above WRT_PAGE_COUNT_MAX, or another rule is
 * broken; all zero in *layout_out), UNSUPPORTED (the config sets something that this library does
 * not know, or requires guard regions), NO_MEMORY (more than this system has addresses).
 * Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status
wrt_static_allocator_layout(const wrt_static_allocator_config *config, wrt_layout *layout_out);

/** Prepares `allocator`; the buffer is not written before the first allocation. On error it is
 * left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken, buffer NULL), NO_MEMORY (the buffer
 * holds less than maximum_pages, or not one page), UNSUPPORTED (reserved bytes; guard regions are
 * required and there is no hardware for them: the reason says what is missing). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_static_allocator_init(
    wrt_static_allocator *allocator, const wrt_static_allocator_config *config);

/** The allocator as wrt_page_allocator_allocate() and the others take it. protect() is UNSUPPORTED.
 * Errors: none, it cannot fail; of an allocator that is not initialised, the calls say STATE.
 * Cost: constant; allocate and grow clear what they hand out, deallocate is constant.
 */
WRT_API WRT_NODISCARD wrt_page_allocator
wrt_static_allocator_interface(wrt_static_allocator *allocator);

/** Reports what is out and what protects it. Cost: constant.
 * Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, or moved while an allocation is out).
 */
WRT_API WRT_NODISCARD wrt_status wrt_static_allocator_query(
    const wrt_static_allocator *allocator, wrt_static_allocator_report *report_out);

/** Returns the buffer to the caller. A zeroed allocator is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_static_allocator_deinit(wrt_static_allocator *allocator);

WRT_END_DECLS
#endif
