/* What a manager finds when it looks at its threads, and what it does about it.
 *
 * Killing goes in three steps: ask (cancel the task), wait, give up. Asking is done under the
 * manager's lock, waiting is not, and the list is read anew each time: meanwhile threads may end,
 * be joined and be spawned. */
#include "atomic.h"
#include "fail.h"
#include "repeating_thread.h"
#include "safe_threading.h"
#include "threading.h"

enum { LOOK_AGAIN_NS = 1000000 }; /* at threads that are to come back */

static wrt_status now_of(const wrt_thread_manager *manager, uint64_t *now_out)
{
    return manager->system.ops->now(manager->system.self, now_out);
}

/* Notes when the heartbeat moved; returns how long it has not. */
static uint64_t quiet_time(wrt_managed_thread *thread, uint32_t heartbeat, uint64_t now)
{
    const bool is_first = (thread->flags & WRT__SEEN_RUNNING) == 0;

    if (is_first || heartbeat != thread->heartbeat) {
        thread->flags |= WRT__SEEN_RUNNING;
        thread->heartbeat = heartbeat;
        thread->changed_ns = now;
    }
    return now - thread->changed_ns;
}

static uint32_t health_of(const wrt_thread_manager *manager, const wrt__module_record *module,
                          const wrt_thread_health_report *row)
{
    const uint64_t quota =
        wrt__stricter(module->info.cpu_quota_ns, manager->limits.cpu_quota_per_thread_ns);
    const uint64_t lifetime = manager->limits.max_thread_lifetime_ns;

    if (row->state == WRT_TASK_LOST) return WRT_THREAD_POISONED;
    if (row->state != WRT_TASK_RUNNING) return WRT_THREAD_HEALTHY;
    if (quota != 0 && row->cpu_time_ns > quota) return WRT_THREAD_CPU_QUOTA_EXCEEDED;
    if (lifetime != 0 && row->lifetime_ns > lifetime) return WRT_THREAD_LIFETIME_EXCEEDED;
    if (row->quiet_ns > manager->response_timeout_ns) return WRT_THREAD_UNRESPONSIVE;
    return WRT_THREAD_HEALTHY;
}

/* Looks at one thread; false if it has ended. The lock is held. */
static bool assess(wrt_thread_manager *manager, wrt_managed_thread *thread, uint64_t now,
                   wrt_thread_health_report *row)
{
    const wrt__module_record *const module = thread->module;
    wrt_task_report report;

    if (wrt__managed_has_ended(thread)) {
        wrt__manager_note_end(manager, thread);
        return false;
    }
    if (wrt_task_query(&thread->task.task, &report) != WRT_OK || report.state == WRT_TASK_DONE) {
        return false;
    }
    *row = (wrt_thread_health_report){
        .id = report.id,
        .module = module->info.id,
        .state = report.state,
        .heartbeat = report.heartbeat,
        .lifetime_ns = report.run_time_ns,
        .cpu_time_ns = report.cpu_time_ns,
    };
    if (report.state == WRT_TASK_RUNNING) row->quiet_ns = quiet_time(thread, report.heartbeat, now);
    row->health = health_of(manager, module, row);
    return true;
}

/* Tells of a change of health. */
static void report_health(wrt_thread_manager *manager, wrt_managed_thread *thread, uint32_t health,
                          uint64_t now)
{
    if (health == WRT_THREAD_HEALTHY || health == thread->health) return;
    if (health == WRT_THREAD_POISONED) return; /* told when it was given up */
    thread->health = health;
    wrt__manager_post(manager, WRT_EVENT_THREAD_UNHEALTHY, thread, now);
}

wrt_status wrt_thread_manager_health_check(wrt_thread_manager *manager,
                                           wrt_thread_health_report *reports_out, uint32_t capacity,
                                           uint32_t *count_out)
{
    wrt_thread_health_report row;
    uint64_t now = 0;
    uint32_t count = 0;

    if (count_out == NULL || (reports_out == NULL && capacity != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "reports_out or count_out is NULL");
    }
    *count_out = 0;
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status == WRT_OK) status = now_of(manager, &now);
    if (status == WRT_OK) status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    for (wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if (!assess(manager, thread, now, &row)) continue;
        report_health(manager, thread, row.health, now);
        if (count < capacity) reports_out[count] = row;
        count++;
    }
    wrt__manager_leave(manager);
    *count_out = count;
    return WRT_OK;
}

/* Asks every thread to end that is not healthy. The lock is held. */
static void ask_unhealthy(wrt_thread_manager *manager, uint64_t now)
{
    wrt_thread_health_report row;

    for (wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if (!assess(manager, thread, now, &row)) continue;
        report_health(manager, thread, row.health, now);
        if (row.health == WRT_THREAD_HEALTHY || row.health == WRT_THREAD_POISONED) continue;
        if (wrt_task_cancel(&thread->task.task) == WRT_OK) thread->flags |= WRT__KILLED;
    }
}

/* How many killed threads have not come back; those that have are counted. The lock is held. */
static uint32_t count_missing(wrt_thread_manager *manager)
{
    uint32_t missing = 0;

    for (wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if ((thread->flags & WRT__KILLED) == 0) continue;
        if (wrt__managed_has_ended(thread)) {
            wrt__manager_note_end(manager, thread);
        } else {
            missing++;
        }
    }
    return missing;
}

/* The lock is held. */
static void give_up_missing(wrt_thread_manager *manager, uint64_t now)
{
    for (wrt_managed_thread *thread = manager->first; thread != NULL; thread = thread->next) {
        if ((thread->flags & WRT__KILLED) == 0 || wrt__managed_has_ended(thread)) continue;
        const wrt_status status = wrt_task_give_up(&thread->task.task, NULL);
        if (status == WRT_ERR_STATE) continue; /* it ended just now */
        thread->flags = (thread->flags & ~(uint32_t)WRT__KILLED) | WRT__GIVEN_UP;
        manager->report.given_up++;
        wrt__manager_post(manager, WRT_EVENT_THREAD_POISONED, thread, now);
    }
}

/* Looks again and again for threads that were asked to end. */
static wrt_status wait_for_missing(wrt_thread_manager *manager, uint64_t start)
{
    const wrt_thread_system *const system = &manager->system;
    const uint32_t nothing = 0;
    uint64_t now = start;

    for (;;) {
        wrt_status status = wrt__manager_enter(manager);
        if (status != WRT_OK) return status;
        const uint32_t missing = count_missing(manager);
        const bool is_over = now - start >= manager->kill_timeout_ns;
        if (missing != 0 && is_over) give_up_missing(manager, now);
        wrt__manager_leave(manager);
        if (missing == 0 || is_over) return WRT_OK;
        status = system->ops->wait(system->self, &nothing, 0, LOOK_AGAIN_NS);
        if (status == WRT_OK || status == WRT_ERR_TIMED_OUT) status = now_of(manager, &now);
        if (status != WRT_OK) return status;
    }
}

/* One killer at a time: the lock `killing` is held. */
static wrt_status kill_unhealthy(wrt_thread_manager *manager, uint32_t *stopped_out)
{
    uint64_t now = 0;

    wrt_status status = now_of(manager, &now);
    if (status == WRT_OK) status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    const uint32_t before = manager->report.killed + manager->report.given_up;
    ask_unhealthy(manager, now);
    wrt__manager_leave(manager);
    status = wait_for_missing(manager, now);
    if (status == WRT_OK) status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    *stopped_out = manager->report.killed + manager->report.given_up - before;
    wrt__manager_leave(manager);
    return WRT_OK;
}

wrt_status wrt_thread_manager_kill_unhealthy(wrt_thread_manager *manager, uint32_t *stopped_out)
{
    if (stopped_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stopped_out is NULL");
    }
    *stopped_out = 0;
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status == WRT_OK) status = wrt__guard_enter(&manager->system, &manager->killing);
    if (status != WRT_OK) return status;
    status = kill_unhealthy(manager, stopped_out);
    wrt__guard_leave(&manager->system, &manager->killing);
    return status;
}

static void monitor(void *context)
{
    wrt_thread_manager *const manager = context;
    uint64_t now = 0;
    uint32_t stopped = 0;

    while (wrt__repeating_wait(&manager->monitor, &manager->system, manager->check_interval_ns,
                               &now)) {
        if (wrt_thread_manager_kill_unhealthy(manager, &stopped) != WRT_OK) return;
    }
}

wrt_status wrt_thread_manager_start(wrt_thread_manager *manager)
{
    const wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    const wrt_thread_config config = {
        .struct_size = sizeof config,
        .priority = WRT_THREAD_PRIORITY_HIGH,
        .entry = monitor,
        .context = manager,
        .name = "wrt-manager",
    };
    return wrt__repeating_start(&manager->monitor, __func__, &manager->system, &config);
}

wrt_status wrt_thread_manager_stop(wrt_thread_manager *manager, uint64_t timeout_ns)
{
    const wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    return wrt__repeating_stop(&manager->monitor, __func__, &manager->system, timeout_ns);
}
