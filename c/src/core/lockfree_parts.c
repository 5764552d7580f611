/* What the lock-free structures have in common: the rules of their sizes and of their buffers. */
#include "lockfree_parts.h"

#include "bits.h"
#include "fail.h"

wrt_status wrt__check_value(const char *operation, uint32_t value_size)
{
    if (value_size >= 1 && value_size <= WRT_LOCKFREE_ELEMENT_SIZE_MAX) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "size is {0} bytes, not 1 to {1}",
                           value_size, WRT_LOCKFREE_ELEMENT_SIZE_MAX);
}

wrt_status wrt__check_elements(const char *operation, uint32_t capacity, uint32_t least_capacity,
                               uint32_t element_size)
{
    if (capacity < least_capacity || capacity > WRT_LOCKFREE_CAPACITY_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "capacity is {0}, not {1} to 16777216", capacity, least_capacity);
    }
    if (!wrt__is_power_of_two(capacity)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "capacity {0} is not a power of two", capacity, 0);
    }
    return wrt__check_value(operation, element_size);
}

wrt_status wrt__describe_buffer(const char *operation, size_t fixed, uint32_t count, size_t size,
                                wrt_layout *layout_out)
{
    if (count > (SIZE_MAX - fixed) / size) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "{0} times {1} bytes are beyond this system's addresses", count,
                               size);
    }
    *layout_out = (wrt_layout){fixed + count * size, WRT__CACHE_LINE};
    return WRT_OK;
}

wrt_status wrt__check_buffer(const char *operation, const void *buffer, size_t buffer_size,
                             const wrt_layout *layout)
{
    if (buffer == NULL || (uintptr_t)buffer % layout->alignment != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "buffer is NULL or not {0}-byte aligned", layout->alignment, 0);
    }
    if (buffer_size < layout->bytes) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation, "buffer has {0} bytes, {1} are needed",
                               buffer_size, layout->bytes);
    }
    return WRT_OK;
}
