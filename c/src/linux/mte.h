/* Internal: what the parts of the allocator of tagged memory share. */
#ifndef WRT_LINUX_MTE_H
#define WRT_LINUX_MTE_H

#include "sys_mte.h"

#include "wrt_platform/linux/mte.h"

enum { WRT__NO_BLOCK = UINT32_MAX / 2 };
enum wrt__mte_block_state { WRT__BLOCK_NONE, WRT__BLOCK_FREE, WRT__BLOCK_OUT };

/* What is known of the block that begins at a granule. */
typedef struct wrt__mte_block {
    uint32_t next; /* free one of the same size; NO_BLOCK */
    uint32_t previous;
    uint32_t granules; /* of one that is out: those that carry its tag */
    uint8_t order;     /* 16 << order bytes */
    uint8_t state;
    uint8_t reserved[2];
} wrt__mte_block;

wrt__mte_block *wrt__mte_block_at(const wrt_linux_mte_allocator *allocator, uint32_t index);

/* Makes all of the memory free. */
void wrt__mte_blocks_init(wrt_linux_mte_allocator *allocator);
/* A block of at least `size` bytes, by its granule; NO_BLOCK. */
uint32_t wrt__mte_block_take(wrt_linux_mte_allocator *allocator, uint64_t size);
void wrt__mte_block_give(wrt_linux_mte_allocator *allocator, uint32_t index);

#endif
