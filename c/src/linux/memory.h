/* Internal: what the parts of the Linux allocator share. */
#ifndef WRT_LINUX_MEMORY_H
#define WRT_LINUX_MEMORY_H

#include "sys_memory.h"

#include "../core/reservation.h"
#include "wrt_platform/linux/memory.h"

enum { WRT__HUGE_2_MIB = 1 << 21, WRT__HUGE_1_GIB = 1 << 30 };

/* What an allocator that uses huge pages notes of each allocation, in front of its guard. */
typedef struct wrt__page_note {
    uint32_t kind; /* one of wrt_linux_page_kind */
    uint32_t reserved;
    uint64_t unit;   /* bytes of a huge page from the pool; 0: of the system's pages */
    uint64_t opened; /* bytes that can be accessed, whole units */
} wrt__page_note;

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while something is out, after
 * fork). */
wrt_status wrt__linux_allocator_check(const char *operation, const wrt_linux_allocator *allocator);

/* A failed call of the system for memory: NO_MEMORY or SYSTEM by errno; {0} is `bytes`. */
wrt_status wrt__fail_for_memory(const char *operation, const char *reason, uint64_t bytes);

/* Whether other processes may see what is written: it can't be dropped like private memory. */
bool wrt__linux_is_shared(const wrt_linux_allocator *allocator);

/* Whether this system grants transparent huge pages to the allocator's kind of memory. */
bool wrt__linux_grants_thp(const wrt_linux_allocator *allocator);

/* ---- memory_place.c ---- */

/* The note of an allocation; NULL: its allocator keeps none. */
wrt__page_note *wrt__linux_note(const wrt_linux_allocator *allocator, const wrt_pages *pages);
/* Bytes that it takes. */
size_t wrt__linux_note_bytes(const wrt_linux_allocator *allocator);

/* The largest kind of page that an allocation is to try, and the next smaller one. */
uint32_t wrt__linux_first_kind(const wrt_linux_allocator *allocator, uint32_t maximum_pages);
uint32_t wrt__linux_next_kind(const wrt_linux_allocator *allocator, uint32_t maximum_pages,
                              uint32_t kind);
/* Bytes of a page of that kind, if they are huge; else 0. */
size_t wrt__linux_unit_of(uint32_t kind);

/* The backend's part of wrt__reservation_ops. */
wrt_status wrt__linux_map(const char *operation, void *context, size_t size, void **start_out);

#endif
