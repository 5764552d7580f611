/* Internal: page allocators that reserve addresses, the part that is the same on every operating
 * system. A backend says how to map, and how to give access; this says when, and checks. */
#ifndef WRT_CORE_RESERVATION_H
#define WRT_CORE_RESERVATION_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"

enum { WRT__GUARD_BYTES_DEFAULT = 65536 }; /* each backend's own name for it says the same */

/* What a backend does. Each call fails through wrt_fail() in the name of `operation`, and leaves
 * things as they were then. */
typedef struct wrt__reservation_ops {
    /* Whether the allocator can be used at all. */
    wrt_status (*check)(const char *operation, const void *allocator);

    /* Addresses without access. */
    wrt_status (*map)(const char *operation, void *allocator, size_t size, void **start_out);

    /* Gives all of an allocation back to the system. */
    wrt_status (*unmap)(const char *operation, void *allocator, const wrt_pages *pages);

    /* Makes an edge writable, for a canary. */
    wrt_status (*open_edge)(const char *operation, void *allocator, uint8_t *start, size_t size);

    /* Gives access to `size` bytes behind the accessible pages, zero. */
    wrt_status (*give_access)(const char *operation, void *allocator, const wrt_pages *pages,
                              size_t size);

    /* Sets what may be done with a range, which is inside and aligned. */
    wrt_status (*protect)(const char *operation, void *allocator, const wrt_pages *pages,
                          size_t offset, size_t size, uint32_t protection);
} wrt__reservation_ops;

/* An allocator, as the calls below take it. */
typedef struct wrt__reservation {
    const wrt__reservation_ops *ops;
    void *allocator; /* the owner of its pages */
    wrt_page_reserve *reserve;
    size_t front_bytes; /* of the backend's own, at the start of each reservation */
    size_t unit_bytes;  /* the memory of a reservation is a multiple of it; 0: of its pages */
} wrt__reservation;

/* Reads what all configs of such allocators have. Errors: INVALID_ARGUMENT. */
wrt_status wrt__reserve_init(wrt_page_reserve *reserve, const char *operation,
                             const wrt_verifier *verifier, uint64_t system_page,
                             uint32_t maximum_pages, uint64_t guard_bytes, bool guard_pages);

/* Whether an allocator can be used: `self` is its own address as init has noted it, and `is_ours`
 * whether this process made it. Errors: STATE (not initialised, moved while something is out, after
 * fork). */
wrt_status wrt__reserve_check(const char *operation, const wrt_page_reserve *reserve,
                              const void *allocator, const void *self, bool is_ours);

/* The calls of wrt_page_allocator_ops. */
wrt_status wrt__reservation_allocate(const char *operation, const wrt__reservation *of,
                                     uint32_t initial_pages, uint32_t maximum_pages,
                                     wrt_pages *pages_out);
wrt_status wrt__reservation_grow(const char *operation, const wrt__reservation *of,
                                 wrt_pages *pages, uint32_t additional_pages);
wrt_status wrt__reservation_protect(const char *operation, const wrt__reservation *of,
                                    wrt_pages *pages, size_t offset, size_t size,
                                    uint32_t protection);
wrt_status wrt__reservation_deallocate(const char *operation, const wrt__reservation *of,
                                       wrt_pages *pages);

/* What the guards and canaries are worth. */
wrt_enforcement wrt__reserve_guards(const wrt_page_reserve *reserve);
wrt_enforcement wrt__reserve_canaries(const wrt_page_reserve *reserve);

#endif
