/* Processes, and the partitions that they are spawned into. The programs are /bin/sh's. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <kernel/mempart.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT      "/partition/mem/sysram"
#define PARTITION ROOT "/child"

static int start(const char *script, const posix_spawnattr_t *attributes, pid_t *pid_out)
{
    char text[64];
    char *const arguments[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", text, NULL};

    memset(text, 0, sizeof text);
    for (size_t i = 0; i + 1 < sizeof text && script[i] != '\0'; i++) text[i] = script[i];
    *pid_out = -1;
    char *const nothing[] = {NULL}; /* no variable of the test's own run reaches it */

    return posix_spawn(pid_out, "/bin/sh", NULL, attributes, arguments, nothing);
}

static int status_of(const char *script)
{
    pid_t pid;
    int status = -1;

    if (!CHECK(start(script, NULL, &pid) == EOK)) return -1;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    return status;
}

static void a_status_says_how_a_child_ended(void)
{
    int status = status_of("exit 7");

    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7 && !WIFSIGNALED(status));
    status = status_of("true");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = status_of("kill -SEGV $$");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && !WIFEXITED(status));
    status = status_of("kill -BUS $$");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void a_child_that_runs_can_be_ended(void)
{
    pid_t pid;
    int status = 0;

    if (!CHECK(start("sleep 60 & wait", NULL, &pid) == EOK)) return;
    CHECK(pid > 0 && pid != getpid());
    CHECK_EQUAL(waitpid(pid, &status, WNOHANG), 0);
    CHECK_EQUAL(kill(pid, 0), 0);
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_EQUAL(waitpid(pid, &status, 0), -1);
    CHECK_EQUAL(errno, ECHILD);
    CHECK_EQUAL(kill(pid, SIGKILL), -1);
    CHECK_EQUAL(errno, ESRCH);
}

static void any_child_can_be_waited_for(void)
{
    pid_t quick, slow;
    int status = 0;

    CHECK(start("sleep 60 & wait", NULL, &slow) == EOK);
    CHECK(start("exit 3", NULL, &quick) == EOK);
    CHECK_EQUAL(waitpid(-1, &status, 0), quick);
    CHECK_EQUAL(WEXITSTATUS(status), 3);
    CHECK_EQUAL(kill(slow, SIGTERM), 0);
    CHECK_EQUAL(waitpid(-1, &status, 0), slow);
    CHECK_EQUAL(waitpid(-1, &status, WNOHANG), -1);
    CHECK_EQUAL(errno, ECHILD);
}

static void what_is_no_program_is_not_started(void)
{
    pid_t pid;
    char *const arguments[] = {(char *)(uintptr_t) "none", NULL};

    CHECK_EQUAL(posix_spawn(&pid, "/no/such/file", NULL, NULL, arguments, NULL), ENOENT);
    CHECK_EQUAL(posix_spawn(&pid, "/dev/null", NULL, NULL, arguments, NULL), EACCES);
    CHECK_EQUAL(posix_spawn(&pid, NULL, NULL, NULL, arguments, NULL), EFAULT);
    CHECK_EQUAL(waitpid(-1, NULL, 0), -1);
    CHECK_EQUAL(errno, ECHILD);
}

static void attributes_are_kept(void)
{
    posix_spawnattr_t attributes;
    short flags = 0;

    CHECK_EQUAL(posix_spawnattr_init(&attributes), EOK);
    CHECK_EQUAL(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF), EOK);
    CHECK_EQUAL(posix_spawnattr_getflags(&attributes, &flags), EOK);
    CHECK_EQUAL(flags, POSIX_SPAWN_SETSIGDEF);
    CHECK_EQUAL(posix_spawnattr_destroy(&attributes), EOK);
    CHECK_EQUAL(posix_spawnattr_destroy(&attributes), EINVAL);
}

/* In partitions. */

static mempart_info_t info_of(const char *path)
{
    mempart_info_t info;
    const int fd = open(path, O_RDWR);

    memset(&info, 0, sizeof info);
    CHECK(fd >= 0);
    CHECK_EQUAL(devctl(fd, MEMPART_GET_INFO, &info, sizeof info, NULL), EOK);
    CHECK(close(fd) == 0);
    return info;
}

static void set_sizes(memsize_t min, memsize_t max)
{
    mempart_cfgchg_t wanted = {.valid = cfgchg_t_ATTR_MIN | cfgchg_t_ATTR_MAX,
                               .val = {.attr = {.size = {.min = min, .max = max}}}};
    const int fd = open(PARTITION, O_RDWR);

    CHECK(fd >= 0);
    CHECK_EQUAL(devctl(fd, MEMPART_CFG_CHG, &wanted, sizeof wanted, NULL), EOK);
    CHECK(close(fd) == 0);
}

static int processes_of(const char *path)
{
    part_plist_t list = {.num_entries = 0};
    const int fd = open(path, O_RDWR);

    CHECK_EQUAL(devctl(fd, PART_GET_ASSOC_PLIST, &list, PART_PLIST_T_SIZE(0), NULL), EOK);
    CHECK(close(fd) == 0);
    return -list.num_entries;
}

static int start_in(part_id_t id, const char *script, pid_t *pid_out)
{
    posix_spawnattr_t attributes;

    CHECK_EQUAL(posix_spawnattr_init(&attributes), EOK);
    CHECK_EQUAL(posix_spawnattr_addpartid(&attributes, id, mempart_flags_HEAP_SHARE), EOK);
    CHECK_EQUAL(posix_spawnattr_setxflags(&attributes, POSIX_SPAWN_SETMPART), EOK);
    const int number = start(script, &attributes, pid_out);
    CHECK_EQUAL(posix_spawnattr_destroy(&attributes), EOK);
    return number;
}

static void a_child_counts_in_its_partition_while_it_lives(void)
{
    pid_t pid;
    int status;

    if (!CHECK(mkdir(PARTITION, 0755) == 0)) return;
    const memsize_t root = info_of(ROOT).cur_size;
    CHECK_EQUAL(start_in(info_of(PARTITION).id, "sleep 60 & wait", &pid), EOK);
    const memsize_t used = info_of(PARTITION).cur_size;
    CHECK(used > 0);
    CHECK_EQUAL((int64_t)(info_of(ROOT).cur_size - root), (int64_t)used);
    CHECK_EQUAL(processes_of(PARTITION), 1);
    CHECK_EQUAL(rmdir(PARTITION), -1);
    CHECK_EQUAL(errno, EBUSY);
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL((int64_t)info_of(PARTITION).cur_size, 0);
    CHECK_EQUAL((int64_t)(info_of(ROOT).cur_size - root), 0);
    CHECK_EQUAL(processes_of(PARTITION), 0);
    CHECK(info_of(PARTITION).hi_size >= used);
    CHECK(rmdir(PARTITION) == 0);
}

static void a_child_uses_its_partitions_reserve_first(void)
{
    pid_t pid;

    if (!CHECK(mkdir(PARTITION, 0755) == 0)) return;
    set_sizes(16 << 20, memsize_t_INFINITY);
    const memsize_t root = info_of(ROOT).cur_size;
    CHECK_EQUAL(start_in(info_of(PARTITION).id, "sleep 60 & wait", &pid), EOK);
    CHECK(info_of(PARTITION).cur_size > 0);
    CHECK_EQUAL((int64_t)(info_of(ROOT).cur_size - root), 0);
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(pid, NULL, 0), pid);
    CHECK_EQUAL((int64_t)(info_of(ROOT).cur_size - root), 0);
    CHECK(rmdir(PARTITION) == 0);
}

static void a_full_partition_takes_no_child(void)
{
    pid_t pid;

    if (!CHECK(mkdir(PARTITION, 0755) == 0)) return;
    set_sizes(0, 4096);
    CHECK_EQUAL(start_in(info_of(PARTITION).id, "true", &pid), ENOMEM);
    CHECK_EQUAL(waitpid(-1, NULL, 0), -1);
    CHECK_EQUAL((int64_t)info_of(PARTITION).cur_size, 0);
    CHECK(rmdir(PARTITION) == 0);
}

static void a_child_is_where_its_parent_is_unless_told(void)
{
    pid_t pid;
    posix_spawnattr_t attributes;

    if (!CHECK(mkdir(PARTITION, 0755) == 0)) return;
    const int before = processes_of(ROOT);
    CHECK_EQUAL(posix_spawnattr_init(&attributes), EOK);
    CHECK_EQUAL(posix_spawnattr_addpartition(&attributes, PARTITION, 0), EOK);
    CHECK_EQUAL(start("sleep 60 & wait", &attributes, &pid), EOK); /* without SETMPART */
    CHECK_EQUAL(processes_of(ROOT) - before, 1);
    CHECK_EQUAL(processes_of(PARTITION), 0);
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    CHECK_EQUAL(waitpid(pid, NULL, 0), pid);
    CHECK_EQUAL(posix_spawnattr_addpartition(&attributes, ROOT "/none", 0), ENOENT);
    CHECK_EQUAL(posix_spawnattr_addpartid(&attributes, part_id_t_INVALID, 0), EINVAL);
    CHECK_EQUAL(posix_spawnattr_destroy(&attributes), EOK);
    CHECK(rmdir(PARTITION) == 0);
}

static void without_the_module_nothing_can_be_joined(void)
{
    posix_spawnattr_t attributes;

    CHECK_EQUAL(posix_spawnattr_init(&attributes), EOK);
    CHECK_EQUAL(posix_spawnattr_addpartition(&attributes, PARTITION, 0), ENOENT);
    CHECK_EQUAL(posix_spawnattr_addpartid(&attributes, 1, 0), ENOSYS);
    CHECK_EQUAL(posix_spawnattr_destroy(&attributes), EOK);
}

const struct check spawn_checks[] = {
    {"a status says how a child ended", a_status_says_how_a_child_ended},
    {"a child that runs can be ended", a_child_that_runs_can_be_ended},
    {"any child can be waited for", any_child_can_be_waited_for},
    {"what is no program is not started", what_is_no_program_is_not_started},
    {"attributes are kept", attributes_are_kept},
    {"without the module nothing can be joined", without_the_module_nothing_can_be_joined},
    {NULL, NULL},
};

const struct check spawn_partition_checks[] = {
    {"a child counts in its partition while it lives",
     a_child_counts_in_its_partition_while_it_lives},
    {"a child uses its partition's reserve first", a_child_uses_its_partitions_reserve_first},
    {"a full partition takes no child", a_full_partition_takes_no_child},
    {"a child is where its parent is unless told", a_child_is_where_its_parent_is_unless_told},
    {NULL, NULL},
};
