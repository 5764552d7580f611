/* A child is a real program in a process of this machine: it really runs, and really dies. What
 * memory it uses the simulated kernel can't see, so it counts for what processes count for at
 * their start, until a test or the program's owner says otherwise (qk_process_use). */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_memory.h"
#include "kernel_spawn.h"
#include "kernel_switch.h"

enum { START_BYTES = 32 * QK_PAGE };

static qk_process self = {.id = QK_PROCESS_SELF, .host_handle = -1};
static int32_t next_id = QK_PROCESS_SELF + 1;
static uint64_t start_bytes = START_BYTES;

static const int signals[QK_SIGNAL_COUNT] = {0,       SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP,
                                             SIGABRT, SIGBUS,  SIGFPE,  SIGKILL, SIGSEGV, SIGSYS,
                                             SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2};

static qk_partition *partition_of_caller(void)
{
    if (self.partition == NULL) {
        self.partition = qk_partition_root();
        self.partition->processes++;
    }
    return self.partition;
}

qk_error qk_process_charge(uint64_t bytes)
{
    const qk_error error = qk_partition_charge(partition_of_caller(), bytes);

    if (error == QK_OK) self.used += bytes;
    return error;
}

void qk_process_release(uint64_t bytes)
{
    qk_partition_release(partition_of_caller(), bytes);
    self.used -= bytes;
}

/* Children. */

static qk_error from_host(int code)
{
    switch (code) {
    case 0:
        return QK_OK;
    case ENOENT:
    case ENOTDIR:
        return QK_ENOENT;
    case EACCES:
        return QK_EACCES;
    case ENOMEM:
        return QK_ENOMEM;
    case EINVAL:
    case ENOEXEC:
        return QK_EINVAL;
    default:
        return QK_EAGAIN;
    }
}

static qk_error choose_partition(const qk_spawn_attributes *attributes, qk_partition **chosen_out)
{
    *chosen_out = partition_of_caller();
    if (!attributes->sets_partitions || attributes->partition_count == 0) return QK_OK;
    if (!qk_partition_installed()) return QK_ENOSYS;
    if (qk_switched(QK_BREAK_ASSOCIATION)) return QK_OK;
    /* One class, so one partition; a second one of the same class is refused. */
    if (attributes->partition_count > 1) return QK_EINVAL;
    *chosen_out = qk_partition_by_id(attributes->partitions[0]);
    return *chosen_out != NULL ? QK_OK : QK_EINVAL;
}

/* The child's half, in the parent's memory until the program takes over: it has the limit that the
 * simulated process has, from its first instruction on. */
static void become(const char *path, char *const arguments[], char *const environment[],
                   volatile int *code)
{
    struct rlimit limit;
    uint64_t soft, hard;

    (void)qk_memory_limit(QK_LIMIT_ADDRESS_SPACE, &soft, &hard);
    if (soft != QK_UNLIMITED && getrlimit(RLIMIT_AS, &limit) == 0) {
        limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
        (void)setrlimit(RLIMIT_AS, &limit);
    }
    execve(path, arguments, environment != NULL ? environment : environ);
    *code = errno;
    _exit(127);
}

static qk_error start(qk_process *process, const char *path, char *const arguments[],
                      char *const environment[])
{
    volatile int code = 0;
    const pid_t host_id = vfork();

    if (host_id == 0) become(path, arguments, environment, &code);
    if (host_id < 0) return QK_EAGAIN;
    if (code != 0) {
        waitpid(host_id, NULL, 0);
        return from_host(code);
    }
    process->host_id = host_id;
    process->host_handle = (int)syscall(SYS_pidfd_open, host_id, 0);
    if (process->host_handle >= 0) return QK_OK;
    kill(host_id, SIGKILL);
    waitpid(host_id, NULL, 0);
    return QK_EAGAIN;
}

qk_error qk_process_spawn(const char *path, char *const arguments[], char *const environment[],
                          const qk_spawn_attributes *attributes, int32_t *id_out)
{
    qk_partition *partition;

    qk_process_settle();
    qk_error error = choose_partition(attributes, &partition);
    if (error != QK_OK) return error;
    qk_process *process = calloc(1, sizeof *process);
    if (process == NULL) return QK_ENOMEM;
    error = qk_partition_charge(partition, start_bytes);
    if (error == QK_OK) {
        error = start(process, path, arguments, environment);
        if (error != QK_OK) qk_partition_release(partition, start_bytes);
    }
    if (error != QK_OK) {
        free(process);
        return error;
    }
    process->id = next_id++;
    process->partition = partition;
    process->used = start_bytes;
    partition->processes++;
    qk_process *last = &self;
    while (last->next != NULL) last = last->next;
    last->next = process;
    sim_census_count("process", 1);
    *id_out = process->id;
    return QK_OK;
}

/* What a process leaves when it ends; its record stays until somebody has waited for it. */
static void end(qk_process *process)
{
    if (process->ended) return;
    process->ended = true;
    if (!qk_switched(QK_BREAK_CHILD_MEMORY)) {
        qk_partition_release(process->partition, process->used);
    }
    process->partition->processes--;
    process->used = 0;
}

static bool has_ended(const qk_process *process)
{
    siginfo_t info = {0};

    if (process->ended) return true;
    if (waitid(P_PID, (id_t)process->host_id, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return true;
    return info.si_pid != 0;
}

void qk_process_settle(void)
{
    for (qk_process *process = self.next; process != NULL; process = process->next) {
        if (has_ended(process)) end(process);
    }
}

static bool is_meant(const qk_process *process, int32_t id)
{
    return id == -1 || process->id == id;
}

static void drop(qk_process *process)
{
    qk_process *before = &self;

    while (before->next != process) before = before->next;
    before->next = process->next;
    sim_census_count("process", -1);
    close(process->host_handle);
    free(process);
}

qk_error qk_process_handles(int32_t id, int *handles, uint32_t room, uint32_t *count_out)
{
    *count_out = 0;
    for (qk_process *process = self.next; process != NULL; process = process->next) {
        if (is_meant(process, id) && *count_out < room) {
            handles[(*count_out)++] = process->host_handle;
        }
    }
    return *count_out > 0 ? QK_OK : QK_ECHILD;
}

void qk_process_sleep(const int *handles, uint32_t count)
{
    struct pollfd polled[64];

    if (count > sizeof polled / sizeof polled[0]) count = sizeof polled / sizeof polled[0];
    for (uint32_t i = 0; i < count; i++) polled[i] = (struct pollfd){handles[i], POLLIN, 0};
    (void)poll(polled, count, 100);
}

static qk_ending ending_of(int status)
{
    if (WIFEXITED(status)) return (qk_ending){QK_SIGNAL_NONE, WEXITSTATUS(status)};
    for (int i = 1; i < QK_SIGNAL_COUNT; i++) {
        if (signals[i] == WTERMSIG(status)) return (qk_ending){(qk_signal)i, 0};
    }
    return (qk_ending){QK_SIGNAL_KILL, 0};
}

qk_error qk_process_reap(int32_t id, int32_t *id_out, qk_ending *ending_out)
{
    bool found = false;
    int status;

    for (qk_process *process = self.next; process != NULL; process = process->next) {
        if (!is_meant(process, id)) continue;
        found = true;
        if (waitpid(process->host_id, &status, WNOHANG) != process->host_id) continue;
        *ending_out = ending_of(status);
        if (qk_switched(QK_BREAK_STATUS)) *ending_out = (qk_ending){QK_SIGNAL_NONE, 0};
        *id_out = process->id;
        end(process);
        drop(process);
        return QK_OK;
    }
    return found ? QK_EAGAIN : QK_ECHILD;
}

static qk_process *find(int32_t id)
{
    qk_process *process = self.next;

    while (process != NULL && process->id != id) process = process->next;
    return process;
}

qk_error qk_process_signal(int32_t id, qk_signal number)
{
    const qk_process *process = find(id);

    if (process == NULL) return QK_ESRCH;
    if (!process->ended) kill(process->host_id, signals[number]);
    return QK_OK;
}

qk_error qk_process_use(int32_t id, uint64_t bytes)
{
    qk_process *process = find(id);

    if (process == NULL || has_ended(process)) return QK_ESRCH;
    bytes = (bytes + QK_PAGE - 1) / QK_PAGE * QK_PAGE;
    if (bytes > process->used) {
        const qk_error error = qk_partition_charge(process->partition, bytes - process->used);
        if (error != QK_OK) return error;
    } else {
        qk_partition_release(process->partition, process->used - bytes);
    }
    process->used = bytes;
    return QK_OK;
}

void qk_process_set_start(uint64_t bytes)
{
    start_bytes = (bytes + QK_PAGE - 1) / QK_PAGE * QK_PAGE;
}

const qk_process *qk_process_at(uint32_t index)
{
    const qk_process *process = &self;

    (void)partition_of_caller();
    while (process != NULL && index-- > 0) process = process->next;
    return process;
}

int32_t qk_process_self(void)
{
    return self.id;
}

bool qk_process_is_caller(int32_t id)
{
    return id == self.id;
}

void qk_process_reset(void)
{
    while (self.next != NULL) {
        kill(self.next->host_id, SIGKILL);
        waitpid(self.next->host_id, NULL, 0);
        drop(self.next);
    }
    self.partition = NULL;
    self.used = 0;
    self.id = next_id++; /* another world is another process, to which old objects don't belong */
    start_bytes = START_BYTES;
}
