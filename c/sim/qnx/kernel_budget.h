/* Internal: budgets of processor time, by the adaptive-partition scheduler. All of it under the
 * kernel's lock. */
#ifndef SIM_QNX_KERNEL_BUDGET_H
#define SIM_QNX_KERNEL_BUDGET_H

#include "kernel.h"

enum {
    QK_BUDGET_MAX = 16, /* partitions, the system's own among them */
    QK_BUDGET_NAME_MAX = 15,
    QK_BUDGET_WINDOW_MS = 100,
    QK_BUDGET_CYCLES_PER_MS = 1000
};

/* Who may do what. */
enum qk_budget_rule {
    QK_BUDGET_SYSTEM_MAKES = 1, /* only callers in the system's partition make and change others */
    QK_BUDGET_PARENT_CHANGES = 2,
    QK_BUDGET_NOT_ZERO = 4,
    QK_BUDGET_LOCKED = 8
};

typedef struct qk_budget {
    bool exists;
    char name[QK_BUDGET_NAME_MAX + 1];
    int16_t parent;
    uint16_t percent;    /* what it has left after what it gave to its children */
    int16_t critical_ms; /* each window */
    uint16_t wanted;     /* percent of the processor that its threads would use */
    uint32_t threads;
} qk_budget;

typedef struct qk_budget_times {
    uint64_t window, window_2, window_3; /* cycles */
} qk_budget_times;

/* Whether the scheduler is in the system's image. Takes effect at once. */
void qk_budget_install(bool present);
bool qk_budget_installed(void);

/* `parent` is a partition, or -1 for that of the calling thread. `name` NULL or "": one is found.
 */
qk_error qk_budget_make(const char *name, int32_t parent, uint32_t percent, int32_t critical_ms,
                        int16_t *id_out);
qk_error qk_budget_change(int32_t id, int32_t percent, int32_t critical_ms);
qk_error qk_budget_find(const char *name, int16_t *id_out);
qk_error qk_budget_get(int32_t id, qk_budget *budget_out);
uint32_t qk_budget_count(void);

/* The partition of a thread; 0 is the caller's process and the calling thread. */
qk_error qk_budget_join(int32_t id, int32_t process, int32_t thread);
qk_error qk_budget_of(int32_t process, int32_t thread, int16_t *id_out);

/* Adds rules, which only a restart takes away, and hands out all that hold. */
qk_error qk_budget_add_rules(uint32_t rules, uint32_t *rules_out);
uint32_t qk_budget_rules(void);

/* How much of the processor the threads of a partition would take if they could, in percent. Real
 * threads run on this machine's processors; the shares are worked out from these figures. */
qk_error qk_budget_want(int32_t id, uint32_t percent);

/* What each gets of a window: its budget if it wants that much, more if others leave some. */
qk_error qk_budget_used(int32_t id, qk_budget_times *times_out);
void qk_budget_idle(qk_budget_times *times_out);

/* The same of one that exists, in hundredths of a percent. */
uint32_t qk_budget_share(int32_t id);

void qk_budget_reset(void);

#endif
