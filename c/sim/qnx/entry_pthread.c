/* QNX: threads by <pthread.h>. */
#include <pthread.h>
#include <string.h>
#include <sys/neutrino.h>

#include "entry_answer.h"
#include "entry_clock.h"

static qk_error check_scheduling(int policy, int priority)
{
    if (policy < SCHED_FIFO || policy > SCHED_SPORADIC) return QK_EINVAL;
    return priority < QK_PRIORITY_MIN || priority > QK_PRIORITY_MAX ? QK_EINVAL : QK_OK;
}

static qk_error config_of(const pthread_attr_t *attributes, qk_thread_config *out)
{
    *out = (qk_thread_config){.explicit_scheduling = false};
    if (attributes == NULL) return QK_OK;
    if (!qk_may_read(attributes, sizeof *attributes)) return QK_EFAULT;
    *out = (qk_thread_config){
        .explicit_scheduling = (attributes->__flags & PTHREAD_EXPLICIT_SCHED) != 0,
        .policy = attributes->__policy,
        .priority = attributes->__param.__sched_priority,
        .detached = (attributes->__flags & PTHREAD_CREATE_DETACHED) != 0,
        .stack_size = attributes->__stacksize,
        .stack = attributes->__stackaddr,
        .guard_size = attributes->__guardsize,
    };
    return out->explicit_scheduling ? check_scheduling(out->policy, out->priority) : QK_OK;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*start)(void *argument), void *argument)
{
    qk_thread_config config;
    int32_t unused;
    qk_error error = config_of(attributes, &config);

    if (error != QK_OK) return sim_number(error);
    return sim_number(
        qk_thread_create(&config, start, argument, thread == NULL ? &unused : thread));
}

int pthread_join(pthread_t thread, void **result)
{
    return sim_number(qk_thread_join(thread, result));
}

int pthread_timedjoin(pthread_t thread, void **result, const struct timespec *until)
{
    qk_timeout timeout;
    qk_error error = sim_timeout_until(CLOCK_REALTIME, until, QK_STATE_JOIN, &timeout);

    if (error == QK_OK) error = qk_timeout_arm("TimerTimeout", &timeout);
    return error == QK_OK ? pthread_join(thread, result) : sim_number(error);
}

int pthread_detach(pthread_t thread)
{
    return sim_number(qk_thread_detach(thread));
}

pthread_t pthread_self(void)
{
    return qk_thread_self();
}

int pthread_equal(pthread_t first, pthread_t second)
{
    return first == second;
}

void pthread_exit(void *result)
{
    qk_thread_exit(result);
}

int pthread_setname_np(pthread_t thread, const char *name)
{
    return sim_number(qk_thread_name("pthread_setname_np", thread, name == NULL ? "" : name, NULL));
}

int pthread_getname_np(pthread_t thread, char *name, int size)
{
    char text[QK_THREAD_NAME_MAX];
    qk_error error = qk_thread_name("pthread_getname_np", thread, NULL, text);
    int length = 0;

    if (error != QK_OK) return sim_number(error);
    while (text[length] != '\0') length++;
    if (length >= size) return sim_number(QK_E2BIG);
    memcpy(name, text, (size_t)length + 1);
    return 0;
}

int pthread_setschedparam(pthread_t thread, int policy, const struct sched_param *param)
{
    qk_error error = check_scheduling(policy, param->sched_priority);

    if (error != QK_OK) return sim_number(error);
    return sim_number(qk_scheduling_set("SchedSet", thread, policy, param->sched_priority));
}

int pthread_getschedparam(pthread_t thread, int *policy, struct sched_param *param)
{
    qk_scheduling scheduling;
    qk_error error = qk_scheduling_get("SchedGet", thread, &scheduling);

    if (error != QK_OK) return sim_number(error);
    memset(param, 0, sizeof *param);
    param->sched_priority = scheduling.priority;
    param->sched_curpriority = scheduling.current;
    *policy = scheduling.policy < 0 ? SCHED_RR : scheduling.policy;
    return 0;
}

int pthread_setschedprio(pthread_t thread, int priority)
{
    return sim_number(qk_scheduling_set("SchedSet", thread, -1, priority));
}

int pthread_getcpuclockid(pthread_t thread, clockid_t *id)
{
    clockid_t found = ClockId_r(0, thread);

    if (found < 0) return -found;
    *id = found;
    return 0;
}
