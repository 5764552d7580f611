/* Internal: who runs. Simulated threads are real ones, but one at a time holds the baton, and the
 * kernel says which: of those that want it, the highest priority, and the earliest of equals. So
 * the order in which threads wake is the simulated kernel's doing and never this machine's.
 *
 * A thread outside a bracket holds the baton for the length of a call, as on a machine with many
 * processors. Within a bracket (wrt_sim_qnx_enter) it keeps it between calls and loses it only to
 * a higher priority or by blocking, as on a machine with one.
 *
 * Everything is guarded by one mutex, each thread waits on its own condition variable: this is what
 * the thread sanitizer understands by itself. */
#ifndef SIM_COMMON_BATON_H
#define SIM_COMMON_BATON_H

#include "host.h"
#include <stdbool.h>
#include <stdint.h>

#define SIM_NEVER UINT64_MAX

enum sim_place {
    SIM_ABSENT,  /* not of this world */
    SIM_OUTSIDE, /* does its own work, unseen by the kernel */
    SIM_READY,   /* wants the baton */
    SIM_RUNNING, /* has it */
    SIM_BLOCKED  /* waits for something in the kernel */
};

struct sim_thread;

/* Called, under the lock, for a blocked thread whose time is up, or whose world ends: takes the
 * thread out of what it waits in and ends its wait with the outcome `code`. */
typedef void (*sim_abandon_fn)(struct sim_thread *thread, int32_t code);

/* What the baton knows of a thread. A kernel's own record of a thread begins with one. */
struct sim_thread {
    struct sim_thread *next; /* in the world */
    pthread_cond_t turn;
    enum sim_place place;
    bool bracketed;
    int32_t priority;
    int32_t number;    /* the kernel's, for the trace */
    int64_t arrival;   /* who of equals was first */
    uint64_t deadline; /* of a wait, nanoseconds of the clock; SIM_NEVER for none */
    uint64_t worked;   /* nanoseconds of processor time on the virtual clock */
    int32_t outcome;   /* how the wait ended */
    int32_t late;      /* the outcome if the deadline ends it */
    sim_abandon_fn abandon;
};

/* All that follows is called under the lock. A child of fork() has no simulated kernel: there, the
 * lock is not taken and the answer is false. */
bool sim_lock(void);
void sim_unlock(void);

/* Whether this is such a child. */
bool sim_is_forked(void);

/* Threads come into the world outside, or ready if they start in a bracket, and leave it. */
void sim_thread_add(struct sim_thread *thread, bool bracketed);
void sim_thread_remove(struct sim_thread *thread);

/* Waits for the baton; gives it up; gives it up if a higher priority wants it, to stay the first
 * of its own; or goes behind its equals. */
void sim_take(struct sim_thread *self);
void sim_give(struct sim_thread *self);
void sim_let_higher_go(struct sim_thread *self);
void sim_go_behind_equals(struct sim_thread *self);

/* Gives the baton up until sim_wake() and the thread's next turn; returns the outcome. */
int32_t sim_block(struct sim_thread *self, uint64_t deadline, int32_t late, sim_abandon_fn abandon);
void sim_wake(struct sim_thread *thread, int32_t outcome);

/* Lets the baton go to whoever came first: what a kernel without priorities would do. */
void sim_ignore_priorities(bool ignore);

/* Consumes processor time of the virtual clock, while nobody of a higher priority wants it. */
void sim_work(struct sim_thread *self, uint64_t nanoseconds);
uint64_t sim_work_of_all(void);

/* For a new world: nobody came first, and nobody has worked. */
void sim_forget_order(void);

/* For the clock: the earliest deadline, and the end of all that are not after `now`. */
uint64_t sim_next_deadline(void);
void sim_expire(uint64_t now);

/* Lets every waiting thread look at the clock anew. */
void sim_clock_changed(void);

/* Whether nothing can happen but the passing of time; if so and the clock is virtual, it passes. */
bool sim_all_blocked(void);
void sim_advance_if_idle(void);

/* How many threads are in a place; the first of all. */
uint32_t sim_count(enum sim_place place);
struct sim_thread *sim_first_thread(void);

/* Waits, at most `milliseconds` of real time, until a thread changes its place. */
void sim_await_change(uint32_t milliseconds);

/* Ends all waits with `code`, now and in the future, until sim_reopen(). */
void sim_close(int32_t code);
void sim_reopen(void);

#endif
