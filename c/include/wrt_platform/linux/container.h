/** Where this process runs, and how much of the machine it may use there.
 *
 *     wrt_linux_environment environment;
 *     wrt_status status = wrt_linux_environment_detect("", &environment);
 *     wrt_linux_resources resources;
 *     status = wrt_linux_resources_detect("", &resources);
 *
 * No single sign of a container can be trusted: files stay in images that are unpacked elsewhere,
 * variables leak into what is started from a container, and paths of control groups say nothing
 * since version 2. So each sign is kept with its weight, and what is told is told by a certain sign
 * or by two that agree; `evidence` lists them all.
 *
 * Signs are files below `root`, so that other trees can be looked at: /proc/self and /proc/1,
 * /run, /var/run, /sys and /.dockerenv. Variables are those that the process was started with.
 *
 * Heap: none.  Threads: any.  ISR: no.
 */
#ifndef WRT_PLATFORM_LINUX_CONTAINER_H
#define WRT_PLATFORM_LINUX_CONTAINER_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** What a process can run in. */
enum wrt_linux_runtime {
    WRT_LINUX_RUNTIME_NONE = 0,
    WRT_LINUX_RUNTIME_DOCKER = 1,
    WRT_LINUX_RUNTIME_PODMAN = 2,
    WRT_LINUX_RUNTIME_KUBERNETES = 3, /* whatever runs the container below it */
    WRT_LINUX_RUNTIME_LXC = 4,
    WRT_LINUX_RUNTIME_NSPAWN = 5,          /* systemd-nspawn */
    WRT_LINUX_RUNTIME_OTHER_CONTAINER = 6, /* one that does not tell its name */
    WRT_LINUX_RUNTIME_SYSTEMD = 7,         /* a service of systemd's: not a container */
    WRT_LINUX_RUNTIME_WSL = 8              /* Windows' own Linux: not a container */
};

/** How much a sign is worth. */
enum wrt_linux_confidence {
    WRT_LINUX_CONFIDENCE_NONE = 0,
    WRT_LINUX_CONFIDENCE_HINT = 1,   /* alone it says nothing; two agree */
    WRT_LINUX_CONFIDENCE_CERTAIN = 2 /* only this runtime makes it */
};

/** Sizes. */
enum wrt_linux_evidence_limit { WRT_LINUX_EVIDENCE_MAX = 16 };

/** One sign. */
typedef struct wrt_linux_evidence {
    const char *text;    /* what was found; static, never NULL up to evidence_count */
    uint32_t runtime;    /* of which it is a sign; wrt_linux_runtime */
    uint32_t confidence; /* one of wrt_linux_confidence */
} wrt_linux_evidence;

/** What was found. Layers can stand in each other: a container of Docker's in Kubernetes on WSL. */
typedef struct wrt_linux_environment {
    uint32_t environment; /* the one that matters most; wrt_linux_runtime: containers go before
                             systemd, that before WSL; of containers Kubernetes goes first */
    uint32_t confidence;  /* of it; NONE if there is none */
    uint32_t layers;      /* all that are there: bit 1 << wrt_linux_runtime */
    uint32_t evidence_count;
    wrt_linux_evidence evidence[16]; /* WRT_LINUX_EVIDENCE_MAX */
} wrt_linux_environment;

/** What sets a limit. */
enum wrt_linux_limit_source {
    WRT_LINUX_LIMIT_NONE = 0,
    WRT_LINUX_LIMIT_MACHINE = 1,      /* its memory, its processors */
    WRT_LINUX_LIMIT_CGROUP_V2 = 2,    /* a control group, or one above it */
    WRT_LINUX_LIMIT_CGROUP_V1 = 3,    /* the same, of version 1 */
    WRT_LINUX_LIMIT_AFFINITY = 4,     /* the CPUs that this process may use (taskset, cpusets) */
    WRT_LINUX_LIMIT_ADDRESS_SPACE = 5 /* RLIMIT_AS (ulimit -v) */
};

/** What this process may use. Numbers that nothing limits are UINT64_MAX. */
typedef struct wrt_linux_resources {
    uint64_t memory_total;     /* bytes of the machine */
    uint64_t memory_limit;     /* bytes: the least of the machine, of each group above, and of the
                                  address space */
    uint64_t memory_available; /* bytes that can still be had: the least, over the same, of what is
                                  limited less what is used there */
    uint64_t cpu_quota_milli;  /* thousandths of a CPU: the least quota of the groups above */
    uint64_t pids_limit;       /* processes and threads */
    uint32_t cpu_count;        /* that this process may run on */
    uint32_t cpu_milli;        /* thousandths of a CPU: the lesser of both; at least 1 */
    uint32_t memory_source;    /* of memory_limit; wrt_linux_limit_source */
    uint32_t memory_depth;     /* of the group that limits it, in steps below the mount */
    uint32_t cpu_source;       /* of cpu_milli */
    uint32_t cgroup_layout;    /* wrt_linux_cgroup_layout */
} wrt_linux_resources;

/** Looks for signs of containers and managers below `root`; "" is the system itself.
 * Errors: INVALID_ARGUMENT, LIMIT (root is too long), SYSTEM (/proc/self can't be read).
 * Cost: a dozen small files, and /proc/self/mountinfo.
 */
WRT_API WRT_NODISCARD wrt_status
wrt_linux_environment_detect(const char *root, wrt_linux_environment *environment_out);

/** The name of a runtime: "kubernetes". Static text; "none" for what is unknown. It cannot fail. */
WRT_API const char *wrt_linux_runtime_name(uint32_t runtime);

/** Finds what this process may use. Groups that can't be seen from within a container's namespace
 * are not counted; their limits hold nevertheless. RLIMIT_AS is always this process's own.
 * Errors: INVALID_ARGUMENT, LIMIT, SYSTEM (/proc/self can't be read).
 * Cost: four small files for each group above.
 */
WRT_API WRT_NODISCARD wrt_status wrt_linux_resources_detect(const char *root,
                                                            wrt_linux_resources *resources_out);

WRT_END_DECLS
#endif
