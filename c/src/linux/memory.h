/* Internal: what the two halves of the Linux allocator share. */
#ifndef WRT_LINUX_MEMORY_H
#define WRT_LINUX_MEMORY_H

#include "sys.h"

#include "wrt_platform/linux/memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; headers may be older than the kernel */
#endif

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved while something is out, after
 * fork). */
wrt_status wrt__linux_allocator_check(const char *operation, const wrt_linux_allocator *allocator);

#endif
