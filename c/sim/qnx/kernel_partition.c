/* A partition costs its parent the larger of two things: what it keeps in reserve, and what it
 * uses. All rules follow from that: what is used comes out of the reserve first, only the rest
 * shows above; what is given back fills the reserve first; and a reserve has to be paid for by
 * every partition above, down from the system's memory, before it is granted. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_partition.h"
#include "kernel_switch.h"

enum { DEFAULT_TOTAL = 1024 * 1024 * 1024, FIRST_ID = 0x20000001 };

static const char folder[] = "/partition/mem/";
static const char class_name[] = "sysram";

static qk_partition root;
static qk_partition *removed; /* though processes belong to them */
static uint64_t total = DEFAULT_TOTAL;
static uint32_t next_id = FIRST_ID;
static bool installed;

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void make_root(void)
{
    root = (qk_partition){.name = "sysram", .id = FIRST_ID};
    root.now = (qk_partition_config){.max = QK_ENDLESS, .policy = QK_POLICY_HIERARCHICAL};
    root.created = root.now;
    next_id = FIRST_ID + 1;
}

static qk_partition *the_root(void)
{
    if (root.id == 0) make_root();
    return &root;
}

void qk_partition_install(bool present)
{
    installed = present;
}

bool qk_partition_installed(void)
{
    return installed;
}

qk_error qk_partition_set_total(uint64_t bytes)
{
    if (bytes % QK_PARTITION_UNIT != 0 || bytes < the_root()->used) return QK_EINVAL;
    total = bytes;
    return QK_OK;
}

uint64_t qk_partition_total(void)
{
    return total;
}

uint64_t qk_partition_free(void)
{
    return total - larger(the_root()->now.min, root.used);
}

qk_partition *qk_partition_root(void)
{
    return the_root();
}

qk_partition *qk_partition_at(uint32_t index)
{
    qk_partition *partition = the_root();

    while (partition != NULL && index-- > 0) partition = partition->next;
    return partition;
}

qk_partition *qk_partition_by_id(uint32_t id)
{
    qk_partition *partition = the_root();

    while (partition != NULL && partition->id != id) partition = partition->next;
    return partition;
}

/* The account. */

/* What a partition that uses `used` costs its parent. */
static uint64_t cost(const qk_partition *partition, uint64_t used)
{
    if (qk_switched(QK_BREAK_PARENT)) return 0;
    if (qk_switched(QK_BREAK_RESERVE)) return used;
    return larger(partition->now.min, used);
}

/* Whether `bytes` more fit into the partition and all above it. */
static bool has_room(const qk_partition *partition, uint64_t bytes)
{
    for (; partition != NULL && bytes > 0; partition = partition->parent) {
        const uint64_t max = partition->now.max < total ? partition->now.max : total;
        if (!qk_switched(QK_BREAK_MAXIMUM) &&
            (partition->used > max || bytes > max - partition->used)) {
            return false;
        }
        bytes = cost(partition, partition->used + bytes) - cost(partition, partition->used);
    }
    return true;
}

static void add(qk_partition *partition, uint64_t bytes)
{
    for (; partition != NULL && bytes > 0; partition = partition->parent) {
        const uint64_t before = cost(partition, partition->used);
        partition->used += bytes;
        if (!qk_switched(QK_BREAK_PEAK)) partition->peak = larger(partition->peak, partition->used);
        bytes = cost(partition, partition->used) - before;
    }
}

static void subtract(qk_partition *partition, uint64_t bytes)
{
    for (; partition != NULL && bytes > 0; partition = partition->parent) {
        const uint64_t before = cost(partition, partition->used);
        partition->used -= bytes < partition->used ? bytes : partition->used;
        bytes = before - cost(partition, partition->used);
    }
}

qk_error qk_partition_charge(qk_partition *partition, uint64_t bytes)
{
    if (!has_room(partition, bytes)) return QK_ENOMEM;
    add(partition, bytes);
    return QK_OK;
}

void qk_partition_release(qk_partition *partition, uint64_t bytes)
{
    subtract(partition, bytes);
}

/* The tree. */

static qk_partition *child_of(const qk_partition *parent, const char *name, size_t size)
{
    for (qk_partition *child = the_root()->next; child != NULL; child = child->next) {
        if (child->parent == parent && strlen(child->name) == size &&
            memcmp(child->name, name, size) == 0) {
            return child;
        }
    }
    return NULL;
}

/* Walks down `path` as far as there are partitions; what is left of it is handed out. */
static qk_error walk(const char *path, qk_partition **partition_out, const char **rest_out)
{
    if (!installed || strncmp(path, folder, sizeof folder - 1) != 0) return QK_ENOENT;
    path += sizeof folder - 1;
    const size_t class_size = strcspn(path, "/");
    if (class_size != sizeof class_name - 1 || strncmp(path, class_name, class_size) != 0) {
        return QK_ENOENT;
    }
    path += class_size;
    qk_partition *partition = the_root();
    for (;;) {
        path += strspn(path, "/");
        const size_t size = strcspn(path, "/");
        qk_partition *child = size > 0 ? child_of(partition, path, size) : NULL;
        if (child == NULL) break;
        partition = child;
        path += size;
    }
    *partition_out = partition;
    *rest_out = path;
    return QK_OK;
}

qk_error qk_partition_find(const char *path, qk_partition **partition_out)
{
    const char *rest;
    const qk_error error = walk(path, partition_out, &rest);

    if (error != QK_OK) return error;
    return *rest == '\0' ? QK_OK : QK_ENOENT;
}

qk_error qk_partition_make(const char *path)
{
    qk_partition *parent;
    const char *name;
    const qk_error error = walk(path, &parent, &name);

    if (error != QK_OK) return error;
    const size_t size = strcspn(name, "/");
    if (size == 0) return QK_EEXIST;
    if (name[size + strspn(name + size, "/")] != '\0') return QK_ENOENT;
    if (size >= QK_PARTITION_NAME_MAX) return QK_ENAMETOOLONG;
    if (parent->now.policy == QK_POLICY_ROOT) return QK_EINVAL;
    if (parent->now.terminal && !qk_switched(QK_BREAK_TERMINAL)) return QK_EPERM;

    qk_partition *partition = calloc(1, sizeof *partition);
    if (partition == NULL) return QK_ENOMEM;
    memcpy(partition->name, name, size);
    partition->parent = parent;
    partition->id = next_id++;
    partition->now = (qk_partition_config){.max = QK_ENDLESS, .policy = parent->now.policy};
    partition->created = partition->now;
    parent->children++;
    qk_partition *last = &root;
    while (last->next != NULL) last = last->next;
    last->next = partition;
    sim_census_count("partition", 1);
    return QK_OK;
}

/* Takes it out of the tree. Its memory is freed once no process holds on to it, which is at once
 * unless the semantic is broken that keeps partitions in use. */
static void drop(qk_partition *partition)
{
    qk_partition *before = &root;

    while (before->next != partition) before = before->next;
    before->next = partition->next;
    sim_census_count("partition", -1);
    if (partition->processes == 0) {
        free(partition);
        return;
    }
    partition->parent = NULL;
    partition->next = removed;
    removed = partition;
}

qk_error qk_partition_remove(const char *path)
{
    qk_partition *partition;
    const qk_error error = qk_partition_find(path, &partition);

    if (error != QK_OK) return error;
    if (partition->parent == NULL) return QK_EPERM;
    if (partition->now.permanent && !qk_switched(QK_BREAK_PERMANENT)) return QK_EPERM;
    const bool in_use = partition->used > 0 || partition->children > 0 || partition->processes > 0;
    if (in_use && !qk_switched(QK_BREAK_BUSY)) return QK_EBUSY;
    if (partition->children > 0) return QK_EBUSY; /* nothing may be left without a parent */
    subtract(partition->parent, cost(partition, partition->used));
    partition->parent->children--;
    drop(partition);
    return QK_OK;
}

/* Changes. */

static bool is_whole(uint64_t bytes)
{
    return bytes == QK_ENDLESS || bytes % QK_PARTITION_UNIT == 0 || qk_switched(QK_BREAK_UNIT);
}

/* What has been set once stays set. */
static bool takes_back(const qk_partition_config *now, const qk_partition_config *wanted)
{
    return (now->locked && !wanted->locked) || (now->terminal && !wanted->terminal) ||
           (now->permanent && !wanted->permanent);
}

static qk_error check_change(const qk_partition *partition, const qk_partition_config *wanted)
{
    const qk_partition_config *now = &partition->now;
    const bool other_sizes =
        wanted->min != now->min || wanted->max != now->max || wanted->policy != now->policy;

    if (takes_back(now, wanted) && !qk_switched(QK_BREAK_LOCK)) return QK_EPERM;
    if (wanted->policy != QK_POLICY_ROOT && wanted->policy != QK_POLICY_HIERARCHICAL) {
        return QK_EINVAL;
    }
    if (partition->parent != NULL && partition->parent->now.policy != wanted->policy) {
        return QK_EINVAL;
    }
    if (wanted->policy == QK_POLICY_ROOT && partition->children > 0) return QK_EINVAL;
    if (wanted->min == QK_ENDLESS || !is_whole(wanted->min) || !is_whole(wanted->max)) {
        return QK_EINVAL;
    }
    if (wanted->min > wanted->max) return QK_EINVAL;
    if (wanted->max < partition->used) return QK_ENOMEM;
    if (now->locked && other_sizes && !qk_switched(QK_BREAK_LOCK)) return QK_EPERM;
    return QK_OK;
}

/* Pays for the reserve, or gives back what it costs less. */
static qk_error change_reserve(qk_partition *partition, uint64_t min)
{
    const uint64_t before = cost(partition, partition->used);
    const uint64_t old_min = partition->now.min;

    partition->now.min = min;
    const uint64_t after = cost(partition, partition->used);
    if (after <= before) {
        subtract(partition->parent, before - after);
        return QK_OK;
    }
    if (has_room(partition->parent, after - before) &&
        (partition->parent != NULL || after <= total)) {
        add(partition->parent, after - before);
        return QK_OK;
    }
    partition->now.min = old_min;
    return QK_ENOMEM;
}

qk_error qk_partition_change(qk_partition *partition, uint32_t members,
                             const qk_partition_config *config)
{
    qk_partition_config wanted = partition->now;

    if ((members & QK_PARTITION_MIN) != 0) wanted.min = config->min;
    if ((members & QK_PARTITION_MAX) != 0) wanted.max = config->max;
    if ((members & QK_PARTITION_POLICY) != 0) wanted.policy = config->policy;
    if ((members & QK_PARTITION_TERMINAL) != 0) wanted.terminal = config->terminal;
    if ((members & QK_PARTITION_LOCK) != 0) wanted.locked = config->locked;
    if ((members & QK_PARTITION_PERMANENT) != 0) wanted.permanent = config->permanent;

    qk_error error = check_change(partition, &wanted);
    if (error == QK_OK) error = change_reserve(partition, wanted.min);
    if (error == QK_OK) partition->now = wanted;
    return error;
}

uint64_t qk_partition_reset_peak(qk_partition *partition)
{
    const uint64_t peak = partition->peak;

    partition->peak = 0;
    return peak;
}

void qk_partition_reset(void)
{
    while (root.next != NULL) drop(root.next);
    while (removed != NULL) {
        qk_partition *partition = removed;
        removed = partition->next;
        free(partition);
    }
    make_root();
    installed = false;
}
