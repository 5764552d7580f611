/* Pressure stall information: a threshold is written to a file, which then has POLLPRI when it is
 * exceeded. A file takes one threshold, for as long as it is open; so each level has its own.
 *
 * Whoever sees the POLLPRI takes it away: a poll of an epoll set that has the file in it would lose
 * it. So there is no descriptor to hand out, and collecting is one poll of all three. */
#include "cgroups.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "fork.h"
#include "times.h"

#include "wrt_platform/linux/pressure.h"

enum { LEVELS = WRT_LINUX_PRESSURE_CRITICAL, WHOLE = 1000, MICROSECOND_NS = 1000 };

static const char SYSTEM_FILE[] = "/proc/pressure/memory";
static const char GROUP_FILE[] = "memory.pressure";
static const uint64_t WINDOW_LEAST_NS = 500000000, WINDOW_MOST_NS = 10000000000;

/* ---- Rules ---- */

static uint32_t with_default(uint32_t given, uint32_t otherwise)
{
    return given == 0 ? otherwise : given;
}

static wrt_status read_config(const char *operation, const wrt_linux_pressure_config *config,
                              wrt_linux_pressure_config *known)
{
    const wrt_status status = wrt__config_read(operation, config, known, sizeof *known);

    if (status != WRT_OK) return status;
    known->low_share = with_default(known->low_share, WRT_LINUX_PRESSURE_LOW_SHARE);
    known->medium_share = with_default(known->medium_share, WRT_LINUX_PRESSURE_MEDIUM_SHARE);
    known->critical_share = with_default(known->critical_share, WRT_LINUX_PRESSURE_CRITICAL_SHARE);
    if (known->window_ns == 0) known->window_ns = WRT_LINUX_PRESSURE_WINDOW_NS;
    if (known->events == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "events is NULL");
    }
    if (known->low_share > WHOLE || known->medium_share > WHOLE || known->critical_share > WHOLE) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "a share is above {0} thousandths", WHOLE, 0);
    }
    if (known->window_ns < WINDOW_LEAST_NS || known->window_ns > WINDOW_MOST_NS) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "window_ns is {0}, not 500000000 to {1}", known->window_ns,
                               WINDOW_MOST_NS);
    }
    return known->cgroup == NULL ? WRT_OK : wrt__cgroup_check(operation, known->cgroup);
}

/* ---- Thresholds ---- */

static wrt_status fail_to_watch(const char *operation, int code)
{
    switch (code) {
    case ENOENT:
    case EOPNOTSUPP:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "this kernel measures no pressure: it is older than Linux 5.2, or "
                               "was booted without psi=1",
                               code, 0, 0);
    case EACCES:
    case EPERM:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the kernel lets nobody watch without CAP_SYS_RESOURCE (before "
                               "Linux 6.4), or only with a window of whole 2 s",
                               code, 0, 0);
    case EINVAL:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the kernel refuses the threshold: without CAP_SYS_RESOURCE it "
                               "takes windows of whole 2 s",
                               code, 0, 0);
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "no room for a watch", code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pressure can't be watched", code, 0, 0);
    }
}

/* Opens a level's file, with its threshold; -1 and errno. */
static int open_trigger(const wrt_linux_pressure_config *config, const char *kind, uint32_t share)
{
    const uint64_t window = config->window_ns / MICROSECOND_NS;
    const int directory = config->cgroup == NULL ? AT_FDCWD : config->cgroup->directory;
    const char *file = config->cgroup == NULL ? SYSTEM_FILE : GROUP_FILE;
    char text[64];

    const int length =
        snprintf(text, sizeof text, "%s %llu %llu", kind,
                 (unsigned long long)(window * share / WHOLE), (unsigned long long)window);
    const int descriptor = wrt__sys_openat(directory, file, O_RDWR | O_NONBLOCK);
    if (descriptor < 0) return -1;
    /* The closing NUL belongs to what the kernel wants. */
    if (wrt__sys_write(descriptor, text, (size_t)length + 1) >= 0) return descriptor;
    const int code = errno;
    close(descriptor);
    errno = code;
    return -1;
}

static void close_all(wrt_linux_pressure *pressure)
{
    for (int level = 0; level < LEVELS; level++) {
        if (pressure->triggers[level] >= 0) close(pressure->triggers[level]);
    }
}

/* Opens what there is to be opened; -1 and errno. */
static int open_all(wrt_linux_pressure *pressure, const wrt_linux_pressure_config *config)
{
    const uint32_t shares[LEVELS] = {config->low_share, config->medium_share,
                                     config->critical_share};
    static const char *const kinds[LEVELS] = {"some", "some", "full"};

    for (int level = 0; level < LEVELS; level++) {
        pressure->triggers[level] = open_trigger(config, kinds[level], shares[level]);
        if (pressure->triggers[level] < 0) return -1;
    }
    return 0;
}

wrt_status wrt_linux_pressure_init(wrt_linux_pressure *pressure,
                                   const wrt_linux_pressure_config *config)
{
    wrt_linux_pressure_config known;
    wrt_linux_pressure made = {.triggers = {-1, -1, -1}};

    if (pressure == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pressure is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    if (open_all(&made, &known) != 0) {
        const int code = errno;
        close_all(&made);
        return fail_to_watch(__func__, code);
    }
    made.events = known.events;
    made.source = known.source;
    made.fork_generation = wrt__fork_generation();
    *pressure = made;
    return WRT_OK;
}

static wrt_status check(const char *operation, const wrt_linux_pressure *pressure)
{
    if (pressure == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pressure is NULL");
    if (pressure->events == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "pressure is not initialised");
    }
    if (pressure->fork_generation != wrt__fork_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "pressure belongs to the process that forked this one; make a new one");
    }
    return WRT_OK;
}

/* ---- Events ---- */

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123" */
static uint64_t waited_us(const wrt_linux_pressure *pressure)
{
    char text[256];
    uint64_t total = 0;

    const ssize_t length = wrt__sys_pread(pressure->triggers[0], text, sizeof text - 1, 0);
    if (length < 0) return 0;
    text[length] = '\0';
    const char *at = strstr(text, "total=");
    if (at != NULL) (void)wrt__read_number(at + strlen("total="), &total);
    return total;
}

/* One event for each level that is ready. */
static wrt_status post_ready(const char *operation, const wrt_linux_pressure *pressure,
                             const struct pollfd levels[], uint32_t *count_out)
{
    wrt_event event = {.kind = WRT_EVENT_MEMORY_PRESSURE, .source = pressure->source};

    if (wrt__port_now(&event.time_ns) != WRT_OK) event.time_ns = 0;
    event.detail[1] = waited_us(pressure);
    for (uint32_t level = 0; level < LEVELS; level++) {
        if ((levels[level].revents & POLLERR) != 0) {
            return wrt_fail(WRT_ERR_STATE, operation, "the group that is watched was removed");
        }
        if (levels[level].revents == 0) continue;
        event.detail[0] = level + 1;
        if (wrt_events_post(pressure->events, &event) == WRT_OK) (*count_out)++;
    }
    return WRT_OK;
}

wrt_status wrt_linux_pressure_collect(wrt_linux_pressure *pressure, uint64_t timeout_ns,
                                      uint32_t *count_out)
{
    const struct timespec timeout = wrt__timespec(timeout_ns);
    struct pollfd levels[LEVELS];

    if (count_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "count_out is NULL");
    *count_out = 0;
    const wrt_status status = check(__func__, pressure);
    if (status != WRT_OK) return status;
    for (int level = 0; level < LEVELS; level++) {
        levels[level] = (struct pollfd){.fd = pressure->triggers[level], .events = POLLPRI};
    }
    const int ready = wrt__sys_poll(levels, LEVELS, timeout_ns == UINT64_MAX ? NULL : &timeout);
    if (ready < 0 && errno != EINTR) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__, "poll failed", errno, 0, 0);
    }
    if (ready > 0) return post_ready(__func__, pressure, levels, count_out);
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, __func__, "no level was reached in {0} nanoseconds",
                           timeout_ns, 0);
}

wrt_status wrt_linux_pressure_deinit(wrt_linux_pressure *pressure)
{
    if (pressure == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "pressure is NULL");
    if (pressure->events != NULL) close_all(pressure);
    *pressure = (wrt_linux_pressure){0};
    return WRT_OK;
}
