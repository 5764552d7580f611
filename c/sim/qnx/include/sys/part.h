/* QNX: what all partitions share, by the optional partitioning module of 6.4. Later systems have
 * neither this header nor the module, so all of it is by inspection. */
#ifndef QNX_SYS_PART_H
#define QNX_SYS_PART_H

#include <devctl.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint32_t ap_bool_t;
typedef enum { bool_t_FALSE = 0, bool_t_TRUE = 1 } ap_bool_t_val;

typedef uint32_t part_id_t;
#define part_id_t_INVALID ((part_id_t)0xFFFFFFFFU)

typedef uint32_t part_dcmd_flags_t;
typedef enum { part_flags_NONE = 0x00, part_flags_NO_INHERIT = 0x01 } part_dcmd_flags_t_val;

/* The processes that belong to a partition; `pid` has `num_entries` of them. */
typedef struct part_plist_s {
    int32_t num_entries;
    pid_t pid[1];
} part_plist_t;
#define PART_PLIST_T_SIZE(n) (sizeof(part_plist_t) - sizeof(pid_t) + (n) * sizeof(pid_t))

typedef struct {
    part_id_t id;
    part_dcmd_flags_t flags;
    uint32_t reserved[2];
} partlist_info_t;

/* Which members of a configuration a change means. */
typedef uint32_t cfgchg_t;
typedef enum {
    cfgchg_t_NONE = 0x00,
    cfgchg_t_ALLOC_POLICY = 0x01,
    cfgchg_t_TERMINAL_POLICY = 0x02,
    cfgchg_t_LOCK_POLICY = 0x04,
    cfgchg_t_PERMANENT_POLICY = 0x08,
    cfgchg_t_ATTR_MAX = 0x10,
    cfgchg_t_ATTR_MIN = 0x20,
    cfgchg_t_ALL = 0xff
} cfgchg_t_val;

#define PART_GET_ID          __DIOF(_DCMD_PARTITION, 1, part_id_t)
#define PART_GET_ASSOC_PLIST __DIOTF(_DCMD_PARTITION, 2, part_plist_t)

#define _DCMD_MEMPART_OFFSET 20

#endif
