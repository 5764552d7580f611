"""Linear memory in huge pages on the first node, and what the kernel makes of it."""

from wrt_platform.linux.memory import LinuxAllocatorBuilder, detect_numa_topology

node = detect_numa_topology().nodes[0]
builder = LinuxAllocatorBuilder().with_maximum_pages(4096).with_guard_pages()
allocator = builder.with_huge_pages().with_numa_node(node.id).build()
with allocator.allocate(1024) as pages:
    pages.memory[0] = 1
    stats = allocator.get_memory_stats(pages)
    report = allocator.report
    print(f"huge pages: {stats.huge_pages} of {stats.total_pages} in RAM;", end=" ")
    print(report.huge_pages.reason)
    print(f"node {node.id} {report.numa.state.name.lower()}: {report.numa.reason}")
