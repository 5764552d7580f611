/* QNX: events, as far as kernel calls take them. */
#ifndef QNX_SIGNAL_H
#define QNX_SIGNAL_H

#include <sys/types.h>

union sigval {
    int sival_int;
    void *sival_ptr;
};

struct sigevent {
    int sigev_notify;
    union {
        int __sigev_signo;
        int __sigev_coid;
        int __sigev_id;
        void (*__sigev_notify_function)(union sigval value);
    } __sigev_un1;
    union sigval sigev_value;
    union {
        struct {
            short __sigev_code;
            short __sigev_priority;
        } __st;
        pthread_attr_t *__sigev_notify_attributes;
    } __sigev_un2;
};

#define sigev_signo    __sigev_un1.__sigev_signo
#define sigev_coid     __sigev_un1.__sigev_coid
#define sigev_code     __sigev_un2.__st.__sigev_code
#define sigev_priority __sigev_un2.__st.__sigev_priority

/* 7.x marks the events of 64-bit programs. */
#if defined(__LP64__)
#define __SIGEV_WIDTH __QNX_7_OR_8(0x80, 0)
#else
#define __SIGEV_WIDTH 0
#endif

#define SIGEV_NONE    0
#define SIGEV_SIGNAL  (__SIGEV_WIDTH | 1)
#define SIGEV_PULSE   (__SIGEV_WIDTH | 4)
#define SIGEV_UNBLOCK (__SIGEV_WIDTH | 5)
#define SIGEV_INTR    (__SIGEV_WIDTH | 6)
#define SIGEV_THREAD  (__SIGEV_WIDTH | 7)

#define SIGEV_PULSE_PRIO_INHERIT (-1)

/* Signals, as they end a process. */
#define SIGHUP  1
#define SIGINT  2
#define SIGQUIT 3
#define SIGILL  4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGFPE  8
#define SIGKILL 9
#define SIGBUS  10
#define SIGSEGV 11
#define SIGSYS  12
#define SIGPIPE 13
#define SIGALRM 14
#define SIGTERM 15
#define SIGUSR1 16
#define SIGUSR2 17

int kill(pid_t pid, int number) __QNX_SYMBOL(kill);

#endif
