/* Internal: the keys of mallopt(), which the arena allocators of a process share. */
#ifndef WRT_QNX_ARENA_INTERNAL_H
#define WRT_QNX_ARENA_INTERNAL_H

#include "wrt_platform/qnx/arena.h"

/* Places in the table of keys; an allocator keeps a bit for each one that it holds. */
enum wrt__qnx_key {
    WRT__QNX_KEY_ARENA_SIZE,
    WRT__QNX_KEY_CACHE_BLOCKS,
    WRT__QNX_KEY_CACHE_SIZE,
    WRT__QNX_KEY_MEMORY_HOLD
};

_Static_assert(WRT__QNX_KEY_MEMORY_HOLD + 1 == (int)WRT_QNX_ARENA_KEYS, "as documented");

/* Takes all keys that the config asks for, or none. Errors: UNSUPPORTED (the system does not take
 * one), BUSY (somebody has set one otherwise), SYSTEM. */
wrt_status wrt__qnx_keys_take(const char *operation, const wrt_qnx_arena_allocator_config *config,
                              uint32_t *keys_out);

/* Gives keys back, and takes those out of *keys that are. Errors: SYSTEM (the others stay). */
wrt_status wrt__qnx_keys_give_back(const char *operation, uint32_t *keys);

/* The arena size in force; 0 if the system's malloc has no arenas. */
uint64_t wrt__qnx_arena_size(void);

/* Whether freed blocks are used again last in, first out. */
bool wrt__qnx_frees_lifo(void);

#endif
