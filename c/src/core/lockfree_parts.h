/* Internal: what the lock-free structures have in common, their sizes and their buffers. */
#ifndef WRT_CORE_LOCKFREE_PARTS_H
#define WRT_CORE_LOCKFREE_PARTS_H

#include "cache_line.h"
#include "wrt_platform/lockfree.h"
#include <string.h>

/* Checks what a ring or a queue holds. */
wrt_status wrt__check_elements(const char *operation, uint32_t capacity, uint32_t least_capacity,
                               uint32_t element_size);

/* Checks the size of a value. */
wrt_status wrt__check_value(const char *operation, uint32_t value_size);

/* Answers a layout call: `count` pieces of `size` bytes behind `fixed` bytes, on a cache line. */
wrt_status wrt__describe_buffer(const char *operation, size_t fixed, uint32_t count, size_t size,
                                wrt_layout *layout_out);

/* Checks that the caller's buffer is what the layout asks for. */
wrt_status wrt__check_buffer(const char *operation, const void *buffer, size_t buffer_size,
                             const wrt_layout *layout);

/* alignment: a power of two. */
static inline size_t wrt__round_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

#endif
