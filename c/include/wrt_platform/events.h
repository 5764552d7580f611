/** Events: what happened, in a ring that the caller owns and reads.
 *
 * No thread of the library calls the user's code. Watchdogs, memory pressure, thread health, power
 * and the like post to a ring, and its owner takes from it when he is ready.
 *
 *     wrt_events_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.capacity = 64;
 *     config.system = wrt_linux_thread_system_interface(&system);
 *     config.buffer = buffer; // as wrt_events_layout() asks
 *     config.buffer_size = sizeof buffer;
 *     wrt_status status = wrt_events_init(&events, &config);
 *     wrt_event event;
 *     status = wrt_events_next(&events, &event, 1000000000, NULL); // waits for at most 1 s
 *
 * Events come out in the order in which the ring took them, so those of one thread in the order in
 * which it posted them. A full ring takes no more: the event is counted as lost, and the next one
 * that is taken says so.
 *
 * Who has another way to wait (an epoll or asyncio loop, a pulse, a flag) gives a wake hook: it is
 * called when an event comes after wrt_events_next() has found the ring empty, once until it has
 * found it empty again.
 *
 * A thread that is stopped in the middle of a post holds up what was posted after it, until it
 * runs on; posting itself is not held up.
 *
 * Heap: none.  Threads: any may post and query; one at a time takes.  ISR: posting, where the
 * config has no system and the wake hook may be called there; and taking without waiting.
 * Fork: each process goes on with its own copy, if the buffer is private memory.
 */
#ifndef WRT_PLATFORM_EVENTS_H
#define WRT_PLATFORM_EVENTS_H

#include "wrt_platform/cancel.h"
#include "wrt_platform/layout.h"

WRT_BEGIN_DECLS

typedef struct wrt_events wrt_events;

/** What a ring can be. */
enum wrt_events_limit {
    WRT_EVENTS_CAPACITY_MAX = 1048576 /* events */
};

/** What happened. The list is open: take numbers that you don't know as such. */
enum wrt_event_kind {
    WRT_EVENT_WATCHDOG_EXPIRED = 1, /* no heartbeat within the time-out; watchdog.h */
    WRT_EVENT_WATCHDOG_KILLED = 2,  /* and therefore its instance was interrupted */
    WRT_EVENT_THREAD_UNHEALTHY = 3, /* a thread went beyond one of its limits */
    WRT_EVENT_THREAD_KILLED = 4,    /* a thread was stopped, and came back */
    WRT_EVENT_THREAD_POISONED = 5,  /* a thread did not come back, and was given up */
    WRT_EVENT_MEMORY_PRESSURE = 6,  /* memory is getting short */
    WRT_EVENT_POWER = 7,            /* the system goes to sleep, or woke up */
    WRT_EVENT_IPC = 8,              /* another process sent something */
    WRT_EVENT_INTERRUPT = 9,        /* a device */
    WRT_EVENT_USER = 1000           /* from here on upwards: the caller's own */
};

/** One event. What `source` and `detail` mean is said where the kind is posted. */
typedef struct wrt_event {
    uint32_t kind;    /* one of wrt_event_kind, or above WRT_EVENT_USER; never 0 */
    uint32_t lost;    /* how many the ring had lost when it took this one; it wraps; filled in by
                         wrt_events_post() */
    uint64_t source;  /* who it is about, by a number of his own */
    uint64_t time_ns; /* when, by the clock of whoever posted it; 0: he has none */
    uint64_t detail[2];
} wrt_event;

/** Tells somebody that there is an event. It runs on the thread, or in the interrupt, that posts:
 * it may write an eventfd, send a pulse or set a flag, and nothing that waits; it does not call
 * back into the library. */
typedef void (*wrt_wake_fn)(void *context);

/** What a ring is made of. */
typedef struct wrt_events_config {
    uint32_t struct_size;     /* sizeof(wrt_events_config); 0 is refused */
    uint32_t capacity;        /* events, 1 to WRT_EVENTS_CAPACITY_MAX; rounded up to a power of
                                 two, at least 2 */
    wrt_thread_system system; /* to wait with; all zero: wrt_events_next() can't wait */
    wrt_wake_fn wake;         /* NULL: none */
    void *wake_context;       /* passed to `wake`; borrowed until wrt_events_deinit */
    void *buffer;             /* borrowed until wrt_events_deinit */
    size_t buffer_size;       /* bytes, at least what wrt_events_layout() asks */
} wrt_events_config;

/** How a ring has been used since init; the counters wrap. */
typedef struct wrt_events_usage {
    uint32_t capacity; /* events */
    uint32_t waiting;  /* to be taken now */
    uint32_t posted;   /* that the ring took */
    uint32_t lost;     /* that it had no room for */
} wrt_events_usage;

/** Caller's storage, not to be moved between init and deinit. Fields are private. */
struct wrt_events {
    wrt_events *self;
    wrt_thread_system system;
    wrt_wake_fn wake;
    void *wake_context;
    uint32_t *put_position;
    uint32_t *get_position;
    void *cells;
    uint32_t mask;
    uint32_t lost;     /* atomic */
    uint32_t attended; /* atomic: whether the taker wants to be told of the next event */
    uint32_t taking;   /* atomic: a thread is inside wrt_events_next() */
};

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (capacity; all zero in *layout_out), UNSUPPORTED (the config sets
 * something that this library does not know). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_layout(const wrt_events_config *config,
                                                   wrt_layout *layout_out);

/** Prepares an empty ring; on error it is left as it was.
 * Errors: as wrt_events_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY (buffer
 * too small). Cost: linear in capacity.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_init(wrt_events *events,
                                                 const wrt_events_config *config);

/** Puts a copy of `event` into the ring; `lost` is filled in.
 * Errors: NO_MEMORY (the ring is full; counted), INVALID_ARGUMENT (kind 0), STATE (not initialised,
 * or moved). Cost: constant without other posters; a wake of the system if somebody waits, and the
 * wake hook if it is due.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_post(wrt_events *events, const wrt_event *event);

/** Takes the oldest event, waiting for one if there is none. timeout_ns: nanoseconds, 0 does not
 * wait, UINT64_MAX waits without limit. cancel: ends the wait, see cancel.h; NULL: nothing does.
 * On error *event_out is all zero.
 * Errors: TIMED_OUT (none came), INTERRUPTED (cancel), UNSUPPORTED (there is none, and the ring was
 * made without a system to wait with), BUSY (another thread is taking), STATE (not initialised, or
 * moved), SYSTEM. Cost: constant if there is an event; else one wait of the system, with a token
 * one every 20 ms.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_next(wrt_events *events, wrt_event *event_out,
                                                 uint64_t timeout_ns, wrt_cancel_token *cancel);

/** Reports how the ring has been used. While others post, the numbers are of slightly different
 * moments. Errors: STATE. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_query(const wrt_events *events,
                                                  wrt_events_usage *usage_out);

/** Returns the buffer to the caller, with the events that nobody took. Nobody may post any more. A
 * zeroed ring is accepted, so twice is harmless. Errors: BUSY (a thread is taking). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_events_deinit(wrt_events *events);

WRT_END_DECLS
#endif
