/* Internal: the calls of sys_memory.c, as sys.h has the others. As those of the same name: -1
 * (MAP_FAILED) and errno say that they failed. */
#ifndef WRT_LINUX_SYS_MEMORY_H
#define WRT_LINUX_SYS_MEMORY_H

#include "sys_files.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; headers may be older than the kernel */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

enum { WRT__POLICY_PREFERRED = 1, WRT__POLICY_BIND = 2, WRT__POLICY_INTERLEAVE = 3 };

/* In place of what is mapped from `start` on. */
void *wrt__sys_mmap_at(void *start, size_t size, int protection, int flags, int descriptor);

/* Puts memory that nobody has touched yet on nodes; `nodes` has 1024 bits. */
int wrt__sys_mbind(void *start, size_t size, int policy, const uint64_t *nodes);
/* Of the nodes that it is put on, the first to be asked; Linux 5.17. */
int wrt__sys_home_node(void *start, size_t size, uint32_t node);

/* Whether this process has no transparent huge pages: 0 or 1. */
int wrt__sys_thp_is_off(void);

int wrt__sys_add_seals(int descriptor, int seals);
ssize_t wrt__sys_pwrite(int descriptor, const void *bytes, size_t size, off_t offset);
int wrt__sys_limit_of(int resource, struct rlimit *limit_out);

#endif
