/* Capabilities by the kernel's own calls: a library between would pull in threads of its own. The
 * order is what counts: what takes SETPCAP comes before SETPCAP goes. */
#include "sys_confined.h"

#include "wrt_platform/linux/capabilities.h"

#include "../core/fail.h"
#include "capabilities.h"

enum {
    VERSION_3 = 0x20080522,
    LAST_KNOWN = WRT_CAPABILITY_CHECKPOINT_RESTORE,
    /* NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE come with their locks one bit above */
    SECURE_NOROOT = 0x03,
    SECURE_NO_FIXUP = 0x0c,
    SECURE_KEEP_LOCKED = 0x20, /* KEEP_CAPS stays off */
    SECURE_NO_AMBIENT = 0xc0
};

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT           47
#define PR_CAP_AMBIENT_IS_SET    1
#define PR_CAP_AMBIENT_RAISE     2
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

/* struct __user_cap_header_struct and __user_cap_data_struct */
typedef struct cap_header {
    uint32_t version;
    int32_t thread;
} cap_header;

typedef struct cap_words {
    uint32_t effective;
    uint32_t permitted;
    uint32_t inheritable;
} cap_words;

static const char *const names[] = {"CHOWN",
                                    "DAC_OVERRIDE",
                                    "DAC_READ_SEARCH",
                                    "FOWNER",
                                    "FSETID",
                                    "KILL",
                                    "SETGID",
                                    "SETUID",
                                    "SETPCAP",
                                    "LINUX_IMMUTABLE",
                                    "NET_BIND_SERVICE",
                                    "NET_BROADCAST",
                                    "NET_ADMIN",
                                    "NET_RAW",
                                    "IPC_LOCK",
                                    "IPC_OWNER",
                                    "SYS_MODULE",
                                    "SYS_RAWIO",
                                    "SYS_CHROOT",
                                    "SYS_PTRACE",
                                    "SYS_PACCT",
                                    "SYS_ADMIN",
                                    "SYS_BOOT",
                                    "SYS_NICE",
                                    "SYS_RESOURCE",
                                    "SYS_TIME",
                                    "SYS_TTY_CONFIG",
                                    "MKNOD",
                                    "LEASE",
                                    "AUDIT_WRITE",
                                    "AUDIT_CONTROL",
                                    "SETFCAP",
                                    "MAC_OVERRIDE",
                                    "MAC_ADMIN",
                                    "SYSLOG",
                                    "WAKE_ALARM",
                                    "BLOCK_SUSPEND",
                                    "AUDIT_READ",
                                    "PERFMON",
                                    "BPF",
                                    "CHECKPOINT_RESTORE"};

const char *wrt_capability_name(uint32_t capability)
{
    return capability <= LAST_KNOWN ? names[capability] : NULL;
}

static wrt_status fail_for(const char *operation, const char *reason, uint64_t detail)
{
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, reason, errno, detail, 0);
}

/* ---- Reading ---- */

static int read_sets(wrt_capabilities *to)
{
    cap_header header = {VERSION_3, 0};
    cap_words words[2] = {{0}};

    if (wrt__sys_capget(&header, words) != 0) return -1;
    to->effective = words[0].effective | (uint64_t)words[1].effective << 32;
    to->permitted = words[0].permitted | (uint64_t)words[1].permitted << 32;
    to->inheritable = words[0].inheritable | (uint64_t)words[1].inheritable << 32;
    return 0;
}

static int write_sets(uint64_t kept, uint64_t inheritable)
{
    cap_header header = {VERSION_3, 0};
    const cap_words words[2] = {
        {(uint32_t)kept, (uint32_t)kept, (uint32_t)inheritable},
        {(uint32_t)(kept >> 32), (uint32_t)(kept >> 32), (uint32_t)(inheritable >> 32)}};

    return wrt__sys_capset(&header, words);
}

/* Kernels differ in how many there are; beyond the last one the answer is EINVAL. */
static int read_bounds(wrt_capabilities *to)
{
    for (uint32_t one = 0; one < 64; one++) {
        const int bounded = wrt__sys_prctl(PR_CAPBSET_READ, one, 0);

        if (bounded < 0) return errno == EINVAL && one > 0 ? 0 : -1;
        to->last = one;
        to->bounding |= (uint64_t)bounded << one;
        const int ambient = wrt__sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, one);
        if (ambient > 0) to->ambient |= (uint64_t)1 << one; /* -1 before Linux 4.3: none is */
    }
    return 0;
}

wrt_status wrt_capabilities_current(wrt_capabilities *capabilities_out)
{
    wrt_capabilities found = {0};

    if (capabilities_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "capabilities_out is NULL");
    }
    if (read_sets(&found) != 0) return fail_for(__func__, "capget failed", 0);
    if (read_bounds(&found) != 0) return fail_for(__func__, "prctl(PR_CAPBSET_READ) failed", 0);
    const int securebits = wrt__sys_prctl(PR_GET_SECUREBITS, 0, 0);
    if (securebits < 0) return fail_for(__func__, "prctl(PR_GET_SECUREBITS) failed", 0);
    found.securebits = (uint32_t)securebits;
    *capabilities_out = found;
    return WRT_OK;
}

/* ---- Dropping ---- */

static wrt_enforcement enforced(const char *reason)
{
    return (wrt_enforcement){reason, WRT_ENFORCEMENT_ENFORCED, 0};
}

static wrt_status drop_bounds(const char *operation, const wrt_capabilities *had, uint64_t kept,
                              wrt_enforcement *report)
{
    if ((had->effective >> WRT_CAPABILITY_SETPCAP & 1) == 0) {
        *report = (wrt_enforcement){"the bounding set stays, since SETPCAP is missing: set "
                                    "PR_SET_NO_NEW_PRIVS, and no exec gives anything",
                                    WRT_ENFORCEMENT_PARTIAL, 0};
        return WRT_OK;
    }
    for (uint32_t one = 0; one <= had->last; one++) {
        if ((kept >> one & 1) != 0 || (had->bounding >> one & 1) == 0) continue;
        if (wrt__sys_prctl(PR_CAPBSET_DROP, one, 0) != 0) {
            return fail_for(operation, "prctl(PR_CAPBSET_DROP) of capability {0} failed", one);
        }
    }
    *report = enforced("out of the bounding set");
    return WRT_OK;
}

static wrt_status set_securebits(const char *operation, const wrt_capabilities *had,
                                 uint32_t options, wrt_enforcement *report)
{
    const bool ambient = (options & WRT_CAPABILITIES_AMBIENT) != 0;
    const uint32_t wanted = (uint32_t)SECURE_NOROOT | SECURE_NO_FIXUP | SECURE_KEEP_LOCKED |
                            (ambient ? 0U : (uint32_t)SECURE_NO_AMBIENT);

    if ((had->effective >> WRT_CAPABILITY_SETPCAP & 1) == 0) {
        *report = (wrt_enforcement){"user 0 would get capabilities by exec, and SETPCAP to change "
                                    "that is missing: set PR_SET_NO_NEW_PRIVS",
                                    WRT_ENFORCEMENT_PARTIAL, 0};
        return WRT_OK;
    }
    if (wrt__sys_prctl(PR_SET_SECUREBITS, had->securebits | wanted, 0) != 0) {
        return fail_for(operation, "prctl(PR_SET_SECUREBITS) failed", 0);
    }
    *report = enforced("user 0 gives no capability any more, locked");
    return WRT_OK;
}

static wrt_status clear_ambient(const char *operation, wrt_enforcement *report)
{
    if (wrt__sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0) != 0 && errno != EINVAL) {
        return fail_for(operation, "prctl(PR_CAP_AMBIENT_CLEAR_ALL) failed", 0);
    }
    *report = enforced("no capability passes exec");
    return WRT_OK;
}

static wrt_status raise_ambient(const char *operation, uint64_t kept, wrt_enforcement *report)
{
    for (uint32_t one = 0; one <= LAST_KNOWN; one++) {
        if ((kept >> one & 1) == 0) continue;
        if (wrt__sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, one) != 0) {
            return fail_for(operation, "prctl(PR_CAP_AMBIENT_RAISE) of capability {0} failed", one);
        }
    }
    *report = enforced("what is kept passes exec, and nothing else");
    return WRT_OK;
}

/* The sets go last but for raising, which needs the inheritable ones. */
static wrt_status drop_sets(const char *operation, uint64_t kept, uint32_t options,
                            wrt_capabilities_report *report)
{
    const bool ambient = (options & WRT_CAPABILITIES_AMBIENT) != 0;

    if (write_sets(kept, ambient ? kept : 0) != 0) return fail_for(operation, "capset failed", 0);
    report->sets = enforced("out of the effective, permitted and inheritable set");
    return ambient ? raise_ambient(operation, kept, &report->ambient) : WRT_OK;
}

wrt_status wrt__capabilities_drop(const char *operation, uint64_t kept, uint32_t options,
                                  wrt_capabilities_report *report)
{
    wrt_capabilities had;
    wrt_status status = wrt_capabilities_current(&had);

    if (status == WRT_OK) status = drop_bounds(operation, &had, kept, &report->bounding);
    if (status == WRT_OK) status = clear_ambient(operation, &report->ambient);
    if (status == WRT_OK) status = set_securebits(operation, &had, options, &report->securebits);
    return status == WRT_OK ? drop_sets(operation, kept & had.permitted, options, report) : status;
}

wrt_status wrt__capabilities_change_user(const char *operation, uint32_t user, uint32_t group)
{
    wrt_capabilities had = {0};

    if (wrt__sys_change_user(user, group) != 0) {
        return wrt_fail_system(errno == EPERM ? WRT_ERR_PERMISSION : WRT_ERR_SYSTEM, operation,
                               "the user can't be changed to {0}: it takes root", errno, user, 0);
    }
    if (read_sets(&had) != 0 || write_sets(had.permitted, 0) != 0) {
        return fail_for(operation, "capset failed", 0);
    }
    return WRT_OK;
}

wrt_status wrt_capabilities_drop_all_except(uint64_t kept, uint32_t options,
                                            wrt_capabilities_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    if ((options & ~(uint32_t)(WRT_CAPABILITIES_THIS_THREAD | WRT_CAPABILITIES_AMBIENT)) != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "options has bits that are not in wrt_capability_option");
    }
    if ((options & WRT_CAPABILITIES_THIS_THREAD) == 0) {
        const wrt_status status = wrt__refuse_threads(
            __func__, "the process has {0} threads (0: the system does not tell), and the others "
                      "would keep their capabilities: ask for THIS_THREAD, or start a confined "
                      "process");
        if (status != WRT_OK) return status;
    }
    wrt_capabilities_report report = {{0}, {0}, {0}, {0}};
    const wrt_status status = wrt__capabilities_drop(__func__, kept, options, &report);
    if (status == WRT_OK) *report_out = report;
    return status;
}
