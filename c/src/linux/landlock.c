/* Landlock. A kernel refuses rights that it does not know, so what is asked for is cut to what its
 * version has; what was cut is said. */
#include "sys_security.h"

#include "wrt_platform/linux/landlock.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "landlock.h"

/* Rights of the kernel's, by bit. */
enum {
    FS_EXECUTE = 0x1,
    FS_WRITE_FILE = 0x2,
    FS_READ_FILE = 0x4,
    FS_READ_DIR = 0x8,
    FS_REMOVE = 0x30,         /* folders and files */
    FS_MAKE_DEVICE = 0x840,   /* character, block */
    FS_MAKE = 0x1780,         /* folders, files, sockets, FIFOs, symbolic links */
    FS_REFER = 0x2000,        /* version 2 */
    FS_TRUNCATE = 0x4000,     /* 3 */
    FS_IOCTL_DEVICE = 0x8000, /* 5 */
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEVICE,
    NET_BOTH = 3,
    SCOPE_BOTH = 3,
    RULE_PATH = 1,
    RULE_PORT = 2,
    FLAG_VERSION = 1
};

/* struct landlock_ruleset_attr; older kernels take its beginning, if the rest is zero. */
typedef struct ruleset_attributes {
    uint64_t files;
    uint64_t network;
    uint64_t scope;
} ruleset_attributes;

/* struct landlock_path_beneath_attr, which is packed: 12 bytes. */
typedef struct path_attributes {
    uint32_t access_low;
    uint32_t access_high;
    int32_t parent;
} path_attributes;

/* struct landlock_net_port_attr */
typedef struct port_attributes {
    uint64_t access;
    uint64_t port;
} port_attributes;

/* ---- Versions ---- */

static wrt_status fail_for_version(const char *operation, int code)
{
    if (code == EOPNOTSUPP) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "Landlock is built in, but switched off at boot: add landlock to "
                               "lsm= on the kernel's command line",
                               code, 0, 0);
    }
    if (code == ENOSYS || code == EPERM || code == EACCES) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "no Landlock: the kernel is older than 5.13 or built without it, or "
                               "a container's filter hides it",
                               code, 0, 0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "landlock_create_ruleset failed", code, 0, 0);
}

static wrt_status ask_version(const char *operation, uint32_t *abi_out)
{
    const int version = wrt__sys_landlock_create(NULL, 0, FLAG_VERSION);
    if (version < 1) return fail_for_version(operation, errno);
    *abi_out = (uint32_t)version;
    return WRT_OK;
}

wrt_status wrt_landlock_abi(uint32_t *abi_out)
{
    if (abi_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "abi_out is NULL");
    return ask_version(__func__, abi_out);
}

static uint64_t rights_of_version(uint32_t abi)
{
    uint64_t rights = FS_REFER - 1;

    if (abi >= 2) rights |= FS_REFER;
    if (abi >= 3) rights |= FS_TRUNCATE;
    if (abi >= 5) rights |= FS_IOCTL_DEVICE;
    return rights;
}

static wrt_enforcement files_of_version(uint32_t abi)
{
    static const char *const reasons[] = {
        "Landlock 1 (Linux 5.13): files can be truncated and devices controlled all the same; none "
        "can be renamed or linked into another folder",
        "Landlock 2 (Linux 5.19): files can be truncated and devices controlled all the same",
        "Landlock 3 or 4 (Linux 6.2): devices can be controlled by ioctl all the same"};

    if (abi >= 5) {
        return (wrt_enforcement){"Landlock, all rights that files have", WRT_ENFORCEMENT_ENFORCED,
                                 0};
    }
    return (wrt_enforcement){reasons[abi >= 3 ? 2 : abi - 1], WRT_ENFORCEMENT_PARTIAL, 0};
}

static wrt_enforcement from_version(bool asked, uint32_t abi, uint32_t needed, const char *reason)
{
    if (!asked) return (wrt_enforcement){"not asked", WRT_ENFORCEMENT_NOT_ASKED, 0};
    if (abi >= needed) return (wrt_enforcement){"Landlock", WRT_ENFORCEMENT_ENFORCED, 0};
    return (wrt_enforcement){reason, WRT_ENFORCEMENT_ABSENT, 0};
}

static bool restricts_network(const wrt_landlock_config *config)
{
    return config->network || config->port_count > 0;
}

static void report_version(const wrt_landlock_config *config, uint32_t abi,
                           wrt_landlock_report *report)
{
    report->abi = abi;
    report->reserved = 0;
    report->files = files_of_version(abi);
    report->network = from_version(restricts_network(config), abi, 4,
                                   "TCP takes Landlock 4, Linux 6.7; a network namespace does it "
                                   "on older ones");
    report->scope = from_version(config->scope, abi, 6,
                                 "signals and abstract sockets take Landlock 6, Linux 6.12; "
                                 "namespaces do it on older ones");
    if (report->network.state == WRT_ENFORCEMENT_ENFORCED) {
        report->network = (wrt_enforcement){"Landlock, TCP; other protocols are free",
                                            WRT_ENFORCEMENT_PARTIAL, 0};
    }
}

/* ---- Rules ---- */

static uint64_t rights_of(uint32_t access)
{
    uint64_t rights = 0;

    if ((access & WRT_LANDLOCK_READ) != 0) rights |= FS_READ_FILE | FS_READ_DIR;
    if ((access & WRT_LANDLOCK_WRITE) != 0) rights |= FS_WRITE_FILE | FS_TRUNCATE;
    if ((access & WRT_LANDLOCK_EXECUTE) != 0) rights |= FS_EXECUTE;
    if ((access & WRT_LANDLOCK_CREATE) != 0) rights |= FS_REMOVE | FS_MAKE | FS_REFER;
    if ((access & WRT_LANDLOCK_DEVICE) != 0) rights |= FS_MAKE_DEVICE | FS_IOCTL_DEVICE;
    return rights;
}

static wrt_status fail_for_path(const char *operation, uint32_t index)
{
    const int code = errno;
    wrt_status status = WRT_ERR_SYSTEM;

    if (code == ENOENT || code == ENOTDIR) status = WRT_ERR_NOT_FOUND;
    if (code == EACCES || code == EPERM) status = WRT_ERR_PERMISSION;
    return wrt_fail_system(status, operation, "the path of rule {0} can't be opened", code, index,
                           0);
}

static wrt_status add_opened(const char *operation, int ruleset, int descriptor, uint64_t rights,
                             uint32_t index)
{
    struct stat about;

    if (wrt__sys_fstat(descriptor, &about) != 0) return fail_for_path(operation, index);
    if (!S_ISDIR(about.st_mode)) rights &= FS_OF_FILES;
    if (rights == 0) return WRT_OK; /* nothing of it is known to this kernel: so it stays shut */
    const path_attributes attributes = {(uint32_t)rights, 0, descriptor};
    if (wrt__sys_landlock_add(ruleset, RULE_PATH, &attributes) == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "landlock_add_rule failed for rule {0}",
                           errno, index, 0);
}

static wrt_status add_path(const char *operation, int ruleset, const wrt_landlock_rule *rule,
                           uint64_t handled, uint32_t index)
{
    const int descriptor = wrt__sys_open(rule->path, O_PATH);

    if (descriptor < 0) return fail_for_path(operation, index);
    const uint64_t rights = rights_of(rule->access) & handled;
    const wrt_status status = add_opened(operation, ruleset, descriptor, rights, index);
    (void)wrt__sys_close(descriptor);
    return status;
}

static wrt_status add_port(const char *operation, int ruleset, const wrt_landlock_port *port,
                           uint32_t index)
{
    const port_attributes attributes = {port->access, port->port};

    if (wrt__sys_landlock_add(ruleset, RULE_PORT, &attributes) == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "landlock_add_rule failed for port {0}",
                           errno, index, 0);
}

static wrt_status add_rules(const char *operation, int ruleset, const wrt_landlock_config *config,
                            const ruleset_attributes *handled)
{
    for (uint32_t index = 0; index < config->rule_count; index++) {
        const wrt_status status =
            add_path(operation, ruleset, &config->rules[index], handled->files, index);
        if (status != WRT_OK) return status;
    }
    for (uint32_t index = 0; handled->network != 0 && index < config->port_count; index++) {
        const wrt_status status = add_port(operation, ruleset, &config->ports[index], index);
        if (status != WRT_OK) return status;
    }
    return WRT_OK;
}

/* ---- Checks ---- */

static wrt_status refuse(const char *operation, const char *reason, uint32_t index)
{
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, reason, index, 0);
}

static wrt_status check_rules(const char *operation, const wrt_landlock_config *config)
{
    for (uint32_t index = 0; index < config->rule_count; index++) {
        const wrt_landlock_rule *rule = &config->rules[index];

        if (rule->path == NULL) return refuse(operation, "rule {0} has no path", index);
        if (rule->access == 0 || (rule->access & ~(uint32_t)WRT_LANDLOCK_ALL) != 0 ||
            rule->reserved != 0) {
            return refuse(operation, "rule {0}: access is 0, or not of wrt_landlock_access", index);
        }
    }
    for (uint32_t index = 0; index < config->port_count; index++) {
        const wrt_landlock_port *port = &config->ports[index];

        if (port->port > 65535 || port->access == 0 || (port->access & ~(uint32_t)NET_BOTH) != 0) {
            return refuse(operation, "port {0} is beyond 65535, or its access is 0 or unknown",
                          index);
        }
    }
    return WRT_OK;
}

static wrt_status check_config(const char *operation, const wrt_landlock_config *config)
{
    if (!wrt__is_zero(config->reserved, sizeof config->reserved) ||
        !wrt__is_zero(config->reserved_for_ports, sizeof config->reserved_for_ports)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes are not zero");
    }
    if (config->rule_count > WRT_LANDLOCK_RULE_MAX || config->port_count > WRT_LANDLOCK_RULE_MAX) {
        return refuse(operation, "there are more than 1024 rules or ports", 0);
    }
    if ((config->rule_count > 0 && config->rules == NULL) ||
        (config->port_count > 0 && config->ports == NULL)) {
        return refuse(operation, "rules or ports is NULL", 0);
    }
    return check_rules(operation, config);
}

/* ---- The rule set ---- */

wrt_status wrt__landlock_prepare(const char *operation, const wrt_landlock_config *config,
                                 int *ruleset_out, wrt_landlock_report *report_out)
{
    uint32_t abi = 0;
    wrt_status status = check_config(operation, config);

    if (status == WRT_OK) status = ask_version(operation, &abi);
    if (status != WRT_OK) return status;
    const ruleset_attributes handled = {rights_of_version(abi),
                                        restricts_network(config) && abi >= 4 ? NET_BOTH : 0,
                                        config->scope && abi >= 6 ? SCOPE_BOTH : 0};
    const int ruleset = wrt__sys_landlock_create(&handled, sizeof handled, 0);
    if (ruleset < 0) return fail_for_version(operation, errno);

    status = add_rules(operation, ruleset, config, &handled);
    if (status != WRT_OK) {
        (void)wrt__sys_close(ruleset);
        return status;
    }
    report_version(config, abi, report_out);
    *ruleset_out = ruleset;
    return WRT_OK;
}

wrt_status wrt__landlock_enter(const char *operation, int ruleset)
{
    if (wrt__sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0) != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "prctl(PR_SET_NO_NEW_PRIVS) failed",
                               errno, 0, 0);
    }
    if (wrt__sys_landlock_restrict(ruleset) == 0) return WRT_OK;
    if (errno == E2BIG) {
        return wrt_fail_system(WRT_ERR_LIMIT, operation,
                               "16 layers of Landlock are there already: more don't fit", E2BIG, 0,
                               0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "landlock_restrict_self failed", errno, 0, 0);
}

wrt_status wrt_landlock_restrict(const wrt_landlock_config *config, wrt_landlock_report *report_out)
{
    wrt_landlock_config known;
    wrt_landlock_report report;
    int ruleset = -1;
    wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);

    if (status != WRT_OK) return status;
    if (report_out == NULL) return refuse(__func__, "report_out is NULL", 0);
    if (!known.this_thread) {
        status = wrt__refuse_threads(
            __func__, "the process has {0} threads (0: the system does not tell), and the others "
                      "would stay free: ask for this_thread, or start a confined process");
    }
    if (status == WRT_OK) status = wrt__landlock_prepare(__func__, &known, &ruleset, &report);
    if (status != WRT_OK) return status;
    status = wrt__landlock_enter(__func__, ruleset);
    (void)wrt__sys_close(ruleset);
    if (status == WRT_OK) *report_out = report;
    return status;
}
