/* Internal: the frame of calls, for threads and control. Under the lock, but for qk_lock(). */
#ifndef SIM_QNX_KERNEL_CALL_H
#define SIM_QNX_KERNEL_CALL_H

#include "kernel.h"

struct qk_thread;

/* Takes the lock without a thread and without the baton, as control does; sim_unlock() ends it.
 * False in a child of fork(). */
bool qk_lock(void);

/* The end of a call after which an armed time-out still stands. */
qk_error qk_leave_armed(qk_error error);

/* Whether the calling thread is in the midst of a call. */
bool qk_is_inside(void);

/* Whether the calling thread has a record of this world, and which one. */
bool qk_is_known(void);
void qk_become(struct qk_thread *thread, uint64_t of_epoch);

/* Worlds are numbered; records of an older one are not believed. */
uint64_t qk_epoch(void);
void qk_next_epoch(void);

/* Makes the calling thread known; false if there are QK_THREAD_MAX. */
bool qk_adopt(void);

void qk_set_version(uint32_t number);

/* A record for a thread of the machine; NULL if there are QK_THREAD_MAX. */
struct qk_thread *qk_thread_adopt(void);

/* The thread is no more: its waiters are told, its record is free or waits to be joined. */
void qk_thread_leave(struct qk_thread *thread);

#endif
