/* Internal: memory partitions, a tree of accounts. All of it under the kernel's lock. */
#ifndef SIM_QNX_KERNEL_PARTITION_H
#define SIM_QNX_KERNEL_PARTITION_H

#include "kernel.h"

#define QK_ENDLESS UINT64_MAX

enum { QK_PARTITION_NAME_MAX = 48, QK_PARTITION_UNIT = 4096 };

enum qk_partition_policy { QK_POLICY_ROOT, QK_POLICY_HIERARCHICAL };

/* Which members of a configuration a change means. */
enum qk_partition_member {
    QK_PARTITION_MIN = 1,
    QK_PARTITION_MAX = 2,
    QK_PARTITION_POLICY = 4,
    QK_PARTITION_TERMINAL = 8,
    QK_PARTITION_LOCK = 16,
    QK_PARTITION_PERMANENT = 32
};

typedef struct qk_partition_config {
    uint64_t min, max; /* bytes */
    uint32_t policy;   /* qk_partition_policy */
    bool terminal, locked, permanent;
} qk_partition_config;

typedef struct qk_partition {
    struct qk_partition *parent; /* NULL: of a class */
    struct qk_partition *next;   /* in the order in which they were made */
    char name[QK_PARTITION_NAME_MAX];
    uint32_t id;
    uint32_t children;
    uint32_t processes;
    uint64_t used; /* bytes, and what is kept for the partitions below it */
    uint64_t peak; /* bytes */
    qk_partition_config created, now;
} qk_partition;

/* Whether the module is in the system's image. Takes effect at once. */
void qk_partition_install(bool present);
bool qk_partition_installed(void);

/* The memory of the simulated system, for the only class, sysram; bytes. */
qk_error qk_partition_set_total(uint64_t bytes);
uint64_t qk_partition_total(void);
uint64_t qk_partition_free(void);

/* Paths are below /partition/mem. The root is the class's own partition. */
qk_error qk_partition_make(const char *path);
qk_error qk_partition_remove(const char *path);
qk_error qk_partition_find(const char *path, qk_partition **partition_out);
qk_partition *qk_partition_by_id(uint32_t id);
qk_partition *qk_partition_root(void);

/* The partition `index` in the order in which they were made, the root first; NULL behind the last.
 */
qk_partition *qk_partition_at(uint32_t index);

qk_error qk_partition_change(qk_partition *partition, uint32_t members,
                             const qk_partition_config *config);

/* Starts the high-water mark anew at 0 and hands out what it was. */
uint64_t qk_partition_reset_peak(qk_partition *partition);

/* Bytes for a process of the partition: from its own reserve first, the rest from all above it. */
qk_error qk_partition_charge(qk_partition *partition, uint64_t bytes);
void qk_partition_release(qk_partition *partition, uint64_t bytes);

/* Back to the class's partition alone, with the total as it was set. */
void qk_partition_reset(void);

#endif
