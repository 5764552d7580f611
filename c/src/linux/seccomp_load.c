/* Loading a filter, which nothing takes back. */
#include "sys_security.h"

#include "../core/fail.h"
#include "seccomp.h"

enum {
    MODE_FILTER = 1,      /* SECCOMP_SET_MODE_FILTER */
    FLAG_ALL_THREADS = 1, /* SECCOMP_FILTER_FLAG_TSYNC */
    FLAG_LOG = 2          /* SECCOMP_FILTER_FLAG_LOG */
};

/* struct sock_fprog */
typedef struct program_of {
    unsigned short count;
    const wrt_seccomp_instruction *instructions;
} program_of;

static wrt_status check_threads(uint32_t options)
{
    if ((options & WRT_SECCOMP_ALL_THREADS) != 0) return WRT_OK;
    return wrt__refuse_threads("wrt_seccomp_load",
                               "the process has {0} threads (0: the system does not tell), and the "
                               "others would go on without the filter: ask for ALL_THREADS, or "
                               "start a confined process");
}

static wrt_status fail_for_load(int code)
{
    switch (code) {
    case ENOSYS:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, "wrt_seccomp_load",
                               "seccomp: this kernel is built without it, or a container's own "
                               "filter hides it",
                               code, 0, 0);
    case EPERM:
    case EACCES:
        return wrt_fail_system(WRT_ERR_PERMISSION, "wrt_seccomp_load",
                               "seccomp was refused; PR_SET_NO_NEW_PRIVS is set, so another "
                               "filter refuses it",
                               code, 0, 0);
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, "wrt_seccomp_load",
                               "seccomp: all filters of a thread together have more than 32768 "
                               "instructions, or memory is short",
                               code, 0, 0);
    case EINVAL:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, "wrt_seccomp_load",
                               "seccomp does not take this program", code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, "wrt_seccomp_load", "seccomp failed", code, 0, 0);
    }
}

static unsigned flags_of(uint32_t options)
{
    return ((options & WRT_SECCOMP_ALL_THREADS) != 0 ? (unsigned)FLAG_ALL_THREADS : 0U) |
           ((options & WRT_SECCOMP_LOG_FAILURES) != 0 ? (unsigned)FLAG_LOG : 0U);
}

static wrt_status check_load(const wrt_seccomp_instruction *program, uint32_t count,
                             uint32_t options)
{
    if (program == NULL || count == 0 || count > WRT_SECCOMP_PROGRAM_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, "wrt_seccomp_load",
                               "a program has 1 to 4096 instructions, not {0}", count, 0);
    }
    if ((options & ~(uint32_t)(WRT_SECCOMP_ALL_THREADS | WRT_SECCOMP_LOG_FAILURES)) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, "wrt_seccomp_load",
                        "options has bits that are not in wrt_seccomp_option");
    }
    return check_threads(options);
}

wrt_status wrt__seccomp_enter(const wrt_seccomp_instruction *program, uint32_t count,
                              uint32_t options)
{
    const program_of of = {(unsigned short)count, program};

    if (wrt__sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, "wrt_seccomp_load",
                               "prctl(PR_SET_NO_NEW_PRIVS) failed", errno, 0, 0);
    }
    const int result = wrt__sys_seccomp(MODE_FILTER, flags_of(options), &of);
    if (result == 0) return WRT_OK;
    if (result < 0) return fail_for_load(errno);
    return wrt_fail_detail(WRT_ERR_STATE, "wrt_seccomp_load",
                           "thread {0} has filters that this one does not have, so the filter "
                           "was loaded on none",
                           (uint64_t)result, 0);
}

wrt_status wrt_seccomp_load(const wrt_seccomp_instruction *program, uint32_t count,
                            uint32_t options)
{
    const wrt_status status = check_load(program, count, options);

    return status == WRT_OK ? wrt__seccomp_enter(program, count, options) : status;
}

wrt_status wrt_seccomp_logging(wrt_enforcement *logging_out)
{
    char text[256];

    if (logging_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "logging_out is NULL");
    }
    const ssize_t length =
        wrt__read_text("/proc/sys/kernel/seccomp/actions_logged", text, sizeof text);
    if (length < 0) {
        *logging_out = (wrt_enforcement){
            "no /proc/sys/kernel/seccomp/actions_logged: nothing is logged, or /proc is hidden",
            WRT_ENFORCEMENT_ABSENT, 0};
    } else if (strstr(text, "kill_process") == NULL) {
        *logging_out =
            (wrt_enforcement){"kernel.seccomp.actions_logged does not have kill_process: add it",
                              WRT_ENFORCEMENT_ABSENT, 0};
    } else if (strstr(text, "errno") == NULL) {
        *logging_out =
            (wrt_enforcement){"calls that get an error number are not logged: add errno to "
                              "kernel.seccomp.actions_logged",
                              WRT_ENFORCEMENT_PARTIAL, 0};
    } else {
        *logging_out = (wrt_enforcement){"to the audit log, or dmesg", WRT_ENFORCEMENT_ENFORCED, 0};
    }
    return WRT_OK;
}
