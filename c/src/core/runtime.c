/* A runtime: watchdog first, threads second, and the other way round at the end, so that there is
 * never a thread which nobody watches. */
#include "wrt_platform/runtime.h"
#include "config.h"
#include "fail.h"

enum { RUNTIME_MAGIC = 0x72756E74 };

static wrt_status check(const char *operation, const wrt_runtime *runtime)
{
    if (runtime == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "runtime is NULL");
    if (runtime->magic != RUNTIME_MAGIC) {
        return wrt_fail(WRT_ERR_STATE, operation, "the runtime is not initialised");
    }
    if (runtime->self != runtime) {
        return wrt_fail(WRT_ERR_STATE, operation, "the runtime was moved");
    }
    return WRT_OK;
}

/* Reads all three configs, and fills in what the parts share. */
static wrt_status read_config(const char *operation, const wrt_runtime_config *given,
                              wrt_runtime_config *config, wrt_thread_manager_config *threads,
                              wrt_watchdog_config *watchdog)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->threads == NULL || config->watchdog == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "threads or watchdog of the config is NULL");
    }
    status = wrt__config_read(operation, config->threads, threads, sizeof *threads);
    if (status != WRT_OK) return status;
    threads->struct_size = sizeof *threads;
    if (threads->account == NULL) threads->account = config->account;
    if (threads->events == NULL) threads->events = config->events;
    status = wrt__config_read(operation, config->watchdog, watchdog, sizeof *watchdog);
    if (status != WRT_OK) return status;
    watchdog->struct_size = sizeof *watchdog;
    if (watchdog->events == NULL) watchdog->events = config->events;
    if (watchdog->system.ops == NULL && threads->threads != NULL) {
        watchdog->system = threads->threads->system;
    }
    return WRT_OK;
}

static wrt_status start_watchdog(wrt_runtime *runtime, const wrt_watchdog_config *config)
{
    wrt_status status = wrt_watchdog_init(&runtime->watchdog, config);
    if (status != WRT_OK) return status;
    status = wrt_watchdog_start(&runtime->watchdog);
    if (status != WRT_OK) {
        const wrt_status undone = wrt_watchdog_deinit(&runtime->watchdog);
        (void)undone;
    }
    return status;
}

static void end_watchdog(wrt_runtime *runtime)
{
    wrt_status undone = wrt_watchdog_stop(&runtime->watchdog, UINT64_MAX);
    if (undone == WRT_OK) undone = wrt_watchdog_deinit(&runtime->watchdog);
    (void)undone;
}

static wrt_status start_threads(wrt_runtime *runtime, const wrt_thread_manager_config *config)
{
    wrt_status status = wrt_thread_manager_init(&runtime->thread_manager, config);
    if (status != WRT_OK) return status;
    status = wrt_thread_manager_start(&runtime->thread_manager);
    if (status != WRT_OK) {
        wrt_status undone =
            wrt_thread_manager_shutdown(&runtime->thread_manager, WRT_SHUTDOWN_CANCEL, UINT64_MAX);
        if (undone == WRT_OK) undone = wrt_thread_manager_deinit(&runtime->thread_manager);
        (void)undone;
    }
    return status;
}

wrt_status wrt_runtime_init(wrt_runtime *runtime, const wrt_runtime_config *config)
{
    wrt_runtime_config known;
    wrt_thread_manager_config threads;
    wrt_watchdog_config watchdog;

    if (runtime == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "runtime is NULL");
    wrt_status status = read_config(__func__, config, &known, &threads, &watchdog);
    if (status != WRT_OK) return status;
    const wrt_runtime before = *runtime; /* the parts are made in place */
    *runtime = (wrt_runtime){
        .self = runtime,
        .account = known.account,
        .isolation = known.isolation,
        .memory_limit = known.memory_limit,
        .magic = RUNTIME_MAGIC,
    };
    status = start_watchdog(runtime, &watchdog);
    if (status == WRT_OK) {
        status = start_threads(runtime, &threads);
        if (status != WRT_OK) {
            const wrt_error error = *wrt_error_last();
            end_watchdog(runtime);
            status = wrt_fail_again(&error);
        }
    }
    if (status != WRT_OK) *runtime = before;
    return status;
}

wrt_thread_manager *wrt_runtime_thread_manager(wrt_runtime *runtime)
{
    return check(__func__, runtime) == WRT_OK ? &runtime->thread_manager : NULL;
}

wrt_watchdog *wrt_runtime_watchdog(wrt_runtime *runtime)
{
    return check(__func__, runtime) == WRT_OK ? &runtime->watchdog : NULL;
}

static wrt_enforcement not_asked(void)
{
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED, .reason = "no limit is set"};
}

static wrt_enforcement limit_of(bool is_set, uint32_t state, const char *reason)
{
    return is_set ? (wrt_enforcement){.state = state, .reason = reason} : not_asked();
}

static const char BY_ACCOUNT[] =
    "linear memory of the library's page allocators is counted, and refused beyond it; other "
    "memory of the process is not in it";
static const char COOPERATIVE[] =
    "checked by the monitor; the guest stops at its next loop or call, a host function that does "
    "not come back is given up, not stopped";

static void describe_protections(const wrt_runtime_parts *parts, wrt_runtime_report *report)
{
    const wrt_threading_limits *const limits = &parts->thread_manager->limits;
    const bool is_limited = parts->account != NULL &&
                            (report->memory.maximum != 0 || report->memory.available != UINT64_MAX);

    report->isolation = parts->isolation;
    if (report->isolation.reason == NULL) {
        report->isolation.reason = "no partition is set; the engine's bounds checks hold always";
    }
    report->memory_limit = parts->memory_limit.reason != NULL
                               ? parts->memory_limit
                               : limit_of(is_limited, WRT_ENFORCEMENT_PARTIAL, BY_ACCOUNT);
    report->module_memory_limit =
        limit_of(limits->memory_limit_per_module != 0, WRT_ENFORCEMENT_PARTIAL, BY_ACCOUNT);
    report->thread_limit =
        limit_of(limits->max_total_threads != 0 || limits->max_threads_per_module != 0,
                 WRT_ENFORCEMENT_ENFORCED, "a thread beyond it is not spawned");
    report->lifetime =
        limit_of(limits->max_thread_lifetime_ns != 0, WRT_ENFORCEMENT_PARTIAL, COOPERATIVE);
    report->cpu_quota =
        limit_of(limits->cpu_quota_per_thread_ns != 0, WRT_ENFORCEMENT_PARTIAL, COOPERATIVE);
    report->hang_detection = (wrt_enforcement){
        .state = report->watchdog.is_running ? WRT_ENFORCEMENT_ENFORCED : WRT_ENFORCEMENT_ABSENT,
        .reason = report->watchdog.is_running ? "watches are checked in each check interval"
                                              : "the watchdog was stopped",
    };
    report->hang_kill = limit_of(parts->watchdog->auto_kill, WRT_ENFORCEMENT_PARTIAL, COOPERATIVE);
}

/* The parts are there. */
static wrt_status query(const wrt_runtime_parts *parts, wrt_runtime_report *report_out)
{
    wrt_runtime_report report = {0};

    wrt_status status = wrt_thread_manager_query(parts->thread_manager, &report.threads);
    if (status == WRT_OK) status = wrt_watchdog_query(parts->watchdog, &report.watchdog);
    if (status == WRT_OK && parts->account != NULL) {
        status = wrt_memory_account_query(parts->account, &report.memory);
    }
    if (status != WRT_OK) return status;
    describe_protections(parts, &report);
    *report_out = report;
    return WRT_OK;
}

wrt_status wrt_runtime_query(wrt_runtime *runtime, wrt_runtime_report *report_out)
{
    const wrt_status status = check(__func__, runtime);
    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_runtime_parts parts = {
        .struct_size = sizeof parts,
        .thread_manager = &runtime->thread_manager,
        .watchdog = &runtime->watchdog,
        .account = runtime->account,
        .isolation = runtime->isolation,
        .memory_limit = runtime->memory_limit,
    };
    return query(&parts, report_out);
}

wrt_status wrt_runtime_query_parts(const wrt_runtime_parts *parts, wrt_runtime_report *report_out)
{
    wrt_runtime_parts known;

    const wrt_status status = wrt__config_read(__func__, parts, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes of the parts are not 0");
    }
    if (known.thread_manager == NULL || known.watchdog == NULL || report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "thread_manager or watchdog of the parts, or report_out, is NULL");
    }
    return query(&known, report_out);
}

wrt_status wrt_runtime_shutdown(wrt_runtime *runtime, uint32_t mode, uint64_t timeout_ns)
{
    wrt_status status = check(__func__, runtime);
    if (status != WRT_OK) return status;
    status = wrt_thread_manager_shutdown(&runtime->thread_manager, mode, timeout_ns);
    if (status == WRT_OK) status = wrt_watchdog_stop(&runtime->watchdog, timeout_ns);
    return status;
}

wrt_status wrt_runtime_deinit(wrt_runtime *runtime)
{
    if (runtime == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "runtime is NULL");
    if (runtime->magic == 0) return WRT_OK;
    wrt_status status = check(__func__, runtime);
    if (status == WRT_OK) status = wrt_thread_manager_deinit(&runtime->thread_manager);
    if (status == WRT_OK) status = wrt_watchdog_deinit(&runtime->watchdog);
    if (status != WRT_OK) return status;
    *runtime = (wrt_runtime){0};
    return WRT_OK;
}
