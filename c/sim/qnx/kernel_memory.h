/* Internal: the pages of the simulated process. All of it between qk_enter() and qk_leave(). A
 * forked child has none of them: its calls are refused, and the pages are not inherited. */
#ifndef SIM_QNX_KERNEL_MEMORY_H
#define SIM_QNX_KERNEL_MEMORY_H

#include "kernel.h"

enum qk_access { QK_READ = 1, QK_WRITE = 2, QK_EXECUTE = 4 };
enum qk_map_flag {
    QK_MAP_FIXED = 1,
    QK_MAP_LAZY = 2,
    QK_MAP_STACK = 4,
    QK_MAP_SHARED = 8,
    QK_MAP_HEAP = 16 /* libc's own */
};
enum { QK_PAGE = 4096 };

enum qk_limit { QK_LIMIT_DATA, QK_LIMIT_ADDRESS_SPACE, QK_LIMIT_FREE_MEMORY, QK_LIMIT_COUNT };

#define QK_UNLIMITED UINT64_MAX

/* A run of pages of one mapping with one protection. */
typedef struct qk_mapping {
    uint8_t *address;    /* where the guest sees it */
    uint8_t *host;       /* the same bytes, always readable and writable */
    uint64_t size;       /* bytes */
    uint64_t paid;       /* bytes that count in the process's partition */
    uint32_t protection; /* qk_access values */
    uint32_t flags;      /* qk_map_flag values */
} qk_mapping;

typedef struct qk_memory_usage {
    uint64_t mapped; /* bytes, whatever their protection */
    uint64_t data;   /* of them private */
    uint64_t paid;   /* bytes of memory behind them */
    uint64_t owed;   /* bytes of lazy memory that was touched where no more was to be had */
    uint32_t mappings;
} qk_memory_usage;

/* Maps `size` bytes, rounded up to pages, that read as zero. */
qk_error qk_memory_map(void *hint, size_t size, uint32_t protection, uint32_t flags,
                       void **address_out);
qk_error qk_memory_protect(void *address, size_t size, uint32_t protection);
qk_error qk_memory_unmap(void *address, size_t size);

/* QK_ENOMEM unless every page of the range is mapped. */
qk_error qk_memory_find(const void *address, size_t size);

/* Whether the process may do this to all bytes of the range. Asks the table for its own memory, and
 * the machine for any other; touches nothing. kernel.h has it as qk_may_read() and qk_may_write().
 */
bool qk_memory_may(const void *address, size_t size, uint32_t access);

/* The other alias of memory that the process mapped; NULL if the range is not of one mapping. */
void *qk_memory_host(const void *address, size_t size);

/* The limits are bytes, that of free memory in tenths of a percent of the system's. */
qk_error qk_memory_limit(enum qk_limit limit, uint64_t *soft_out, uint64_t *hard_out);
qk_error qk_memory_set_limit(enum qk_limit limit, uint64_t soft, uint64_t hard);

qk_memory_usage qk_memory_usage_now(void);
bool qk_memory_mapping(uint32_t index, qk_mapping *mapping_out);

/* Unmaps everything. */
void qk_memory_reset(void);

#endif
