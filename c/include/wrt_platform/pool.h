/** Memory pools: fixed-size blocks cut from one buffer that the caller owns.
 *
 *     wrt_pool_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.class_count = 1;
 *     config.classes[0].block_size = 64;
 *     config.classes[0].block_count = 8;
 *     config.buffer = buffer; // as wrt_pool_layout() asks
 *     config.buffer_size = sizeof buffer;
 *     wrt_status status = wrt_pool_init(&pool, &config);
 *
 * A request is served from the smallest class that fits and has a free block.
 * Bookkeeping lives in wrt_pool, never beside the blocks, so a guest that
 * scribbles over its memory cannot corrupt the allocator.
 *
 * Heap: none.  OS calls: none.  Threads and ISR: one caller at a time per pool.
 * Fork: each process goes on with its own copy, if the buffer is private memory.
 */
#ifndef WRT_PLATFORM_POOL_H
#define WRT_PLATFORM_POOL_H

#include "wrt_platform/layout.h"
#include "wrt_platform/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

WRT_BEGIN_DECLS

/** What a pool can be. */
enum wrt_pool_limit {
    WRT_POOL_CLASS_MAX = 8,            /* size classes in one pool */
    WRT_POOL_BLOCK_MAX = 32,           /* blocks in one class: one bit each */
    WRT_POOL_BLOCK_SIZE_MIN = 8,       /* bytes; also the alignment of every block */
    WRT_POOL_BLOCK_SIZE_MAX = 8388608, /* bytes: 8 MiB, so that no sum exceeds 32 bits */
    WRT_POOL_ALIGNMENT = 8             /* bytes; of the buffer */
};

/** The published cost: allocate and release of a block take, for every block of a pool, the same
 * number of instructions, at most FIXED + class_count * PER_CLASS of x86-64 at -O1 and above. */
enum wrt_pool_cost { WRT_POOL_COST_FIXED = 72, WRT_POOL_COST_PER_CLASS = 8 };

/** Blocks of one size. */
typedef struct wrt_pool_class {
    uint32_t block_size;  /* bytes, a power of two, WRT_POOL_BLOCK_SIZE_MIN to _MAX */
    uint32_t block_count; /* 1 to WRT_POOL_BLOCK_MAX */
} wrt_pool_class;

/** What a pool is made of. */
typedef struct wrt_pool_config {
    uint32_t struct_size; /* sizeof(wrt_pool_config); 0 is refused */
    uint32_t class_count; /* 1 to WRT_POOL_CLASS_MAX */
    /** block_size never falls from one class to the next; to have more than
     * WRT_POOL_BLOCK_MAX blocks of a size, give that size twice. */
    wrt_pool_class classes[WRT_POOL_CLASS_MAX];
    void *buffer;        /* borrowed until wrt_pool_deinit */
    size_t buffer_size;  /* bytes, at least what wrt_pool_layout() asks */
    bool zero_released;  /* clear a block when it is released */
    uint8_t reserved[7]; /* zero */
} wrt_pool_config;

/** Blocks, summed over all classes. */
typedef struct wrt_pool_usage {
    uint32_t capacity;
    uint32_t used;     /* out now */
    uint32_t peak;     /* the most that were ever out at once */
    uint32_t refusals; /* requests that found no block */
} wrt_pool_usage;

/** Caller-provided storage. Fields are private. It may be moved between two calls. */
typedef struct wrt_pool {
    uint8_t *buffer;
    size_t bytes;                             /* of the buffer, in blocks */
    size_t start[WRT_POOL_CLASS_MAX];         /* offset of each class in the buffer */
    size_t block_size[WRT_POOL_CLASS_MAX];    /* bytes */
    uint32_t free_blocks[WRT_POOL_CLASS_MAX]; /* bit b is set while block b is free */
    uint32_t with_room;                       /* bit c is set while class c has a free block */
    uint32_t class_count;                     /* 0 before init and after deinit */
    wrt_pool_usage usage;
    bool zero_released;
    uint8_t reserved[7];
} wrt_pool;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out),
 * UNSUPPORTED (the config sets something that this library does not know).
 * Cost: linear in class_count.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_layout(const wrt_pool_config *config,
                                                 wrt_layout *layout_out);

/** Prepares `pool` to serve blocks; on error it is left as it was.
 * Errors: as wrt_pool_layout; INVALID_ARGUMENT (buffer NULL or misaligned),
 * NO_MEMORY (buffer too small).
 * Cost: linear in class_count, however many blocks there are.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_init(wrt_pool *pool, const wrt_pool_config *config);

/** Hands out a block of at least `size` bytes; on error *block_out is NULL. It belongs to the
 * caller until wrt_pool_release(). size: bytes, 1 to that of the largest class.
 * Errors: INVALID_ARGUMENT (size 0), NO_MEMORY (no class fits and has room),
 * STATE (not initialised).
 * Cost: see wrt_pool_cost; nothing depends on how full the pool is.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_allocate(wrt_pool *pool, size_t size, void **block_out);

/** Takes a block back.
 * Errors: INVALID_ARGUMENT (not the start of a block of this pool), STATE (not out).
 * Cost: as allocate, plus the clearing of block_size bytes if zero_released.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_release(wrt_pool *pool, void *block);

/** Reports how the pool has been used since init.
 * Errors: INVALID_ARGUMENT (NULL). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_query(const wrt_pool *pool, wrt_pool_usage *usage_out);

/** Returns the buffer to the caller. A zeroed pool is accepted, so twice is harmless.
 * Errors: STATE, while blocks are out. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_pool_deinit(wrt_pool *pool);

WRT_END_DECLS
#endif
