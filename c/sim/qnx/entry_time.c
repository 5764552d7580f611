/* QNX: clocks and time-outs. */
#include <sys/neutrino.h>
#include <time.h>

#include "entry_answer.h"
#include "entry_clock.h"

enum { NANOSECONDS = 1000000000 };

qk_error sim_clock_of(clockid_t id, enum qk_clock *clock_out, int32_t *thread_out)
{
    *thread_out = 0;
    switch (id) {
    case CLOCK_REALTIME:
        *clock_out = QK_CLOCK_REAL;
        return QK_OK;
    case CLOCK_MONOTONIC:
        *clock_out = QK_CLOCK_MONOTONIC;
        return QK_OK;
    case CLOCK_PROCESS_CPUTIME_ID:
        *clock_out = QK_CLOCK_PROCESS;
        return QK_OK;
    case CLOCK_THREAD_CPUTIME_ID:
        *clock_out = QK_CLOCK_THREAD;
        return QK_OK;
    default:
        break;
    }
    if (id <= SIM_THREAD_CLOCK) return QK_EINVAL;
    *clock_out = QK_CLOCK_THREAD;
    *thread_out = id - SIM_THREAD_CLOCK;
    return QK_OK;
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * NANOSECONDS + (uint64_t)time->tv_nsec;
}

static bool is_time(const struct timespec *time)
{
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < NANOSECONDS;
}

static struct timespec timespec_of(uint64_t time)
{
    struct timespec out = {(time_t)(time / NANOSECONDS), (long)(time % NANOSECONDS)};

    return out;
}

static qk_error only_running(clockid_t id, enum qk_clock *clock_out)
{
    int32_t thread;
    qk_error error = sim_clock_of(id, clock_out, &thread);

    if (error != QK_OK) return error;
    return *clock_out == QK_CLOCK_REAL || *clock_out == QK_CLOCK_MONOTONIC ? QK_OK : QK_EINVAL;
}

qk_error sim_timeout_until(clockid_t id, const struct timespec *until, uint32_t states,
                           qk_timeout *timeout_out)
{
    enum qk_clock clock;
    qk_error error = only_running(id, &clock);

    if (error != QK_OK) return error;
    if (!qk_may_read(until, sizeof *until)) return QK_EFAULT;
    if (!is_time(until)) return QK_EINVAL;
    *timeout_out = (qk_timeout){clock, states, true, false, nanoseconds(until)};
    return QK_OK;
}

static uint32_t states_of(int flags)
{
    return ((flags & _NTO_TIMEOUT_RECEIVE) != 0 ? QK_STATE_RECEIVE : 0u) |
           ((flags & _NTO_TIMEOUT_NANOSLEEP) != 0 ? QK_STATE_SLEEP : 0u) |
           ((flags & _NTO_TIMEOUT_MUTEX) != 0 ? QK_STATE_MUTEX : 0u) |
           ((flags & _NTO_TIMEOUT_CONDVAR) != 0 ? QK_STATE_CONDVAR : 0u) |
           ((flags & _NTO_TIMEOUT_JOIN) != 0 ? QK_STATE_JOIN : 0u) |
           ((flags & _NTO_TIMEOUT_SEM) != 0 ? QK_STATE_SEMAPHORE : 0u);
}

/* Only the event that unblocks is simulated: what programs use, and what NULL means. */
static qk_error check_notify(const struct sigevent *notify)
{
    if (notify == NULL) return QK_OK;
    if (!qk_may_read(notify, sizeof *notify)) return QK_EFAULT;
    return notify->sigev_notify == SIGEV_UNBLOCK ? QK_OK : QK_EINVAL;
}

static qk_error arm(clockid_t id, int flags, const struct sigevent *notify, const uint64_t *time,
                    uint64_t *left)
{
    qk_timeout timeout = {.immediate = time == NULL, .states = states_of(flags)};
    qk_error error = only_running(id, &timeout.clock);

    if (error == QK_OK) error = check_notify(notify);
    if (error == QK_OK && time != NULL && !qk_may_read(time, sizeof *time)) error = QK_EFAULT;
    if (error != QK_OK) return error;
    timeout.absolute = ((unsigned int)flags & TIMER_ABSTIME) != 0;
    if (time != NULL) timeout.time = *time;
    if (left != NULL) *left = 0;
    if ((timeout.states & QK_STATE_SLEEP) == 0) return qk_timeout_arm("TimerTimeout", &timeout);
    return qk_sleep("TimerTimeout", &timeout);
}

int TimerTimeout(clockid_t id, int flags, const struct sigevent *notify, const uint64_t *time,
                 uint64_t *left)
{
    return sim_answer(arm(id, flags, notify, time, left));
}

int TimerTimeout_r(clockid_t id, int flags, const struct sigevent *notify, const uint64_t *time,
                   uint64_t *left)
{
    return sim_answer_negative(arm(id, flags, notify, time, left));
}

static qk_error tell(const char *call, clockid_t id, const uint64_t *set, uint64_t *time)
{
    enum qk_clock clock;
    int32_t thread;
    qk_error error = sim_clock_of(id, &clock, &thread);

    if (error != QK_OK) return error;
    if (set != NULL && !qk_may_read(set, sizeof *set)) return QK_EFAULT;
    if (time != NULL && !qk_may_write(time, sizeof *time)) return QK_EFAULT;
    return qk_time(call, clock, thread, set, time);
}

int ClockTime(clockid_t id, const uint64_t *set, uint64_t *time)
{
    return sim_answer(tell("ClockTime", id, set, time));
}

int ClockTime_r(clockid_t id, const uint64_t *set, uint64_t *time)
{
    return sim_answer_negative(tell("ClockTime", id, set, time));
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    uint64_t now;

    if (!qk_may_write(time, sizeof *time)) return sim_answer(QK_EFAULT);
    if (sim_answer(tell("clock_gettime", id, NULL, &now)) != 0) return -1;
    *time = timespec_of(now);
    return 0;
}

int clock_getres(clockid_t id, struct timespec *resolution)
{
    enum qk_clock clock;
    int32_t thread;

    if (sim_answer(sim_clock_of(id, &clock, &thread)) != 0) return -1;
    if (resolution != NULL) *resolution = timespec_of(1);
    return 0;
}

static qk_error sleep_for(clockid_t id, int flags, const struct timespec *time)
{
    qk_timeout timeout = {.absolute = ((unsigned int)flags & TIMER_ABSTIME) != 0};
    qk_error error = only_running(id, &timeout.clock);

    if (error != QK_OK) return error;
    if (!qk_may_read(time, sizeof *time)) return QK_EFAULT;
    if (!is_time(time)) return QK_EINVAL;
    timeout.time = nanoseconds(time);
    return qk_sleep("nanosleep", &timeout);
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    if (left != NULL) *left = timespec_of(0);
    return sim_answer(sleep_for(CLOCK_REALTIME, 0, time));
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *time, struct timespec *left)
{
    if (left != NULL) *left = timespec_of(0);
    return sim_number(sleep_for(id, flags, time));
}

/* The number of a thread's clock; SchedGet tells whether there is such a thread. */
static qk_error clock_id(pid_t process, int thread, clockid_t *id_out)
{
    qk_scheduling scheduling;

    if (process != 0 && process != qk_process_id()) return QK_ESRCH;
    *id_out = CLOCK_PROCESS_CPUTIME_ID;
    if (thread == 0) return QK_OK;
    *id_out = SIM_THREAD_CLOCK + thread;
    return qk_scheduling_get("ClockId", thread, &scheduling);
}

int ClockId(pid_t process, int thread)
{
    clockid_t id = 0;

    return sim_answer(clock_id(process, thread, &id)) == 0 ? id : -1;
}

int ClockId_r(pid_t process, int thread)
{
    clockid_t id;
    qk_error error = clock_id(process, thread, &id);

    return error == QK_OK ? id : sim_answer_negative(error);
}
