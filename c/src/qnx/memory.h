/* Internal: what the arena allocator uses of the page allocator. */
#ifndef WRT_QNX_MEMORY_INTERNAL_H
#define WRT_QNX_MEMORY_INTERNAL_H

#include "wrt_platform/qnx/memory.h"

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while pages are out, after
 * fork). */
wrt_status wrt__qnx_allocator_check(const char *operation, const wrt_qnx_allocator *allocator);

/* As wrt_qnx_allocator_init(), of a config that has been read, in the name of `operation`. */
wrt_status wrt__qnx_allocator_open(const char *operation, wrt_qnx_allocator *allocator,
                                   const wrt_qnx_allocator_config *config);

/* As wrt_qnx_allocator_deinit(), of an allocator that has been checked. */
wrt_status wrt__qnx_allocator_close(const char *operation, wrt_qnx_allocator *allocator);

#endif
