/* Limits are files of the group. Each is read first, so that a set of limits can be taken back when
 * one of them is refused, then written, then read again: what the kernel made of it is what holds.
 */
#include "cgroups.h"

#include "../core/config.h"
#include "../core/fail.h"

enum { PERIOD_US_DEFAULT = 100000, PERIOD_US_LEAST = 1000, PERIOD_US_MOST = 1000000 };
enum { QUOTA_US_LEAST = 1000, WEIGHT_MOST = 10000 };
enum { LINE_SIZE = 160, PLAIN_STEPS = 7 };

/* One write. */
typedef struct step {
    const char *file;
    uint32_t controller;
    char text[LINE_SIZE];
    char before[LINE_SIZE]; /* what takes it back */
} step;

typedef struct steps {
    uint32_t count;
    step list[PLAIN_STEPS + WRT_LINUX_CGROUP_DEVICES_MAX];
} steps;

/* ---- Rules ---- */

static wrt_status check_cpu(const char *operation, const wrt_linux_cgroup_limits *limits)
{
    const uint64_t period = limits->cpu_period_us;

    if (limits->cpu_weight > WEIGHT_MOST) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "cpu_weight is {0}, not 1 to {1}", limits->cpu_weight, WEIGHT_MOST);
    }
    if (period != 0 && (period < PERIOD_US_LEAST || period > PERIOD_US_MOST)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "cpu_period_us is {0}, not 1000 to {1}", period, PERIOD_US_MOST);
    }
    if (period != 0 && limits->cpu_quota_us == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "cpu_period_us needs a cpu_quota_us beside it");
    }
    if (limits->cpu_quota_us != 0 && limits->cpu_quota_us < QUOTA_US_LEAST) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "cpu_quota_us is {0}, less than {1}", limits->cpu_quota_us,
                               QUOTA_US_LEAST);
    }
    return WRT_OK;
}

static wrt_status check_limits(const char *operation, const wrt_linux_cgroup_limits *limits)
{
    if (!wrt__is_zero(limits->reserved, sizeof limits->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes are not zero");
    }
    if (limits->io_count > WRT_LINUX_CGROUP_DEVICES_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "io_count is {0}, more than {1}", limits->io_count,
                               WRT_LINUX_CGROUP_DEVICES_MAX);
    }
    if (limits->io_count != 0 && limits->io == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "io is NULL");
    }
    if (limits->memory_swap_max != 0 && !limits->has_memory_swap_max) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "memory_swap_max counts with has_memory_swap_max");
    }
    return check_cpu(operation, limits);
}

/* ---- Words of the kernel ---- */

static void write_number(char text_out[], const char *key, uint64_t number)
{
    if (number == UINT64_MAX) {
        (void)snprintf(text_out, LINE_SIZE, "%smax", key);
    } else {
        (void)snprintf(text_out, LINE_SIZE, "%s%llu", key, (unsigned long long)number);
    }
}

static void add(steps *all, const char *file, uint32_t controller, uint64_t number)
{
    step *next = &all->list[all->count++];

    next->file = file;
    next->controller = controller;
    write_number(next->text, "", number);
}

static void add_quota(steps *all, const wrt_linux_cgroup_limits *limits)
{
    const uint64_t period = limits->cpu_period_us == 0 ? PERIOD_US_DEFAULT : limits->cpu_period_us;
    step *next = &all->list[all->count];
    char number[LINE_SIZE];

    add(all, "cpu.max", WRT_LINUX_CGROUP_CPU, limits->cpu_quota_us);
    write_number(number, " ", period);
    (void)wrt__join(next->text, LINE_SIZE, next->text, number);
}

static void append(char text[], const char *key, uint64_t number)
{
    char word[LINE_SIZE];

    if (number == 0) return;
    write_number(word, key, number);
    (void)wrt__join(text, LINE_SIZE, text, word);
}

static void write_io(char text_out[], const wrt_linux_cgroup_io *io)
{
    (void)snprintf(text_out, LINE_SIZE, "%u:%u", io->major, io->minor);
    append(text_out, " rbps=", io->read_bytes);
    append(text_out, " wbps=", io->write_bytes);
    append(text_out, " riops=", io->reads);
    append(text_out, " wiops=", io->writes);
}

/* "8:0 rbps=max wbps=1048576 riops=max wiops=max" */
static const char *read_io(const char *text, wrt_linux_cgroup_io *io)
{
    static const char *const keys[] = {"rbps=", "wbps=", "riops=", "wiops="};
    uint64_t *const values[] = {&io->read_bytes, &io->write_bytes, &io->reads, &io->writes};

    for (int i = 0; i < 4; i++) {
        const size_t length = strlen(keys[i]);
        if (strncmp(text, keys[i], length) == 0) return wrt__read_number(text + length, values[i]);
    }
    return NULL;
}

static const char *read_device(const char *text, wrt_linux_cgroup_io *io)
{
    uint64_t major = 0, minor = 0;

    text = wrt__read_number(text, &major);
    if (text == NULL || *text != ':') return NULL;
    text = wrt__read_number(text + 1, &minor);
    if (text == NULL || major > UINT32_MAX || minor > UINT32_MAX) return NULL;
    io->major = (uint32_t)major;
    io->minor = (uint32_t)minor;
    return text;
}

static bool read_settings(const char *text, wrt_linux_cgroup_io *io)
{
    for (;;) {
        while (*text == ' ') text++;
        if (*text == '\0' || *text == '\n') return true;
        text = read_io(text, io);
        if (text == NULL || (*text != ' ' && *text != '\0' && *text != '\n')) return false;
    }
}

wrt_status wrt_linux_cgroup_io_parse(const char *device, const char *settings,
                                     wrt_linux_cgroup_io *io_out)
{
    wrt_linux_cgroup_io io = {0};

    if (device == NULL || settings == NULL || io_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "device, settings or io_out is NULL");
    }
    const char *end = read_device(device, &io);
    if (end == NULL || *end != '\0') {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "device is not of the form 8:0, major and minor number of a whole disk");
    }
    if (!read_settings(settings, &io)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "settings are not of the form rbps=1048576 wbps=max riops=120 wiops=max");
    }
    *io_out = io;
    return WRT_OK;
}

/* ---- Reading ---- */

/* The line of a device; empty: it has no limits. */
static void find_io(const char *text, uint32_t major, uint32_t minor, wrt_linux_cgroup_io *io_out)
{
    *io_out = (wrt_linux_cgroup_io){major, minor, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        wrt_linux_cgroup_io found = *io_out;
        const char *rest = read_device(line, &found);
        if (rest != NULL && found.major == major && found.minor == minor) {
            (void)read_settings(rest, &found);
            *io_out = found;
            return;
        }
        if (line[strcspn(line, "\n")] == '\0') return;
    }
}

wrt_status wrt_linux_cgroup_get_io(const wrt_linux_cgroup *group, uint32_t major, uint32_t minor,
                                   wrt_linux_cgroup_io *io_out)
{
    char text[WRT__TEXT_SIZE];

    if (io_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "io_out is NULL");
    const wrt_status status = wrt__cgroup_check(__func__, group);
    if (status != WRT_OK) return status;
    if (wrt__file_read(group->directory, "io.max", text, sizeof text) < 0) {
        const wrt_status kind = errno == ENOENT ? WRT_ERR_UNSUPPORTED : WRT_ERR_SYSTEM;
        return wrt_fail_system(kind, __func__, "io.max can't be read: is the controller enabled?",
                               errno, 0, 0);
    }
    find_io(text, major, minor, io_out);
    return WRT_OK;
}

/* Empty where there is no such file; a file that is there and can't be read is told in *code. */
static bool limit_text(const wrt_linux_cgroup *group, const char *file, char text_out[], int *code)
{
    const ssize_t length = wrt__file_read(group->directory, file, text_out, LINE_SIZE);

    if (length < 0 && errno != ENOENT) *code = errno;
    return length > 0;
}

static uint64_t limit_in(const wrt_linux_cgroup *group, const char *file, int *code)
{
    char text[LINE_SIZE];
    uint64_t number = 0;

    if (!limit_text(group, file, text, code)) return 0;
    return wrt__read_number(text, &number) == NULL ? 0 : number;
}

static void read_quota(const wrt_linux_cgroup *group, wrt_linux_cgroup_limits *limits, int *code)
{
    char text[LINE_SIZE];

    if (!limit_text(group, "cpu.max", text, code)) return;
    const char *rest = wrt__read_number(text, &limits->cpu_quota_us);
    if (rest != NULL && *rest == ' ') (void)wrt__read_number(rest + 1, &limits->cpu_period_us);
}

static uint32_t narrowed(uint64_t number)
{
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

/* 0, or the error number of a read. */
static int read_limits(const wrt_linux_cgroup *group, wrt_linux_cgroup_limits *limits)
{
    char text[LINE_SIZE];
    int code = 0;

    *limits = (wrt_linux_cgroup_limits){.struct_size = sizeof *limits};
    limits->memory_max = limit_in(group, "memory.max", &code);
    limits->memory_high = limit_in(group, "memory.high", &code);
    limits->memory_swap_max = limit_in(group, "memory.swap.max", &code);
    limits->has_memory_swap_max = limit_text(group, "memory.swap.max", text, &code);
    limits->kill_together = limit_in(group, "memory.oom.group", &code) == 1;
    limits->pids_max = narrowed(limit_in(group, "pids.max", &code));
    limits->cpu_weight = narrowed(limit_in(group, "cpu.weight", &code));
    read_quota(group, limits, &code);
    return code;
}

static wrt_status fail_to_read(const char *operation, int code)
{
    return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                           "the group's limits can't be read: was it removed?", code, 0, 0);
}

wrt_status wrt_linux_cgroup_get_limits(const wrt_linux_cgroup *group,
                                       wrt_linux_cgroup_limits *limits_out)
{
    if (limits_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "limits_out is NULL");
    }
    const wrt_status status = wrt__cgroup_check(__func__, group);
    if (status != WRT_OK) return status;
    const int code = read_limits(group, limits_out);
    return code == 0 ? WRT_OK : fail_to_read(__func__, code);
}

/* ---- Setting ---- */

static void plan_steps(const wrt_linux_cgroup_limits *limits, steps *all)
{
    const uint64_t pids = limits->pids_max == UINT32_MAX ? UINT64_MAX : limits->pids_max;
    const uint32_t memory = WRT_LINUX_CGROUP_MEMORY;

    all->count = 0;
    if (limits->kill_together) add(all, "memory.oom.group", memory, 1);
    if (limits->has_memory_swap_max) add(all, "memory.swap.max", memory, limits->memory_swap_max);
    if (limits->memory_high != 0) add(all, "memory.high", memory, limits->memory_high);
    if (limits->memory_max != 0) add(all, "memory.max", memory, limits->memory_max);
    if (limits->pids_max != 0) add(all, "pids.max", WRT_LINUX_CGROUP_PIDS, pids);
    if (limits->cpu_weight != 0) add(all, "cpu.weight", WRT_LINUX_CGROUP_CPU, limits->cpu_weight);
    if (limits->cpu_quota_us != 0) add_quota(all, limits);
    for (uint32_t i = 0; i < limits->io_count; i++) {
        step *next = &all->list[all->count++];
        next->file = "io.max";
        next->controller = WRT_LINUX_CGROUP_IO;
        write_io(next->text, &limits->io[i]);
    }
}

static wrt_status fail_for_step(const char *operation, const step *failed, int code)
{
    const uint64_t which = failed->controller;

    switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "a limit of controller {0} (1 cpu, 2 io, 4 memory, 8 pids) is not "
                               "ours to set: ask for delegation (systemd: Delegate=yes), and set "
                               "limits of groups below the delegated one",
                               code, which, 0);
    case ENODEV:
    case ENXIO:
        return wrt_fail_system(WRT_ERR_NOT_FOUND, operation,
                               "io: there is no such disk; give major and minor number of a whole "
                               "one (lsblk), not of a partition",
                               code, 0, 0);
    case EINVAL:
    case ERANGE:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the kernel does not take a limit of controller {0} (1 cpu, 2 io, "
                               "4 memory, 8 pids)",
                               code, which, 0);
    case ENOENT:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "this kernel has not that limit of controller {0} (1 cpu, 2 io, 4 "
                               "memory, 8 pids): it is too old, or does not count swap",
                               code, which, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                               "a limit of controller {0} (1 cpu, 2 io, 4 memory, 8 pids) can't be "
                               "set",
                               code, which, 0);
    }
}

/* What would set this limit to what it is. */
static int note_before(const wrt_linux_cgroup *group, step *next)
{
    char text[WRT__TEXT_SIZE];
    wrt_linux_cgroup_io io = {0};

    if (wrt__file_read(group->directory, next->file, text, sizeof text) < 0) return -1;
    if (next->controller == WRT_LINUX_CGROUP_IO) {
        (void)read_device(next->text, &io);
        find_io(text, io.major, io.minor, &io);
        write_io(next->before, &io);
        return 0;
    }
    text[strcspn(text, "\n")] = '\0';
    (void)snprintf(next->before, sizeof next->before, "%.*s", LINE_SIZE - 1, text);
    return 0;
}

/* Where swap is not counted, nothing can leak into it. */
static bool is_kept_anyhow(const step *next, int code)
{
    return code == ENOENT && strcmp(next->file, "memory.swap.max") == 0 &&
           strcmp(next->text, "0") == 0;
}

static void take_back(const wrt_linux_cgroup *group, const steps *all, uint32_t count)
{
    while (count-- > 0) {
        const step *done = &all->list[count];
        if (done->before[0] != '\0') {
            (void)wrt__file_write(group->directory, done->file, done->before);
        }
    }
}

static wrt_status write_steps(const char *operation, const wrt_linux_cgroup *group, steps *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        step *next = &all->list[i];
        next->before[0] = '\0';
        if (note_before(group, next) == 0 &&
            wrt__file_write(group->directory, next->file, next->text) == 0) {
            continue;
        }
        const int code = errno;
        if (is_kept_anyhow(next, code)) continue;
        take_back(group, all, i);
        return fail_for_step(operation, next, code);
    }
    return WRT_OK;
}

/* ---- Reading back ---- */

static bool is_rounded(uint64_t asked, uint64_t holds)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return asked == 0 || holds == asked || (holds < asked && asked - holds < page);
}

static bool same_io(const wrt_linux_cgroup_io *asked, const wrt_linux_cgroup_io *holds)
{
    return (asked->read_bytes == 0 || asked->read_bytes == holds->read_bytes) &&
           (asked->write_bytes == 0 || asked->write_bytes == holds->write_bytes) &&
           (asked->reads == 0 || asked->reads == holds->reads) &&
           (asked->writes == 0 || asked->writes == holds->writes);
}

/* The controller of the first limit that is not as asked; 0: all are. */
static uint32_t find_difference(const wrt_linux_cgroup *group, const wrt_linux_cgroup_limits *asked,
                                const wrt_linux_cgroup_limits *holds)
{
    if (!is_rounded(asked->memory_max, holds->memory_max) ||
        !is_rounded(asked->memory_high, holds->memory_high) ||
        (asked->has_memory_swap_max &&
         !is_rounded(asked->memory_swap_max, holds->memory_swap_max)) ||
        (asked->kill_together && !holds->kill_together)) {
        return WRT_LINUX_CGROUP_MEMORY;
    }
    if (asked->pids_max != 0 && asked->pids_max != holds->pids_max) return WRT_LINUX_CGROUP_PIDS;
    if ((asked->cpu_weight != 0 && asked->cpu_weight != holds->cpu_weight) ||
        (asked->cpu_quota_us != 0 && asked->cpu_quota_us != holds->cpu_quota_us) ||
        (asked->cpu_period_us != 0 && asked->cpu_period_us != holds->cpu_period_us)) {
        return WRT_LINUX_CGROUP_CPU;
    }
    for (uint32_t i = 0; i < asked->io_count; i++) {
        wrt_linux_cgroup_io io;
        if (wrt_linux_cgroup_get_io(group, asked->io[i].major, asked->io[i].minor, &io) != WRT_OK ||
            !same_io(&asked->io[i], &io)) {
            return WRT_LINUX_CGROUP_IO;
        }
    }
    return 0;
}

static uint32_t controllers_of(const steps *all)
{
    uint32_t controllers = 0;

    for (uint32_t i = 0; i < all->count; i++) controllers |= all->list[i].controller;
    return controllers;
}

static wrt_status enable_for(const char *operation, const wrt_linux_cgroup *group,
                             uint32_t controllers)
{
    char parent[WRT_LINUX_CGROUP_PATH_SIZE];

    if (!wrt__cgroup_parent(group->path, group->mount_length, parent)) return WRT_OK;
    return wrt__cgroup_enable(operation, parent, group->mount_length, controllers,
                              group->move_to_leaf);
}

wrt_status wrt_linux_cgroup_set_limits(wrt_linux_cgroup *group,
                                       const wrt_linux_cgroup_limits *limits,
                                       wrt_linux_cgroup_limits *applied_out)
{
    wrt_linux_cgroup_limits asked;
    steps all;

    if (applied_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "applied_out is NULL");
    }
    wrt_status status = wrt__config_read(__func__, limits, &asked, sizeof asked);
    if (status == WRT_OK) status = check_limits(__func__, &asked);
    if (status == WRT_OK) status = wrt__cgroup_check(__func__, group);
    if (status == WRT_OK) {
        plan_steps(&asked, &all);
        status = enable_for(__func__, group, controllers_of(&all));
    }
    if (status == WRT_OK) status = write_steps(__func__, group, &all);
    *applied_out = (wrt_linux_cgroup_limits){0};
    if (status != WRT_OK) return status;

    wrt_linux_cgroup_limits holds;
    const int code = read_limits(group, &holds);
    const uint32_t different = code != 0 ? 0 : find_difference(group, &asked, &holds);
    if (code != 0 || different != 0) take_back(group, &all, all.count);
    if (code != 0) return fail_to_read(__func__, code);
    if (different != 0) {
        return wrt_fail_detail(WRT_ERR_SYSTEM, __func__,
                               "a limit of controller {0} (1 cpu, 2 io, 4 memory, 8 pids) was "
                               "written, but another value holds",
                               different, 0);
    }
    *applied_out = holds;
    return WRT_OK;
}
