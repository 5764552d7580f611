/* QNX: memory partitions, by the optional module of 6.4: a partition is a folder under
 * /partition/mem/<class>, and devctl() on it reads and changes its configuration. By inspection,
 * like <sys/part.h>. */
#ifndef QNX_KERNEL_MEMPART_H
#define QNX_KERNEL_MEMPART_H

#include <stdint.h>
#include <sys/part.h>

typedef uint64_t memsize_t;
#define memsize_t_INFINITY ((memsize_t)0xFFFFFFFFFFFFFFFFULL)

typedef struct mempart_attr_s {
    struct {
        memsize_t min; /* bytes that no other partition can take */
        memsize_t max; /* bytes that this one can't exceed, or memsize_t_INFINITY */
    } size;
} mempart_attr_t;

typedef uint32_t mempart_alloc_policy_t;
typedef enum {
    mempart_alloc_policy_t_ROOT = 1,     /* on its own; no partitions below it */
    mempart_alloc_policy_t_HIERARCHICAL, /* what it uses, all partitions above it use as well */
    mempart_alloc_policy_t_DEFAULT = mempart_alloc_policy_t_HIERARCHICAL
} mempart_alloc_policy_t_val;

/* The first three can be set and never taken back. */
typedef struct mempart_policy_s {
    ap_bool_t terminal;    /* no partition can be made below it */
    ap_bool_t config_lock; /* sizes and allocation policy stay as they are */
    ap_bool_t permanent;   /* can't be removed */
    mempart_alloc_policy_t alloc;
} mempart_policy_t;

typedef struct mempart_cfg_s {
    mempart_policy_t policy;
    mempart_attr_t attr;
} mempart_cfg_t;

typedef struct mempart_cfgchg_s {
    cfgchg_t valid; /* cfgchg_t_ values: the members of `val` that are meant */
    mempart_cfg_t val;
} mempart_cfgchg_t;

typedef struct mempart_meminfo_s {
    memsize_t cur_size;    /* bytes in use, reservations of the partitions below it among them */
    memsize_t hi_size;     /* the most that cur_size has been since the last reset */
    mempart_cfg_t cre_cfg; /* as it was made */
    mempart_cfg_t cur_cfg; /* as it is */
    part_id_t id;
    uint32_t num_children; /* partitions right below it */
    uint32_t reserved[2];
} mempart_info_t;

/* Objects that belong to a partition. `num_entries` is the caller's room, and on return the number
 * of entries, or minus the number of those that found no room. */
typedef struct mempart_olist_s {
    int32_t num_entries;
    uint32_t reserved;
    struct obj_info_s {
        uint8_t type;
        uint8_t size;
        uint16_t flags;
        part_id_t mpid;
        uint32_t reserved[2];
    } obj[1];
} mempart_olist_t;
#define MEMPART_OLIST_T_SIZE(n)                                                                    \
    (sizeof(mempart_olist_t) - sizeof(struct obj_info_s) + (n) * sizeof(struct obj_info_s))

typedef part_dcmd_flags_t mempart_dcmd_flags_t;
typedef enum {
    mempart_flags_HEAP_CREATE = 0x0100,
    mempart_flags_HEAP_SHARE = 0x0200
} mempart_dcmd_flags_t_val;

#define MEMPART_CFG_CHG         __DIOT(_DCMD_PARTITION, _DCMD_MEMPART_OFFSET + 0, mempart_cfgchg_t)
#define MEMPART_CNTR_RESET      __DIOF(_DCMD_PARTITION, _DCMD_MEMPART_OFFSET + 1, memsize_t)
#define MEMPART_GET_INFO        __DIOTF(_DCMD_PARTITION, _DCMD_MEMPART_OFFSET + 2, mempart_info_t)
#define MEMPART_GET_ASSOC_OLIST __DIOTF(_DCMD_PARTITION, _DCMD_MEMPART_OFFSET + 3, mempart_olist_t)

#endif
