/** Watchdogs: work that has to show, by heartbeats, that it goes on.
 *
 *     wrt_watchdog_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.default_timeout_ns = 60000000000; // 60 s
 *     config.system = wrt_linux_thread_system_interface(&system);
 *     config.events = &events; // hangs are told here
 *     wrt_status status = wrt_watchdog_init(&watchdog, &config);
 *     status = wrt_watchdog_start(&watchdog); // the monitor thread
 *
 *     wrt_watch_config watch_config = {0};
 *     watch_config.struct_size = sizeof watch_config;
 *     watch_config.name = "critical_module";
 *     watch_config.instance = &instance; // to be interrupted if it hangs
 *     watch_config.auto_kill = WRT_WATCH_KILL_ON;
 *     status = wrt_watchdog_watch(&watchdog, &watch_config, &watch);
 *     status = wrt_instance_call(&instance, &call); // its host functions beat
 *     status = wrt_watch_end(&watch);
 *
 * A check looks at each heartbeat counter. Work is reported as hung at the check that finds its
 * counter unchanged for the N-th time, N = time-out / check interval, rounded up. With checks on
 * time that is more than N and at most N + 1 check intervals after the last heartbeat (or after the
 * begin of the watch), whatever the phase between the two. Work that beats at least once in each
 * time-out is never reported, however late the checks come:
 * - never before the time-out has passed since the check that saw the last heartbeat;
 * - a check that comes two check intervals or more after the one before it is late, and tells
 *   nothing: whoever kept the monitor from running (a stopped process, a suspended machine) may
 *   have kept the work from running. Two late ones in a row count, or slow checks would hide every
 *   hang;
 * - a check less than half an interval after the one before it, or less than a whole one if that
 *   was late, is not made at all.
 *
 * A hang is reported once; when the work beats again it has recovered, and its next hang is
 * reported again. Reports are events: WRT_EVENT_WATCHDOG_EXPIRED, and after an automatic kill
 * WRT_EVENT_WATCHDOG_KILLED; `source` is the watch's, detail[0] how long the work has been quiet
 * as far as the checks know and detail[1] the time-out, both in nanoseconds.
 *
 * A kill is wrt_instance_interrupt(): the guest stops at its next loop or call, or the wait of the
 * host function that it is in ends. Nothing is ever stopped by force.
 *
 * Heap: none but what the system takes to make a thread.  Threads: any, if the config has a system;
 * else one caller at a time, heartbeats aside.  ISR: heartbeats; and checks, where the config has
 * no system and nobody else calls meanwhile.
 * Fork: the monitor thread stays with the parent; use nothing but your own watchdogs in the child.
 */
#ifndef WRT_PLATFORM_WATCHDOG_H
#define WRT_PLATFORM_WATCHDOG_H

#include "wrt_platform/events.h"
#include "wrt_platform/instance.h"

WRT_BEGIN_DECLS

typedef struct wrt_watchdog wrt_watchdog;
typedef struct wrt_watch wrt_watch;

/** Defaults and sizes. */
enum wrt_watchdog_limit {
    WRT_WATCHDOG_CHECK_INTERVAL_DEFAULT_MS = 100,
    WRT_WATCHDOG_TIMEOUT_DEFAULT_MS = 30000,
    WRT_WATCH_NAME_SIZE = 32 /* bytes of a name, the closing NUL included */
};

/** Where the heartbeats of a watch come from. */
enum wrt_watch_feed {
    WRT_WATCH_FEED_CALLER = 0, /* wrt_watch_heartbeat() */
    WRT_WATCH_FEED_ENGINE = 1  /* the instance's own (wrt_instance_heartbeat()), and the caller's:
                                  finds what hangs inside the host. A guest in an endless loop
                                  beats; an instance that runs no call does not */
};

/** What becomes of the instance of hung work. */
enum wrt_watch_kill {
    WRT_WATCH_KILL_DEFAULT = 0, /* as the watchdog's auto_kill says */
    WRT_WATCH_KILL_OFF = 1,     /* it goes on; the event is all */
    WRT_WATCH_KILL_ON = 2       /* it is interrupted */
};

/** What a watchdog is made of. */
typedef struct wrt_watchdog_config {
    uint32_t struct_size; /* sizeof(wrt_watchdog_config); 0 is refused */
    uint32_t priority;    /* of the monitor thread, one of wrt_thread_priority; DEFAULT: HIGH */
    uint64_t default_timeout_ns; /* of watches that don't say their own; 0: 30 s */
    uint64_t check_interval_ns;  /* 0: 100 ms */
    wrt_thread_system system;    /* for the monitor thread and the lock; all zero: none */
    wrt_events *events;          /* where hangs are told; borrowed until deinit; NULL: nowhere */
    void *stack;                 /* of the monitor thread; borrowed; NULL: the system's own */
    uint64_t stack_size;         /* bytes; 0: the system's default */
    bool auto_kill;              /* interrupt the instance of hung work */
    uint8_t reserved[7];         /* zero */
} wrt_watchdog_config;

/** What is watched. */
typedef struct wrt_watch_config {
    uint32_t struct_size;   /* sizeof(wrt_watch_config); 0 is refused */
    uint32_t feed;          /* one of wrt_watch_feed */
    const char *name;       /* copied; at most 31 bytes, a longer one is cut; NULL: none. Names need
                               not differ */
    uint64_t timeout_ns;    /* 0: the watchdog's default */
    uint64_t source;        /* number that its events carry, the caller's choice */
    wrt_instance *instance; /* to be killed, and to beat; borrowed until the end of the watch; NULL:
                               none */
    uint32_t auto_kill;     /* one of wrt_watch_kill; ON wants an instance */
    uint8_t reserved[4];    /* zero */
} wrt_watch_config;

/** What a watch has seen. */
typedef struct wrt_watch_report {
    uint64_t source;     /* as in its config */
    uint64_t timeout_ns; /* as in its config, or the default */
    uint64_t quiet_ns;   /* how long there has been no heartbeat, as of the last check */
    uint32_t hang_count; /* hangs that were reported so far */
    uint32_t kill_count; /* how many of them were killed */
    bool is_hung;        /* it was reported, and has not beaten since */
    uint8_t reserved[7];
    char name[32]; /* WRT_WATCH_NAME_SIZE */
} wrt_watch_report;

/** What a watchdog has done. The counters wrap. */
typedef struct wrt_watchdog_report {
    uint32_t watch_count; /* out now */
    uint32_t hung_count;  /* of them, reported and not recovered */
    uint32_t hangs;       /* reported so far */
    uint32_t kills;       /* of them, killed */
    uint32_t checks;      /* made so far */
    uint32_t late_checks; /* of them, those that came late */
    uint32_t lost_events; /* that found the ring full */
    bool is_running;      /* the monitor thread */
    uint8_t reserved[3];
} wrt_watchdog_report;

/** A watch: caller's storage, not to be moved until its end. Fields are private. */
struct wrt_watch {
    wrt_watch *next;
    wrt_watchdog *watchdog; /* NULL: it has ended */
    wrt_instance *instance;
    uint64_t source;
    uint64_t timeout_ns;
    uint64_t changed_ns; /* time of the check that saw the last heartbeat */
    uint64_t needed;     /* equal samples that make a hang */
    uint64_t equal;      /* equal samples so far */
    uint32_t beats;      /* atomic; one writer */
    uint32_t seen;       /* what the last check found */
    uint32_t feed;
    uint32_t hang_count;
    uint32_t kill_count;
    bool kills;
    bool is_hung;
    bool is_new; /* no check has seen it yet */
    uint8_t reserved[1];
    char name[32]; /* WRT_WATCH_NAME_SIZE */
};

/** Caller's storage, not to be moved between init and deinit. Fields are private. */
struct wrt_watchdog {
    wrt_watchdog *self;
    wrt_watch *first;
    wrt_events *events;
    void *stack;
    uint64_t stack_size;
    uint64_t default_timeout_ns;
    uint64_t check_interval_ns;
    uint64_t checked_ns; /* time of the last check */
    wrt_thread_system system;
    wrt_system_lock lock;
    wrt_repeating_thread monitor;
    uint32_t priority;
    wrt_watchdog_report report;
    bool auto_kill;
    bool was_late; /* the last check */
    bool has_checked;
    uint8_t reserved[1];
};

/** Prepares a watchdog without watches; its monitor thread does not run yet. On error it is left as
 * it was.
 * Errors: INVALID_ARGUMENT (a rule of the config), UNSUPPORTED (reserved bytes), NO_MEMORY or
 * SYSTEM (the system has no lock to give). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_init(wrt_watchdog *watchdog,
                                                   const wrt_watchdog_config *config);

/** Starts the monitor thread, which checks once in each check interval, counted from the end of the
 * check before. Watches may be out already; for them the time begins now.
 * Errors: UNSUPPORTED (the config has no system: call wrt_watchdog_check() from a timer), STATE (it
 * runs), and those of wrt_thread_start_fn. Cost: a thread.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_start(wrt_watchdog *watchdog);

/** Tells the monitor thread to end, and waits for that: for as long as one check takes. Watches
 * stay out. timeout_ns: nanoseconds, 0 does not wait, UINT64_MAX waits without limit. Of a watchdog
 * that was not started it does nothing. Errors: TIMED_OUT (it was told and has not ended yet; call
 * again), BUSY (another thread is in this call), STATE. Cost: one check of the monitor.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_stop(wrt_watchdog *watchdog, uint64_t timeout_ns);

/** Looks at every watch once, and reports what hangs. The monitor thread does just this; without
 * one call it from a timer, once in each check interval. now_ns: nanoseconds, of any clock that
 * only goes forward, read just before the call. Errors: STATE (the monitor thread runs),
 * INVALID_ARGUMENT (now_ns is before that of the last check). Cost: linear in the watches; a wake
 * for each report.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_check(wrt_watchdog *watchdog, uint64_t now_ns);

/** Begins to watch. *watch_out belongs to the watchdog until wrt_watch_end().
 * Errors: INVALID_ARGUMENT (a rule of the config; the engine's feed, or kill ON, without an
 * instance), UNSUPPORTED (reserved bytes), STATE (this record is out already). Cost: linear in the
 * watches.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_watch(wrt_watchdog *watchdog,
                                                    const wrt_watch_config *config,
                                                    wrt_watch *watch_out);

/** Shows that the work goes on. One thread at a time does this for a watch. NULL does nothing.
 * Errors: none, it cannot fail. Threads: any one.  ISR: yes.  Cost: one relaxed store.
 */
WRT_API void wrt_watch_heartbeat(wrt_watch *watch);

/** Reports what a watch has seen. Errors: STATE (it has ended). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_watch_query(wrt_watch *watch, wrt_watch_report *report_out);

/** Ends a watch, hung or not: when this returns, its instance is not touched any more, and the
 * record belongs to the caller. A watch that has ended, and a zeroed one, are accepted, so twice is
 * harmless.
 * Errors: STATE (the record is none of its watchdog's). Cost: linear in the watches.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watch_end(wrt_watch *watch);

/** Reports what a watchdog has done. Errors: STATE (not initialised, or moved). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_query(wrt_watchdog *watchdog,
                                                    wrt_watchdog_report *report_out);

/** Ends a watchdog. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (watches are out, or the monitor thread runs). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_watchdog_deinit(wrt_watchdog *watchdog);

WRT_END_DECLS
#endif
