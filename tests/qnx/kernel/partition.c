/* Memory partitions, where the system has them: the module of 6.4. The process itself belongs to
 * the partition of its class, so what is kept for others is out of its reach. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <kernel/mempart.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/partition/mem/sysram"

enum { PAGE = 4096 };

static const memsize_t MIB = 1024 * 1024;

static int with_partition(const char *path, int command, void *data, size_t size)
{
    const int fd = open(path, O_RDWR);

    if (fd < 0) return errno;
    const int number = devctl(fd, command, data, size, NULL);
    CHECK(close(fd) == 0);
    return number;
}

static mempart_info_t info_of(const char *path)
{
    mempart_info_t info;

    memset(&info, 0, sizeof info);
    CHECK_EQUAL(with_partition(path, MEMPART_GET_INFO, &info, sizeof info), EOK);
    return info;
}

static int change(const char *path, cfgchg_t valid, mempart_cfg_t config)
{
    mempart_cfgchg_t wanted = {.valid = valid, .val = config};

    return with_partition(path, MEMPART_CFG_CHG, &wanted, sizeof wanted);
}

static int set_min(const char *path, memsize_t bytes)
{
    return change(path, cfgchg_t_ATTR_MIN, (mempart_cfg_t){.attr = {.size = {.min = bytes}}});
}

static int set_max(const char *path, memsize_t bytes)
{
    return change(path, cfgchg_t_ATTR_MAX, (mempart_cfg_t){.attr = {.size = {.max = bytes}}});
}

static memsize_t used_of(const char *path)
{
    return info_of(path).cur_size;
}

/* Makes one, and says whether that went well. */
static bool made(const char *path)
{
    return CHECK(mkdir(path, 0755) == 0);
}

static void removed(const char *path)
{
    CHECK(rmdir(path) == 0);
}

static void a_new_partition_is_empty_and_without_limits(void)
{
    if (!made(ROOT "/a")) return;
    const mempart_info_t info = info_of(ROOT "/a");
    CHECK_EQUAL((int64_t)info.cur_size, 0);
    CHECK_EQUAL((int64_t)info.hi_size, 0);
    CHECK_EQUAL((int64_t)info.cur_cfg.attr.size.min, 0);
    CHECK(info.cur_cfg.attr.size.max == memsize_t_INFINITY);
    CHECK(info.cur_cfg.policy.alloc == mempart_alloc_policy_t_HIERARCHICAL);
    CHECK(info.cur_cfg.policy.terminal == bool_t_FALSE);
    CHECK_EQUAL(info.num_children, 0);
    part_id_t id = 0;
    CHECK_EQUAL(with_partition(ROOT "/a", PART_GET_ID, &id, sizeof id), EOK);
    CHECK(id == info.id && id != info_of(ROOT).id);
    errno = 0;
    CHECK_EQUAL(mkdir(ROOT "/a", 0755), -1);
    CHECK_EQUAL(errno, EEXIST);
    removed(ROOT "/a");
}

static void paths_are_checked(void)
{
    CHECK_EQUAL(mkdir(ROOT "/none/b", 0755), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(rmdir(ROOT "/none"), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(open("/partition/mem/nothing", O_RDWR), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(mkdir(NULL, 0755), -1);
    CHECK_EQUAL(errno, EFAULT);
    CHECK_EQUAL(close(4711), -1);
    CHECK_EQUAL(errno, EBADF);
    mempart_info_t info;
    CHECK_EQUAL(devctl(4711, MEMPART_GET_INFO, &info, sizeof info, NULL), EBADF);
}

static void devctl_checks_descriptor_and_buffer(void)
{
    mempart_info_t info;
    mempart_cfgchg_t wanted = {.valid = cfgchg_t_NONE};
    memsize_t peak;

    if (!made(ROOT "/a")) return;
    int fd = open(ROOT "/a", O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQUAL(devctl(fd, MEMPART_GET_INFO, &info, sizeof info, NULL), EOK);
    CHECK_EQUAL(devctl(fd, MEMPART_GET_INFO, &info, sizeof info - 1, NULL), EOVERFLOW);
    CHECK_EQUAL(devctl(fd, MEMPART_GET_INFO, NULL, sizeof info, NULL), EFAULT);
    CHECK_EQUAL(devctl(fd, MEMPART_CFG_CHG, &wanted, sizeof wanted, NULL), EACCES);
    CHECK_EQUAL(devctl(fd, MEMPART_CNTR_RESET, &peak, sizeof peak, NULL), EACCES);
    CHECK(close(fd) == 0);
    CHECK_EQUAL(devctl(fd, MEMPART_GET_INFO, &info, sizeof info, NULL), EBADF);
    removed(ROOT "/a");
}

static void a_minimum_is_taken_from_all_above(void)
{
    if (!made(ROOT "/a") || !made(ROOT "/a/b")) return;
    const memsize_t root = used_of(ROOT);
    CHECK_EQUAL(set_min(ROOT "/a/b", 4 * MIB), EOK);
    CHECK_EQUAL((int64_t)used_of(ROOT "/a/b"), 0);
    CHECK_EQUAL((int64_t)used_of(ROOT "/a"), (int64_t)(4 * MIB));
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), (int64_t)(4 * MIB));

    /* What a has in reserve for itself, b's share comes out of. */
    CHECK_EQUAL(set_min(ROOT "/a", 6 * MIB), EOK);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), (int64_t)(6 * MIB));
    CHECK_EQUAL(set_min(ROOT "/a/b", 5 * MIB), EOK);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), (int64_t)(6 * MIB));
    CHECK_EQUAL(set_min(ROOT "/a/b", 8 * MIB), EOK);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), (int64_t)(8 * MIB));

    /* And back, into a's reserve first. */
    CHECK_EQUAL(set_min(ROOT "/a/b", 0), EOK);
    CHECK_EQUAL((int64_t)used_of(ROOT "/a"), 0);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), (int64_t)(6 * MIB));
    removed(ROOT "/a/b");
    removed(ROOT "/a");
    CHECK_EQUAL((int64_t)(used_of(ROOT) - root), 0);
}

static void a_minimum_that_cannot_be_met_is_refused(void)
{
    if (!made(ROOT "/a") || !made(ROOT "/a/b")) return;
    CHECK_EQUAL(set_max(ROOT "/a", 2 * MIB), EOK);
    CHECK_EQUAL(set_min(ROOT "/a/b", 3 * MIB), ENOMEM);
    CHECK_EQUAL((int64_t)info_of(ROOT "/a/b").cur_cfg.attr.size.min, 0);
    CHECK_EQUAL((int64_t)used_of(ROOT "/a"), 0);
    CHECK_EQUAL(set_min(ROOT "/a/b", 2 * MIB), EOK);
    CHECK_EQUAL(set_min(ROOT "/a/b", (memsize_t)1 << 50), ENOMEM);
    removed(ROOT "/a/b");
    removed(ROOT "/a");
}

/* The process belongs to the class's own partition: a sibling's reserve is not for it. */
static void a_reserve_holds_against_a_greedy_sibling(void)
{
    const int flags = MAP_PRIVATE | MAP_ANON;

    if (!made(ROOT "/a")) return;
    const memsize_t used = used_of(ROOT);
    CHECK_EQUAL(set_max(ROOT, used + 8 * MIB), EOK);
    CHECK_EQUAL(set_min(ROOT "/a", 5 * MIB), EOK);
    CHECK(mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, flags, NOFD, 0) == MAP_FAILED);
    CHECK_EQUAL(errno, ENOMEM);
    void *memory = mmap(NULL, 3 * MIB, PROT_READ | PROT_WRITE, flags, NOFD, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQUAL((int64_t)used_of(ROOT), (int64_t)(used + 8 * MIB));
    CHECK(munmap(memory, 3 * MIB) == 0);
    CHECK_EQUAL((int64_t)used_of(ROOT), (int64_t)(used + 5 * MIB));
    removed(ROOT "/a");
    CHECK_EQUAL(set_max(ROOT, memsize_t_INFINITY), EOK);
}

static void memory_counts_when_it_can_be_touched(void)
{
    const memsize_t used = used_of(ROOT);
    uint8_t *memory = mmap(NULL, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANON, NOFD, 0);

    if (!CHECK(memory != MAP_FAILED)) return;
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), 0);
    CHECK(mprotect(memory, MIB / 2, PROT_READ | PROT_WRITE) == 0);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), (int64_t)(MIB / 2));
    CHECK(mprotect(memory, MIB / 2, PROT_NONE) == 0); /* the pages keep their content */
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), (int64_t)(MIB / 2));
    CHECK_EQUAL(set_max(ROOT, used + MIB - PAGE), EOK);
    CHECK_EQUAL(mprotect(memory, MIB, PROT_READ), -1);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK(!can_read(memory + MIB / 2));
    CHECK_EQUAL(set_max(ROOT, memsize_t_INFINITY), EOK);
    CHECK(mprotect(memory, MIB, PROT_READ) == 0);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), (int64_t)MIB);
    CHECK(munmap(memory, MIB) == 0);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), 0);
}

static void lazy_memory_counts_when_it_is_touched(void)
{
    const memsize_t used = used_of(ROOT);
    uint8_t *memory =
        mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_LAZY, NOFD, 0);

    if (!CHECK(memory != MAP_FAILED)) return;
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), 0);
    memory[5 * MIB] = 1;
    memory[9 * MIB] = 1;
    void *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, NOFD, 0);
    CHECK(other != MAP_FAILED);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), 3 * PAGE);
    CHECK(munmap(other, PAGE) == 0);
    CHECK(munmap(memory, 64 * MIB) == 0);
    CHECK_EQUAL((int64_t)(used_of(ROOT) - used), 0);
}

static void sizes_are_checked(void)
{
    if (!made(ROOT "/a")) return;
    CHECK_EQUAL(set_min(ROOT "/a", 1000), EINVAL);
    CHECK_EQUAL(set_max(ROOT "/a", 4 * MIB + 1), EINVAL);
    CHECK_EQUAL(set_min(ROOT "/a", 2 * MIB), EOK);
    CHECK_EQUAL(set_max(ROOT "/a", MIB), EINVAL);
    CHECK_EQUAL(set_max(ROOT "/a", 2 * MIB), EOK);
    CHECK_EQUAL(set_min(ROOT "/a", 3 * MIB), EINVAL);
    const mempart_info_t info = info_of(ROOT "/a");
    CHECK_EQUAL((int64_t)info.cur_cfg.attr.size.min, (int64_t)(2 * MIB));
    CHECK_EQUAL((int64_t)info.cur_cfg.attr.size.max, (int64_t)(2 * MIB));
    CHECK(info.cre_cfg.attr.size.min == 0 && info.cre_cfg.attr.size.max == memsize_t_INFINITY);
    removed(ROOT "/a");
}

static void a_maximum_below_what_is_used_is_refused(void)
{
    if (!made(ROOT "/a") || !made(ROOT "/a/b")) return;
    CHECK_EQUAL(set_min(ROOT "/a/b", 4 * MIB), EOK);
    CHECK_EQUAL(set_max(ROOT "/a", 3 * MIB), ENOMEM);
    CHECK_EQUAL(set_max(ROOT "/a", 4 * MIB), EOK);
    removed(ROOT "/a/b");
    removed(ROOT "/a");
}

static void a_terminal_partition_has_no_children(void)
{
    const mempart_cfg_t terminal = {.policy = {.terminal = bool_t_TRUE}};

    if (!made(ROOT "/a")) return;
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_TERMINAL_POLICY, terminal), EOK);
    CHECK_EQUAL(mkdir(ROOT "/a/b", 0755), -1);
    CHECK_EQUAL(errno, EPERM);
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_TERMINAL_POLICY, (mempart_cfg_t){.attr = {{0, 0}}}),
                EPERM);
    CHECK_EQUAL(set_max(ROOT "/a", MIB), EOK);
    removed(ROOT "/a");
}

static void a_locked_configuration_stays(void)
{
    const mempart_cfg_t locked = {.policy = {.config_lock = bool_t_TRUE}};

    if (!made(ROOT "/a")) return;
    CHECK_EQUAL(set_max(ROOT "/a", 8 * MIB), EOK);
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_LOCK_POLICY, locked), EOK);
    CHECK_EQUAL(set_max(ROOT "/a", 4 * MIB), EPERM);
    CHECK_EQUAL(set_min(ROOT "/a", MIB), EPERM);
    CHECK_EQUAL(set_max(ROOT "/a", 8 * MIB), EOK); /* which changes nothing */
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_LOCK_POLICY, (mempart_cfg_t){.attr = {{0, 0}}}), EPERM);
    CHECK_EQUAL((int64_t)info_of(ROOT "/a").cur_cfg.attr.size.max, (int64_t)(8 * MIB));
    removed(ROOT "/a");
}

static void a_permanent_partition_stays(void)
{
    const mempart_cfg_t permanent = {.policy = {.permanent = bool_t_TRUE}};

    if (!made(ROOT "/a")) return;
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_PERMANENT_POLICY, permanent), EOK);
    CHECK_EQUAL(rmdir(ROOT "/a"), -1);
    CHECK_EQUAL(errno, EPERM);
    CHECK(info_of(ROOT "/a").cur_cfg.policy.permanent == bool_t_TRUE);
}

static void a_partition_in_use_stays(void)
{
    if (!made(ROOT "/a") || !made(ROOT "/a/b")) return;
    CHECK_EQUAL(info_of(ROOT "/a").num_children, 1);
    CHECK_EQUAL(rmdir(ROOT "/a"), -1);
    CHECK_EQUAL(errno, EBUSY);
    CHECK_EQUAL(set_min(ROOT "/a/b", MIB), EOK);
    removed(ROOT "/a/b"); /* a reserve that nobody uses is no use */
    CHECK_EQUAL((int64_t)used_of(ROOT "/a"), 0);
    removed(ROOT "/a");
}

static void policies_are_those_of_the_parent(void)
{
    const mempart_cfg_t root = {.policy = {.alloc = mempart_alloc_policy_t_ROOT}};
    const mempart_cfg_t unknown = {.policy = {.alloc = 77}};

    if (!made(ROOT "/a")) return;
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_ALLOC_POLICY, root), EINVAL);
    CHECK_EQUAL(change(ROOT "/a", cfgchg_t_ALLOC_POLICY, unknown), EINVAL);
    removed(ROOT "/a");
    CHECK_EQUAL(change(ROOT, cfgchg_t_ALLOC_POLICY, root), EOK);
    CHECK_EQUAL(mkdir(ROOT "/a", 0755), -1);
    CHECK_EQUAL(errno, EINVAL);
    const mempart_cfg_t back = {.policy = {.alloc = mempart_alloc_policy_t_HIERARCHICAL}};
    CHECK_EQUAL(change(ROOT, cfgchg_t_ALLOC_POLICY, back), EOK);
}

static void the_high_water_mark_is_kept_until_reset(void)
{
    memsize_t peak = 0;

    if (!made(ROOT "/a") || !made(ROOT "/a/b")) return;
    CHECK_EQUAL(set_min(ROOT "/a/b", 6 * MIB), EOK);
    CHECK_EQUAL(set_min(ROOT "/a/b", 2 * MIB), EOK);
    CHECK_EQUAL((int64_t)info_of(ROOT "/a").hi_size, (int64_t)(6 * MIB));
    CHECK_EQUAL(with_partition(ROOT "/a", MEMPART_CNTR_RESET, &peak, sizeof peak), EOK);
    CHECK_EQUAL((int64_t)peak, (int64_t)(6 * MIB));
    CHECK_EQUAL((int64_t)info_of(ROOT "/a").hi_size, 0);
    CHECK_EQUAL(set_min(ROOT "/a/b", 3 * MIB), EOK);
    CHECK_EQUAL((int64_t)info_of(ROOT "/a").hi_size, (int64_t)(3 * MIB));
    removed(ROOT "/a/b");
    removed(ROOT "/a");
}

static void objects_are_listed_as_far_as_there_is_room(void)
{
    mempart_olist_t list = {.num_entries = 0};

    CHECK_EQUAL(with_partition(ROOT, MEMPART_GET_ASSOC_OLIST, &list, MEMPART_OLIST_T_SIZE(0)), EOK);
    CHECK(list.num_entries < 0);
    list.num_entries = 2;
    CHECK_EQUAL(with_partition(ROOT, MEMPART_GET_ASSOC_OLIST, &list, sizeof list), EOVERFLOW);
    if (!made(ROOT "/a")) return;
    list.num_entries = 1;
    CHECK_EQUAL(with_partition(ROOT "/a", MEMPART_GET_ASSOC_OLIST, &list, sizeof list), EOK);
    CHECK_EQUAL(list.num_entries, 0);
    removed(ROOT "/a");
}

/* Where there is no such module, as in 7.x and 8.0. */
static void without_the_module_there_is_nothing(void)
{
    CHECK_EQUAL(mkdir(ROOT "/a", 0755), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(open(ROOT, O_RDWR), -1);
    CHECK_EQUAL(errno, ENOENT);
    CHECK_EQUAL(rmdir(ROOT), -1);
}

const struct check partition_checks[] = {
    {"a new partition is empty and without limits", a_new_partition_is_empty_and_without_limits},
    {"paths are checked", paths_are_checked},
    {"devctl checks descriptor and buffer", devctl_checks_descriptor_and_buffer},
    {"a minimum is taken from all above", a_minimum_is_taken_from_all_above},
    {"a minimum that cannot be met is refused", a_minimum_that_cannot_be_met_is_refused},
    {"a reserve holds against a greedy sibling", a_reserve_holds_against_a_greedy_sibling},
    {"memory counts when it can be touched", memory_counts_when_it_can_be_touched},
    {"lazy memory counts when it is touched", lazy_memory_counts_when_it_is_touched},
    {"sizes are checked", sizes_are_checked},
    {"a maximum below what is used is refused", a_maximum_below_what_is_used_is_refused},
    {"a terminal partition has no children", a_terminal_partition_has_no_children},
    {"a locked configuration stays", a_locked_configuration_stays},
    {"a permanent partition stays", a_permanent_partition_stays},
    {"a partition in use stays", a_partition_in_use_stays},
    {"policies are those of the parent", policies_are_those_of_the_parent},
    {"the high-water mark is kept until reset", the_high_water_mark_is_kept_until_reset},
    {"objects are listed as far as there is room", objects_are_listed_as_far_as_there_is_room},
    {NULL, NULL},
};

const struct check partition_absent_checks[] = {
    {"without the module there is nothing", without_the_module_there_is_nothing},
    {NULL, NULL},
};
