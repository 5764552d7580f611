/* Clocks, and the time-out that ends the next wait. */
#include "../common/host.h"

#include "../common/clock.h"
#include "kernel_call.h"
#include "kernel_state.h"

enum { NANOSECONDS = 1000000000 };

static uint64_t host_clock(clockid_t id)
{
    struct timespec time;

    if (clock_gettime(id, &time) != 0) return 0;
    return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

static uint64_t processor_time(const struct qk_thread *thread)
{
    clockid_t id;

    if (sim_clock_is_virtual()) {
        return qk_switched(QK_BREAK_CPU_CLOCK) ? sim_work_of_all() : thread->sim.worked;
    }
    return pthread_getcpuclockid(thread->host, &id) == 0 ? host_clock(id) : 0;
}

uint64_t qk_clock_read(enum qk_clock clock, const struct qk_thread *thread)
{
    switch (clock) {
    case QK_CLOCK_REAL:
        return sim_now() + sim_clock_day_offset();
    case QK_CLOCK_PROCESS:
        return sim_clock_is_virtual() ? sim_work_of_all() : host_clock(CLOCK_PROCESS_CPUTIME_ID);
    case QK_CLOCK_THREAD:
        return processor_time(thread);
    default:
        return sim_now();
    }
}

uint64_t qk_deadline(const qk_timeout *timeout)
{
    uint64_t from = timeout->clock == QK_CLOCK_REAL ? sim_clock_day_offset() : 0;

    if (timeout->immediate) return 0;
    if (timeout->absolute) return timeout->time > from ? timeout->time - from : 0;
    return timeout->time > QK_NEVER - 1 - sim_now() ? QK_NEVER - 1 : sim_now() + timeout->time;
}

static qk_error sleep_until(uint64_t deadline)
{
    struct qk_queue nobody = {NULL};
    qk_error error = qk_wait_until(&nobody, QK_STATE_SLEEP, deadline, deadline);

    return error == QK_ETIMEDOUT ? QK_OK : error;
}

qk_error qk_sleep(const char *call, const qk_timeout *timeout)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = sleep_until(qk_deadline(timeout));
    return qk_leave(error);
}

qk_error qk_timeout_arm(const char *call, const qk_timeout *timeout)
{
    qk_error error = qk_enter(call);

    if (error != QK_OK) return qk_leave(error);
    struct qk_thread *self = qk_current();
    self->timeout_armed = true;
    self->timeout_states = timeout->states;
    self->timeout_deadline = qk_deadline(timeout);
    return qk_leave_armed(QK_OK);
}

static qk_error tell_time(enum qk_clock clock, int32_t id, const uint64_t *set, uint64_t *time_out)
{
    const struct qk_thread *thread = qk_thread_find(id);

    if (thread == NULL) return QK_ESRCH;
    if (time_out != NULL) *time_out = qk_clock_read(clock, thread);
    if (set == NULL) return QK_OK;
    if (clock != QK_CLOCK_REAL) return QK_EINVAL;
    sim_clock_set_day_offset(*set - sim_now());
    return QK_OK;
}

qk_error qk_time(const char *call, enum qk_clock clock, int32_t thread, const uint64_t *set,
                 uint64_t *time_out)
{
    qk_error error = qk_enter(call);

    if (error == QK_OK) error = tell_time(clock, thread, set, time_out);
    return qk_leave(error);
}
