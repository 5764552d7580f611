/** The simulated QNX kernel, from outside: its clock, its order, its faults, and what it holds.
 *
 *     wrt_sim_qnx_use_clock(WRT_SIM_QNX_VIRTUAL_CLOCK);
 *     // ... let threads wait by QNX's calls, or by wrt_platform's own on top of them ...
 *     wrt_sim_qnx_wait_blocked(2, 1000); // both wait
 *     wrt_sim_qnx_step(3600000000000u);  // an hour later
 *
 * On Linux the backend for QNX runs on a simulated kernel, in the same process and library. Its
 * semantics, their sources and their tests stand in docs/sim/qnx.md. There is one world a process;
 * wrt_sim_qnx_reset() makes a new one. None of these calls is one of QNX's own.
 *
 * Threads are real. Only one at a time is in the kernel, and who is next goes by priority. A thread
 * within wrt_sim_qnx_enter() and _leave() keeps its turn between calls as well, and so do threads
 * that it makes: on a machine with one processor no more than one can run. Within that bracket, a
 * thread must not wait for others in any way that the simulated kernel doesn't see.
 *
 * Heap: the process's.  Threads: any.  ISR: no.  Fork: a child has no simulated kernel; there,
 * every call is refused (STATE), and those of QNX answer ENOSYS.
 */
#ifndef WRT_PLATFORM_SIM_QNX_H
#define WRT_PLATFORM_SIM_QNX_H

#include "wrt_platform/status.h"
#include <stdbool.h>
#include <stdint.h>

WRT_BEGIN_DECLS

/** Whose behaviour is simulated. Numbers are those of 7.1 in either case. */
enum wrt_sim_qnx_version { WRT_SIM_QNX_7_1 = 710, WRT_SIM_QNX_8_0 = 800 };

/** What time is. */
enum wrt_sim_qnx_clock {
    WRT_SIM_QNX_REAL_CLOCK = 0,   /* this machine's */
    WRT_SIM_QNX_VIRTUAL_CLOCK = 1 /* moves by wrt_sim_qnx_step(), by work, and to the next deadline
                                     when every thread of the kernel waits */
};

/** Sizes of texts, the closing NUL included. */
enum wrt_sim_qnx_text_size { WRT_SIM_QNX_THREAD_NAME_SIZE = 104 };

/** What the trace tells of. */
enum wrt_sim_qnx_event {
    WRT_SIM_QNX_EVENT_CALL = 0,     /* name: the call */
    WRT_SIM_QNX_EVENT_FAULT = 1,    /* name: the call; detail: error number */
    WRT_SIM_QNX_EVENT_RUN = 2,      /* has its turn; detail: priority */
    WRT_SIM_QNX_EVENT_BLOCK = 3,    /* name: what for; detail: which */
    WRT_SIM_QNX_EVENT_WAKE = 4,     /* detail: priority, how the wait ended (0: well) */
    WRT_SIM_QNX_EVENT_PRIORITY = 5, /* detail: new, old */
    WRT_SIM_QNX_EVENT_SEND = 6,     /* a pulse; detail: channel, value << 8 | code */
    WRT_SIM_QNX_EVENT_RECEIVE = 7,  /* a pulse; detail: as sent */
    WRT_SIM_QNX_EVENT_WORK = 8,     /* detail: 0, nanoseconds of work in all */
    WRT_SIM_QNX_EVENT_OWN = 9,      /* has a mutex; detail: address */
    WRT_SIM_QNX_EVENT_RELEASE = 10  /* lets a mutex go; detail: address */
};

/** An entry of the trace. */
typedef struct wrt_sim_qnx_trace_view {
    uint64_t sequence; /* from 1 */
    uint64_t time;     /* nanoseconds since the reset */
    const char *name;  /* static text; NULL where there is none */
    uint64_t detail[2];
    int32_t event; /* wrt_sim_qnx_event */
    int32_t thread;
} wrt_sim_qnx_trace_view;

/** A thread that the kernel knows. */
typedef struct wrt_sim_qnx_thread_view {
    int32_t id;
    int32_t policy;   /* of QNX's SCHED_ numbers; 0: nobody has said */
    int32_t priority; /* its own, 1 to 255 */
    int32_t current;  /* with what it inherits */
    uint32_t run_mask;
    uint32_t inherit_mask;
    const char *place;    /* static text: "outside", "ready", "running", "blocked", "ended" */
    const char *waits_in; /* static text: "receive", "mutex", ...; "" if it doesn't wait */
    uint64_t deadline;    /* of the wait, on the clock; UINT64_MAX: none */
    uint64_t worked;      /* nanoseconds of wrt_sim_qnx_work() */
    char name[WRT_SIM_QNX_THREAD_NAME_SIZE];
} wrt_sim_qnx_thread_view;

/** A channel. */
typedef struct wrt_sim_qnx_channel_view {
    int32_t id;
    uint32_t pulses;      /* queued; equal neighbours count as one */
    uint32_t pool;        /* how many it can have by its own pool; 0: no pool */
    uint32_t receivers;   /* threads that wait */
    uint32_t connections; /* to it */
    bool fixed_priority;
    uint8_t reserved[3]; /* zero */
} wrt_sim_qnx_channel_view;

/** A queued pulse. */
typedef struct wrt_sim_qnx_pulse_view {
    int64_t value;
    int32_t priority;
    int32_t code;
    uint32_t count;      /* how many times it will be received */
    uint8_t reserved[4]; /* zero */
} wrt_sim_qnx_pulse_view;

/** A kind of thing that programs have to give back, and how many there are. */
typedef struct wrt_sim_qnx_census_view {
    const char *kind; /* static text */
    int64_t count;
} wrt_sim_qnx_census_view;

/** A semantic that can be broken on purpose. */
typedef struct wrt_sim_qnx_semantic_view {
    const char *name;    /* static text */
    const char *meaning; /* static text: what a kernel does that has it broken */
    bool broken;
    uint8_t reserved[7]; /* zero */
} wrt_sim_qnx_semantic_view;

/** A new world: every wait ends with EBADF, threads that the kernel made have five seconds to end,
 * then all is forgotten. Version 7.1, the real clock, nothing broken, no faults.
 * Errors: STATE (within a bracket; threads go on running, {0} of them: then nothing is forgotten).
 * Cost: the number of threads, and their time to end.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_reset(void);

/** Simulates another version from now on. version: wrt_sim_qnx_version.
 * Errors: INVALID_ARGUMENT, STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_set_version(uint32_t version);

/** Goes on with another clock from the present time; straight after a reset the virtual one starts
 * at 0. clock: wrt_sim_qnx_clock.
 * Errors: INVALID_ARGUMENT, STATE. Cost: the number of threads. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_use_clock(uint32_t clock);

/** The time, in nanoseconds since the reset. Errors: INVALID_ARGUMENT, STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_now(uint64_t *nanoseconds_out);

/** Moves the virtual clock, from deadline to deadline; at each, waits until no thread runs within
 * the kernel or a bracket, at most five seconds of real time.
 * Errors: STATE (the clock is real; within a bracket), TIMED_OUT (a thread kept running).
 * Cost: the deadlines that pass, and what threads do at them.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_step(uint64_t nanoseconds);

/** Waits until at least `threads` threads wait in the kernel, for at most `milliseconds` of real
 * time. Errors: TIMED_OUT ({0} wait), STATE. Cost: that time. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_wait_blocked(uint32_t threads, uint32_t milliseconds);

/** Begins a bracket for the calling thread, and waits for its turn. priority: its own from now on,
 * 1 to 255, or 0 to keep it. Errors: INVALID_ARGUMENT, STATE (in a bracket already), NO_MEMORY (512
 * threads). Cost: until its turn.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_enter(int32_t priority);

/** Ends the bracket. Errors: STATE (there is none). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_leave(void);

/** The calling thread works: that much processor time passes on the virtual clock, interrupted by
 * threads of higher priority as they become ready.
 * Errors: STATE (outside a bracket; the clock is real). Cost: the work of the others.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_work(uint64_t nanoseconds);

/** Lets the `use`-th call of QNX from now on fail with `error`, once; 1 is the next one.
 * call: its name without _r ("MsgSendPulse"), copied, or NULL for any. error: QNX's number, above
 * 0. Calls of pthread.h that are thin go by the name of the call that they stand for
 * ("SyncMutexLock", "ThreadCreate"). Errors: INVALID_ARGUMENT, NO_MEMORY (16 orders stand), STATE.
 * Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_fail_at(const char *call, uint32_t use, int32_t error);

/** How many calls were made since the reset, and how many failed by order. Either may be NULL.
 * Errors: STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_calls(uint64_t *calls_out, uint64_t *failures_out);

/** Breaks a semantic, or mends it. semantic: one of wrt_sim_qnx_semantic_query()'s names, borrowed.
 * Errors: INVALID_ARGUMENT, NOT_FOUND, STATE. Cost: the number of semantics. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_break(const char *semantic, bool broken);

/** The semantics that can be broken, by number from 0. Errors: INVALID_ARGUMENT, NOT_FOUND (there
 * are no more), STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_semantic_query(uint32_t index,
                                                            wrt_sim_qnx_semantic_view *view_out);

/** What there is of each kind, by number from 0. Errors: INVALID_ARGUMENT, NOT_FOUND (there are no
 * more), STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_census_query(uint32_t index,
                                                          wrt_sim_qnx_census_view *view_out);

/** The first entry of the trace from `sequence` on; the last 8192 are kept. Errors:
 * INVALID_ARGUMENT, NOT_FOUND (there is none yet), STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_trace_query(uint64_t sequence,
                                                         wrt_sim_qnx_trace_view *view_out);

/** The thread with the lowest id above `after`. Errors: INVALID_ARGUMENT, NOT_FOUND (there is
 * none), STATE. Cost: the number of places for threads. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_thread_query(int32_t after,
                                                          wrt_sim_qnx_thread_view *view_out);

/** The channel with the lowest id above `after`. Errors: INVALID_ARGUMENT, NOT_FOUND (there is
 * none), STATE. Cost: the number of places for channels. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_channel_query(int32_t after,
                                                           wrt_sim_qnx_channel_view *view_out);

/** The `index`-th queued pulse of a channel, 0 the next to be received. Errors: INVALID_ARGUMENT,
 * NOT_FOUND (no such channel, or no more pulses), STATE. Cost: `index`. */
WRT_API WRT_NODISCARD wrt_status wrt_sim_qnx_pulse_query(int32_t channel, uint32_t index,
                                                         wrt_sim_qnx_pulse_view *view_out);

WRT_END_DECLS
#endif
