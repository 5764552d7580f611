/* Internal: what partitions offer to the allocators that charge them, and what the parts of
 * partitions share. One lock stands for all partitions of the process: a call holds it for a few
 * steps, and at the level ADDRESS for the calls of mprotect. */
#ifndef WRT_QNX_PARTITION_INTERNAL_H
#define WRT_QNX_PARTITION_INTERNAL_H

#include "sys.h"

#include "wrt_platform/qnx/partition.h"

/* ---- The lock ---- */

/* Errors: SYSTEM. */
wrt_status wrt__qnx_partitions_lock(const char *operation);
void wrt__qnx_partitions_unlock(void);

/* ---- For allocators ---- */

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, moved, after fork). */
wrt_status wrt__qnx_partition_check(const char *operation, const wrt_qnx_partition *partition);

/* Counts an allocator. Errors: as check; INVALID_ARGUMENT (CONTAINER), UNSUPPORTED (PROCESS). */
wrt_status wrt__qnx_partition_join(const char *operation, wrt_qnx_partition *partition);
wrt_status wrt__qnx_partition_part(const char *operation, wrt_qnx_partition *partition);

/* Charges, the lock being held. Errors: NO_MEMORY, STATE. */
wrt_status wrt__qnx_partition_charge_pages(const char *operation, wrt_qnx_partition *partition,
                                           uint64_t bytes);
wrt_status wrt__qnx_partition_charge_block(const char *operation, wrt_qnx_partition *partition,
                                           uint64_t bytes);
void wrt__qnx_partition_refund_pages(wrt_qnx_partition *partition, uint64_t bytes);
void wrt__qnx_partition_refund_block(wrt_qnx_partition *partition, uint64_t bytes);

/* What being charged is worth, NULL included. */
wrt_enforcement wrt__qnx_partition_charging(const wrt_qnx_partition *partition);
/* What keeps other partitions off the pages, NULL included. */
wrt_enforcement wrt__qnx_partition_isolation(const wrt_qnx_partition *partition);

/* ---- Reach: the level ADDRESS ---- */

enum { WRT__QNX_RANGES_MAX = 160 };

/* A range of an allocation that protect() set apart. */
typedef struct wrt__qnx_range {
    size_t offset;
    size_t size;
    uint32_t protection; /* of wrt_protection */
    uint32_t reserved;
} wrt__qnx_range;

/* An allocation of a partition of this level. It lies in the first page of the reservation, in
 * front of the guard, so that there is one for each without a heap. */
typedef struct wrt__qnx_record {
    struct wrt__qnx_record *next;
    struct wrt__qnx_record *previous;
    wrt_qnx_partition *partition;
    uint8_t *base;
    size_t size;              /* accessible bytes, when within reach */
    uint32_t data_protection; /* of wrt_protection */
    uint32_t range_count;
    bool is_within_reach;
    wrt__qnx_range ranges[WRT__QNX_RANGES_MAX];
} wrt__qnx_record;

/* What mprotect() takes for flags of wrt_protection. */
int wrt__qnx_system_protection(uint32_t protection);

/* The lock is held for all of these. */
void wrt__qnx_record_link(wrt__qnx_record *record, wrt_qnx_partition *partition);
void wrt__qnx_record_unlink(wrt__qnx_record *record);

/* Errors: BUSY (another partition is active). */
wrt_status wrt__qnx_record_require_reach(const char *operation, const wrt__qnx_record *record);

/* Protects a range, and remembers it. Errors: BUSY (as above, or no room to remember), NO_MEMORY,
 * SYSTEM. */
wrt_status wrt__qnx_record_protect(const char *operation, wrt__qnx_record *record, size_t offset,
                                   size_t size, uint32_t protection);

void wrt__qnx_reach_add(wrt_qnx_partition *partition);
void wrt__qnx_reach_remove(wrt_qnx_partition *partition);

/* ---- The system's own partitions ---- */

/* Whether this system has them. */
bool wrt__qnx_module_is_present(void);

/* Errors: BUSY (there is one of that name), NO_MEMORY, PERMISSION, INVALID_ARGUMENT, SYSTEM. */
wrt_status wrt__qnx_module_make(const char *operation, const wrt_qnx_partition *partition);
wrt_status wrt__qnx_module_usage(const char *operation, const wrt_qnx_partition *partition,
                                 uint64_t *used_out, uint64_t *peak_out);
wrt_status wrt__qnx_module_remove(const char *operation, const wrt_qnx_partition *partition);

/* Says in the attributes of a process to be spawned that it belongs to the partition. Returns EOK
 * or an error number. */
int wrt__qnx_module_associate(posix_spawnattr_t *attributes, const wrt_qnx_partition *partition);

#endif
