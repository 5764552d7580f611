/* Internal: what processes share of an object, and how the first of them prepares it. */
#ifndef WRT_LINUX_SHARED_H
#define WRT_LINUX_SHARED_H

#include "sys.h"
#include "wrt_platform/linux/sync.h"

/* What it can be; a lock adds what it is made of, in higher bits. */
enum wrt__shared_kind {
    WRT__SHARED_FUTEX = 1,
    WRT__SHARED_LOCK = 2,
    WRT__SHARED_SEMAPHORE = 3,
    WRT__SHARED_MUTEX = 4,
    WRT__SHARED_INHERITING_MUTEX = 5,
    WRT__SHARED_CONDITION = 6
};

typedef struct wrt__shared_use {
    wrt_linux_shared *memory; /* NULL: to be mapped */
    uint32_t kind;
    bool is_mapped; /* it was */
} wrt__shared_use;

/* Makes what lies behind the head of `memory`, which is zero. */
typedef wrt_status (*wrt__shared_prepare_fn)(const char *operation, wrt_linux_shared *memory,
                                             const void *context);

/* The rules of a config. Errors: INVALID_ARGUMENT. */
wrt_status wrt__shared_check(const char *operation, bool is_shared, const wrt_linux_shared *memory);

/* Prepares the memory, or waits until it is. Errors: INVALID_ARGUMENT (it is another object's),
 * STATE (nobody finished), NO_MEMORY, SYSTEM, those of `prepare`. */
wrt_status wrt__shared_attach(const char *operation, wrt__shared_use *use,
                              wrt__shared_prepare_fn prepare, const void *context);

/* Takes back what attach mapped. */
void wrt__shared_unmap(wrt_linux_shared *memory);

#endif
