/* Counters of a thread. Every event is opened with its times and, but for those that are inherited,
 * with the format of a group, so that one call reads a group at one moment; a single event is found
 * in it by the kernel's number for it. */
#include "wrt_platform/linux/perf.h"
#include "sys_perf.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"

/* What the kernel writes for PERF_FORMAT_GROUP with both times and ids. */
typedef struct group_values {
    uint64_t count;
    uint64_t enabled_ns;
    uint64_t running_ns;
    struct {
        uint64_t value;
        uint64_t id;
    } of[WRT_PERF_GROUP_MAX];
} group_values;

/* The same for a single event. */
typedef struct single_value {
    uint64_t value;
    uint64_t enabled_ns;
    uint64_t running_ns;
} single_value;

typedef struct counter_kind {
    const char *name;
    uint32_t type;
    uint64_t config;
} counter_kind;

static const counter_kind kinds[] = {
    [WRT_PERF_CPU_CYCLES] = {"cpu-cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    [WRT_PERF_INSTRUCTIONS] = {"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    [WRT_PERF_CACHE_REFERENCES] = {"cache-references", PERF_TYPE_HARDWARE,
                                   PERF_COUNT_HW_CACHE_REFERENCES},
    [WRT_PERF_CACHE_MISSES] = {"cache-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    [WRT_PERF_BRANCHES] = {"branches", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    [WRT_PERF_BRANCH_MISSES] = {"branch-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
    [WRT_PERF_TASK_CLOCK] = {"task-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK},
    [WRT_PERF_PAGE_FAULTS] = {"page-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    [WRT_PERF_MINOR_FAULTS] = {"minor-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
    [WRT_PERF_MAJOR_FAULTS] = {"major-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
    [WRT_PERF_CONTEXT_SWITCHES] = {"context-switches", PERF_TYPE_SOFTWARE,
                                   PERF_COUNT_SW_CONTEXT_SWITCHES},
    [WRT_PERF_CPU_MIGRATIONS] = {"cpu-migrations", PERF_TYPE_SOFTWARE,
                                 PERF_COUNT_SW_CPU_MIGRATIONS},
    [WRT_PERF_RAW] = {"raw", PERF_TYPE_RAW, 0},
};

static bool is_counter(uint32_t counter)
{
    return counter >= WRT_PERF_CPU_CYCLES && counter <= WRT_PERF_RAW;
}

const char *wrt_perf_counter_name(uint32_t counter)
{
    return is_counter(counter) ? kinds[counter].name : "unknown";
}

static wrt_status check(const char *operation, const wrt_perf_event *event)
{
    if (event == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "event is NULL");
    if (event->self != event) {
        return wrt_fail(WRT_ERR_STATE, operation, "the event is not initialised, or was moved");
    }
    if (event->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the event belongs to the process that forked this one; make a new one");
}

/* ---- Init ---- */

static wrt_status check_leader(const char *operation, const wrt_perf_event_config *config)
{
    if (config->leader == NULL) return WRT_OK;
    const wrt_status status = check(operation, config->leader);
    if (status != WRT_OK) return status;
    if (config->leader->leader != config->leader) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "the leader is itself a member of a group");
    }
    if (config->inherit || config->leader->inherit) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "the kernel can't read a group whose counts are inherited: leave one out");
    }
    if (config->leader->member_count + 1 < WRT_PERF_GROUP_MAX) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_LIMIT, operation, "a group has at most {0} events",
                           WRT_PERF_GROUP_MAX, 0);
}

static wrt_status read_config(const char *operation, const wrt_perf_event_config *config,
                              wrt_perf_event_config *known)
{
    const wrt_status status = wrt__config_read(operation, config, known, sizeof *known);
    if (status != WRT_OK) return status;
    if (!is_counter(known->type)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "type {0} is not one of wrt_perf_counter", known->type, 0);
    }
    if (known->type != WRT_PERF_RAW && known->config != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "config {0} is given, which only a RAW counter takes", known->config,
                               0);
    }
    if (!wrt__is_zero(known->reserved, sizeof known->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "a reserved field is not zero");
    }
    return check_leader(operation, known);
}

static wrt_status fail_to_open(const char *operation, int code)
{
    switch (code) {
    case ENOENT:
    case ENODEV:
    case EOPNOTSUPP:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "this machine does not count that: a virtual machine without a PMU, "
                               "or a processor without the event",
                               code, 0, 0);
    case ENOSYS:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "the kernel has no perf_event_open, or a filter hides it", code, 0,
                               0);
    case EACCES:
    case EPERM:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "kernel.perf_event_paranoid is {0}: 2 lets users count their own "
                               "threads, 1 the kernel's part as well; lower it, give CAP_PERFMON, "
                               "or let the container's filter pass perf_event_open",
                               code, (uint64_t)wrt__sys_perf_paranoid(), 0);
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "no descriptor, or no memory, for the event (ulimit -n)", code, 0,
                               0);
    case EBUSY:
        return wrt_fail_system(WRT_ERR_BUSY, operation, "another has the counter for itself", code,
                               0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "perf_event_open failed", code, 0, 0);
    }
}

static struct perf_event_attr attributes_of(const wrt_perf_event_config *config)
{
    const uint64_t times = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    struct perf_event_attr attributes = {0};

    attributes.size = sizeof attributes;
    attributes.type = kinds[config->type].type;
    attributes.config = config->type == WRT_PERF_RAW ? config->config : kinds[config->type].config;
    attributes.read_format = config->inherit ? times : times | PERF_FORMAT_GROUP | PERF_FORMAT_ID;
    attributes.disabled = config->leader == NULL; /* a member counts while its leader does */
    attributes.inherit = config->inherit;
    attributes.exclude_kernel = !config->include_kernel;
    attributes.exclude_hv = !config->include_kernel;
    return attributes;
}

static wrt_status open_event(const char *operation, const wrt_perf_event_config *config,
                             int *descriptor_out, uint64_t *id_out)
{
    struct perf_event_attr attributes = attributes_of(config);
    const int group = config->leader == NULL ? -1 : config->leader->descriptor;

    const int descriptor = wrt__sys_perf_open(&attributes, group);
    if (descriptor < 0) return fail_to_open(operation, errno);
    if (wrt__sys_perf_control(descriptor, PERF_EVENT_IOC_ID, id_out) != 0) {
        const int code = errno;
        (void)close(descriptor);
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the event's number can't be read", code,
                               0, 0);
    }
    *descriptor_out = descriptor;
    return WRT_OK;
}

wrt_status wrt_perf_event_init(wrt_perf_event *event, const wrt_perf_event_config *config)
{
    wrt_perf_event_config known;
    int descriptor = -1;
    uint64_t id = 0;

    if (event == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "event is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status == WRT_OK) status = open_event(__func__, &known, &descriptor, &id);
    if (status != WRT_OK) return status;
    if (known.leader != NULL) known.leader->member_count++;
    *event = (wrt_perf_event){.self = event,
                              .leader = known.leader == NULL ? event : known.leader,
                              .id = id,
                              .descriptor = descriptor,
                              .fork_generation = wrt__fork_generation(),
                              .type = known.type,
                              .inherit = known.inherit};
    return WRT_OK;
}

wrt_status wrt_perf_event_deinit(wrt_perf_event *event)
{
    if (event == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "event is NULL");
    if (wrt__is_zero(event, sizeof *event)) return WRT_OK;
    const wrt_status status = check(__func__, event);
    if (status != WRT_OK) return status;
    if (event->member_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "the event leads {0} others that are still open",
                               event->member_count, 0);
    }
    if (event->leader != event) event->leader->member_count--;
    (void)close(event->descriptor);
    *event = (wrt_perf_event){0};
    return WRT_OK;
}

/* ---- Counting ---- */

static wrt_status control(const char *operation, const wrt_perf_event *event, unsigned long request)
{
    const wrt_status status = check(operation, event);
    if (status != WRT_OK) return status;
    const uintptr_t scope = event->member_count != 0 ? PERF_IOC_FLAG_GROUP : 0;
    if (wrt__sys_perf_control(event->descriptor, request, (void *)scope) == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "the event took no order", errno, 0, 0);
}

wrt_status wrt_perf_event_enable(wrt_perf_event *event)
{
    return control(__func__, event, PERF_EVENT_IOC_ENABLE);
}

wrt_status wrt_perf_event_disable(wrt_perf_event *event)
{
    return control(__func__, event, PERF_EVENT_IOC_DISABLE);
}

wrt_status wrt_perf_event_reset(wrt_perf_event *event)
{
    return control(__func__, event, PERF_EVENT_IOC_RESET);
}

/* value * whole / part, an estimate by nature; UINT64_MAX where that does not fit. */
static uint64_t in_proportion(uint64_t value, uint64_t whole, uint64_t part)
{
    const double scaled = (double)value * ((double)whole / (double)part);

    return scaled >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)scaled;
}

wrt_status wrt_perf_scale(uint64_t raw, uint64_t enabled_ns, uint64_t running_ns,
                          wrt_perf_reading *reading_out)
{
    if (reading_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "reading_out is NULL");
    }
    *reading_out =
        (wrt_perf_reading){.raw = raw, .enabled_ns = enabled_ns, .running_ns = running_ns};
    if (running_ns == 0) return WRT_OK;
    const bool is_whole = running_ns >= enabled_ns;
    reading_out->value = is_whole ? raw : in_proportion(raw, enabled_ns, running_ns);
    reading_out->state = is_whole ? WRT_PERF_EXACT : WRT_PERF_SCALED;
    return WRT_OK;
}

static wrt_status fail_to_read(const char *operation)
{
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "reading the event failed", errno, 0, 0);
}

static wrt_status read_values(const char *operation, const wrt_perf_event *event,
                              group_values *values)
{
    if (wrt__sys_perf_read(event->descriptor, values, sizeof *values) > 0) return WRT_OK;
    return fail_to_read(operation);
}

static wrt_status read_single(const char *operation, const wrt_perf_event *event,
                              wrt_perf_reading *reading_out)
{
    single_value value;

    if (wrt__sys_perf_read(event->descriptor, &value, sizeof value) != sizeof value) {
        return fail_to_read(operation);
    }
    return wrt_perf_scale(value.value, value.enabled_ns, value.running_ns, reading_out);
}

/* Of the group's values, the event's own. */
static wrt_status read_member(const char *operation, const wrt_perf_event *event,
                              wrt_perf_reading *reading_out)
{
    group_values values = {0};

    const wrt_status status = read_values(operation, event, &values);
    if (status != WRT_OK) return status;
    for (uint64_t i = 0; i < values.count && i < WRT_PERF_GROUP_MAX; i++) {
        if (values.of[i].id != event->id) continue;
        return wrt_perf_scale(values.of[i].value, values.enabled_ns, values.running_ns,
                              reading_out);
    }
    return wrt_fail(WRT_ERR_SYSTEM, operation, "the kernel's answer does not name the event");
}

wrt_status wrt_perf_event_read(const wrt_perf_event *event, wrt_perf_reading *reading_out)
{
    const wrt_status status = check(__func__, event);
    if (status != WRT_OK) return status;
    if (reading_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "reading_out is NULL");
    }
    return event->inherit ? read_single(__func__, event, reading_out)
                          : read_member(__func__, event, reading_out);
}

wrt_status wrt_perf_event_read_group(const wrt_perf_event *leader, wrt_perf_reading *readings_out,
                                     uint32_t capacity, uint32_t *count_out)
{
    group_values values = {0};

    wrt_status status = check(__func__, leader);
    if (status != WRT_OK) return status;
    if (readings_out == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "readings_out or count_out is NULL");
    }
    if (leader->leader != leader || leader->inherit) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "the event leads no group: it is a member, or its counts are inherited");
    }
    if (capacity < leader->member_count + 1) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "there is room for {0} readings, the group has {1}", capacity,
                               leader->member_count + 1);
    }
    status = read_values(__func__, leader, &values);
    if (status != WRT_OK) return status;
    *count_out = leader->member_count + 1;
    for (uint32_t i = 0; status == WRT_OK && i < *count_out; i++) {
        status = wrt_perf_scale(values.of[i].value, values.enabled_ns, values.running_ns,
                                &readings_out[i]);
    }
    return status;
}
