/** Page allocators: where linear memory comes from.
 *
 * A page is 64 KiB, as WebAssembly has it. An allocation reserves room for
 * `maximum_pages` at once and never moves: growth makes more of the reserved room
 * accessible. New pages are zero. Each backend gives out a wrt_page_allocator
 * (`wrt_linux_allocator_interface()`, ...); the calls below work on all of them.
 *
 * Heap: none.  Threads: one caller at a time per allocator.  ISR: no.
 */
#ifndef WRT_PLATFORM_PAGE_ALLOCATOR_H
#define WRT_PLATFORM_PAGE_ALLOCATOR_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes and counts. */
enum wrt_page_limit {
    WRT_PAGE_SIZE = 65536,                  /* bytes */
    WRT_PAGE_COUNT_MAX = 65536,             /* pages of a 32-bit memory: 4 GiB */
    WRT_PAGE_SAMPLING_INTERVAL_DEFAULT = 16 /* calls from one check to the next */
};

/** What guest and host may do with a range of pages; flags, to be combined. */
enum wrt_protection {
    WRT_PROTECTION_NONE = 0,
    WRT_PROTECTION_READ = 1,
    WRT_PROTECTION_WRITE = 2 /* implies READ on systems that cannot tell them apart */
};

/** How much an allocator checks of what it is handed back. */
enum wrt_verification_level {
    WRT_VERIFICATION_DEFAULT = 0,  /* STANDARD */
    WRT_VERIFICATION_OFF = 1,      /* nothing */
    WRT_VERIFICATION_SAMPLING = 2, /* what FULL checks, on every k-th call: k, 2k, 3k, ...;
                                      a call is one that is handed pages */
    WRT_VERIFICATION_STANDARD = 3, /* the handle: owner and seal, on every call */
    WRT_VERIFICATION_FULL = 4      /* the handle, and the canaries round the memory */
};

/** How an allocator verifies; a part of the allocators of all backends. Fields are private. */
typedef struct wrt_verifier {
    uint32_t level;    /* one of wrt_verification_level, never DEFAULT */
    uint32_t interval; /* k of SAMPLING */
    uint32_t calls;    /* since the last check of SAMPLING */
    uint32_t reserved;
} wrt_verifier;

/** What an allocator that reserves addresses knows of all its allocations; a part of those of
 * operating systems. Fields are private. */
typedef struct wrt_page_reserve {
    wrt_verifier verifier;
    uint64_t system_page;    /* bytes */
    uint64_t guard_bytes;    /* 0 without guard pages */
    uint64_t canary_bytes;   /* 0 without canaries */
    uint64_t reserved_bytes; /* out now */
    uint32_t maximum_pages;
    uint32_t allocation_count;
    uint32_t page_count;
    uint32_t peak_pages;
} wrt_page_reserve;

/** An allocation: the caller's storage, filled in by allocate(). `base` and `page_count` are
 * for reading; a change of any field is caught (STATE) as far as the verification level goes.
 * It may be moved between two calls; of two copies only one may be used from then on. */
typedef struct wrt_pages {
    uint8_t *base;          /* first byte; the same for the allocation's whole life */
    uint32_t page_count;    /* accessible now */
    uint32_t maximum_pages; /* reserved */
    void *owner;            /* private: the allocator */
    void *reservation;      /* private: start of what the backend reserved */
    size_t reserved_size;   /* private: bytes of it */
    uint64_t seal;          /* private: checksum over the fields above */
} wrt_pages;

/** What a backend implements; the rules are those of the calls below. Arguments that stand alone
 * have been checked, and *pages_out is zero; what is said about `pages`, and all that depends on
 * it, is the backend's to check, the former first. Private fields of `pages` are its own. */
typedef wrt_status (*wrt_page_allocate_fn)(void *context, uint32_t initial_pages,
                                           uint32_t maximum_pages, wrt_pages *pages_out);
/** As wrt_page_allocator_grow(). */
typedef wrt_status (*wrt_page_grow_fn)(void *context, wrt_pages *pages, uint32_t additional_pages);
/** As wrt_page_allocator_protect(). */
typedef wrt_status (*wrt_page_protect_fn)(void *context, wrt_pages *pages, size_t offset,
                                          size_t size, uint32_t protection);
/** As wrt_page_allocator_deallocate(). */
typedef wrt_status (*wrt_page_deallocate_fn)(void *context, wrt_pages *pages);

/** The calls of a backend; none may be NULL. */
typedef struct wrt_page_allocator_ops {
    wrt_page_allocate_fn allocate;
    wrt_page_grow_fn grow;
    wrt_page_protect_fn protect;
    wrt_page_deallocate_fn deallocate;
} wrt_page_allocator_ops;

/** An allocator of any backend. Copy it freely; `self` must outlive all copies. */
typedef struct wrt_page_allocator {
    const wrt_page_allocator_ops *ops;
    void *self; /* the `context` of the calls above */
} wrt_page_allocator;

/** Reserves `maximum_pages` and makes the first `initial_pages` of them accessible and zero.
 * maximum_pages: initial_pages to WRT_PAGE_COUNT_MAX, and no more than the allocator's config
 * grants. On error *pages_out is all zero.
 * Errors: INVALID_ARGUMENT (a rule above), LIMIT (beyond the allocator's config), NO_MEMORY (the
 * system or the buffer has not that much; os_code), BUSY (the allocator serves one at a time).
 * Cost: of this and the others, see the backend's interface call.
 */
WRT_API WRT_NODISCARD wrt_status wrt_page_allocator_allocate(const wrt_page_allocator *allocator,
                                                             uint32_t initial_pages,
                                                             uint32_t maximum_pages,
                                                             wrt_pages *pages_out);

/** Makes `additional_pages` more accessible, zero, at the end; contents and base stay.
 * 0 is accepted and changes nothing.
 * Errors: LIMIT (beyond maximum_pages; nothing changed), NO_MEMORY (the system refuses;
 * nothing changed), STATE (verification: not this allocator's, or damaged).
 */
WRT_API WRT_NODISCARD wrt_status wrt_page_allocator_grow(const wrt_page_allocator *allocator,
                                                         wrt_pages *pages,
                                                         uint32_t additional_pages);

/** Sets what may be done with `size` bytes from `offset`; both are multiples of the system's
 * own page (4 KiB on most; INVALID_ARGUMENT says which).
 * Errors: INVALID_ARGUMENT (outside of the accessible pages, not aligned, unknown flags),
 * UNSUPPORTED (no hardware to enforce it), STATE (verification).
 */
WRT_API WRT_NODISCARD wrt_status wrt_page_allocator_protect(const wrt_page_allocator *allocator,
                                                            wrt_pages *pages, size_t offset,
                                                            size_t size, uint32_t protection);

/** Gives the pages back; *pages is all zero then. All-zero pages are accepted: twice is harmless.
 * Errors: STATE (verification: not this allocator's, or damaged; nothing is freed).
 */
WRT_API WRT_NODISCARD wrt_status wrt_page_allocator_deallocate(const wrt_page_allocator *allocator,
                                                               wrt_pages *pages);

WRT_END_DECLS
#endif
