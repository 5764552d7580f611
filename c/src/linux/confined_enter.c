/* The walls of a confined process, put up from inside, each before what would forbid it. The thread
 * that started the process stands still meanwhile, and memory is shared: nothing here may take a
 * lock or allocate. */
#include "confined.h"

#include "../core/fail.h"
#include "capabilities.h"
#include "landlock.h"
#include "namespaces.h"
#include "seccomp.h"

enum { ABOVE_STANDARD = 10 };

wrt_enforcement wrt__confined_holds(const char *reason)
{
    return (wrt_enforcement){reason, WRT_ENFORCEMENT_ENFORCED, 0};
}

wrt_enforcement wrt__confined_lacks(const char *reason)
{
    return (wrt_enforcement){reason, WRT_ENFORCEMENT_ABSENT, 0};
}

static wrt_enforcement not_asked(void)
{
    return (wrt_enforcement){"not asked", WRT_ENFORCEMENT_NOT_ASKED, 0};
}

static wrt_status fail(const char *reason)
{
    const int code = errno;
    wrt_status status = WRT_ERR_SYSTEM;

    if (code == ENOENT || code == ENOTDIR) status = WRT_ERR_NOT_FOUND;
    if (code == EACCES || code == EPERM) status = WRT_ERR_PERMISSION;
    if (code == ENOMEM || code == EAGAIN) status = WRT_ERR_NO_MEMORY;
    return wrt_fail_system(status, WRT__CONFINED_START, reason, code, 0, 0);
}

/* A wall that is only preferred may be missing; the reason is said. */
static wrt_status tolerate(wrt_status status, uint32_t wall, const char *reason,
                           wrt_enforcement *report)
{
    if (status == WRT_OK || wall == WRT_CONFINED_REQUIRED) return status;
    *report = wrt__confined_lacks(reason);
    return WRT_OK;
}

/* ---- Signals and descriptors ---- */

static wrt_status take_aside(int32_t asked, int32_t *aside_out)
{
    int descriptor = asked;

    if (asked == WRT_CONFINED_NULL) descriptor = wrt__sys_open("/dev/null", O_RDWR);
    if (descriptor < 0) return fail("/dev/null can't be opened");
    *aside_out = wrt__sys_duplicate_above(descriptor, ABOVE_STANDARD);
    return *aside_out < 0 ? fail("a standard descriptor can't be passed on") : WRT_OK;
}

/* First out of the way, since one's place may be another's source. */
static wrt_status set_standard(wrt__confined_start *start)
{
    const wrt_confined_process_config *config = &start->config;
    wrt_status status = take_aside(config->standard_input, &start->standard[0]);

    if (status == WRT_OK) status = take_aside(config->standard_output, &start->standard[1]);
    if (status == WRT_OK) status = take_aside(config->standard_error, &start->standard[2]);
    for (int target = 0; status == WRT_OK && target < 3; target++) {
        if (wrt__sys_duplicate_to(start->standard[target], target) < 0) {
            status = fail("a standard descriptor can't be set");
        }
    }
    return status;
}

/* Before the limit of descriptors, below which those of the parent need not lie. */
static wrt_status close_rest(wrt__confined_start *start)
{
    if (wrt__sys_close_from(3) != 0) return fail("descriptors above 2 can't be closed");
    start->report.descriptors = wrt__confined_holds("closed, all but 0, 1 and 2");
    return WRT_OK;
}

/* ---- Control group ---- */

static wrt_status write_membership(const wrt_confined_process_config *config)
{
    const int descriptor = wrt__sys_open_at(config->cgroup, "cgroup.procs", O_WRONLY);
    if (descriptor < 0) return fail("cgroup.procs of the control group can't be opened");

    const ssize_t written = wrt__sys_write(descriptor, "0", 1);
    const int code = errno;
    (void)wrt__sys_close(descriptor);
    errno = code;
    return written == 1 ? WRT_OK
                        : fail("the control group does not take the process: it takes the right to "
                               "write cgroup.procs there and in a common ancestor (Delegate=yes)");
}

static wrt_status join_cgroup(wrt__confined_start *start)
{
    const uint32_t wall = start->config.cgroup_wall;

    start->report.cgroup = not_asked();
    if (wall == WRT_CONFINED_OFF) return WRT_OK;
    start->report.cgroup = wrt__confined_holds("a member from its first instruction on");
    return tolerate(write_membership(&start->config), wall,
                    "the control group does not take the process", &start->report.cgroup);
}

/* ---- Namespaces ---- */

/* The old one would show the processes of outside. */
static void mount_processes(wrt__confined_start *start)
{
    const uint32_t both = WRT_NAMESPACE_MOUNT | WRT_NAMESPACE_PID;

    if ((start->namespaces & both) != both) return;
    if (wrt__sys_mount("proc", "/proc", "proc", WRT__MOUNT_NO_RIGHTS) == 0) return;
    if (errno == ENOENT) return; /* a root without /proc shows nothing */
    start->report.namespaces =
        (wrt_enforcement){"/proc can't be mounted anew and shows the processes of outside, as far "
                          "as Landlock lets it be read",
                          WRT_ENFORCEMENT_PARTIAL, 0};
}

static wrt_status change_root(wrt__confined_start *start)
{
    start->report.root = not_asked();
    if (start->config.root == NULL) return WRT_OK;
    start->report.root = wrt__confined_holds("pivot_root; the old one is gone");
    return wrt__namespace_pivot(WRT__CONFINED_START, start->config.root);
}

static wrt_status enter_namespaces(wrt__confined_start *start)
{
    const uint32_t in = start->namespaces;
    wrt_status status = WRT_OK;

    if (in != 0) start->report.namespaces = wrt__confined_holds("new ones");
    if ((in & WRT_NAMESPACE_USER) != 0) {
        status = wrt__namespace_map_users(WRT__CONFINED_START, start->user, start->group);
    }
    if (status == WRT_OK && (in & WRT_NAMESPACE_MOUNT) != 0) {
        status = wrt__namespace_private_mounts(WRT__CONFINED_START);
    }
    if (status == WRT_OK && (in & WRT_NAMESPACE_NETWORK) != 0) {
        status = wrt__namespace_loopback(WRT__CONFINED_START);
    }
    start->failed_in_namespaces = status != WRT_OK;
    if (status != WRT_OK) return status;
    status = change_root(start);
    if (status == WRT_OK) mount_processes(start);
    return status;
}

static wrt_status change_folder(wrt__confined_start *start)
{
    const char *folder = start->config.working_directory;

    if (wrt__sys_chdir(folder != NULL ? folder : "/") == 0) return WRT_OK;
    return fail("the working directory can't be entered");
}

/* ---- Limits and rights ---- */

static wrt_status set_limits(wrt__confined_start *start)
{
    const wrt_confined_process_config *config = &start->config;
    const uint64_t none = RLIM_INFINITY;
    const struct {
        int resource;
        uint64_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_NOFILE, config->open_files},
        {RLIMIT_AS, config->memory_bytes != 0 ? config->memory_bytes : none},
        {RLIMIT_FSIZE, config->file_bytes != 0 ? config->file_bytes : none},
        {RLIMIT_CPU, config->cpu_seconds != 0 ? config->cpu_seconds : none},
        {RLIMIT_NPROC, config->processes != 0 ? config->processes : none},
    };

    for (uint32_t index = 0; index < sizeof limits / sizeof limits[0]; index++) {
        if (wrt__sys_limit(limits[index].resource, limits[index].value) != 0) {
            return fail("a limit can't be set (setrlimit)");
        }
    }
    start->report.limits = wrt__confined_holds("setrlimit, soft and hard");
    return WRT_OK;
}

static wrt_status change_user(wrt__confined_start *start)
{
    if (!start->config.has_user) return WRT_OK;
    return wrt__capabilities_change_user(WRT__CONFINED_START, start->config.user_id,
                                         start->config.group_id);
}

static wrt_status drop_capabilities(wrt__confined_start *start)
{
    const wrt_confined_process_config *config = &start->config;
    const uint32_t options =
        config->kept_capabilities != 0 ? (uint32_t)WRT_CAPABILITIES_AMBIENT : 0;
    wrt_capabilities_report report = {{0}, {0}, {0}, {0}};

    start->report.capabilities = not_asked();
    if (config->capability_wall == WRT_CONFINED_OFF) return WRT_OK;
    start->report.capabilities =
        wrt__confined_holds("none but what is kept, in no set; exec gives none");
    return tolerate(
        wrt__capabilities_drop(WRT__CONFINED_START, config->kept_capabilities, options, &report),
        config->capability_wall, "a call that drops capabilities is refused",
        &start->report.capabilities);
}

static wrt_status refuse_privileges(wrt__confined_start *start)
{
    if (start->config.end_with_thread && wrt__sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0) != 0) {
        return fail("prctl(PR_SET_PDEATHSIG) failed");
    }
    if (wrt__sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) != 0) {
        return fail("prctl(PR_SET_NO_NEW_PRIVS) failed");
    }
    start->report.privileges = wrt__confined_holds("PR_SET_NO_NEW_PRIVS");
    return WRT_OK;
}

static wrt_status set_selinux(wrt__confined_start *start)
{
    const uint32_t wall = start->config.selinux_wall;

    start->report.selinux = not_asked();
    if (wall == WRT_CONFINED_OFF) return WRT_OK;
    start->report.selinux = wrt__confined_holds("in the context that was asked for");
    return tolerate(
        wrt__selinux_start(WRT__CONFINED_START, start->config.selinux_context, start->has_selinux),
        wall, "SELinux is not there, or its policy refuses the context", &start->report.selinux);
}

/* ---- Files ---- */

static uint32_t add_rule(wrt_landlock_rule *rules, uint32_t count, const char *path,
                         uint32_t access_bits)
{
    rules[count] = (wrt_landlock_rule){path, access_bits, 0};
    return count + 1;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Most systems have /lib and its like as links into /usr, which the rule for that covers. */
static bool leads_into_usr(const char *path)
{
    char target[8];
    const ssize_t length = readlink(path, target, sizeof target);

    if (length < 3) return false;
    return strncmp(target, "usr", 3) == 0 || (length > 3 && strncmp(target, "/usr", 4) == 0);
}

static uint32_t add_system(wrt_landlock_rule *rules, uint32_t count)
{
    static const char *const folders[] = {"/usr", "/lib", "/lib64", "/bin", "/sbin"};
    static const char *const others[] = {"/etc/ld.so.cache", "/dev/null"};

    for (uint32_t index = 0; index < 5; index++) {
        if (leads_into_usr(folders[index]) || !is_there(folders[index])) continue;
        count = add_rule(rules, count, folders[index], WRT_LANDLOCK_READ | WRT_LANDLOCK_EXECUTE);
    }
    for (uint32_t index = 0; index < 2; index++) {
        if (is_there(others[index]))
            count = add_rule(rules, count, others[index], WRT_LANDLOCK_READ);
    }
    return count;
}

static wrt_status restrict_to(wrt__confined_start *start)
{
    const wrt_confined_process_config *config = &start->config;
    wrt_landlock_rule rules[WRT_CONFINED_FILE_MAX + 8];
    wrt_landlock_config files;
    wrt_landlock_report report;
    int ruleset = -1;

    memset(&files, 0, sizeof files);
    for (uint32_t index = 0; index < config->file_count; index++)
        rules[index] = config->files[index];
    files.struct_size = sizeof files;
    files.rules = rules;
    files.rule_count = add_rule(rules, config->file_count, config->executable,
                                WRT_LANDLOCK_READ | WRT_LANDLOCK_EXECUTE);
    if (config->system_files) files.rule_count = add_system(rules, files.rule_count);
    wrt_status status = wrt__landlock_prepare(WRT__CONFINED_START, &files, &ruleset, &report);
    if (status != WRT_OK) return status;
    status = wrt__landlock_enter(WRT__CONFINED_START, ruleset);
    start->report.files = report.files;
    return status;
}

/* Only a kernel without it is tolerated: a path that is not there is a mistake of the caller. */
static wrt_status restrict_files(wrt__confined_start *start)
{
    const uint32_t wall = start->config.file_wall;

    start->report.files = not_asked();
    if (wall == WRT_CONFINED_OFF) return WRT_OK;
    const wrt_status status = restrict_to(start);
    if (status != WRT_ERR_UNSUPPORTED) return status;
    return tolerate(status, wall, wrt_error_last()->reason, &start->report.files);
}

/* ---- Filter and program ---- */

static wrt_status load_filter(wrt__confined_start *start)
{
    const wrt_confined_process_config *config = &start->config;

    start->report.filter = not_asked();
    if (config->filter_wall == WRT_CONFINED_OFF) return WRT_OK;
    start->report.filter = wrt__confined_holds(
        config->filter == start->program ? "the calls of the profile strict" : "its own filter");
    return tolerate(wrt__seccomp_enter(config->filter, config->filter_count, 0),
                    config->filter_wall, "seccomp is missing, or another filter refuses it",
                    &start->report.filter);
}

WRT__LEAVES static wrt_status execute(const wrt__confined_start *start)
{
    static const char *const nothing[] = {NULL};
    const wrt_confined_process_config *config = &start->config;
    const char *const alone[] = {config->executable, NULL};

    (void)wrt__sys_execute(config->executable,
                           config->arguments != NULL ? config->arguments : alone,
                           config->environment != NULL ? config->environment : nothing);
    if (errno == EACCES || errno == EPERM) {
        return fail("the program is not executable, or file rules or the filter forbid it; its "
                    "loader and libraries have to be allowed too (system_files)");
    }
    return fail("the program, or the loader that it names, can't be executed");
}

WRT__LEAVES void wrt__confined_enter(wrt__confined_start *start)
{
    static wrt_status (*const steps[])(wrt__confined_start *) = {
        set_standard,      join_cgroup, enter_namespaces, change_folder,
        close_rest,        set_limits,  change_user,      drop_capabilities,
        refuse_privileges, set_selinux, restrict_files,   load_filter};
    wrt_status status = WRT_OK;

    wrt__sys_reset_signals();
    for (uint32_t step = 0; status == WRT_OK && step < sizeof steps / sizeof steps[0]; step++) {
        status = steps[step](start);
    }
    start->status = status == WRT_OK ? execute(start) : status;
}
