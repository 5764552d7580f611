/* Walls. What can't be taken back is put up in a child, and leant against there. */
#include "doctor.h"

#include "../core/fail.h"
#include "wrt_platform/linux/capabilities.h"
#include "wrt_platform/linux/confined_process.h"
#include "wrt_platform/linux/namespaces.h"
#include "wrt_platform/linux/sandbox.h"
#include "wrt_platform/linux/selinux.h"

/* ---- Capabilities ---- */

typedef struct dropping {
    wrt_status status;
    wrt_capabilities_report report;
    int refused_with; /* error number of a call that takes a capability; 0: it was let through */
} dropping;

static int drop_all(void *context)
{
    dropping *const what = context;

    what->status = wrt_capabilities_drop_all_except(0, 0, &what->report);
    if (what->status != WRT_OK) return 1;
    if (syscall(SYS_chroot, "/") != 0) what->refused_with = errno;
    return 0;
}

static wrt_status try_capabilities(wrt_doctor_row *row)
{
    dropping what = {0};
    wrt__child_end end;

    wrt_status status = wrt__in_child(drop_all, &what, &end);
    if (status == WRT_OK) status = what.status;
    if (status != WRT_OK) return status;
    if (what.refused_with != EPERM) {
        return wrt__found(row, WRT_DOCTOR_ABSENT,
                          "a child without capabilities was let through chroot");
    }
    if (what.report.bounding.state != WRT_ENFORCEMENT_ENFORCED) {
        wrt__remedy(row, "nothing, as long as PR_SET_NO_NEW_PRIVS is set too, which every sandbox "
                         "does; else start it with CAP_SETPCAP");
        return wrt__found_word(row, WRT_DOCTOR_PARTIAL,
                               "a child let go of all; the bounding set: {w}",
                               what.report.bounding.reason);
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a child let go of all, and was refused chroot");
}

/* ---- Namespaces ---- */

static bool is_administrator(void)
{
    wrt_capabilities has;

    return wrt_capabilities_current(&has) == WRT_OK &&
           (has.effective >> WRT_CAPABILITY_SYS_ADMIN & 1) != 0;
}

/* An ordinary user gets the others through a user namespace alone. */
static wrt_status try_namespace(wrt_doctor_row *row, uint32_t kind)
{
    const uint32_t namespaces = is_administrator() ? kind : kind | WRT_NAMESPACE_USER;
    wrt_enforcement possible;

    const wrt_status status = wrt_namespace_probe(namespaces, &possible);
    if (status != WRT_OK) return status;
    if (possible.state == WRT_ENFORCEMENT_ENFORCED) {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a child moved into one, and used it");
    }
    wrt__remedy(row, possible.reason);
    return wrt__found(row, WRT_DOCTOR_ABSENT, "a child was refused it, or refused to use it");
}

static wrt_status try_users(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_USER);
}

static wrt_status try_mounts(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_MOUNT);
}

static wrt_status try_processes(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_PID);
}

static wrt_status try_network(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_NETWORK);
}

static wrt_status try_ipc(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_IPC);
}

static wrt_status try_host_name(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_UTS);
}

static wrt_status try_groups(wrt_doctor_row *row)
{
    return try_namespace(row, WRT_NAMESPACE_CGROUP);
}

/* ---- Filters ---- */

enum { PROGRAM_MAX = 64 };

typedef struct filtering {
    wrt_seccomp_instruction program[PROGRAM_MAX];
    uint32_t count;
    uint32_t options;
    wrt_status status;
    int signal_number; /* that the forbidden call got; 0: none */
    int call;          /* the call that it was about */
} filtering;

static _Thread_local filtering *under_way;

/* SIGSYS names its call in a place of its own; the C library's headers call it si_syscall. */
static void note_call(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    under_way->signal_number = signal_number;
    under_way->call = info->si_syscall;
    syscall(SYS_exit_group, 0);
}

static int filter_itself(void *context)
{
    filtering *const what = context;
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = note_call;
    action.sa_flags = SA_SIGINFO;
    under_way = what;
    if (sigaction(SIGSYS, &action, NULL) != 0) return 1;
    what->status = wrt_seccomp_load(what->program, what->count, what->options);
    if (what->status == WRT_OK) syscall(SYS_getppid);
    return 0;
}

/* One call is trapped, so that the child lives to tell which. */
static wrt_status compile_trap(filtering *what)
{
    const wrt_seccomp_rule rule = {.call = SYS_getppid, .action = WRT_SECCOMP_TRAP};
    const wrt_seccomp_config config = {.struct_size = sizeof config,
                                       .default_action = WRT_SECCOMP_ALLOW,
                                       .unknown_action = WRT_SECCOMP_ALLOW,
                                       .rule_count = 1,
                                       .rules = &rule};
    wrt_seccomp_report report;

    const wrt_status status = wrt_seccomp_compile(&config, what->program, PROGRAM_MAX, &report);
    what->count = report.instruction_count;
    return status;
}

static wrt_status try_filter_with(wrt_doctor_row *row, uint32_t options)
{
    filtering what = {.options = options};
    wrt__child_end end;

    wrt_status status = compile_trap(&what);
    if (status == WRT_OK) status = wrt__in_child(filter_itself, &what, &end);
    if (status == WRT_OK) status = what.status;
    if (status != WRT_OK) return status;
    if (what.signal_number != SIGSYS || what.call != SYS_getppid) {
        return wrt__found(row, WRT_DOCTOR_ABSENT,
                          "a child loaded a filter, and the call that it forbids went through");
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "a child loaded a filter, and got SIGSYS for the call that it forbids");
}

static wrt_status try_filter(wrt_doctor_row *row)
{
    return try_filter_with(row, 0);
}

static wrt_status try_filter_of_threads(wrt_doctor_row *row)
{
    return try_filter_with(row, WRT_SECCOMP_ALL_THREADS);
}

static wrt_status try_logging(wrt_doctor_row *row)
{
    wrt_enforcement logging;

    const wrt_status status = wrt_seccomp_logging(&logging);
    if (status != WRT_OK) return status;
    return wrt__found_word(row,
                           logging.state == WRT_ENFORCEMENT_ENFORCED  ? WRT_DOCTOR_AVAILABLE
                           : logging.state == WRT_ENFORCEMENT_PARTIAL ? WRT_DOCTOR_PARTIAL
                                                                      : WRT_DOCTOR_ABSENT,
                           "{w}", logging.reason);
}

/* ---- Files ---- */

typedef struct restricting {
    wrt_status status;
    wrt_landlock_report report;
    int refused_with;
} restricting;

static int restrict_itself(void *context)
{
    restricting *const what = context;
    const wrt_landlock_config config = {
        .struct_size = sizeof config, .network = true, .scope = true};

    what->status = wrt_landlock_restrict(&config, &what->report);
    if (what->status != WRT_OK) return 1;
    const int descriptor = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) what->refused_with = errno;
    return 0;
}

static wrt_status try_landlock(wrt_doctor_row *row)
{
    restricting what = {0};
    wrt__child_end end;

    wrt_status status = wrt__in_child(restrict_itself, &what, &end);
    if (status == WRT_OK) status = what.status;
    if (status != WRT_OK) return status;
    if (what.refused_with != EACCES) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "a child gave up all files, and opened one");
    }
    if (what.report.network.state == WRT_ENFORCEMENT_ABSENT ||
        what.report.scope.state == WRT_ENFORCEMENT_ABSENT) {
        return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL,
                                  "version {0}: a child gave up all files; TCP takes version 4, "
                                  "signals version 6",
                                  what.report.abi, 0);
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                              "version {0}: a child gave up files, TCP and signals",
                              what.report.abi, 0);
}

static wrt_status try_selinux(wrt_doctor_row *row)
{
    bool is_enabled = false, is_enforcing = false;
    char context[WRT_DOCTOR_TEXT_SIZE];

    wrt_status status = wrt_selinux_is_enabled(&is_enabled);
    if (status != WRT_OK) return status;
    if (!is_enabled) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "not there, or no policy is loaded");
    }
    status = wrt_selinux_is_enforcing(&is_enforcing);
    if (status == WRT_OK) status = wrt_selinux_context(context, sizeof context);
    if (status != WRT_OK) return status;
    if (is_enforcing) return wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "enforcing; {w}", context);
    wrt__remedy(row, "setenforce 1");
    return wrt__found_word(row, WRT_DOCTOR_PARTIAL,
                           "permissive: it notes, and refuses nothing; {w}", context);
}

/* ---- Sandboxes ---- */

static wrt_status try_sealed(wrt_doctor_row *row)
{
    const wrt_sandbox_config config = {
        .struct_size = sizeof config, .maximum_pages = 1, .maximum_module_bytes = 1};
    wrt_sandbox sandbox = {0};

    const wrt_status status = wrt_sandbox_init(&sandbox, &config);
    if (status != WRT_OK) return status;
    (void)wrt__found(row, WRT_DOCTOR_AVAILABLE,
                     "a worker started from memory and sealed itself to four system calls");
    return wrt_sandbox_deinit(&sandbox);
}

static wrt_status run_strict(wrt_doctor_row *row, wrt_confined_process *process)
{
    enum { FIVE_SECONDS_NS = 5 };
    wrt_confined_report report;
    wrt_confined_result result = {0, 0};

    wrt_status status = wrt_confined_process_query(process, &report);
    if (status == WRT_OK) {
        status =
            wrt_confined_process_wait(process, FIVE_SECONDS_NS * UINT64_C(1000000000), &result);
    }
    if (status != WRT_OK) return status;
    if (result.end != WRT_CONFINED_EXITED || result.code != 0) {
        return wrt__found_numbers(row, WRT_DOCTOR_ABSENT,
                                  "the program `true` ended with {1} (end {0})", result.end,
                                  (uint64_t)result.code);
    }
    const wrt_enforcement *const walls[] = {&report.namespaces, &report.capabilities, &report.files,
                                            &report.filter};
    for (uint32_t i = 0; i < sizeof walls / sizeof *walls; i++) {
        if (walls[i]->state == WRT_ENFORCEMENT_ENFORCED) continue;
        return wrt__found_word(row, WRT_DOCTOR_PARTIAL, "a program ran; of its walls: {w}",
                               walls[i]->reason);
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "a program ran behind namespaces, capabilities, Landlock and a filter");
}

static wrt_status try_strict(wrt_doctor_row *row)
{
    static const char *const programs[] = {"/bin/true", "/usr/bin/true"};
    wrt_confined_process process = {0};
    wrt_status status = WRT_ERR_NOT_FOUND;

    for (uint32_t i = 0; i < 2 && status == WRT_ERR_NOT_FOUND; i++) {
        const wrt_confined_process_config config = {.struct_size = sizeof config,
                                                    .executable = programs[i],
                                                    .system_files = true,
                                                    .standard_input = WRT_CONFINED_NULL,
                                                    .standard_output = WRT_CONFINED_NULL,
                                                    .standard_error = WRT_CONFINED_NULL,
                                                    .end_with_thread = true};
        status = wrt_confined_process_start(&process, &config);
    }
    if (status != WRT_OK) return status;
    status = run_strict(row, &process);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_confined_process_deinit(&process);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static const wrt__attempt attempts[] = {
    {"security.capabilities", "giving up capabilities", "SC-1", try_capabilities,
     "let the container's filter pass capset and prctl"},
    {"security.user_namespace", "namespace of users", "SC-2", try_users, ""},
    {"security.mount_namespace", "namespace of mounts", "SC-2", try_mounts, ""},
    {"security.pid_namespace", "namespace of processes", "SC-2", try_processes, ""},
    {"security.network_namespace", "namespace of networks", "SC-2", try_network, ""},
    {"security.ipc_namespace", "namespace of System V objects", "SC-2", try_ipc, ""},
    {"security.uts_namespace", "namespace of host names", "SC-2", try_host_name, ""},
    {"security.cgroup_namespace", "namespace of control groups", "SC-2", try_groups, ""},
    {"security.seccomp", "filters of system calls", "SC-3", try_filter,
     "a kernel with CONFIG_SECCOMP_FILTER, and a container that lets seccomp and prctl pass"},
    {"security.seccomp_threads", "filters on all threads", "SC-3", try_filter_of_threads,
     "Linux 3.17, and a container that lets seccomp pass"},
    {"security.seccomp_log", "log of what filters refuse", "SC-3", try_logging,
     "as root: sysctl kernel.seccomp.actions_logged=\"kill_process kill_thread trap errno\""},
    {"security.landlock", "Landlock", "SC-4", try_landlock,
     "Linux 5.13 (6.7 for TCP, 6.12 for signals), landlock in lsm= at boot, and a container that "
     "lets landlock_restrict_self pass"},
    {"security.selinux", "SELinux", "SC-4", try_selinux,
     "a distribution with a policy, and selinux=1 in lsm= at boot; nothing here depends on it"},
    {"security.sealed", "sealed sandbox", "SC-5", try_sealed,
     "a kernel with seccomp filters; where vm.memfd_noexec is 2, a file of the program as "
     "program_path"},
    {"security.strict", "strict sandbox", "SC-5", try_strict,
     "what the rows of namespaces, Landlock and filters say"},
};

const wrt__topic wrt__topic_security = {attempts, sizeof attempts / sizeof *attempts};
