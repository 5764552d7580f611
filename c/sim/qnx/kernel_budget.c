/* A tree of percentages. A new partition's budget is taken from its parent, so that all of them
 * together are 100. A budget is a guarantee and no cap: what a partition doesn't want, the others
 * get, by the ratio of their budgets. */
#include "../common/host.h"

#include "kernel_budget.h"
#include "kernel_spawn.h"
#include "kernel_state.h"

static qk_budget budgets[QK_BUDGET_MAX] = {{.exists = true, .name = "System", .percent = 100}};
static uint32_t rules;
static enum { BY_VERSION, PRESENT, ABSENT } installed; /* 8.0 has no such scheduler */
static int16_t process_home;                           /* where the process's pulses are billed */

/* Where a thread runs that has joined a partition; the others run in the system's. */
static struct {
    int32_t thread;
    int16_t home;
} homes[QK_THREAD_MAX];

void qk_budget_install(bool present)
{
    installed = present ? PRESENT : ABSENT;
}

bool qk_budget_installed(void)
{
    return installed == PRESENT || (installed == BY_VERSION && qk_version() < 800);
}

static qk_budget *budget_of(int32_t id)
{
    return id >= 0 && id < QK_BUDGET_MAX && budgets[id].exists ? &budgets[id] : NULL;
}

/* NULL if there is no such thread. 0 is the calling one. */
static int16_t *home_of(int32_t id)
{
    const struct qk_thread *thread = qk_thread_find(id);
    size_t free_place = 0;

    if (thread == NULL) return NULL;
    for (size_t i = 0; i < QK_THREAD_MAX; i++) {
        if (homes[i].thread == thread->id) return &homes[i].home;
        if (homes[i].thread == 0 || qk_thread_find(homes[i].thread) == NULL) free_place = i;
    }
    homes[free_place].thread = thread->id;
    homes[free_place].home = 0;
    return &homes[free_place].home;
}

qk_error qk_budget_of(int32_t process, int32_t thread, int16_t *id_out)
{
    if (process != 0 && !qk_process_is_caller(process)) return QK_ESRCH;
    if (thread == -1) {
        *id_out = process_home;
        return QK_OK;
    }
    int16_t *home = home_of(thread);
    if (home == NULL) return QK_ESRCH;
    *id_out = *home;
    return QK_OK;
}

qk_error qk_budget_join(int32_t id, int32_t process, int32_t thread)
{
    if (budget_of(id) == NULL) return QK_EINVAL;
    if (process != 0 && !qk_process_is_caller(process)) return QK_ESRCH;
    if (thread == -1) {
        process_home = (int16_t)id;
        return QK_OK;
    }
    int16_t *home = home_of(thread);
    if (home == NULL) return QK_ESRCH;
    if (!qk_switched(QK_BREAK_BUDGET_JOIN)) *home = (int16_t)id;
    return QK_OK;
}

static int16_t home_of_caller(void)
{
    int16_t home = 0;

    (void)qk_budget_of(0, 0, &home);
    return home;
}

/* Names. */

qk_error qk_budget_find(const char *name, int16_t *id_out)
{
    for (int16_t id = 0; id < QK_BUDGET_MAX; id++) {
        if (budgets[id].exists && strcmp(budgets[id].name, name) == 0) {
            *id_out = id;
            return QK_OK;
        }
    }
    return QK_EINVAL;
}

static qk_error check_name(const char *name)
{
    int16_t unused;

    if (strchr(name, '/') != NULL) return QK_EINVAL;
    if (strlen(name) > QK_BUDGET_NAME_MAX) return QK_ENAMETOOLONG;
    return qk_budget_find(name, &unused) == QK_OK ? QK_EEXIST : QK_OK;
}

/* "Pa" to "Pz", the first that is free. There are fewer partitions than letters. */
static void find_name(char *name_out)
{
    int16_t unused;

    strcpy(name_out, "Pa");
    while (qk_budget_find(name_out, &unused) == QK_OK) name_out[1]++;
}

/* Rules. */

static qk_error may_change(int32_t parent, int32_t percent)
{
    if (qk_switched(QK_BREAK_BUDGET_RULES)) return QK_OK;
    if ((rules & QK_BUDGET_LOCKED) != 0) return QK_EACCES;
    if ((rules & QK_BUDGET_SYSTEM_MAKES) != 0 && home_of_caller() != 0) return QK_EACCES;
    if ((rules & QK_BUDGET_PARENT_CHANGES) != 0 && home_of_caller() != parent) return QK_EACCES;
    if ((rules & QK_BUDGET_NOT_ZERO) != 0 && percent == 0) return QK_EACCES;
    return QK_OK;
}

qk_error qk_budget_add_rules(uint32_t more, uint32_t *rules_out)
{
    if (more != 0 && home_of_caller() != 0) return QK_EACCES;
    rules |= more;
    *rules_out = rules;
    return QK_OK;
}

uint32_t qk_budget_rules(void)
{
    return rules;
}

/* Budgets. */

static int16_t within_window(int32_t critical_ms)
{
    if (critical_ms < 0) return 0;
    return (int16_t)(critical_ms < QK_BUDGET_WINDOW_MS ? critical_ms : QK_BUDGET_WINDOW_MS);
}

/* Moves percent from the parent to the child, or back if there are less than 0. */
static qk_error take(qk_budget *parent, qk_budget *child, int32_t percent)
{
    if (percent > parent->percent && !qk_switched(QK_BREAK_BUDGET_QUOTA)) return QK_EDQUOT;
    if (!qk_switched(QK_BREAK_BUDGET_PARENT))
        parent->percent = (uint16_t)(parent->percent - percent);
    child->percent = (uint16_t)(child->percent + percent);
    return QK_OK;
}

qk_error qk_budget_make(const char *name, int32_t parent, uint32_t percent, int32_t critical_ms,
                        int16_t *id_out)
{
    int16_t id = 0;
    const int32_t from = parent == -1 ? home_of_caller() : parent;
    qk_error error = name != NULL && name[0] != '\0' ? check_name(name) : QK_OK;

    if (error != QK_OK) return error;
    if (budget_of(from) == NULL || percent > 100) return QK_EINVAL;
    error = may_change(from, (int32_t)percent);
    if (error != QK_OK) return error;
    while (id < QK_BUDGET_MAX && budgets[id].exists) id++;
    if (id == QK_BUDGET_MAX) return QK_ENOSPC;

    qk_budget made = {.exists = true, .parent = (int16_t)from};
    error = take(&budgets[from], &made, (int32_t)percent);
    if (error != QK_OK) return error;
    made.critical_ms = within_window(critical_ms);
    if (name != NULL && name[0] != '\0') {
        strcpy(made.name, name);
    } else {
        find_name(made.name);
    }
    budgets[id] = made;
    *id_out = id;
    return QK_OK;
}

qk_error qk_budget_change(int32_t id, int32_t percent, int32_t critical_ms)
{
    qk_budget *budget = budget_of(id);

    if (budget == NULL || percent > 100) return QK_EINVAL;
    if (percent >= 0 && id == 0) return QK_EINVAL;
    qk_error error = may_change(budget->parent, percent);
    if (error == QK_OK && percent >= 0) {
        error = take(&budgets[budget->parent], budget, percent - budget->percent);
    }
    if (error == QK_OK && critical_ms >= 0) budget->critical_ms = within_window(critical_ms);
    return error;
}

qk_error qk_budget_get(int32_t id, qk_budget *budget_out)
{
    const qk_budget *budget = budget_of(id);

    if (budget == NULL) return QK_EINVAL;
    *budget_out = *budget;
    return QK_OK;
}

uint32_t qk_budget_count(void)
{
    uint32_t count = 0;

    for (int id = 0; id < QK_BUDGET_MAX; id++) count += budgets[id].exists;
    return count;
}

/* Shares of a window, in hundredths of a percent. */

enum { WHOLE = 10000 };

qk_error qk_budget_want(int32_t id, uint32_t percent)
{
    qk_budget *budget = budget_of(id);

    if (budget == NULL || percent > 100) return QK_EINVAL;
    budget->wanted = (uint16_t)percent;
    return QK_OK;
}

static uint32_t weight_of(const qk_budget *budget)
{
    return qk_switched(QK_BREAK_BUDGET_GUARANTEE) ? budget->wanted : budget->percent + 1U;
}

/* Hands `left` out to those that want more, by the ratio of their budgets; what is left then. */
static uint32_t hand_out(uint32_t left, uint32_t *shares)
{
    uint32_t ratio = 0, given = 0;

    for (int id = 0; id < QK_BUDGET_MAX; id++) {
        if (shares[id] < budgets[id].wanted * 100U) ratio += weight_of(&budgets[id]);
    }
    for (int id = 0; id < QK_BUDGET_MAX && ratio > 0; id++) {
        if (shares[id] >= budgets[id].wanted * 100U) continue;
        const uint32_t missing = budgets[id].wanted * 100U - shares[id];
        const uint32_t part = left * weight_of(&budgets[id]) / ratio;
        shares[id] += part < missing ? part : missing;
        given += part < missing ? part : missing;
    }
    return left - given;
}

/* Each its budget first, as far as it wants it; then the rest, until nobody wants more. */
static uint32_t share(uint32_t *shares)
{
    uint32_t left = WHOLE;

    for (int id = 0; id < QK_BUDGET_MAX; id++) {
        const uint32_t budget = qk_switched(QK_BREAK_BUDGET_GUARANTEE) ? 0 : budgets[id].percent;
        shares[id] = 100U * (budgets[id].wanted < budget ? budgets[id].wanted : budget);
        left -= shares[id];
    }
    for (uint32_t before = 0; left != before && left > 0;) {
        before = left;
        left = hand_out(left, shares);
    }
    return left;
}

uint32_t qk_budget_share(int32_t id)
{
    uint32_t shares[QK_BUDGET_MAX] = {0};

    (void)share(shares);
    return shares[id];
}

static qk_budget_times times_of(uint32_t hundredths)
{
    const uint64_t window = (uint64_t)QK_BUDGET_WINDOW_MS * QK_BUDGET_CYCLES_PER_MS;
    const uint64_t cycles = window * hundredths / WHOLE;

    return (qk_budget_times){cycles, cycles * 10, cycles * 100};
}

qk_error qk_budget_used(int32_t id, qk_budget_times *times_out)
{
    if (budget_of(id) == NULL) return QK_EINVAL;
    *times_out = times_of(qk_budget_share(id));
    return QK_OK;
}

void qk_budget_idle(qk_budget_times *times_out)
{
    uint32_t shares[QK_BUDGET_MAX] = {0};

    *times_out = times_of(share(shares));
}

void qk_budget_reset(void)
{
    memset(budgets, 0, sizeof budgets);
    budgets[0] = (qk_budget){.exists = true, .name = "System", .percent = 100};
    installed = BY_VERSION;
    rules = 0;
    process_home = 0;
    memset(homes, 0, sizeof homes);
}
