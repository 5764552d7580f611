/* QNX: the types of POSIX. */
#ifndef QNX_SYS_TYPES_H
#define QNX_SYS_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/platform.h>

typedef intptr_t ssize_t;
typedef int64_t off_t;
typedef int32_t pid_t;
typedef uint32_t mode_t;
typedef int32_t uid_t;
typedef int32_t gid_t;
typedef int32_t id_t;
typedef int64_t time_t;
typedef uint32_t clock_t;
typedef int clockid_t;
typedef int timer_t;

/* A mutex, condition variable or semaphore. */
typedef struct _sync {
    union {
        unsigned int __count; /* recursion or value; the upper bits are flags of a mutex */
        int __fd;
        int __clockid;
    } __u;
    unsigned int __owner; /* thread, or what kind of thing this is */
} sync_t;

/* How one is made. */
struct _sync_attr {
    int __protocol;
    int __flags;
    int __prioceiling;
    int __clockid;
    int __count;
    int __reserved[3];
};

typedef struct _sync_attr sync_attr_t;

typedef int pthread_t;
typedef sync_t pthread_mutex_t;
typedef sync_t pthread_cond_t;
typedef sync_t sem_t;
typedef struct _sync_attr pthread_mutexattr_t;
typedef struct _sync_attr pthread_condattr_t;
typedef struct _thread_attr pthread_attr_t;

#endif
