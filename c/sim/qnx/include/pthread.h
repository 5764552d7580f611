/* QNX: threads, and thin calls over SyncMutex* and SyncCondvar*. They return error numbers. */
#ifndef QNX_PTHREAD_H
#define QNX_PTHREAD_H

#include <sched.h>
#include <sys/types.h>
#include <time.h>

struct _thread_attr {
    int __flags;
    size_t __stacksize;
    void *__stackaddr;
    void (*__exitfunc)(void *status);
    int __policy;
    struct __sched_param __param;
    unsigned int __guardsize;
    unsigned int __prealloc;
    int __spare[2];
};

#define PTHREAD_CREATE_JOINABLE 0x00
#define PTHREAD_CREATE_DETACHED 0x01
#define PTHREAD_INHERIT_SCHED   0x00
#define PTHREAD_EXPLICIT_SCHED  0x02
#define PTHREAD_SCOPE_SYSTEM    0x00
#define PTHREAD_SCOPE_PROCESS   0x04

#define PTHREAD_PRIO_INHERIT 0
#define PTHREAD_PRIO_NONE    1
#define PTHREAD_PRIO_PROTECT 2

#define PTHREAD_MUTEX_DEFAULT    0
#define PTHREAD_MUTEX_ERRORCHECK 1
#define PTHREAD_MUTEX_RECURSIVE  2
#define PTHREAD_MUTEX_NORMAL     3

#define PTHREAD_MUTEX_STALLED 0x00
#define PTHREAD_MUTEX_ROBUST  0x10

#define PTHREAD_PROCESS_PRIVATE 0x00
#define PTHREAD_PROCESS_SHARED  0x01

#define PTHREAD_MUTEX_INITIALIZER                                                                  \
    {                                                                                              \
        {__QNX_7_OR_8(0x82000000u, 0x80000000u)}, 0                                                \
    }
#define PTHREAD_COND_INITIALIZER                                                                   \
    {                                                                                              \
        {CLOCK_REALTIME}, 0xfffffffbu                                                              \
    }

int pthread_attr_init(pthread_attr_t *attributes) __QNX_SYMBOL(pthread_attr_init);
int pthread_attr_destroy(pthread_attr_t *attributes) __QNX_SYMBOL(pthread_attr_destroy);
int pthread_attr_setdetachstate(pthread_attr_t *attributes, int state)
    __QNX_SYMBOL(pthread_attr_setdetachstate);
int pthread_attr_getdetachstate(const pthread_attr_t *attributes, int *state)
    __QNX_SYMBOL(pthread_attr_getdetachstate);
int pthread_attr_setinheritsched(pthread_attr_t *attributes, int inherit)
    __QNX_SYMBOL(pthread_attr_setinheritsched);
int pthread_attr_getinheritsched(const pthread_attr_t *attributes, int *inherit)
    __QNX_SYMBOL(pthread_attr_getinheritsched);
int pthread_attr_setschedpolicy(pthread_attr_t *attributes, int policy)
    __QNX_SYMBOL(pthread_attr_setschedpolicy);
int pthread_attr_getschedpolicy(const pthread_attr_t *attributes, int *policy)
    __QNX_SYMBOL(pthread_attr_getschedpolicy);
int pthread_attr_setschedparam(pthread_attr_t *attributes, const struct sched_param *param)
    __QNX_SYMBOL(pthread_attr_setschedparam);
int pthread_attr_getschedparam(const pthread_attr_t *attributes, struct sched_param *param)
    __QNX_SYMBOL(pthread_attr_getschedparam);
int pthread_attr_setscope(pthread_attr_t *attributes, int scope)
    __QNX_SYMBOL(pthread_attr_setscope);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
    __QNX_SYMBOL(pthread_attr_setstacksize);
int pthread_attr_getstacksize(const pthread_attr_t *attributes, size_t *size)
    __QNX_SYMBOL(pthread_attr_getstacksize);
int pthread_attr_setstackaddr(pthread_attr_t *attributes, void *address)
    __QNX_SYMBOL(pthread_attr_setstackaddr);
int pthread_attr_setstack(pthread_attr_t *attributes, void *address, size_t size)
    __QNX_SYMBOL(pthread_attr_setstack);
int pthread_attr_getstack(const pthread_attr_t *attributes, void **address, size_t *size)
    __QNX_SYMBOL(pthread_attr_getstack);
int pthread_attr_setguardsize(pthread_attr_t *attributes, size_t size)
    __QNX_SYMBOL(pthread_attr_setguardsize);
int pthread_attr_getguardsize(const pthread_attr_t *attributes, size_t *size)
    __QNX_SYMBOL(pthread_attr_getguardsize);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*start)(void *argument), void *argument) __QNX_SYMBOL(pthread_create);
int pthread_join(pthread_t thread, void **result) __QNX_SYMBOL(pthread_join);
int pthread_timedjoin(pthread_t thread, void **result, const struct timespec *until)
    __QNX_SYMBOL(pthread_timedjoin);
int pthread_detach(pthread_t thread) __QNX_SYMBOL(pthread_detach);
pthread_t pthread_self(void) __QNX_SYMBOL(pthread_self);
int pthread_equal(pthread_t first, pthread_t second) __QNX_SYMBOL(pthread_equal);
void pthread_exit(void *result) __QNX_SYMBOL(pthread_exit) __attribute__((noreturn));
int pthread_setname_np(pthread_t thread, const char *name) __QNX_SYMBOL(pthread_setname_np);
int pthread_getname_np(pthread_t thread, char *name, int size) __QNX_SYMBOL(pthread_getname_np);
int pthread_setschedparam(pthread_t thread, int policy, const struct sched_param *param)
    __QNX_SYMBOL(pthread_setschedparam);
int pthread_getschedparam(pthread_t thread, int *policy, struct sched_param *param)
    __QNX_SYMBOL(pthread_getschedparam);
int pthread_setschedprio(pthread_t thread, int priority) __QNX_SYMBOL(pthread_setschedprio);
int pthread_getcpuclockid(pthread_t thread, clockid_t *id) __QNX_SYMBOL(pthread_getcpuclockid);

int pthread_mutexattr_init(pthread_mutexattr_t *attributes) __QNX_SYMBOL(pthread_mutexattr_init);
int pthread_mutexattr_destroy(pthread_mutexattr_t *attributes)
    __QNX_SYMBOL(pthread_mutexattr_destroy);
int pthread_mutexattr_settype(pthread_mutexattr_t *attributes, int type)
    __QNX_SYMBOL(pthread_mutexattr_settype);
int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attributes, int protocol)
    __QNX_SYMBOL(pthread_mutexattr_setprotocol);
int pthread_mutexattr_setprioceiling(pthread_mutexattr_t *attributes, int ceiling)
    __QNX_SYMBOL(pthread_mutexattr_setprioceiling);
int pthread_mutexattr_setpshared(pthread_mutexattr_t *attributes, int shared)
    __QNX_SYMBOL(pthread_mutexattr_setpshared);
int pthread_mutexattr_setrobust(pthread_mutexattr_t *attributes, int robust)
    __QNX_SYMBOL(pthread_mutexattr_setrobust);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
    __QNX_SYMBOL(pthread_mutex_init);
int pthread_mutex_destroy(pthread_mutex_t *mutex) __QNX_SYMBOL(pthread_mutex_destroy);
int pthread_mutex_lock(pthread_mutex_t *mutex) __QNX_SYMBOL(pthread_mutex_lock);
int pthread_mutex_trylock(pthread_mutex_t *mutex) __QNX_SYMBOL(pthread_mutex_trylock);
int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
    __QNX_SYMBOL(pthread_mutex_timedlock);
int pthread_mutex_unlock(pthread_mutex_t *mutex) __QNX_SYMBOL(pthread_mutex_unlock);
int pthread_mutex_consistent(pthread_mutex_t *mutex) __QNX_SYMBOL(pthread_mutex_consistent);
int pthread_mutex_setprioceiling(pthread_mutex_t *mutex, int ceiling, int *old)
    __QNX_SYMBOL(pthread_mutex_setprioceiling);
int pthread_mutex_getprioceiling(pthread_mutex_t *mutex, int *ceiling)
    __QNX_SYMBOL(pthread_mutex_getprioceiling);

int pthread_condattr_init(pthread_condattr_t *attributes) __QNX_SYMBOL(pthread_condattr_init);
int pthread_condattr_destroy(pthread_condattr_t *attributes) __QNX_SYMBOL(pthread_condattr_destroy);
int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t id)
    __QNX_SYMBOL(pthread_condattr_setclock);
int pthread_condattr_getclock(const pthread_condattr_t *attributes, clockid_t *id)
    __QNX_SYMBOL(pthread_condattr_getclock);
int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
    __QNX_SYMBOL(pthread_cond_init);
int pthread_cond_destroy(pthread_cond_t *condition) __QNX_SYMBOL(pthread_cond_destroy);
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    __QNX_SYMBOL(pthread_cond_wait);
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until) __QNX_SYMBOL(pthread_cond_timedwait);
int pthread_cond_signal(pthread_cond_t *condition) __QNX_SYMBOL(pthread_cond_signal);
int pthread_cond_broadcast(pthread_cond_t *condition) __QNX_SYMBOL(pthread_cond_broadcast);

#endif
