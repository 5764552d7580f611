/** Which memory is near: the nodes of this machine, and what the Linux allocator asks of them.
 *
 *     wrt_linux_numa_node nodes[64];
 *     uint32_t count;
 *     wrt_status status = wrt_linux_numa_topology(nodes, 64, &count);
 *
 * A machine with one kind of memory, and a kernel that knows no nodes, has node 0 alone.
 *
 * Heap: none.  Threads: any.  ISR: no.
 */
#ifndef WRT_PLATFORM_LINUX_NUMA_H
#define WRT_PLATFORM_LINUX_NUMA_H

#include "wrt_platform/status.h"

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_linux_numa_limit {
    WRT_LINUX_NUMA_NODES_MAX = 1024, /* ids are below it */
    WRT_LINUX_NUMA_WORDS = 16        /* words of a mask */
};

/** Where memory is to come from. */
enum wrt_linux_numa_policy {
    WRT_LINUX_NUMA_DEFAULT = 0,    /* no node is named: the system's; one is: BIND to numa_node,
                                      or else PREFERRED for preferred_node */
    WRT_LINUX_NUMA_BIND = 1,       /* from these nodes alone */
    WRT_LINUX_NUMA_INTERLEAVE = 2, /* from these in turn; none named: from all */
    WRT_LINUX_NUMA_PREFERRED = 3   /* from one, and from others once it is full */
};

/** A set of nodes: bit n % 64 of word n / 64 stands for node n. */
typedef struct wrt_linux_numa_mask {
    uint64_t words[16]; /* WRT_LINUX_NUMA_WORDS */
} wrt_linux_numa_mask;

/** One node. */
typedef struct wrt_linux_numa_node {
    uint32_t id;
    uint32_t reserved;
    uint64_t total_bytes;
    uint64_t free_bytes; /* when the call was made */
} wrt_linux_numa_node;

/** Lists the nodes that have memory this process may use (its cpuset decides), by rising id.
 * nodes: room for `capacity` of them, may be NULL if that is 0; the rest is left out.
 * count_out: how many there are, be it more than `capacity`.
 * Errors: INVALID_ARGUMENT (NULL), SYSTEM (a node's file can't be read; os_code).
 * Cost: a few files of /proc and /sys, and one a node.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_numa_topology(wrt_linux_numa_node *nodes,
                                                         uint32_t capacity, uint32_t *count_out);

WRT_END_DECLS
#endif
