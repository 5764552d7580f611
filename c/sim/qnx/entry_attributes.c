/* QNX: the attributes of new threads. */
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "entry_answer.h"

enum { DEFAULT_GUARD = 4096 };

static bool is_policy(int policy)
{
    return policy >= SCHED_FIFO && policy <= SCHED_SPORADIC;
}

static int set_flag(pthread_attr_t *attributes, int bit, int value)
{
    if ((value & ~bit) != 0) return sim_number(QK_EINVAL);
    attributes->__flags = (attributes->__flags & ~bit) | value;
    return 0;
}

int pthread_attr_init(pthread_attr_t *attributes)
{
    memset(attributes, 0, sizeof *attributes);
    attributes->__policy = SCHED_RR;
    attributes->__guardsize = DEFAULT_GUARD;
    return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes)
{
    memset(attributes, 0, sizeof *attributes);
    return 0;
}

int pthread_attr_setdetachstate(pthread_attr_t *attributes, int state)
{
    return set_flag(attributes, PTHREAD_CREATE_DETACHED, state);
}

int pthread_attr_getdetachstate(const pthread_attr_t *attributes, int *state)
{
    *state = attributes->__flags & PTHREAD_CREATE_DETACHED;
    return 0;
}

int pthread_attr_setinheritsched(pthread_attr_t *attributes, int inherit)
{
    return set_flag(attributes, PTHREAD_EXPLICIT_SCHED, inherit);
}

int pthread_attr_getinheritsched(const pthread_attr_t *attributes, int *inherit)
{
    *inherit = attributes->__flags & PTHREAD_EXPLICIT_SCHED;
    return 0;
}

int pthread_attr_setscope(pthread_attr_t *attributes, int scope)
{
    (void)attributes;
    if (scope == PTHREAD_SCOPE_PROCESS) return sim_number(QK_ENOTSUP);
    return scope == PTHREAD_SCOPE_SYSTEM ? 0 : sim_number(QK_EINVAL);
}

int pthread_attr_setschedpolicy(pthread_attr_t *attributes, int policy)
{
    if (!is_policy(policy)) return sim_number(QK_EINVAL);
    attributes->__policy = policy;
    return 0;
}

int pthread_attr_getschedpolicy(const pthread_attr_t *attributes, int *policy)
{
    *policy = attributes->__policy;
    return 0;
}

int pthread_attr_setschedparam(pthread_attr_t *attributes, const struct sched_param *param)
{
    if (param->sched_priority < QK_PRIORITY_MIN || param->sched_priority > QK_PRIORITY_MAX) {
        return sim_number(QK_EINVAL);
    }
    memcpy(&attributes->__param, param, sizeof attributes->__param);
    return 0;
}

int pthread_attr_getschedparam(const pthread_attr_t *attributes, struct sched_param *param)
{
    memcpy(param, &attributes->__param, sizeof *param);
    return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
{
    if (size < PTHREAD_STACK_MIN) return sim_number(QK_EINVAL);
    attributes->__stacksize = size;
    return 0;
}

int pthread_attr_getstacksize(const pthread_attr_t *attributes, size_t *size)
{
    *size = attributes->__stacksize;
    return 0;
}

int pthread_attr_setstackaddr(pthread_attr_t *attributes, void *address)
{
    attributes->__stackaddr = address;
    return 0;
}

int pthread_attr_setstack(pthread_attr_t *attributes, void *address, size_t size)
{
    int code = pthread_attr_setstacksize(attributes, size);

    if (code == 0) attributes->__stackaddr = address;
    return code;
}

int pthread_attr_getstack(const pthread_attr_t *attributes, void **address, size_t *size)
{
    *address = attributes->__stackaddr;
    *size = attributes->__stacksize;
    return 0;
}

int pthread_attr_setguardsize(pthread_attr_t *attributes, size_t size)
{
    attributes->__guardsize = (unsigned int)size;
    return 0;
}

int pthread_attr_getguardsize(const pthread_attr_t *attributes, size_t *size)
{
    *size = attributes->__guardsize;
    return 0;
}
