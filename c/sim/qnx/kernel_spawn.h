/* Internal: the processes of the simulated system: the caller's, and its children. All of it under
 * the kernel's lock, except where it says otherwise. */
#ifndef SIM_QNX_KERNEL_SPAWN_H
#define SIM_QNX_KERNEL_SPAWN_H

#include "kernel.h"
#include "kernel_partition.h"

enum { QK_SPAWN_PARTITIONS_MAX = 4, QK_PROCESS_SELF = 4097 };

typedef struct qk_spawn_attributes {
    bool sets_partitions;
    uint32_t partition_count;
    uint32_t partitions[QK_SPAWN_PARTITIONS_MAX];
} qk_spawn_attributes;

/* How a child ended. The signals are those that a program can end by without having asked for. */
typedef enum qk_signal {
    QK_SIGNAL_NONE,
    QK_SIGNAL_HANGUP,
    QK_SIGNAL_INTERRUPT,
    QK_SIGNAL_QUIT,
    QK_SIGNAL_ILLEGAL,
    QK_SIGNAL_TRAP,
    QK_SIGNAL_ABORT,
    QK_SIGNAL_BUS,
    QK_SIGNAL_ARITHMETIC,
    QK_SIGNAL_KILL,
    QK_SIGNAL_SEGMENT,
    QK_SIGNAL_CALL,
    QK_SIGNAL_PIPE,
    QK_SIGNAL_ALARM,
    QK_SIGNAL_TERMINATE,
    QK_SIGNAL_USER_1,
    QK_SIGNAL_USER_2,
    QK_SIGNAL_COUNT
} qk_signal;

typedef struct qk_ending {
    qk_signal signal; /* NONE: it returned `code` */
    int32_t code;
} qk_ending;

typedef struct qk_process {
    struct qk_process *next;
    int32_t id;
    int32_t host_id;
    int host_handle; /* to wait on */
    qk_partition *partition;
    uint64_t used; /* bytes, as its partition counts them */
    bool ended;
} qk_process;

/* For the caller's own process. */
qk_error qk_process_charge(uint64_t bytes);
void qk_process_release(uint64_t bytes);

/* Starts a real program, whose first memory counts in its partition: the one that is asked for, or
 * the caller's. */
qk_error qk_process_spawn(const char *path, char *const arguments[], char *const environment[],
                          const qk_spawn_attributes *attributes, int32_t *id_out);

/* The descriptors that become readable when one of the children in question ends, for poll();
 * at most `room`. ECHILD if there is no such child. */
qk_error qk_process_handles(int32_t id, int *handles, uint32_t room, uint32_t *count_out);

/* Takes away a child that has ended; AGAIN if none of those in question has. `id` -1: any. */
qk_error qk_process_reap(int32_t id, int32_t *id_out, qk_ending *ending_out);

/* Waits until one of the handles is readable. Without the lock. */
void qk_process_sleep(const int *handles, uint32_t count);

qk_error qk_process_signal(int32_t id, qk_signal number);

/* Gives back what children had that have ended. */
void qk_process_settle(void);

/* What the real program cannot tell the simulated kernel: that it now uses so many bytes. */
qk_error qk_process_use(int32_t id, uint64_t bytes);

/* How many bytes a process counts for when it starts. */
void qk_process_set_start(uint64_t bytes);

/* The processes in the order of their start, the caller's first; NULL behind the last. */
const qk_process *qk_process_at(uint32_t index);
bool qk_process_is_caller(int32_t id);

/* The caller's own number; a new one after each reset. */
int32_t qk_process_self(void);

/* Ends all children and forgets them. */
void qk_process_reset(void);

#endif
