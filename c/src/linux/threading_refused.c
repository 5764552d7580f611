/* Why Linux refused a priority or a CPU. One error number stands for several causes with different
 * remedies, so what stands behind it is looked at: the limits, the capability, and what the kernel
 * keeps of real time and of CPUs. Nothing here decides anything; a file that can't be read only
 * makes the sentence more general. */
#include "threading.h"

#include "../core/fail.h"
#include "files.h"

/* As linux/capability.h has them. */
enum { CAPABILITY_SYS_NICE = 23, CAPABILITY_VERSION_3 = 0x20080522 };

enum { NO_NUMBER = INT32_MIN };

/* ---- What this process may ---- */

static bool has_sys_nice(void)
{
    struct {
        uint32_t version;
        int32_t process;
    } header = {CAPABILITY_VERSION_3, 0};
    struct {
        uint32_t effective, permitted, inheritable;
    } words[2] = {{0}};

    if (wrt__sys_capget(&header, words) != 0) return false;
    return (words[0].effective >> CAPABILITY_SYS_NICE & 1u) != 0;
}

static uint64_t limit_of(int resource)
{
    struct rlimit limit = {0};

    (void)getrlimit((__rlimit_resource_t)resource, &limit);
    return limit.rlim_cur;
}

/* ---- Real time ---- */

typedef enum realtime_cause {
    CAUSE_RIGHT,  /* neither the limit nor the capability is there */
    CAUSE_SYSTEM, /* the kernel gives real-time threads no time at all */
    CAUSE_GROUP /* all is permitted: the group has no budget, or something else forbids the call */
} realtime_cause;

#define REALTIME_REASONS(policy)                                                                   \
    {                                                                                              \
        [CAUSE_RIGHT] = "REALTIME is " policy                                                      \
                        " {0} and was refused: RLIMIT_RTPRIO is {1} and CAP_SYS_NICE is missing; " \
                        "raise the limit (ulimit -r, LimitRTPRIO=), give CAP_SYS_NICE, or ask "    \
                        "for less",                                                                \
        [CAUSE_SYSTEM] = "REALTIME is " policy                                                     \
                         " {0} and was refused although it is permitted: the kernel gives "        \
                         "real-time threads no time, /proc/sys/kernel/sched_rt_runtime_us is "     \
                         "{1}; write 950000, its usual value, into it",                            \
        [CAUSE_GROUP] = "REALTIME is " policy                                                      \
                        " {0} and was refused although RLIMIT_RTPRIO is {1} or CAP_SYS_NICE is "   \
                        "there: the control group has no real-time budget (write one into its "    \
                        "cpu.rt_runtime_us and its ancestors', or move the process to a group "    \
                        "that has), or a seccomp filter or user namespace forbids it",             \
    }

static const char *const realtime_reasons[][3] = {
    [WRT_LINUX_REALTIME_FIFO] = REALTIME_REASONS("SCHED_FIFO"),
    [WRT_LINUX_REALTIME_ROUND_ROBIN] = REALTIME_REASONS("SCHED_RR"),
};

/* Microseconds of each period; -1 is "all of them". NO_NUMBER: the file does not say. */
static int realtime_of_system(void)
{
    char text[32];

    if (wrt__file_read(AT_FDCWD, "/proc/sys/kernel/sched_rt_runtime_us", text, sizeof text) <= 0) {
        return NO_NUMBER;
    }
    return atoi(text);
}

static realtime_cause find_realtime_cause(uint32_t priority)
{
    if (limit_of(RLIMIT_RTPRIO) < priority && !has_sys_nice()) return CAUSE_RIGHT;
    return realtime_of_system() == 0 ? CAUSE_SYSTEM : CAUSE_GROUP;
}

wrt_status wrt__linux_refuse_realtime(const char *operation, uint32_t policy, uint32_t priority,
                                      int code)
{
    const realtime_cause cause = find_realtime_cause(priority);
    const uint64_t number = cause == CAUSE_SYSTEM ? 0 : limit_of(RLIMIT_RTPRIO);

    return wrt_fail_system(WRT_ERR_PERMISSION, operation, realtime_reasons[policy][cause], code,
                           priority, number);
}

/* ---- Nice values ---- */

/* The limit counts from 19 down: it has to be 20 less the nice value. */
wrt_status wrt__linux_refuse_nice(const char *operation, int nice_value, int code)
{
    const uint64_t needed = (uint64_t)(20 - nice_value);
    const uint64_t limit = limit_of(RLIMIT_NICE);

    if (limit >= needed || has_sys_nice()) {
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "a lower nice value was refused although RLIMIT_NICE is {0}, of {1} "
                               "that are needed, or CAP_SYS_NICE is there: a seccomp filter, a "
                               "security module or a user namespace forbids it",
                               code, limit, needed);
    }
    return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                           "a lower nice value was refused: RLIMIT_NICE is {0}, {1} is needed, and "
                           "CAP_SYS_NICE is missing; raise the limit (ulimit -e, LimitNICE=), give "
                           "CAP_SYS_NICE, or ask for less",
                           code, limit, needed);
}

/* ---- CPUs ---- */

static uint64_t first_of(const cpu_set_t *cpus)
{
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, cpus)) return cpu;
    }
    return 0;
}

/* Whether a list such as "0-2,5" has a number. A list that can't be read has them all. */
static bool list_has_number(const char *path, uint64_t number)
{
    char text[WRT__TEXT_SIZE];

    if (wrt__file_read(AT_FDCWD, path, text, sizeof text) <= 0) return true;
    for (const char *rest = text; rest != NULL && *rest != '\0' && *rest != '\n';) {
        uint64_t first = 0;

        rest = wrt__read_number(rest, &first);
        uint64_t last = first;
        if (rest != NULL && *rest == '-') rest = wrt__read_number(rest + 1, &last);
        if (first <= number && number <= last) return true;
        if (rest != NULL && *rest == ',') rest++;
    }
    return false;
}

static const char *reason_for_cpu(uint64_t cpu)
{
    if (!list_has_number("/sys/devices/system/cpu/present", cpu)) {
        return "none of these CPUs is there: the first one is CPU {0}, and the system has {1}; ask "
               "for less";
    }
    if (!list_has_number("/sys/devices/system/cpu/online", cpu)) {
        return "none of these CPUs can be used: CPU {0}, the first of them, is switched off; write "
               "1 into its file `online` below /sys/devices/system/cpu";
    }
    return "none of these CPUs is there for this process: CPU {0}, the first of the system's {1}, "
           "is not in the cpuset of its control group; look at cpuset.cpus.effective (v2) or "
           "cpuset.effective_cpus (v1), widen it, or ask for a CPU within it";
}

wrt_status wrt__linux_refuse_cpus(const char *operation, const cpu_set_t *asked, int code)
{
    const uint64_t first = first_of(asked);
    const uint64_t count = (uint64_t)sysconf(_SC_NPROCESSORS_CONF);

    if (code == EINVAL) {
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation, reason_for_cpu(first), code,
                               first, count);
    }
    if (code == EPERM || code == EACCES) {
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "sched_setaffinity was refused, which a process may do to its own "
                               "threads: a seccomp filter or a security module forbids it; leave "
                               "the CPUs to the system, or allow the call there",
                               code, 0, 0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "sched_setaffinity failed", code, 0, 0);
}
