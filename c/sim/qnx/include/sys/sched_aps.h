/* QNX: commands of SchedCtl() for the adaptive-partition scheduler: budgets of processor time. The
 * scheduler is an optional module of 6.3.2 to 7.1. By inspection: the crate libc has none of it. */
#ifndef QNX_SYS_SCHED_APS_H
#define QNX_SYS_SCHED_APS_H

#include <stdint.h>
#include <string.h>

#define SCHED_EXT_APS_CMD_BASE 0x1000

/* Zeroes a command's data, reserved fields too; without it the answer is EDOM. */
#define APS_INIT_DATA(parameters) (memset((parameters), 0, sizeof *(parameters)))

enum {
    SCHED_APS_QUERY_PARMS = SCHED_EXT_APS_CMD_BASE,
    SCHED_APS_SET_PARMS,
    SCHED_APS_CREATE_PARTITION,
    SCHED_APS_LOOKUP,
    SCHED_APS_QUERY_PARTITION,
    SCHED_APS_JOIN_PARTITION,
    SCHED_APS_MODIFY_PARTITION,
    SCHED_APS_PARTITION_STATS,
    SCHED_APS_OVERALL_STATS,
    SCHED_APS_MARK_CRITICAL,
    SCHED_APS_CLEAR_CRITICAL,
    SCHED_APS_ATTACH_EVENTS,
    SCHED_APS_QUERY_THREAD,
    SCHED_APS_ADD_SECURITY,
    SCHED_APS_QUERY_PROCESS
};

#define APS_SYSTEM_PARTITION_ID   0
#define APS_SYSTEM_PARTITION_NAME "System"
#define APS_PARTITION_NAME_LENGTH 15 /* without the 0 behind it */

#define APS_CREATE_FLAGS_USE_PARENT_ID 0x01

/* Who may do what; combined into sched_aps_security_parms.sec_flags. */
#define SCHED_APS_SEC_ROOT0_OVERALL         0x00000001U
#define SCHED_APS_SEC_ROOT_MAKES_PARTITIONS 0x00000002U
#define SCHED_APS_SEC_SYS_MAKES_PARTITIONS  0x00000004U
#define SCHED_APS_SEC_PARENT_MODIFIES       0x00000008U
#define SCHED_APS_SEC_NONZERO_BUDGETS       0x00000010U
#define SCHED_APS_SEC_PARTITIONS_LOCKED     0x00000800U

typedef struct {
    uint64_t cycles_per_ms;
    uint64_t windowsize_cycles;
    uint64_t windowsize2_cycles;
    uint64_t windowsize3_cycles;
    uint32_t scheduling_policy_flags;
    uint32_t sec_flags;
    uint32_t bankruptcy_policy;
    uint16_t num_partitions;
    uint16_t max_partitions;
    uint64_t reserved1;
    uint64_t reserved2;
} sched_aps_info;

typedef struct {
    char *name;                 /* NULL or "": the system finds one */
    uint16_t budget_percent;    /* taken from the parent */
    int16_t critical_budget_ms; /* 0 or -1: none */
    uint8_t aps_create_flags;
    int8_t parent_id; /* used with APS_CREATE_FLAGS_USE_PARENT_ID; -1: the caller's */
    int16_t reserved1;
    uint64_t reserved2;
    int16_t id; /* answer */
    int16_t reserved3;
} sched_aps_create_parms;

typedef struct {
    uint64_t budget_cycles;
    uint64_t critical_budget_cycles;
    char name[APS_PARTITION_NAME_LENGTH + 1];
    int16_t parent_id;
    uint16_t budget_percent;
    int32_t notify_pid;
    int32_t notify_tid;
    uint32_t pinfo_flags;
    int32_t pid_at_last_bankruptcy;
    int32_t tid_at_last_bankruptcy;
    int64_t reserved1;
    int64_t reserved2;
    int16_t id; /* asked for */
} sched_aps_partition_info;

typedef struct {
    char *name; /* asked for */
    int16_t reserved1;
    int16_t id; /* answer */
} sched_aps_lookup_parms;

typedef struct {
    int16_t id;
    int16_t reserved1;
    int32_t pid; /* 0: the caller's */
    int32_t tid; /* 0: the caller; -1: the process, not its threads */
    int32_t reserved2;
} sched_aps_join_parms;

typedef struct {
    int16_t id;
    int16_t new_budget_percent;     /* -1: as it is */
    int16_t new_critical_budget_ms; /* -1: as it is */
    int16_t reserved1;
    int64_t reserved2;
    int64_t reserved3;
} sched_aps_modify_parms;

typedef struct {
    uint64_t run_time_cycles;
    uint64_t critical_time_cycles;
    uint64_t run_time_cycles_w2;
    uint64_t critical_time_cycles_w2;
    uint64_t run_time_cycles_w3;
    uint64_t critical_time_cycles_w3;
    uint32_t stats_flags;
    uint32_t reserved1;
    uint64_t reserved2;
    uint64_t reserved3;
    int16_t id; /* asked for, and answer */
} sched_aps_partition_stats;

typedef struct {
    uint64_t idle_cycles;
    uint64_t idle_cycles_w2;
    uint64_t idle_cycles_w3;
    int16_t id_at_last_bankruptcy; /* -1: none */
    int16_t reserved1;
    int32_t pid_at_last_bankruptcy;
    int32_t tid_at_last_bankruptcy;
    uint32_t reserved2;
    uint32_t reserved3;
    uint64_t reserved4;
} sched_aps_overall_stats;

typedef struct {
    int32_t pid; /* 0: the caller's */
    int32_t tid; /* 0: the caller */
    int16_t id;  /* answer: where it runs */
    int16_t inherited_id;
    uint32_t crit_state_flags;
    int32_t reserved1;
    int32_t reserved2;
} sched_aps_query_thread_parms;

typedef struct {
    uint32_t sec_flags; /* added to those that are set, never taken back */
    uint32_t reserved1;
    uint32_t reserved2;
} sched_aps_security_parms;

#endif
