/** A runtime: threads of modules, their memory and a watchdog, set up together.
 *
 *     wrt_runtime_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.threads = &manager_config;    // a wrt_thread_manager_config, with its buffer
 *     config.watchdog = &watchdog_config;  // a wrt_watchdog_config
 *     config.isolation = partition_report.isolation; // of the partition that memory comes from
 *     config.memory_limit = partition_report.maximum;
 *     wrt_status status = wrt_runtime_init(&runtime, &config);
 *     ...
 *     status = wrt_runtime_shutdown(&runtime, WRT_SHUTDOWN_CANCEL, 1000000000);
 *     status = wrt_runtime_deinit(&runtime);
 *
 * The parts are as they are by themselves, and are used by their own calls
 * (wrt_thread_manager_spawn(), wrt_watchdog_watch(), ...). What this adds: they are started and
 * ended in the one order that works, a step that fails undoes those before it, both monitors run,
 * and one report says of each protection whether it holds.
 *
 * Times are nanoseconds. Heap: none.  Threads: one caller at a time, queries from any.  ISR: no.
 * Fork: the child must not use it.
 */
#ifndef WRT_PLATFORM_RUNTIME_H
#define WRT_PLATFORM_RUNTIME_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/safe_threading.h"
#include "wrt_platform/watchdog.h"

WRT_BEGIN_DECLS

/** What a runtime is made of. */
typedef struct wrt_runtime_config {
    uint32_t struct_size;                     /* sizeof(wrt_runtime_config); 0 is refused */
    uint8_t reserved[4];                      /* zero */
    const wrt_thread_manager_config *threads; /* read at init; its account and events, where NULL,
                                                 are those of this config */
    const wrt_watchdog_config *watchdog;      /* read at init; its system, where zero, is that of
                                                 the threads, its events the same as above */
    wrt_memory_account *account; /* above those of the modules; borrowed until deinit; NULL: none */
    wrt_enforcement isolation;   /* what keeps others off the modules' memory, as the report of the
                                    partition has it that `page_allocator` of the pool is in; all
                                    zero: not asked */
    wrt_enforcement memory_limit; /* what holds that partition's limit, the same; all zero: what
                                     `account` does */
    wrt_events *events; /* what happens is told here; borrowed until deinit; NULL: nowhere */
} wrt_runtime_config;

/** What protects, and what has happened. */
typedef struct wrt_runtime_report {
    wrt_enforcement isolation;
    wrt_enforcement memory_limit; /* of all modules together */
    wrt_enforcement module_memory_limit;
    wrt_enforcement thread_limit;
    wrt_enforcement lifetime;
    wrt_enforcement cpu_quota;
    wrt_enforcement hang_detection; /* by the watchdog */
    wrt_enforcement hang_kill;
    wrt_thread_manager_report threads;
    wrt_watchdog_report watchdog;
    wrt_memory_account_usage memory; /* all zero without an account */
} wrt_runtime_report;

/** A thread manager and a watchdog that were set up one by one, for a report on both together. */
typedef struct wrt_runtime_parts {
    uint32_t struct_size;               /* sizeof(wrt_runtime_parts); 0 is refused */
    uint8_t reserved[4];                /* zero */
    wrt_thread_manager *thread_manager; /* initialised */
    wrt_watchdog *watchdog;             /* initialised */
    wrt_memory_account *account;        /* as in wrt_runtime_config */
    wrt_enforcement isolation;          /* as in wrt_runtime_config */
    wrt_enforcement memory_limit;       /* as in wrt_runtime_config */
} wrt_runtime_parts;

/** Caller's storage, not to be moved between init and deinit. Fields are private; `thread_manager`
 * and `watchdog` are for the calls on them. */
typedef struct wrt_runtime {
    struct wrt_runtime *self;
    wrt_thread_manager thread_manager;
    wrt_watchdog watchdog;
    wrt_memory_account *account;
    wrt_enforcement isolation;
    wrt_enforcement memory_limit;
    uint32_t magic;
    uint32_t reserved;
} wrt_runtime;

/** Starts watchdog and thread manager, monitors included. On error nothing is left running, and
 * `runtime` is as it was.
 * Errors: INVALID_ARGUMENT (threads or watchdog NULL), UNSUPPORTED (reserved bytes), and those of
 * wrt_watchdog_init(), wrt_watchdog_start(), wrt_thread_manager_init() and
 * wrt_thread_manager_start(). Cost: theirs. */
WRT_API WRT_NODISCARD wrt_status wrt_runtime_init(wrt_runtime *runtime,
                                                  const wrt_runtime_config *config);

/** The manager of a runtime, for the calls on it; NULL if it is not initialised.
 * Errors: none, it cannot fail. Threads: any. Cost: constant. */
WRT_API wrt_thread_manager *wrt_runtime_thread_manager(wrt_runtime *runtime);

/** The watchdog of a runtime, for the calls on it; NULL if it is not initialised.
 * Errors: none, it cannot fail. Threads: any. Cost: constant. */
WRT_API wrt_watchdog *wrt_runtime_watchdog(wrt_runtime *runtime);

/** Reports each protection, and what has happened. Errors: STATE. Threads: any.
 * Cost: linear in threads and workers. */
WRT_API WRT_NODISCARD wrt_status wrt_runtime_query(wrt_runtime *runtime,
                                                   wrt_runtime_report *report_out);

/** The same report, of parts that their owner starts and ends by himself. *report_out is left as it
 * was on error.
 * Errors: INVALID_ARGUMENT (a part is NULL), UNSUPPORTED (reserved bytes), STATE (a part is not
 * initialised). Threads: any. Cost: linear in threads and workers. */
WRT_API WRT_NODISCARD wrt_status wrt_runtime_query_parts(const wrt_runtime_parts *parts,
                                                         wrt_runtime_report *report_out);

/** Ends all threads as wrt_thread_manager_shutdown() does, and the watchdog after them, so that
 * their end is still watched. May be called again.
 * Errors: as wrt_thread_manager_shutdown() and wrt_watchdog_stop(). */
WRT_API WRT_NODISCARD wrt_status wrt_runtime_shutdown(wrt_runtime *runtime, uint32_t mode,
                                                      uint64_t timeout_ns);

/** Lets go of everything. A zeroed runtime is accepted, so twice is harmless.
 * Errors: STATE (not shut down; watches or lost threads are still out; moved). It can be tried
 * again. */
WRT_API WRT_NODISCARD wrt_status wrt_runtime_deinit(wrt_runtime *runtime);

WRT_END_DECLS
#endif
