/* Internal, for entries: clocks and time-outs by QNX's numbers. */
#ifndef SIM_QNX_ENTRY_CLOCK_H
#define SIM_QNX_ENTRY_CLOCK_H

#include <sys/types.h>
#include <time.h>

#include "kernel.h"

/* The clock of processor time of one thread has its own number: this, and the thread's. */
enum { SIM_THREAD_CLOCK = 0x10000 };

/* Which clock a number means, and of which thread. */
qk_error sim_clock_of(clockid_t id, enum qk_clock *clock_out, int32_t *thread_out);

/* A point in time; EINVAL for a time that is none. */
qk_error sim_timeout_until(clockid_t id, const struct timespec *until, uint32_t states,
                           qk_timeout *timeout_out);

#endif
