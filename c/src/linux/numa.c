/* Nodes: which there are, which a config means, and memory put on them. Whether this kernel lets
 * us place memory is tried at init with a page of its own, so that the report is true before the
 * first allocation. */
#include "numa.h"

#include "../core/fail.h"
#include "files.h"

#define NODE_PATH "/sys/devices/system/node/"

_Static_assert(sizeof(wrt_linux_numa_mask) * 8 == WRT_LINUX_NUMA_NODES_MAX, "one bit a node");

/* ---- Sets ---- */

bool wrt__node_is_in(const wrt_linux_numa_mask *nodes, uint32_t node)
{
    return node < WRT_LINUX_NUMA_NODES_MAX && (nodes->words[node / 64] >> node % 64 & 1) != 0;
}

void wrt__node_add(wrt_linux_numa_mask *nodes, uint32_t node)
{
    nodes->words[node / 64] |= UINT64_C(1) << node % 64;
}

static uint32_t count_nodes(const wrt_linux_numa_mask *nodes)
{
    uint32_t count = 0;

    for (uint32_t node = 0; node < WRT_LINUX_NUMA_NODES_MAX; node++) {
        count += wrt__node_is_in(nodes, node);
    }
    return count;
}

/* A node that is in `nodes` and not in `others`; NODES_MAX if there is none. */
static uint32_t first_beyond(const wrt_linux_numa_mask *nodes, const wrt_linux_numa_mask *others)
{
    uint32_t node = 0;

    while (node < WRT_LINUX_NUMA_NODES_MAX &&
           (!wrt__node_is_in(nodes, node) || wrt__node_is_in(others, node))) {
        node++;
    }
    return node;
}

/* ---- What there is ---- */

/* A list as the kernel writes it: "0-1,4". */
static wrt_linux_numa_mask read_list(const char *text)
{
    wrt_linux_numa_mask nodes = {{0}};
    uint64_t first = 0, last = 0;

    while ((text = wrt__read_number(text, &first)) != NULL) {
        last = first;
        if (*text == '-') text = wrt__read_number(text + 1, &last);
        for (uint64_t node = first; node <= last && node < WRT_LINUX_NUMA_NODES_MAX; node++) {
            wrt__node_add(&nodes, (uint32_t)node);
        }
        if (text == NULL || *text != ',') break;
        text++;
    }
    return nodes;
}

/* What this process's cpuset grants; everything where it can't be read. */
static wrt_linux_numa_mask granted_nodes(void)
{
    static const char key[] = "Mems_allowed_list:";
    wrt_linux_numa_mask all;
    char text[WRT__TEXT_SIZE];

    memset(&all, 0xff, sizeof all);
    if (wrt__file_read(AT_FDCWD, "/proc/self/status", text, sizeof text) < 0) return all;
    const char *line = strstr(text, key);
    if (line == NULL) return all;
    line += sizeof key - 1;
    return read_list(line + strspn(line, " \t"));
}

wrt_linux_numa_mask wrt__nodes_here(void)
{
    wrt_linux_numa_mask nodes = {{1}};
    char text[WRT__TEXT_SIZE];

    if (wrt__file_read(AT_FDCWD, NODE_PATH "has_memory", text, sizeof text) <= 0) return nodes;
    nodes = read_list(text);
    const wrt_linux_numa_mask granted = granted_nodes();
    for (int i = 0; i < WRT_LINUX_NUMA_WORDS; i++) nodes.words[i] &= granted.words[i];
    return nodes;
}

/* From a text of lines such as "MemFree:  12 kB", each with `prefix` in front. */
static uint64_t bytes_of(const char *text, const char *prefix, const char *key)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%s", prefix, key);
    return wrt__number_of(text, name, 0) * 1024;
}

static wrt_status read_node(const char *operation, uint32_t id, wrt_linux_numa_node *node_out)
{
    char path[64], prefix[32], text[WRT__TEXT_SIZE];

    (void)snprintf(path, sizeof path, NODE_PATH "node%u/meminfo", (unsigned)id);
    (void)snprintf(prefix, sizeof prefix, "Node %u ", (unsigned)id);
    if (wrt__file_read(AT_FDCWD, path, text, sizeof text) <= 0) {
        prefix[0] = '\0'; /* a kernel that knows no nodes */
        if (wrt__file_read(AT_FDCWD, "/proc/meminfo", text, sizeof text) <= 0) {
            return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                                   "neither the memory of node {0} (" NODE_PATH
                                   "node*/meminfo) nor /proc/meminfo can be read; mount /proc",
                                   errno, id, 0);
        }
    }
    *node_out = (wrt_linux_numa_node){.id = id,
                                      .total_bytes = bytes_of(text, prefix, "MemTotal"),
                                      .free_bytes = bytes_of(text, prefix, "MemFree")};
    return WRT_OK;
}

wrt_status wrt_linux_numa_topology(wrt_linux_numa_node *nodes, uint32_t capacity,
                                   uint32_t *count_out)
{
    uint32_t count = 0;

    if (count_out == NULL || (nodes == NULL && capacity != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "nodes or count_out is NULL");
    }
    const wrt_linux_numa_mask here = wrt__nodes_here();
    for (uint32_t id = 0; id < WRT_LINUX_NUMA_NODES_MAX; id++) {
        if (!wrt__node_is_in(&here, id)) continue;
        if (count < capacity) {
            const wrt_status status = read_node(__func__, id, &nodes[count]);
            if (status != WRT_OK) return status;
        }
        count++;
    }
    *count_out = count;
    return WRT_OK;
}

/* ---- Config ---- */

static wrt_status refuse(const char *operation, const char *reason)
{
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, reason);
}

/* Which policy a config means, with all that it leaves out. */
static uint32_t policy_of(const wrt_linux_allocator_config *config)
{
    if (config->numa_policy != WRT_LINUX_NUMA_DEFAULT) return config->numa_policy;
    if (config->has_numa_node || config->numa_mask != NULL) return WRT_LINUX_NUMA_BIND;
    return config->has_preferred_node ? WRT_LINUX_NUMA_PREFERRED : WRT_LINUX_NUMA_DEFAULT;
}

static wrt_linux_numa_mask named_nodes(const wrt_linux_allocator_config *config)
{
    wrt_linux_numa_mask nodes = {{0}};

    if (config->numa_mask != NULL) return *config->numa_mask;
    if (config->has_numa_node) wrt__node_add(&nodes, config->numa_node);
    return nodes;
}

/* What can be said of the fields without a look at the machine. */
static wrt_status check_fields(const char *operation, const wrt_linux_allocator_config *config)
{
    if (config->numa_policy > WRT_LINUX_NUMA_PREFERRED) {
        return refuse(operation, "numa_policy is none of wrt_linux_numa_policy");
    }
    if ((config->has_numa_node && config->numa_node >= WRT_LINUX_NUMA_NODES_MAX) ||
        (config->has_preferred_node && config->preferred_node >= WRT_LINUX_NUMA_NODES_MAX)) {
        return refuse(operation, "a node's number is not below 1024");
    }
    if (config->has_numa_node && config->numa_mask != NULL) {
        return refuse(operation, "numa_node and numa_mask both name the nodes: give one of them");
    }
    return WRT_OK;
}

/* Fits the nodes to the policy, and the preferred one to both. */
static wrt_status choose_nodes(const char *operation, const wrt_linux_allocator_config *config,
                               wrt_linux_allocator *allocator, const wrt_linux_numa_mask *here)
{
    const uint32_t policy = allocator->numa_policy;
    wrt_linux_numa_mask nodes = named_nodes(config);

    if (policy == WRT_LINUX_NUMA_PREFERRED && config->has_preferred_node &&
        count_nodes(&nodes) == 0) {
        wrt__node_add(&nodes, config->preferred_node);
    }
    if (policy == WRT_LINUX_NUMA_INTERLEAVE && count_nodes(&nodes) == 0) nodes = *here;
    if (count_nodes(&nodes) == 0) {
        return refuse(operation, "numa_policy needs nodes: give numa_node, numa_mask or, for "
                                 "PREFERRED, preferred_node");
    }
    if (policy == WRT_LINUX_NUMA_PREFERRED && count_nodes(&nodes) != 1) {
        return refuse(operation, "PREFERRED takes one node");
    }
    if (config->has_preferred_node && !wrt__node_is_in(&nodes, config->preferred_node)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "preferred_node {0} is none of the nodes to be used: BIND takes "
                               "memory from no other",
                               config->preferred_node, 0);
    }
    if (first_beyond(&nodes, here) != WRT_LINUX_NUMA_NODES_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "node {0} has no memory that this process may use; "
                               "wrt_linux_numa_topology lists those that have",
                               first_beyond(&nodes, here), 0);
    }
    allocator->nodes = nodes;
    allocator->home_node = config->preferred_node;
    allocator->has_home =
        policy == WRT_LINUX_NUMA_BIND && config->has_preferred_node && count_nodes(&nodes) > 1;
    return WRT_OK;
}

/* ---- Placing ---- */

static int system_policy(uint32_t policy)
{
    if (policy == WRT_LINUX_NUMA_BIND) return WRT__POLICY_BIND;
    return policy == WRT_LINUX_NUMA_INTERLEAVE ? WRT__POLICY_INTERLEAVE : WRT__POLICY_PREFERRED;
}

int wrt__numa_place(const wrt_linux_allocator *allocator, void *start, size_t size)
{
    if (!allocator->has_nodes || size == 0) return 0;
    const int policy = system_policy(allocator->numa_policy);
    if (wrt__sys_mbind(start, size, policy, allocator->nodes.words) != 0) return -1;
    return allocator->has_home ? wrt__sys_home_node(start, size, allocator->home_node) : 0;
}

static wrt_enforcement enforcement(uint32_t state, const char *reason)
{
    return (wrt_enforcement){.state = state, .reason = reason};
}

/* What a refusal means: ENOSYS is a kernel without nodes, EPERM a filter such as Docker's. */
static wrt_enforcement explain_refusal(int code, bool has_one_node)
{
    if (has_one_node) {
        return enforcement(WRT_ENFORCEMENT_ENFORCED, "this machine has one node, and it is named");
    }
    if (code == ENOSYS) {
        return enforcement(WRT_ENFORCEMENT_ABSENT,
                           "this kernel places no memory (CONFIG_NUMA): it comes from where the "
                           "kernel likes");
    }
    if (code == EPERM) {
        return enforcement(WRT_ENFORCEMENT_ABSENT,
                           "mbind is forbidden here, as by Docker's default profile: allow it, or "
                           "give CAP_SYS_NICE; memory comes from where the kernel likes");
    }
    return enforcement(WRT_ENFORCEMENT_ABSENT,
                       "mbind fails here; memory comes from where the kernel likes");
}

/* Tries the placing with one page. */
static void try_placing(wrt_linux_allocator *allocator, bool has_one_node)
{
    const size_t size = (size_t)allocator->reserve.system_page;
    void *probe = wrt__sys_mmap(size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    const bool wanted_home = allocator->has_home;

    allocator->has_home = false;
    allocator->has_nodes = true;
    if (probe == MAP_FAILED || wrt__numa_place(allocator, probe, size) != 0) {
        allocator->numa = explain_refusal(errno, has_one_node);
        allocator->has_nodes = false;
    } else if (wanted_home && wrt__sys_home_node(probe, size, allocator->home_node) != 0) {
        allocator->numa = enforcement(WRT_ENFORCEMENT_PARTIAL,
                                      "mbind; which of the nodes is asked first can't be said "
                                      "before Linux 5.17 (set_mempolicy_home_node)");
    } else {
        allocator->has_home = wanted_home;
        allocator->numa = enforcement(WRT_ENFORCEMENT_ENFORCED, "mbind");
    }
    if (probe != MAP_FAILED) (void)wrt__sys_munmap(probe, size);
}

wrt_status wrt__numa_init(const char *operation, wrt_linux_allocator *allocator,
                          const wrt_linux_allocator_config *config)
{
    wrt_status status = check_fields(operation, config);
    if (status != WRT_OK) return status;

    allocator->numa_policy = policy_of(config);
    allocator->numa = enforcement(WRT_ENFORCEMENT_NOT_ASKED, "no node is named");
    if (allocator->numa_policy == WRT_LINUX_NUMA_DEFAULT) return WRT_OK;
    const wrt_linux_numa_mask here = wrt__nodes_here();
    status = choose_nodes(operation, config, allocator, &here);
    if (status == WRT_OK) try_placing(allocator, count_nodes(&here) == 1);
    return status;
}
