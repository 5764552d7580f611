/* Internal: what the parts of the pool of slots share. */
#ifndef WRT_LINUX_SLOT_POOL_H
#define WRT_LINUX_SLOT_POOL_H

#include "sys_memory.h"

#include "../core/reservation.h"
#include "wrt_platform/linux/slot_pool.h"

/* What is known of a slot. */
typedef struct wrt__slot {
    uint64_t open_bytes; /* can be accessed, from its base on */
    uint32_t next;       /* free one, or NO_SLOT */
    bool is_out;
    bool has_image;    /* it is mapped */
    bool is_protected; /* somewhere inside of what is open, otherwise than for writing */
    uint8_t reserved;
} wrt__slot;

enum { WRT__NO_SLOT = UINT32_MAX / 2 };

/* Why there are fewer slots than were asked for. */
enum wrt__slot_shortage { WRT__SHORT_OF_NOTHING, WRT__SHORT_OF_ADDRESSES, WRT__SHORT_OF_MAPPINGS };

/* Errors: INVALID_ARGUMENT (NULL), STATE (as wrt__reserve_check). */
wrt_status wrt__slot_pool_check(const char *operation, const wrt_linux_slot_pool *pool);

/* Makes `size` bytes from a slot's base, all accessible, what a fresh one has. Errors: SYSTEM; then
 * some of it still is what it was. */
wrt_status wrt__slot_clean(const char *operation, wrt_linux_slot_pool *pool, uint8_t *base,
                           size_t size);

#endif
