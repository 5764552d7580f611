/* The child, from its start to the program's: it shares its parent's memory, and the parent's
 * thread waits, so there is no allocation, no lock, and nothing here that could call back. */
#include "child.h"

enum {
    SPARE_DESCRIPTORS = 16, /* numbers from here on are out of the targets' way */
    KEPT_DESCRIPTORS = WRT__WORKER_SELF + 1,
    CLOSE_ONE_BY_ONE = 65536, /* descriptors, where the kernel can't close a range */
    LANDLOCK_VERSION = 1,
    LANDLOCK_PATH_BENEATH = 1,
    LANDLOCK_EXECUTE = 1,
    LANDLOCK_READ_FILE = 4
};

/* What Landlock of each version knows of files. */
static const uint64_t landlock_files[] = {0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF};

enum { LANDLOCK_FILE_VERSIONS = sizeof landlock_files / sizeof *landlock_files };

/* Sources first go where no target is, since one may sit on the number of another's target. */
static bool place_descriptors(const wrt__child *child)
{
    const int sources[] = {child->socket, child->life, child->shared, child->program};
    const int targets[] = {WRT__WORKER_IN, WRT__WORKER_LIFE, WRT__WORKER_SHARED, WRT__WORKER_SELF};
    int copies[4];

    for (uint32_t i = 0; i < 4; i++) {
        copies[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, SPARE_DESCRIPTORS);
        if (copies[i] < 0) return false;
    }
    for (uint32_t i = 0; i < 4; i++) {
        const int flags = targets[i] == WRT__WORKER_SELF ? O_CLOEXEC : 0;
        if (dup3(copies[i], targets[i], flags) < 0) return false;
    }
    return dup3(copies[0], WRT__WORKER_OUT, 0) >= 0;
}

static bool close_others(void)
{
    struct rlimit limit;

    if (syscall(__NR_close_range, KEPT_DESCRIPTORS, ~0U, 0) == 0) return true;
    if (errno != ENOSYS && errno != EPERM) return false;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    const rlim_t end = limit.rlim_cur < CLOSE_ONE_BY_ONE ? limit.rlim_cur : CLOSE_ONE_BY_ONE;
    for (int i = KEPT_DESCRIPTORS; i < (int)end; i++) (void)close(i);
    return true;
}

/* A hard limit that is lower already stays. */
static bool set_limit(int which, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)which, &limit) != 0) return false;
    limit.rlim_cur = limit.rlim_max = limit.rlim_max < most ? limit.rlim_max : most;
    return setrlimit((__rlimit_resource_t)which, &limit) == 0;
}

/* A second less than the hard limit, whose SIGKILL could be anybody's: SIGXCPU says what it was. */
static bool set_cpu_limit(rlim_t seconds)
{
    struct rlimit limit;

    if (!set_limit(RLIMIT_CPU, seconds + 1) || getrlimit(RLIMIT_CPU, &limit) != 0) return false;
    if (limit.rlim_cur > seconds) limit.rlim_cur = seconds;
    return setrlimit(RLIMIT_CPU, &limit) == 0;
}

static uint32_t set_limits(const wrt__child *child)
{
    uint32_t missed = 0;

    missed += !set_limit(RLIMIT_CORE, 0);
    missed += !set_limit(RLIMIT_FSIZE, 0);
    missed += !set_limit(RLIMIT_MEMLOCK, 0);
    missed += !set_limit(RLIMIT_MSGQUEUE, 0);
    missed += !set_limit(RLIMIT_NPROC, 0);
    missed += !set_limit(RLIMIT_NOFILE, KEPT_DESCRIPTORS);
    missed += !set_limit(RLIMIT_AS, child->address_bytes);
    if (child->cpu_seconds != 0) missed += !set_cpu_limit(child->cpu_seconds);
    return missed;
}

/* What Landlock's rule of a path says. */
typedef struct __attribute__((packed)) path_rule {
    uint64_t allowed;
    int32_t descriptor;
} path_rule;

/* Files in memory are not Landlock's; a program that is a file must be allowed for itself. */
static bool allow_program(int rules)
{
    const path_rule rule = {LANDLOCK_EXECUTE | LANDLOCK_READ_FILE, WRT__WORKER_SELF};

    return syscall(__NR_landlock_add_rule, rules, LANDLOCK_PATH_BENEATH, &rule, 0) == 0;
}

/* A ruleset without rules: no file, whatever the path. */
static int forbid_files(const wrt__child *child)
{
    const long version = syscall(__NR_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    if (version < 1) return errno;
    const uint64_t handled =
        landlock_files[version < LANDLOCK_FILE_VERSIONS ? version : LANDLOCK_FILE_VERSIONS - 1];
    const long rules = syscall(__NR_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0) return errno;
    const bool is_ready = !child->is_file || allow_program((int)rules);
    const int code = is_ready && syscall(__NR_landlock_restrict_self, rules, 0) == 0 ? 0 : errno;
    (void)close((int)rules);
    return code;
}

/* The kernel sends SIGKILL when the pipe's other end closes, which it does when the parent dies. */
static int hold_life_line(void)
{
    struct pollfd hung = {.fd = WRT__WORKER_LIFE};

    if (fcntl(WRT__WORKER_LIFE, F_SETOWN, (int)syscall(SYS_getpid)) != 0 ||
        fcntl(WRT__WORKER_LIFE, F_SETSIG, SIGKILL) != 0 ||
        fcntl(WRT__WORKER_LIFE, F_SETFL, O_ASYNC | O_NONBLOCK) != 0) {
        return errno;
    }
    if (poll(&hung, 1, 0) > 0) (void)kill((int)syscall(SYS_getpid), SIGKILL); /* already dead */
    return 0;
}

static int fail(wrt__child *child, enum wrt__child_step step, int code)
{
    child->failed_step = step;
    child->failed_code = code;
    return 1;
}

static bool build_walls(wrt__child *child)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return fail(child, WRT__CHILD_PRIVILEGES, errno) == 0;
    }
    if (child->landlock != WRT_SANDBOX_WALL_OFF) child->landlock_code = forbid_files(child);
    if (child->landlock_code != 0 && child->landlock == WRT_SANDBOX_WALL_REQUIRED) {
        return fail(child, WRT__CHILD_LANDLOCK, child->landlock_code) == 0;
    }
    child->limits_missed = set_limits(child); /* of descriptors, too: after what needs one */
    child->life_line_code = hold_life_line();
    return true;
}

int wrt__sandbox_child(void *context)
{
    static const char *const arguments[] = {"wrt-worker", NULL};
    static const char *const environment[] = {NULL};
    wrt__child *child = context;

    if (!place_descriptors(child)) return fail(child, WRT__CHILD_DESCRIPTORS, errno);
    if (!close_others()) return fail(child, WRT__CHILD_CLOSE, errno);
    (void)setsid(); /* the terminal's signals are for the parent alone */
    if (!build_walls(child)) return 1;
    wrt__sys_reset_signals();
    (void)syscall(SYS_execveat, WRT__WORKER_SELF, "", arguments, environment, AT_EMPTY_PATH);
    return fail(child, WRT__CHILD_EXECUTE, errno);
}
