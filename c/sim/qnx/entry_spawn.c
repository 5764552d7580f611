/* QNX: starting processes, in partitions, and waiting for them. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "../common/census.h"
#include "entry_answer.h"
#include "kernel_partition.h"
#include "kernel_resources.h"
#include "kernel_spawn.h"

enum { ATTRIBUTES = 32 };

struct attributes {
    bool used;
    uint32_t flags;
    uint32_t count;
    uint32_t partitions[QK_SPAWN_PARTITIONS_MAX];
};

static struct attributes table[ATTRIBUTES];
static uint32_t world; /* that they belong to */

/* The table, empty if the world has been reset since. */
static struct attributes *current(void)
{
    if (world != qk_world()) memset(table, 0, sizeof table);
    world = qk_world();
    return table;
}

/* The guest's object is a number: a place in the table, 1 up. */
static qk_error find(const posix_spawnattr_t *attr, struct attributes **found_out)
{
    if (!qk_may_read(attr, sizeof *attr)) return QK_EFAULT;
    if (*attr == 0 || *attr > ATTRIBUTES || !current()[*attr - 1].used) return QK_EINVAL;
    *found_out = &table[*attr - 1];
    return QK_OK;
}

int posix_spawnattr_init(posix_spawnattr_t *attr)
{
    uint32_t place = 0;
    qk_error error = qk_enter("posix_spawnattr_init");

    if (error == QK_OK && !qk_may_write(attr, sizeof *attr)) error = QK_EFAULT;
    while (error == QK_OK && place < ATTRIBUTES && current()[place].used) place++;
    if (error == QK_OK && place == ATTRIBUTES) error = QK_ENOMEM;
    if (error == QK_OK) {
        table[place] = (struct attributes){.used = true};
        *attr = place + 1;
        sim_census_count("spawn attributes", 1);
    }
    return sim_number(qk_leave(error));
}

int posix_spawnattr_destroy(posix_spawnattr_t *attr)
{
    struct attributes *found;
    qk_error error = qk_enter("posix_spawnattr_destroy");

    if (error == QK_OK) error = find(attr, &found);
    if (error == QK_OK) {
        found->used = false;
        sim_census_count("spawn attributes", -1);
    }
    return sim_number(qk_leave(error));
}

static int get_flags(const char *call, const posix_spawnattr_t *attr, uint32_t *flags_out)
{
    struct attributes *found;
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = find(attr, &found);
    if (error == QK_OK) *flags_out = found->flags;
    return sim_number(qk_leave(error));
}

static int set_flags(const char *call, const posix_spawnattr_t *attr, uint32_t flags)
{
    struct attributes *found;
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = find(attr, &found);
    if (error == QK_OK) found->flags = flags;
    return sim_number(qk_leave(error));
}

int posix_spawnattr_getflags(const posix_spawnattr_t *attr, short *flags)
{
    uint32_t all = 0;
    const int number = get_flags("posix_spawnattr_getflags", attr, &all);

    if (number == EOK) *flags = (short)(all & 0x7fffU);
    return number;
}

int posix_spawnattr_setflags(posix_spawnattr_t *attr, short flags)
{
    return set_flags("posix_spawnattr_setflags", attr, (uint32_t)flags & 0x7fffU);
}

int posix_spawnattr_getxflags(const posix_spawnattr_t *attr, uint32_t *flags)
{
    return get_flags("posix_spawnattr_getxflags", attr, flags);
}

int posix_spawnattr_setxflags(posix_spawnattr_t *attr, uint32_t flags)
{
    return set_flags("posix_spawnattr_setxflags", attr, flags);
}

/* Partitions. */

static qk_error add(struct attributes *attributes, const qk_partition *partition)
{
    if (partition == NULL) return QK_EINVAL;
    if (attributes->count == QK_SPAWN_PARTITIONS_MAX) return QK_ENOMEM;
    attributes->partitions[attributes->count++] = partition->id;
    return QK_OK;
}

int posix_spawnattr_addpartid(posix_spawnattr_t *attr, part_id_t id, part_dcmd_flags_t flags)
{
    struct attributes *found;
    qk_error error = qk_enter("posix_spawnattr_addpartid");

    (void)flags; /* kernel heaps, and what grandchildren inherit: not simulated */
    if (error == QK_OK) error = find(attr, &found);
    if (error == QK_OK && !qk_partition_installed()) error = QK_ENOSYS;
    if (error == QK_OK) error = add(found, qk_partition_by_id(id));
    return sim_number(qk_leave(error));
}

int posix_spawnattr_addpartition(posix_spawnattr_t *attr, const char *path, part_dcmd_flags_t flags)
{
    struct attributes *found;
    qk_partition *partition;
    qk_error error = qk_enter("posix_spawnattr_addpartition");

    (void)flags;
    if (error == QK_OK) error = find(attr, &found);
    if (error == QK_OK && !qk_may_read(path, 1)) error = QK_EFAULT;
    if (error == QK_OK) error = qk_partition_find(path, &partition);
    if (error == QK_OK) error = add(found, partition);
    return sim_number(qk_leave(error));
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    struct attributes *found;
    qk_spawn_attributes wanted = {0};
    qk_error error = qk_enter("posix_spawn");

    if (error == QK_OK && actions != NULL) error = QK_ENOSYS; /* not simulated */
    if (error == QK_OK && attr != NULL) {
        error = find(attr, &found);
        if (error == QK_OK) {
            wanted.sets_partitions = (found->flags & POSIX_SPAWN_SETMPART) != 0;
            wanted.partition_count = found->count;
            memcpy(wanted.partitions, found->partitions, sizeof wanted.partitions);
        }
    }
    if (error == QK_OK && !(qk_may_read(path, 1) && qk_may_read(argv, sizeof *argv))) {
        error = QK_EFAULT;
    }
    int32_t id = 0;
    if (error == QK_OK) error = qk_process_spawn(path, argv, envp, &wanted, &id);
    if (error == QK_OK && pid != NULL) *pid = id;
    return sim_number(qk_leave(error));
}

/* Waiting. */

static const int signal_numbers[QK_SIGNAL_COUNT] = {
    [QK_SIGNAL_HANGUP] = SIGHUP,   [QK_SIGNAL_INTERRUPT] = SIGINT,  [QK_SIGNAL_QUIT] = SIGQUIT,
    [QK_SIGNAL_ILLEGAL] = SIGILL,  [QK_SIGNAL_TRAP] = SIGTRAP,      [QK_SIGNAL_ABORT] = SIGABRT,
    [QK_SIGNAL_BUS] = SIGBUS,      [QK_SIGNAL_ARITHMETIC] = SIGFPE, [QK_SIGNAL_KILL] = SIGKILL,
    [QK_SIGNAL_SEGMENT] = SIGSEGV, [QK_SIGNAL_CALL] = SIGSYS,       [QK_SIGNAL_PIPE] = SIGPIPE,
    [QK_SIGNAL_ALARM] = SIGALRM,   [QK_SIGNAL_TERMINATE] = SIGTERM, [QK_SIGNAL_USER_1] = SIGUSR1,
    [QK_SIGNAL_USER_2] = SIGUSR2,
};

static int status_of(qk_ending ending)
{
    return ending.signal == QK_SIGNAL_NONE ? (ending.code & 0xff) << 8
                                           : signal_numbers[ending.signal];
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    int handles[64];
    uint32_t count = 0;
    int32_t id = 0;
    qk_ending ending = {QK_SIGNAL_NONE, 0};

    for (;;) {
        qk_error error = qk_enter("waitpid");
        if (error == QK_OK && (options & ~(WNOHANG | WUNTRACED)) != 0) error = QK_EINVAL;
        if (error == QK_OK) error = qk_process_reap(pid, &id, &ending);
        if (error == QK_EAGAIN && qk_process_handles(pid, handles, 64, &count) != QK_OK) count = 0;
        error = qk_leave(error);
        if (error == QK_EAGAIN && (options & WNOHANG) != 0) return 0;
        if (error == QK_EAGAIN && count > 0) {
            qk_process_sleep(handles, count);
            continue;
        }
        if (sim_answer(error) != 0) return -1;
        if (status != NULL) *status = status_of(ending);
        return id;
    }
}

int kill(pid_t pid, int number)
{
    int index = 1;
    qk_error error = qk_enter("kill");

    while (index < QK_SIGNAL_COUNT && signal_numbers[index] != number) index++;
    if (error == QK_OK && index == QK_SIGNAL_COUNT && number != 0) error = QK_EINVAL;
    if (error == QK_OK) {
        error = qk_process_signal(pid, number == 0 ? QK_SIGNAL_NONE : (qk_signal)index);
    }
    return sim_answer(qk_leave(error));
}
