/* The calls for threads, as the backend makes them; see sys.c. */
#include "sys.h"

int wrt__sys_futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *timeout)
{
    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout, NULL, 0);
}

int wrt__sys_futex_wake(const uint32_t *word, uint32_t count)
{
    const int most = count > INT32_MAX ? INT32_MAX : (int)count;

    if (wrt__sys_fails()) return -1;
    return (int)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
}

/* ---- Scheduling, by the number of a thread ---- */

int wrt__sys_setaffinity(pid_t id, const cpu_set_t *cpus)
{
    return wrt__sys_fails() ? -1 : sched_setaffinity(id, sizeof *cpus, cpus);
}

int wrt__sys_getaffinity(pid_t id, cpu_set_t *cpus)
{
    return wrt__sys_fails() ? -1 : sched_getaffinity(id, sizeof *cpus, cpus);
}

int wrt__sys_setscheduler(pid_t id, int policy, int priority)
{
    const struct sched_param parameters = {.sched_priority = priority};

    return wrt__sys_fails() ? -1 : sched_setscheduler(id, policy, &parameters);
}

int wrt__sys_getscheduler(pid_t id, int *priority_out)
{
    struct sched_param parameters = {0};

    if (wrt__sys_fails()) return -1;
    const int policy = sched_getscheduler(id);
    if (policy < 0 || sched_getparam(id, &parameters) != 0) return -1;
    *priority_out = parameters.sched_priority;
    return policy & ~SCHED_RESET_ON_FORK;
}

int wrt__sys_setnice(pid_t id, int nice_value)
{
    return wrt__sys_fails() ? -1 : setpriority(PRIO_PROCESS, (id_t)id, nice_value);
}

/* -1 is a nice value as well, so errno tells. */
int wrt__sys_getnice(pid_t id, int *nice_value_out)
{
    if (wrt__sys_fails()) return -1;
    errno = 0;
    *nice_value_out = getpriority(PRIO_PROCESS, (id_t)id);
    return errno == 0 ? 0 : -1;
}

/* ---- Threads ---- */

int wrt__sys_thread_create(pthread_t *thread, const pthread_attr_t *attributes,
                           void *(*entry)(void *), void *context)
{
    return wrt__sys_fails() ? errno : pthread_create(thread, attributes, entry, context);
}

int wrt__sys_thread_join(pthread_t thread, const struct timespec *deadline)
{
    if (wrt__sys_fails()) return errno;
    return deadline == NULL ? pthread_join(thread, NULL)
                            : pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, deadline);
}

int wrt__sys_thread_detach(pthread_t thread)
{
    return wrt__sys_fails() ? errno : pthread_detach(thread);
}

int wrt__sys_thread_name(pthread_t thread, char *name, size_t size)
{
    return wrt__sys_fails() ? errno : pthread_getname_np(thread, name, size);
}

int wrt__sys_thread_set_name(pthread_t thread, const char *name)
{
    return wrt__sys_fails() ? errno : pthread_setname_np(thread, name);
}

int wrt__sys_thread_attributes(pthread_t thread, pthread_attr_t *attributes)
{
    return wrt__sys_fails() ? errno : pthread_getattr_np(thread, attributes);
}

int wrt__sys_thread_clock(pthread_t thread, clockid_t *clock_out)
{
    return wrt__sys_fails() ? errno : pthread_getcpuclockid(thread, clock_out);
}

/* ---- Mutexes ---- */

int wrt__sys_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    return wrt__sys_fails() ? errno : pthread_mutex_init(mutex, attributes);
}

int wrt__sys_mutex_lock(pthread_mutex_t *mutex)
{
    return wrt__sys_fails() ? errno : pthread_mutex_lock(mutex);
}

int wrt__sys_mutex_trylock(pthread_mutex_t *mutex)
{
    return wrt__sys_fails() ? errno : pthread_mutex_trylock(mutex);
}

int wrt__sys_mutex_timedlock(pthread_mutex_t *mutex, clockid_t clock,
                             const struct timespec *deadline)
{
    return wrt__sys_fails() ? errno : pthread_mutex_clocklock(mutex, clock, deadline);
}

int wrt__sys_mutex_unlock(pthread_mutex_t *mutex)
{
    return wrt__sys_fails() ? errno : pthread_mutex_unlock(mutex);
}

int wrt__sys_mutex_consistent(pthread_mutex_t *mutex)
{
    return wrt__sys_fails() ? errno : pthread_mutex_consistent(mutex);
}

int wrt__sys_mutex_destroy(pthread_mutex_t *mutex)
{
    return wrt__sys_fails() ? errno : pthread_mutex_destroy(mutex);
}

/* ---- Event counters ---- */

int wrt__sys_eventfd(void)
{
    return wrt__sys_fails() ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int wrt__sys_eventfd_add(int descriptor)
{
    return wrt__sys_fails() ? -1 : eventfd_write(descriptor, 1);
}

int wrt__sys_eventfd_take(int descriptor, uint64_t *count_out)
{
    return wrt__sys_fails() ? -1 : eventfd_read(descriptor, count_out);
}
