/* QNX's own memory partitions: folders under /partition/mem, configured by devctl(). They are an
 * optional module of 6.4; the SDKs since then have no headers of it, and there this library counts
 * alone. */
#include "partition.h"

#include "../core/fail.h"
#include "error.h"

#if WRT__QNX_PARTITION_HEADERS

static const char CLASS[] = "/partition/mem/sysram";

enum {
    PATH_SIZE = sizeof CLASS + WRT_MEMORY_ACCOUNT_DEPTH_MAX * (WRT_QNX_PARTITION_NAME_SIZE + 1)
};

static size_t append(char *path, size_t length, const char *text)
{
    while (*text != '\0' && length < PATH_SIZE - 1) path[length++] = *text++;
    path[length] = '\0';
    return length;
}

/* The folder of a partition: the class's, and a name for each partition from the top. */
static wrt_status make_path(const char *operation, const wrt_qnx_partition *partition, char *path)
{
    const wrt_qnx_partition *chain[WRT_MEMORY_ACCOUNT_DEPTH_MAX];
    size_t depth = 0, length = append(path, 0, CLASS);

    for (; partition != NULL; partition = partition->parent) {
        if (depth == WRT_MEMORY_ACCOUNT_DEPTH_MAX) {
            return wrt_fail_detail(WRT_ERR_LIMIT, operation, "partitions are {0} deep at most",
                                   WRT_MEMORY_ACCOUNT_DEPTH_MAX, 0);
        }
        chain[depth++] = partition;
    }
    while (depth != 0) {
        length = append(path, length, "/");
        length = append(path, length, chain[--depth]->name);
    }
    return WRT_OK;
}

/* A close that is interrupted is tried again: nobody else could. */
static void close_folder(int folder)
{
    if (close(folder) != 0) (void)close(folder);
}

bool wrt__qnx_module_is_present(void)
{
    const int folder = open(CLASS, O_RDONLY);

    if (folder < 0) return false;
    close_folder(folder);
    return true;
}

static wrt_status fail(const char *operation, const char *reason, int code)
{
    const wrt_status status = code == EEXIST ? WRT_ERR_BUSY : wrt__qnx_status(code);

    return wrt_fail_system(status, operation, reason, code, 0, 0);
}

/* Asks the partition's folder to do something. Returns EOK or an error number. */
static int command(const char *path, int flags, int what, void *data, size_t size)
{
    const int folder = open(path, flags);

    if (folder < 0) return errno;
    const int code = devctl(folder, what, data, size, NULL);
    close_folder(folder);
    return code;
}

static int configure(const char *path, const wrt_qnx_partition *partition)
{
    const uint64_t most = partition->maximum_bytes;
    mempart_cfgchg_t change = {
        .valid = cfgchg_t_ATTR_MIN | cfgchg_t_ATTR_MAX,
        .val = {.attr = {.size = {.min = partition->minimum_bytes,
                                  .max = most != 0 ? most : memsize_t_INFINITY}}}};

    if ((partition->flags & WRT_QNX_PARTITION_TERMINAL) != 0) {
        change.valid |= cfgchg_t_TERMINAL_POLICY;
        change.val.policy.terminal = bool_t_TRUE;
    }
    return command(path, O_RDWR, MEMPART_CFG_CHG, &change, sizeof change);
}

wrt_status wrt__qnx_module_make(const char *operation, const wrt_qnx_partition *partition)
{
    char path[PATH_SIZE];
    const wrt_status status = make_path(operation, partition, path);

    if (status != WRT_OK) return status;
    if (mkdir(path, 0700) != 0) {
        return fail(operation, "mkdir of the partition failed (EEXIST: there is one of that name)",
                    errno);
    }
    const int code = configure(path, partition);
    if (code == EOK) return WRT_OK;
    (void)rmdir(path);
    return fail(operation,
                "the system refuses the partition's sizes (ENOMEM: those above have not as much "
                "to promise; EINVAL: not a multiple of its unit, 4096 bytes as a rule)",
                code);
}

wrt_status wrt__qnx_module_usage(const char *operation, const wrt_qnx_partition *partition,
                                 uint64_t *used_out, uint64_t *peak_out)
{
    char path[PATH_SIZE];
    mempart_info_t info = {0};
    const wrt_status status = make_path(operation, partition, path);

    if (status != WRT_OK) return status;
    const int code = command(path, O_RDONLY, MEMPART_GET_INFO, &info, sizeof info);
    if (code != EOK)
        return fail(operation, "the partition can't be asked (MEMPART_GET_INFO)", code);
    *used_out = info.cur_size;
    *peak_out = info.hi_size;
    return WRT_OK;
}

wrt_status wrt__qnx_module_remove(const char *operation, const wrt_qnx_partition *partition)
{
    char path[PATH_SIZE];
    const wrt_status status = make_path(operation, partition, path);

    if (status != WRT_OK || rmdir(path) == 0) return status;
    return fail(operation, "rmdir of the partition failed (EBUSY: processes are left in it)",
                errno);
}

int wrt__qnx_module_associate(posix_spawnattr_t *attributes, const wrt_qnx_partition *partition)
{
    char path[PATH_SIZE];

    if (make_path(__func__, partition, path) != WRT_OK) return EINVAL;
    const int code = posix_spawnattr_addpartition(attributes, path, part_flags_NONE);
    if (code != EOK) return code;
    return posix_spawnattr_setxflags(attributes, POSIX_SPAWN_SETMPART);
}

#else

/* What is said of a system without the module: nothing here is called there. */
static wrt_status fail(const char *operation)
{
    return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                           "this library was built without the headers of memory partitions",
                           ENOSYS, 0, 0);
}

bool wrt__qnx_module_is_present(void)
{
    return false;
}

wrt_status wrt__qnx_module_make(const char *operation, const wrt_qnx_partition *partition)
{
    (void)partition;
    return fail(operation);
}

wrt_status wrt__qnx_module_usage(const char *operation, const wrt_qnx_partition *partition,
                                 uint64_t *used_out, uint64_t *peak_out)
{
    (void)partition;
    *used_out = *peak_out = 0;
    return fail(operation);
}

wrt_status wrt__qnx_module_remove(const char *operation, const wrt_qnx_partition *partition)
{
    (void)partition;
    return fail(operation);
}

int wrt__qnx_module_associate(posix_spawnattr_t *attributes, const wrt_qnx_partition *partition)
{
    (void)attributes;
    (void)partition;
    return ENOSYS;
}

#endif
