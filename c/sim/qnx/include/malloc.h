/* QNX: the arena allocator of libc. The commands have the order of 6.x, 7.x and 8.0, which all
 * agree up to MALLOC_ARENA_CACHE_FREE_NOW; those behind it, and the type of mallopt's value, are
 * those of the 8.0 header. In 8.0 only M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_GRANULARITY still
 * work. */
#ifndef QNX_MALLOC_H
#define QNX_MALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/platform.h>

enum malloc_opt_cmds {
    MALLOC_VERIFY,
    MALLOC_VERIFY_ON,
    MALLOC_STATS,
    MALLOC_FREE_CHECK,
    MALLOC_ARENA_SIZE,
    MALLOC_MONOTONIC_GROWTH,
    MALLOC_MEMORY_HOLD,
    MALLOC_ARENA_CACHE_MAXSZ,
    MALLOC_ARENA_CACHE_MAXBLK,
    MALLOC_ARENA_CACHE_FREE_NOW,
    MALLOC_ERROR_GET_FNPTR,
    MALLOC_ERROR_SET_FNPTR,
    MALLOC_SET_MMAP_PRELOAD,
    MALLOC_GET_MMAP_PRELOAD,
    MALLOC_SET_MAX_LOCK_RETRY,
    MALLOC_GET_MAX_LOCK_RETRY,
    MALLOC_MAX_ALIGNMENT,
    MALLOC_LAST
};

#define M_MXFAST         ((int)MALLOC_LAST)
#define M_NLBLKS         ((int)MALLOC_LAST + 1)
#define M_GRAIN          ((int)MALLOC_LAST + 2)
#define M_TRIM_THRESHOLD ((int)MALLOC_LAST + 3)
#define M_TOP_PAD        ((int)MALLOC_LAST + 4)
#define M_MMAP_THRESHOLD ((int)MALLOC_LAST + 5)
#define M_MMAP_MAX       ((int)MALLOC_LAST + 6)
#define M_GRANULARITY    ((int)MALLOC_LAST + 7)

/* A number of mallinfo: 8.0 made them wider. */
#if _NTO_VERSION >= 800
typedef size_t __mallinfo_t;
#else
typedef int __mallinfo_t;
#endif

/* What mallinfo() tells. The members mean what they do in 6.x and 7.x. */
struct mallinfo {
    __mallinfo_t arena;    /* bytes that came from the system, cached arenas among them */
    __mallinfo_t ordblks;  /* large blocks, used or free */
    __mallinfo_t smblks;   /* small blocks in use */
    __mallinfo_t hblks;    /* large blocks that are cut into small ones */
    __mallinfo_t hblkhd;   /* bytes of bookkeeping of those */
    __mallinfo_t usmblks;  /* bytes in small blocks in use */
    __mallinfo_t fsmblks;  /* bytes in free small blocks */
    __mallinfo_t uordblks; /* bytes in large blocks in use */
    __mallinfo_t fordblks; /* bytes in free large blocks, cached arenas among them */
    __mallinfo_t keepcost; /* not used */
};

/* What mallopt(MALLOC_STATS, pointer) fills in. */
struct malloc_stats {
    size_t m_small_freemem;  /* bytes in free small blocks */
    size_t m_freemem;        /* bytes in free large blocks */
    size_t m_small_overhead; /* bookkeeping of small blocks */
    size_t m_overhead;       /* bookkeeping of large blocks */
    size_t m_small_allocmem; /* bytes in small blocks in use */
    size_t m_allocmem;       /* bytes in large blocks in use */
    size_t m_coreallocs;     /* arenas asked of the system */
    size_t m_corefrees;      /* arenas given back to the system */
    size_t m_heapsize;       /* bytes that came from the system */
    size_t m_frees;          /* calls of free() */
    size_t m_allocs;         /* calls of malloc() and its like */
    size_t m_reallocs;       /* calls of realloc() */
    size_t m_small_blocks;   /* small blocks */
    size_t m_blocks;         /* large blocks */
    size_t m_hblocks;        /* chunks that hold small blocks */
};

int mallopt(int cmd, intptr_t value) __QNX_SYMBOL(mallopt);
struct mallinfo mallinfo(void) __QNX_SYMBOL(mallinfo);
void *memalign(size_t alignment, size_t size) __QNX_SYMBOL(memalign);
size_t malloc_usable_size(void *mem) __QNX_SYMBOL(malloc_usable_size);

#endif
