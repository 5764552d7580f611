/* Watchdogs: a list of watches, and a check that compares each counter with what it was.
 *
 *     last heartbeat        v
 *     checks          |.........|.........|.........|
 *     sample                    new       equal 1   equal 2: hung, if N is 2
 *
 * The check that sees a counter changed comes up to one interval after the heartbeat, N more
 * follow: hence more than N and at most N + 1 intervals. Equal samples are counted, and time is
 * looked at as well: the count holds when the monitor was kept from running (time passed for
 * nobody), the time when checks come thick and fast (samples without time between them). */
#include "wrt_platform/watchdog.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "guard.h"
#include "name.h"
#include "repeating_thread.h"
#include "watchdog.h"

enum { NANOSECONDS_IN_MS = 1000000 };

static const uint64_t TIME_MAX = UINT64_C(1) << 62; /* sums of two don't wrap */

static wrt_status read_config(const char *operation, const wrt_watchdog_config *given,
                              wrt_watchdog_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->default_timeout_ns > TIME_MAX || config->check_interval_ns > TIME_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "default_timeout_ns {0} or check_interval_ns {1} is above 2^62",
                               config->default_timeout_ns, config->check_interval_ns);
    }
    if (config->priority > WRT_THREAD_PRIORITY_REALTIME) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "priority is {0}, not one of wrt_thread_priority", config->priority,
                               0);
    }
    return WRT_OK;
}

static uint64_t or_default(uint64_t nanoseconds, uint64_t default_ms)
{
    return nanoseconds != 0 ? nanoseconds : default_ms * NANOSECONDS_IN_MS;
}

wrt_status wrt_watchdog_init(wrt_watchdog *watchdog, const wrt_watchdog_config *config)
{
    wrt_watchdog_config known;

    if (watchdog == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "watchdog is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;

    const wrt_watchdog before = *watchdog; /* a lock is made in its place, so the rest is first */
    *watchdog = (wrt_watchdog){
        .self = watchdog,
        .events = known.events,
        .stack = known.stack,
        .stack_size = known.stack_size,
        .default_timeout_ns = or_default(known.default_timeout_ns, WRT_WATCHDOG_TIMEOUT_DEFAULT_MS),
        .check_interval_ns =
            or_default(known.check_interval_ns, WRT_WATCHDOG_CHECK_INTERVAL_DEFAULT_MS),
        .system = known.system,
        .priority = known.priority,
        .auto_kill = known.auto_kill,
    };
    if (known.priority == WRT_THREAD_PRIORITY_DEFAULT) {
        watchdog->priority = WRT_THREAD_PRIORITY_HIGH;
    }
    status = wrt__guard_init(&watchdog->system, &watchdog->lock);
    if (status != WRT_OK) *watchdog = before;
    return status;
}

wrt_status wrt__watchdog_check_self(const char *operation, const wrt_watchdog *watchdog)
{
    if (watchdog == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "watchdog is NULL");
    if (watchdog->self == watchdog) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    watchdog->self == NULL ? "watchdog is not initialised" : "watchdog was moved");
}

/* Checks the watchdog and takes its lock. */
static wrt_status enter(const char *operation, wrt_watchdog *watchdog)
{
    const wrt_status status = wrt__watchdog_check_self(operation, watchdog);

    return status == WRT_OK ? wrt__guard_enter(&watchdog->system, &watchdog->lock) : status;
}

static void leave(wrt_watchdog *watchdog)
{
    wrt__guard_leave(&watchdog->system, &watchdog->lock);
}

/* ---- A check ---- */

static void post(wrt_watchdog *watchdog, const wrt_watch *watch, uint32_t kind, uint64_t now_ns)
{
    const wrt_event event = {.kind = kind,
                             .source = watch->source,
                             .time_ns = now_ns,
                             .detail = {now_ns - watch->changed_ns, watch->timeout_ns}};

    if (watchdog->events == NULL) return;
    if (wrt_events_post(watchdog->events, &event) != WRT_OK) watchdog->report.lost_events++;
}

static void report_hang(wrt_watchdog *watchdog, wrt_watch *watch, uint64_t now_ns)
{
    watch->is_hung = true;
    watch->hang_count++;
    watchdog->report.hung_count++;
    watchdog->report.hangs++;
    if (watch->kills) wrt_instance_interrupt(watch->instance);
    post(watchdog, watch, WRT_EVENT_WATCHDOG_EXPIRED, now_ns);
    if (!watch->kills) return;
    watch->kill_count++;
    watchdog->report.kills++;
    post(watchdog, watch, WRT_EVENT_WATCHDOG_KILLED, now_ns);
}

static void note_recovery(wrt_watchdog *watchdog, wrt_watch *watch)
{
    if (watch->is_hung) watchdog->report.hung_count--;
    watch->is_hung = false;
}

static uint32_t sample(const wrt_watch *watch)
{
    const uint32_t beats = wrt__load(&watch->beats);

    if (watch->feed != WRT_WATCH_FEED_ENGINE) return beats;
    return beats + wrt_instance_heartbeat(watch->instance);
}

/* counts: whether an equal sample tells something. */
static void check_watch(wrt_watchdog *watchdog, wrt_watch *watch, uint64_t now_ns, bool counts)
{
    const uint32_t now_seen = sample(watch);

    if (watch->is_new || now_seen != watch->seen) {
        note_recovery(watchdog, watch);
        watch->is_new = false;
        watch->seen = now_seen;
        watch->equal = 0;
        watch->changed_ns = now_ns;
        return;
    }
    if (counts) watch->equal++;
    if (watch->is_hung || watch->equal < watch->needed) return;
    if (now_ns - watch->changed_ns >= watch->timeout_ns) report_hang(watchdog, watch, now_ns);
}

/* A late check counts only after another late one. */
static bool note_lateness(wrt_watchdog *watchdog, uint64_t passed_ns)
{
    const bool is_late = passed_ns / 2 >= watchdog->check_interval_ns;
    const bool counts = !is_late || watchdog->was_late;

    watchdog->was_late = is_late;
    watchdog->report.late_checks += is_late;
    return counts;
}

/* Sooner after the last check, nothing is looked at: half an interval, so that a timer may waver;
 * a whole one after a late check, for then others are late as well. */
static uint64_t least_interval(const wrt_watchdog *watchdog)
{
    return watchdog->was_late ? watchdog->check_interval_ns : watchdog->check_interval_ns / 2;
}

void wrt__watchdog_check_all(wrt_watchdog *watchdog, uint64_t now_ns)
{
    const uint64_t passed_ns =
        watchdog->has_checked ? now_ns - watchdog->checked_ns : watchdog->check_interval_ns;

    if (passed_ns < least_interval(watchdog)) return;
    const bool counts = note_lateness(watchdog, passed_ns);
    watchdog->has_checked = true;
    watchdog->checked_ns = now_ns;
    watchdog->report.checks++;
    for (wrt_watch *watch = watchdog->first; watch != NULL; watch = watch->next) {
        check_watch(watchdog, watch, now_ns, counts);
    }
}

void wrt__watchdog_begin_anew(wrt_watchdog *watchdog)
{
    watchdog->has_checked = false;
    watchdog->was_late = false;
    for (wrt_watch *watch = watchdog->first; watch != NULL; watch = watch->next) {
        watch->is_new = true;
    }
}

wrt_status wrt_watchdog_check(wrt_watchdog *watchdog, uint64_t now_ns)
{
    wrt_status status = enter(__func__, watchdog);
    if (status != WRT_OK) return status;
    if (wrt__repeating_runs(&watchdog->monitor)) {
        status = wrt_fail(WRT_ERR_STATE, __func__, "the monitor thread makes the checks");
    } else if (watchdog->has_checked && now_ns < watchdog->checked_ns) {
        status = wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                                 "now_ns is {0}, before the {1} of the last check", now_ns,
                                 watchdog->checked_ns);
    } else {
        wrt__watchdog_check_all(watchdog, now_ns);
    }
    leave(watchdog);
    return status;
}

/* ---- Watches ---- */

static wrt_status read_watch_config(const char *operation, const wrt_watch_config *given,
                                    wrt_watch_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->feed > WRT_WATCH_FEED_ENGINE || config->auto_kill > WRT_WATCH_KILL_ON) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "feed {0} is not one of wrt_watch_feed, or auto_kill {1} not one of "
                               "wrt_watch_kill",
                               config->feed, config->auto_kill);
    }
    if (config->timeout_ns > TIME_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "timeout_ns is {0}, above 2^62",
                               config->timeout_ns, 0);
    }
    if (config->instance == NULL &&
        (config->feed == WRT_WATCH_FEED_ENGINE || config->auto_kill == WRT_WATCH_KILL_ON)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "there is no instance to beat by itself, or to be killed");
    }
    return WRT_OK;
}

static bool kills(const wrt_watchdog *watchdog, const wrt_watch_config *config)
{
    const bool by_default = config->auto_kill == WRT_WATCH_KILL_DEFAULT && watchdog->auto_kill;

    return config->instance != NULL && (by_default || config->auto_kill == WRT_WATCH_KILL_ON);
}

/* The link that points to `watch`; NULL: the watchdog does not have it. */
static wrt_watch **find_link(wrt_watchdog *watchdog, const wrt_watch *watch)
{
    wrt_watch **link = &watchdog->first;

    while (*link != NULL && *link != watch) link = &(*link)->next;
    return *link != NULL ? link : NULL;
}

static void begin_watch(wrt_watchdog *watchdog, const wrt_watch_config *config, wrt_watch *watch)
{
    const uint64_t timeout_ns =
        config->timeout_ns != 0 ? config->timeout_ns : watchdog->default_timeout_ns;
    const uint64_t interval_ns = watchdog->check_interval_ns;

    *watch = (wrt_watch){.next = watchdog->first,
                         .watchdog = watchdog,
                         .instance = config->instance,
                         .source = config->source,
                         .timeout_ns = timeout_ns,
                         .needed = (timeout_ns + interval_ns - 1) / interval_ns,
                         .feed = config->feed,
                         .kills = kills(watchdog, config),
                         .is_new = true};
    wrt__name_copy(watch->name, sizeof watch->name, config->name);
    watchdog->first = watch;
    watchdog->report.watch_count++;
}

wrt_status wrt_watchdog_watch(wrt_watchdog *watchdog, const wrt_watch_config *config,
                              wrt_watch *watch_out)
{
    wrt_watch_config known;

    if (watch_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "watch_out is NULL");
    wrt_status status = read_watch_config(__func__, config, &known);
    if (status == WRT_OK) status = enter(__func__, watchdog);
    if (status != WRT_OK) return status;
    if (find_link(watchdog, watch_out) != NULL) {
        status = wrt_fail(WRT_ERR_STATE, __func__, "this record is out already");
    } else {
        begin_watch(watchdog, &known, watch_out);
    }
    leave(watchdog);
    return status;
}

void wrt_watch_heartbeat(wrt_watch *watch)
{
    if (watch != NULL) wrt__count(&watch->beats);
}

wrt_status wrt_watch_query(wrt_watch *watch, wrt_watch_report *report_out)
{
    if (watch == NULL || report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "watch or report_out is NULL");
    }
    if (watch->watchdog == NULL) return wrt_fail(WRT_ERR_STATE, __func__, "the watch has ended");
    const wrt_status status = enter(__func__, watch->watchdog);
    if (status != WRT_OK) return status;
    *report_out = (wrt_watch_report){
        .source = watch->source,
        .timeout_ns = watch->timeout_ns,
        .quiet_ns = watch->is_new ? 0 : watch->watchdog->checked_ns - watch->changed_ns,
        .hang_count = watch->hang_count,
        .kill_count = watch->kill_count,
        .is_hung = watch->is_hung};
    wrt__name_copy(report_out->name, sizeof report_out->name, watch->name);
    leave(watch->watchdog);
    return WRT_OK;
}

wrt_status wrt_watch_end(wrt_watch *watch)
{
    if (watch == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "watch is NULL");
    wrt_watchdog *watchdog = watch->watchdog;
    if (watchdog == NULL) return WRT_OK;
    wrt_status status = enter(__func__, watchdog);
    if (status != WRT_OK) return status;
    wrt_watch **link = find_link(watchdog, watch);
    if (link == NULL) {
        status = wrt_fail(WRT_ERR_STATE, __func__, "the record is none of its watchdog's");
    } else {
        *link = watch->next;
        note_recovery(watchdog, watch);
        watch->watchdog = NULL;
        watchdog->report.watch_count--;
    }
    leave(watchdog);
    return status;
}

/* ---- The whole ---- */

wrt_status wrt_watchdog_query(wrt_watchdog *watchdog, wrt_watchdog_report *report_out)
{
    const wrt_status status =
        report_out == NULL ? wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL")
                           : enter(__func__, watchdog);
    if (status != WRT_OK) return status;
    *report_out = watchdog->report;
    report_out->is_running = wrt__repeating_runs(&watchdog->monitor);
    leave(watchdog);
    return WRT_OK;
}

static wrt_status check_idle(const char *operation, const wrt_watchdog *watchdog)
{
    if (wrt__repeating_runs(&watchdog->monitor)) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the monitor thread runs: call wrt_watchdog_stop() first");
    }
    if (watchdog->first == NULL) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, operation, "{0} watches are out",
                           watchdog->report.watch_count, 0);
}

wrt_status wrt_watchdog_deinit(wrt_watchdog *watchdog)
{
    if (watchdog == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "watchdog is NULL");
    if (wrt__is_zero(watchdog, sizeof *watchdog)) return WRT_OK;
    wrt_status status = enter(__func__, watchdog);
    if (status != WRT_OK) return status;
    status = check_idle(__func__, watchdog);
    leave(watchdog);
    if (status == WRT_OK) status = wrt__guard_deinit(&watchdog->system, &watchdog->lock);
    if (status == WRT_OK) *watchdog = (wrt_watchdog){0};
    return status;
}
