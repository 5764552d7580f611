/* Internal: sets of nodes, and what of a config becomes of them. */
#ifndef WRT_LINUX_NUMA_H
#define WRT_LINUX_NUMA_H

#include "sys_memory.h"

#include "wrt_platform/linux/memory.h"

bool wrt__node_is_in(const wrt_linux_numa_mask *nodes, uint32_t node);
void wrt__node_add(wrt_linux_numa_mask *nodes, uint32_t node);

/* The nodes with memory that this process may use; node 0 alone where the kernel knows none. */
wrt_linux_numa_mask wrt__nodes_here(void);

/* Reads what a config says of nodes, and tries it. Errors: INVALID_ARGUMENT, SYSTEM. */
wrt_status wrt__numa_init(const char *operation, wrt_linux_allocator *allocator,
                          const wrt_linux_allocator_config *config);

/* Puts memory that nobody has touched yet where the config wants it. 0, or -1 and errno. */
int wrt__numa_place(const wrt_linux_allocator *allocator, void *start, size_t size);

#endif
