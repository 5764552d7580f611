/* Internal: what the kernel's own files share about threads, what they wait in, and calls. All of
 * it under the lock, between qk_enter() and qk_leave(). */
#ifndef SIM_QNX_KERNEL_STATE_H
#define SIM_QNX_KERNEL_STATE_H

#include "../common/baton.h"
#include "kernel.h"
#include "kernel_switch.h"

enum { QK_THREAD_MAX = 512, QK_PRIORITY_DEFAULT = 10, QK_PROCESSORS = 4 };

struct qk_sync;
struct qk_thread;

/* Threads that wait for one thing, in the order of their arrival. */
struct qk_queue {
    struct qk_thread *first;
};

struct qk_thread {
    struct sim_thread sim; /* first: the baton's view of it */
    int32_t id;            /* from 1; 0 while this place is free */
    bool made;             /* by qk_thread_create, not adopted */
    bool detached;
    bool ended;
    bool joined; /* somebody waits for its end */
    pthread_t host;
    void *(*start)(void *argument);
    void *argument;
    void *result;
    struct qk_queue joiner;

    int32_t policy;
    int32_t priority; /* its own; sim.priority is what it has now */
    uint32_t run_mask;
    uint32_t inherit_mask;
    char name[QK_THREAD_NAME_MAX];

    enum qk_state state;
    struct qk_queue *queue;      /* what it waits in */
    struct qk_thread *behind;    /* next in that queue */
    struct qk_sync *wants;       /* the mutex it waits for */
    struct qk_sync *owned;       /* the mutexes that it holds */
    int32_t served_channel;      /* the last it received from, or 0 */
    const struct qk_pulse *sent; /* to a receiver: the pulse that ended the wait */
    struct qk_pulse inbox;

    bool timeout_armed;
    uint32_t timeout_states;
    uint64_t timeout_deadline; /* 0: at once */
    const char *call;
    int host_errno;
};

/* The thread in the present call. */
struct qk_thread *qk_current(void);

/* The thread of that id, 0 for the present one; NULL if there is none. */
struct qk_thread *qk_thread_find(int32_t id);
struct qk_thread *qk_thread_at(uint32_t index);

/* Static text. */
const char *qk_state_name(enum qk_state state);

/* The one to be woken first; NULL if nobody waits. */
struct qk_thread *qk_queue_first(const struct qk_queue *queue);
uint32_t qk_queue_length(const struct qk_queue *queue);

/* Lets the present thread wait in `queue` until qk_wake() or the time-out that is armed for this
 * state; `object` is for the trace. */
qk_error qk_wait(struct qk_queue *queue, enum qk_state state, uint64_t object);

/* The same, with a deadline of its own. */
qk_error qk_wait_until(struct qk_queue *queue, enum qk_state state, uint64_t object,
                       uint64_t deadline);

/* Ends a wait. */
void qk_wake(struct qk_thread *thread, qk_error error);

/* Sets a thread's own priority, and recomputes what it and those before it inherit. */
void qk_set_priority(struct qk_thread *thread, int32_t priority);
void qk_inherit(struct qk_thread *thread);

/* What a thread leaves behind: robust mutexes, and pulses that tell of it. */
void qk_sync_thread_ended(struct qk_thread *thread);
void qk_channel_thread_ended(const struct qk_thread *thread);

/* Somebody began or ceased to wait for the mutex. */
void qk_sync_waiters_changed(struct qk_sync *sync);

/* The time at which a time-out ends: now at the latest for a past one. */
uint64_t qk_deadline(const qk_timeout *timeout);

/* The present time of a clock of `thread`. */
uint64_t qk_clock_read(enum qk_clock clock, const struct qk_thread *thread);

void qk_thread_reset(void);
void qk_channel_reset(void);
void qk_sync_reset(void);

#endif
