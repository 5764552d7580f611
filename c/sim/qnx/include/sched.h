/* QNX: scheduling of threads. Priorities go from 1 to 255, a higher number first. */
#ifndef QNX_SCHED_H
#define QNX_SCHED_H

#include <sys/types.h>
#include <time.h>

#define SCHED_NOCHANGE  0
#define SCHED_FIFO      1
#define SCHED_RR        2
#define SCHED_OTHER     3
#define SCHED_SPORADIC  4
#define SCHED_ADJTOHEAD 5
#define SCHED_ADJTOTAIL 6
#define SCHED_SETPRIO   7
#define SCHED_MAXPOLICY __QNX_7_OR_8(7, 9)

struct sched_param {
    int sched_priority;    /* the thread's own */
    int sched_curpriority; /* what it has now, by inheritance for instance */
    union {
        int __reserved[8];
        struct {
            int __ss_low_priority;
            int __ss_max_repl;
            struct timespec __ss_repl_period;
            struct timespec __ss_init_budget;
        } __ss;
    } __ss_un;
};

struct __sched_param {
    int __sched_priority;
    int __sched_curpriority;
    union {
        int __reserved[8];
        struct {
            int __ss_low_priority;
            int __ss_max_repl;
            struct timespec __ss_repl_period;
            struct timespec __ss_init_budget;
        } __ss;
    } __ss_un;
};

#define sched_ss_low_priority __ss_un.__ss.__ss_low_priority
#define sched_ss_max_repl     __ss_un.__ss.__ss_max_repl
#define sched_ss_repl_period  __ss_un.__ss.__ss_repl_period
#define sched_ss_init_budget  __ss_un.__ss.__ss_init_budget

int sched_get_priority_min(int policy) __QNX_SYMBOL(sched_get_priority_min);
int sched_get_priority_max(int policy) __QNX_SYMBOL(sched_get_priority_max);
int sched_yield(void) __QNX_SYMBOL(sched_yield);

#endif
