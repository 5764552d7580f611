/* The calls for the placement of memory, as the backend makes them; see sys.c. */
#include "sys_memory.h"

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450 /* on every architecture */
#endif

enum { NODE_BITS = 1024 };

void *wrt__sys_mmap_at(void *start, size_t size, int protection, int flags, int descriptor)
{
    if (wrt__sys_fails()) return MAP_FAILED;
    return mmap(start, size, protection, flags | MAP_FIXED, descriptor, 0);
}

/* The kernel takes one bit less than it is told. */
int wrt__sys_mbind(void *start, size_t size, int policy, const uint64_t *nodes)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_mbind, start, size, policy, nodes, NODE_BITS + 1, 0);
}

int wrt__sys_home_node(void *start, size_t size, uint32_t node)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_set_mempolicy_home_node, start, size, (unsigned long)node, 0);
}

int wrt__sys_thp_is_off(void)
{
    return wrt__sys_fails() ? -1 : prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
}

int wrt__sys_add_seals(int descriptor, int seals)
{
    return wrt__sys_fails() ? -1 : fcntl(descriptor, F_ADD_SEALS, seals);
}

ssize_t wrt__sys_pwrite(int descriptor, const void *bytes, size_t size, off_t offset)
{
    return wrt__sys_fails() ? -1 : pwrite(descriptor, bytes, size, offset);
}

int wrt__sys_limit_of(int resource, struct rlimit *limit_out)
{
    return wrt__sys_fails() ? -1 : getrlimit((__rlimit_resource_t)resource, limit_out);
}
