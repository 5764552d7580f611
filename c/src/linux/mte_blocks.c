/* Free memory of an allocator of tagged blocks: powers of two, each next to its buddy, which it is
 * joined with when both are free. The lists lie in a table beside the memory, so that nothing of
 * the allocator's own can be reached through a pointer that was given out. */
#include "mte.h"

/* ---- Lists ---- */

wrt__mte_block *wrt__mte_block_at(const wrt_linux_mte_allocator *allocator, uint32_t index)
{
    return (wrt__mte_block *)allocator->table + index;
}

static void put(wrt_linux_mte_allocator *allocator, uint32_t index, uint32_t order)
{
    wrt__mte_block *block = wrt__mte_block_at(allocator, index);
    const uint32_t next = allocator->free_blocks[order];

    *block = (wrt__mte_block){
        .next = next, .previous = WRT__NO_BLOCK, .order = (uint8_t)order, .state = WRT__BLOCK_FREE};
    if (next != WRT__NO_BLOCK) wrt__mte_block_at(allocator, next)->previous = index;
    allocator->free_blocks[order] = index;
}

static void take(wrt_linux_mte_allocator *allocator, uint32_t index)
{
    wrt__mte_block *block = wrt__mte_block_at(allocator, index);

    if (block->next != WRT__NO_BLOCK) {
        wrt__mte_block_at(allocator, block->next)->previous = block->previous;
    }
    if (block->previous != WRT__NO_BLOCK) {
        wrt__mte_block_at(allocator, block->previous)->next = block->next;
    } else {
        allocator->free_blocks[block->order] = block->next;
    }
    block->state = WRT__BLOCK_NONE;
}

/* ---- Blocks ---- */

static uint32_t granules(const wrt_linux_mte_allocator *allocator)
{
    return (uint32_t)(allocator->memory_bytes / WRT_LINUX_MTE_GRANULE);
}

void wrt__mte_blocks_init(wrt_linux_mte_allocator *allocator)
{
    uint32_t index = 0;

    for (uint32_t order = 0; order < WRT_LINUX_MTE_ORDERS; order++) {
        allocator->free_blocks[order] = WRT__NO_BLOCK;
    }
    for (uint32_t order = WRT_LINUX_MTE_ORDERS; order-- != 0;) {
        while (granules(allocator) - index >= UINT32_C(1) << order) {
            put(allocator, index, order);
            index += UINT32_C(1) << order;
        }
    }
}

uint32_t wrt__mte_block_take(wrt_linux_mte_allocator *allocator, uint64_t size)
{
    const uint64_t wanted = (size + WRT_LINUX_MTE_GRANULE - 1) / WRT_LINUX_MTE_GRANULE;
    uint32_t order = 0;

    while (order < WRT_LINUX_MTE_ORDERS && UINT64_C(1) << order < wanted) order++;
    uint32_t found = order;
    while (found < WRT_LINUX_MTE_ORDERS && allocator->free_blocks[found] == WRT__NO_BLOCK) found++;
    if (found >= WRT_LINUX_MTE_ORDERS) return WRT__NO_BLOCK;
    const uint32_t index = allocator->free_blocks[found];
    take(allocator, index);
    while (found > order) {
        found--;
        put(allocator, index + (UINT32_C(1) << found), found);
    }
    wrt__mte_block *block = wrt__mte_block_at(allocator, index);
    block->order = (uint8_t)order;
    block->state = WRT__BLOCK_OUT;
    return index;
}

void wrt__mte_block_give(wrt_linux_mte_allocator *allocator, uint32_t index)
{
    uint32_t order = wrt__mte_block_at(allocator, index)->order;

    wrt__mte_block_at(allocator, index)->state = WRT__BLOCK_NONE;
    for (; order + 1 < WRT_LINUX_MTE_ORDERS; order++) {
        const uint32_t buddy = index ^ (UINT32_C(1) << order);
        if (buddy >= granules(allocator)) break;
        const wrt__mte_block *other = wrt__mte_block_at(allocator, buddy);
        if (other->state != WRT__BLOCK_FREE || other->order != order) break;
        take(allocator, buddy);
        if (buddy < index) index = buddy;
    }
    put(allocator, index, order);
}
