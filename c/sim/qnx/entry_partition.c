/* QNX: memory partitions, as folders with devctl() behind them. */
#include <errno.h>
#include <fcntl.h>
#include <kernel/mempart.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/census.h"
#include "entry_answer.h"
#include "kernel_partition.h"
#include "kernel_resources.h"
#include "kernel_spawn.h"

/* Descriptors of open partitions; they start high, so that none is taken for a file's. */
enum { FIRST_DESCRIPTOR = 1000, DESCRIPTORS = 64 };

struct descriptor {
    uint32_t partition; /* its identity; 0: free */
    bool reads, writes;
};

static struct descriptor descriptors[DESCRIPTORS];
static uint32_t world; /* that they belong to */

/* The table, empty if the world has been reset since. */
static struct descriptor *current(void)
{
    if (world != qk_world()) memset(descriptors, 0, sizeof descriptors);
    world = qk_world();
    return descriptors;
}

/* A path is read byte by byte, each only after the question whether it may be. */
static qk_error copy_path(const char *path, char *copy, size_t room)
{
    for (size_t i = 0; i < room; i++) {
        if (!qk_may_read(path + i, 1)) return QK_EFAULT;
        copy[i] = path[i];
        if (path[i] == '\0') return QK_OK;
    }
    return QK_ENAMETOOLONG;
}

enum { PATH_ROOM = 1024 };

int mkdir(const char *path, mode_t mode)
{
    char copy[PATH_ROOM];
    qk_error error = qk_enter("mkdir");

    (void)mode; /* the caller is root */
    if (error == QK_OK) error = copy_path(path, copy, sizeof copy);
    if (error == QK_OK) error = qk_partition_make(copy);
    return sim_answer(qk_leave(error));
}

int rmdir(const char *path)
{
    char copy[PATH_ROOM];
    qk_error error = qk_enter("rmdir");

    if (error == QK_OK) error = copy_path(path, copy, sizeof copy);
    if (error == QK_OK) {
        qk_process_settle();
        error = qk_partition_remove(copy);
    }
    return sim_answer(qk_leave(error));
}

static qk_error open_partition(const char *path, int oflag, int *fd_out)
{
    qk_partition *partition;
    int index = 0;
    const qk_error error = qk_partition_find(path, &partition);

    if (error != QK_OK) return error;
    if ((oflag & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return QK_EEXIST;
    while (index < DESCRIPTORS && current()[index].partition != 0) index++;
    if (index == DESCRIPTORS) return QK_EMFILE;
    descriptors[index] =
        (struct descriptor){partition->id, (oflag & (O_WRONLY | O_RDWR)) != O_WRONLY,
                            (oflag & (O_WRONLY | O_RDWR)) != O_RDONLY};
    sim_census_count("descriptor", 1);
    *fd_out = FIRST_DESCRIPTOR + index;
    return QK_OK;
}

int open(const char *path, int oflag, ...)
{
    char copy[PATH_ROOM];
    int fd = -1;
    qk_error error = qk_enter("open");

    if (error == QK_OK) error = copy_path(path, copy, sizeof copy);
    if (error == QK_OK) error = open_partition(copy, oflag, &fd);
    return sim_answer(qk_leave(error)) == 0 ? fd : -1;
}

static struct descriptor *descriptor_of(int fd)
{
    const int index = fd - FIRST_DESCRIPTOR;

    if (index < 0 || index >= DESCRIPTORS || current()[index].partition == 0) return NULL;
    return &descriptors[index];
}

int close(int fd)
{
    qk_error error = qk_enter("close");
    struct descriptor *const descriptor = error == QK_OK ? descriptor_of(fd) : NULL;

    if (error == QK_OK && descriptor == NULL) error = QK_EBADF;
    if (error == QK_OK) {
        descriptor->partition = 0;
        sim_census_count("descriptor", -1);
    }
    return sim_answer(qk_leave(error));
}

/* Commands. */

static mempart_cfg_t config_of(const qk_partition_config *config)
{
    return (mempart_cfg_t){.policy = {.terminal = config->terminal ? bool_t_TRUE : bool_t_FALSE,
                                      .config_lock = config->locked ? bool_t_TRUE : bool_t_FALSE,
                                      .permanent = config->permanent ? bool_t_TRUE : bool_t_FALSE,
                                      .alloc = config->policy == QK_POLICY_ROOT
                                                   ? mempart_alloc_policy_t_ROOT
                                                   : mempart_alloc_policy_t_HIERARCHICAL},
                           .attr = {.size = {.min = config->min, .max = config->max}}};
}

static qk_error get_info(const qk_partition *partition, mempart_info_t *info)
{
    *info = (mempart_info_t){.cur_size = partition->used,
                             .hi_size = partition->peak,
                             .cre_cfg = config_of(&partition->created),
                             .cur_cfg = config_of(&partition->now),
                             .id = partition->id,
                             .num_children = partition->children};
    return QK_OK;
}

static uint32_t members_of(cfgchg_t valid)
{
    return ((valid & cfgchg_t_ATTR_MIN) != 0 ? QK_PARTITION_MIN : 0U) |
           ((valid & cfgchg_t_ATTR_MAX) != 0 ? QK_PARTITION_MAX : 0U) |
           ((valid & cfgchg_t_ALLOC_POLICY) != 0 ? QK_PARTITION_POLICY : 0U) |
           ((valid & cfgchg_t_TERMINAL_POLICY) != 0 ? QK_PARTITION_TERMINAL : 0U) |
           ((valid & cfgchg_t_LOCK_POLICY) != 0 ? QK_PARTITION_LOCK : 0U) |
           ((valid & cfgchg_t_PERMANENT_POLICY) != 0 ? QK_PARTITION_PERMANENT : 0U);
}

static qk_error change(qk_partition *partition, const mempart_cfgchg_t *wanted)
{
    const mempart_policy_t *policy = &wanted->val.policy;
    const bool known = policy->alloc == mempart_alloc_policy_t_ROOT ||
                       policy->alloc == mempart_alloc_policy_t_HIERARCHICAL;
    const qk_partition_config config = {.min = wanted->val.attr.size.min,
                                        .max = wanted->val.attr.size.max,
                                        .policy = policy->alloc == mempart_alloc_policy_t_ROOT
                                                      ? QK_POLICY_ROOT
                                                      : QK_POLICY_HIERARCHICAL,
                                        .terminal = policy->terminal != bool_t_FALSE,
                                        .locked = policy->config_lock != bool_t_FALSE,
                                        .permanent = policy->permanent != bool_t_FALSE};

    if ((wanted->valid & cfgchg_t_ALLOC_POLICY) != 0 && !known) return QK_EINVAL;
    return qk_partition_change(partition, members_of(wanted->valid), &config);
}

/* The processes of a partition are the objects that the simulation knows. */
static qk_error list_objects(const qk_partition *partition, mempart_olist_t *list, size_t size)
{
    const int32_t room = list->num_entries;
    int32_t found = 0;

    if (room < 0 || size < MEMPART_OLIST_T_SIZE((size_t)room)) return QK_EOVERFLOW;
    const qk_process *process;
    for (uint32_t i = 0; (process = qk_process_at(i)) != NULL; i++) {
        if (process->partition != partition || process->ended) continue;
        if (found < room) {
            list->obj[found] =
                (struct obj_info_s){.size = sizeof(struct obj_info_s), .mpid = partition->id};
        }
        found++;
    }
    list->num_entries = found <= room ? found : room - found;
    return QK_OK;
}

static qk_error list_processes(const qk_partition *partition, part_plist_t *list, size_t size)
{
    const int32_t room = list->num_entries;
    int32_t found = 0;

    if (room < 0 || size < PART_PLIST_T_SIZE((size_t)room)) return QK_EOVERFLOW;
    const qk_process *process;
    for (uint32_t i = 0; (process = qk_process_at(i)) != NULL; i++) {
        if (process->partition != partition || process->ended) continue;
        if (found < room) list->pid[found] = process->id;
        found++;
    }
    list->num_entries = found <= room ? found : room - found;
    return QK_OK;
}

/* How much data the command needs, by its own bits; the lists say themselves how much they have. */
static size_t data_size(int dcmd)
{
    if (dcmd == PART_GET_ASSOC_PLIST) return PART_PLIST_T_SIZE(0);
    if (dcmd == MEMPART_GET_ASSOC_OLIST) return MEMPART_OLIST_T_SIZE(0);
    return (size_t)((unsigned)dcmd >> 16 & 0x3fffU);
}

static qk_error command(const struct descriptor *descriptor, int dcmd, void *data, size_t size)
{
    qk_partition *partition = qk_partition_by_id(descriptor->partition);

    if (partition == NULL) return QK_EBADF;
    if (dcmd == MEMPART_CFG_CHG) {
        return descriptor->writes ? change(partition, data) : QK_EACCES;
    }
    if (!descriptor->reads) return QK_EBADF;
    if (dcmd == MEMPART_GET_INFO) return get_info(partition, data);
    if (dcmd == MEMPART_GET_ASSOC_OLIST) return list_objects(partition, data, size);
    if (dcmd == PART_GET_ASSOC_PLIST) return list_processes(partition, data, size);
    if (dcmd == PART_GET_ID) {
        *(part_id_t *)data = partition->id;
        return QK_OK;
    }
    if (dcmd != MEMPART_CNTR_RESET) return QK_ENOSYS;
    if (!descriptor->writes) return QK_EACCES;
    *(memsize_t *)data = qk_partition_reset_peak(partition);
    return QK_OK;
}

int devctl(int fd, int dcmd, void *data, size_t size, int *info)
{
    qk_error error = qk_enter("devctl");
    const struct descriptor *descriptor = error == QK_OK ? descriptor_of(fd) : NULL;

    if (error == QK_OK && descriptor == NULL) error = QK_EBADF;
    if (error == QK_OK && !qk_partition_installed()) error = QK_ENOSYS;
    if (error == QK_OK && size < data_size(dcmd)) error = QK_EOVERFLOW;
    if (error == QK_OK && !qk_may_write(data, size)) error = QK_EFAULT;
    if (error == QK_OK) {
        qk_process_settle();
        error = command(descriptor, dcmd, data, size);
    }
    if (error == QK_OK && info != NULL) *info = 0;
    return sim_number(qk_leave(error));
}
