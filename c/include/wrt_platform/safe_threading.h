/** Thread managers: threads of WebAssembly modules within limits, watched, and stopped when they
 * break them.
 *
 *     wrt_thread_manager_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.threads = &pool_config; // a wrt_thread_pool_config with executor and system
 *     config.limits.struct_size = sizeof config.limits;
 *     config.limits.max_total_threads = 64;
 *     config.limits.cpu_quota_per_thread_ns = 60000000000; // 60 s
 *     config.module_capacity = 4;
 *     config.buffer = buffer; // as wrt_thread_manager_layout() asks
 *     config.buffer_size = sizeof buffer;
 *     wrt_status status = wrt_thread_manager_init(&manager, &config);
 *     status = wrt_thread_manager_register_module(&manager, &module_info);
 *     status = wrt_thread_manager_spawn(&manager, module_info.id, &task_config, &thread);
 *     ...
 *     status = wrt_thread_manager_kill_unhealthy(&manager, &killed);
 *
 * A manager has a pool of its own; `threads` here are calls of exported functions on its workers
 * (wrt_wasm_task). What it counts and how:
 *
 * - threads of a module, and of all: those that were spawned and have not ended;
 * - lifetime: from the beginning of the call, by the system's clock;
 * - CPU time: since the beginning of the call, by the worker thread's own CPU clock;
 * - responsiveness: the instance's heartbeat (wrt_instance_heartbeat()), which stands still while
 *   the guest is inside a host function that waits or never comes back;
 * - memory: linear memory that the threads of a module have together, by an account below the
 *   manager's. It counts the instances that the executor makes for its threads; an instance of the
 *   caller's own counts if its pages come from a wrt_counted_allocator over
 *   wrt_thread_manager_account().
 *
 * Killing is cooperative: the guest stops at its next loop or call, a wait that has the token ends.
 * A thread that does not come back within `kill_timeout_ns` is given up: it is let go, its
 * worker replaced, and it is reported as POISONED until it does come back. No thread is ever
 * stopped by force: that would leave locks and memory behind.
 *
 * Nothing checks by itself unless wrt_thread_manager_start() was called.
 *
 * Times are nanoseconds. Heap: none.  Threads: any, where nothing else is said.  ISR: no.
 * Fork: the child has no workers; it must not use the manager.
 */
#ifndef WRT_PLATFORM_SAFE_THREADING_H
#define WRT_PLATFORM_SAFE_THREADING_H

#include "wrt_platform/events.h"
#include "wrt_platform/memory_account.h"
#include "wrt_platform/threading.h"

WRT_BEGIN_DECLS

/** Sizes and defaults. */
enum wrt_thread_manager_limit {
    WRT_THREAD_MANAGER_MODULE_MAX = 1024,
    WRT_THREAD_MANAGER_KILL_TIMEOUT_DEFAULT_MS = 500,
    WRT_THREAD_MANAGER_RESPONSE_TIMEOUT_DEFAULT_MS = 5000,
    WRT_THREAD_MANAGER_CHECK_INTERVAL_DEFAULT_MS = 100,
    WRT_WASM_MODULE_NAME_SIZE = 32 /* bytes of a name, the closing NUL included */
};

/** How a thread is. The list is open: take numbers that you don't know as not healthy. */
enum wrt_thread_health {
    WRT_THREAD_HEALTHY = 0,
    WRT_THREAD_CPU_QUOTA_EXCEEDED = 1, /* by its own CPU clock */
    WRT_THREAD_LIFETIME_EXCEEDED = 2,  /* since its call began */
    WRT_THREAD_UNRESPONSIVE = 3,       /* no heartbeat for response_timeout_ns */
    WRT_THREAD_POISONED = 4            /* it was killed, did not come back, and was given up */
};

/** What all threads of a manager must keep to; 0 stands for no limit in each. */
typedef struct wrt_threading_limits {
    uint32_t struct_size; /* sizeof(wrt_threading_limits); 0 is refused */
    uint32_t max_threads_per_module;
    uint32_t max_total_threads;
    uint8_t reserved[4];              /* zero */
    uint64_t max_thread_lifetime_ns;  /* from the beginning of a call */
    uint64_t cpu_quota_per_thread_ns; /* of one call */
    uint64_t memory_limit_per_module; /* bytes of linear memory */
} wrt_threading_limits;

/** A module whose functions are spawned, and its own limits; the stricter one counts. */
typedef struct wrt_wasm_module_info {
    uint32_t struct_size;      /* sizeof(wrt_wasm_module_info); 0 is refused */
    uint32_t id;               /* the caller's number; no two alike */
    const char *name;          /* copied; at most 31 bytes, a longer one is cut; NULL: none */
    uint32_t max_threads;      /* 0: no limit of its own */
    uint32_t default_priority; /* of its threads: one of wrt_thread_priority; 0: the pool's */
    uint64_t memory_limit;     /* bytes of linear memory; 0: no limit of its own */
    uint64_t cpu_quota_ns;     /* of each of its threads; 0: no limit of its own */
} wrt_wasm_module_info;

/** What a manager is made of. */
typedef struct wrt_thread_manager_config {
    uint32_t struct_size;                  /* sizeof(wrt_thread_manager_config); 0 is refused */
    uint32_t module_capacity;              /* modules at once, 1 to WRT_THREAD_MANAGER_MODULE_MAX */
    const wrt_thread_pool_config *threads; /* of the manager's pool; its buffer fields and events
                                              are not looked at; it needs system and executor; read
                                              at init */
    wrt_threading_limits limits;
    uint64_t response_timeout_ns; /* 0: 5 s */
    uint64_t kill_timeout_ns;     /* how long a killed thread has to come back; 0: 500 ms */
    uint64_t check_interval_ns;   /* of wrt_thread_manager_start(); 0: 100 ms */
    wrt_memory_account *account; /* above those of the modules; borrowed until deinit; NULL: none */
    wrt_events *events;          /* gets THREAD_UNHEALTHY, _KILLED, _POISONED: `source` is the
                                    thread's id, detail[0] its health, detail[1] its module; borrowed
                                    until deinit; NULL: none */
    void *buffer;                /* as wrt_thread_manager_layout() asks; borrowed until deinit */
    size_t buffer_size;          /* bytes */
} wrt_thread_manager_config;

/** A thread's health, one row of wrt_thread_manager_health_check(). */
typedef struct wrt_thread_health_report {
    uint64_t id;          /* of its task's config */
    uint32_t module;      /* id of its module */
    uint32_t health;      /* one of wrt_thread_health: the first of them that applies */
    uint32_t state;       /* one of wrt_task_state */
    uint32_t heartbeat;   /* of its instance */
    uint64_t lifetime_ns; /* since its call began; 0 before */
    uint64_t cpu_time_ns; /* since its call began */
    uint64_t quiet_ns;    /* how long no check has seen its heartbeat move */
} wrt_thread_health_report;

/** What a manager has done; the counters wrap. */
typedef struct wrt_thread_manager_report {
    uint32_t module_count;
    uint32_t thread_count; /* spawned and not ended */
    uint32_t poisoned;     /* threads that were given up and have not come back */
    uint32_t spawned;      /* so far */
    uint32_t refused;      /* spawns that a limit refused */
    uint32_t killed;       /* threads that were stopped and came back, so far */
    uint32_t given_up;     /* threads that did not come back in time, so far */
    uint32_t lost_events;  /* that found the ring full */
    bool is_running;       /* the monitor thread */
    uint8_t reserved[7];
    wrt_thread_pool_report pool;
} wrt_thread_manager_report;

/** A spawned thread: caller's storage, not to be moved until it was joined. Fields are private. */
typedef struct wrt_managed_thread {
    wrt_wasm_task task;
    struct wrt_thread_manager *manager;
    struct wrt_managed_thread *next;
    void *module;
    wrt_counted_allocator pages;     /* the module's view over ... */
    wrt_page_allocator worker_pages; /* ... those of the worker that runs it */
    uint64_t changed_ns;             /* time of the check that saw the last heartbeat */
    uint32_t heartbeat;              /* that it saw */
    uint32_t health;                 /* what it was killed for, or was reported as last */
    uint32_t flags;
    uint32_t reserved;
} wrt_managed_thread;

/** Caller's storage, not to be moved between init and deinit. Fields are private. */
typedef struct wrt_thread_manager {
    struct wrt_thread_manager *self;
    wrt_thread_pool pool;
    wrt_thread_system system;
    wrt_executor executor; /* the caller's; the pool has one that wraps it */
    wrt_system_lock lock;
    wrt_system_lock killing; /* one killer at a time */
    wrt_memory_account account;
    wrt_threading_limits limits;
    wrt_events *events;
    wrt_managed_thread *first;
    void *modules;
    uint64_t response_timeout_ns;
    uint64_t kill_timeout_ns;
    uint64_t check_interval_ns;
    wrt_repeating_thread monitor;
    uint32_t module_capacity;
    uint32_t magic;
    wrt_thread_manager_report report;
} wrt_thread_manager;

/** Says what buffer `config` needs, the pool's included.
 * Errors: INVALID_ARGUMENT (a rule of the config; all zero in *layout_out), UNSUPPORTED (reserved
 * bytes). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_layout(const wrt_thread_manager_config *config,
                                                           wrt_layout *layout_out);

/** Starts the pool; on error `manager` is left as it was. Errors: as wrt_thread_pool_init(), and
 * wrt_memory_account_init() of `account`; INVALID_ARGUMENT (no system, no executor).
 * Threads: one caller. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_init(wrt_thread_manager *manager,
                                                         const wrt_thread_manager_config *config);

/** Makes a module known. Errors: STATE (this id is known already), LIMIT (module_capacity),
 * INVALID_ARGUMENT (a rule of the info), UNSUPPORTED. Cost: linear in module_capacity. */
WRT_API WRT_NODISCARD wrt_status
wrt_thread_manager_register_module(wrt_thread_manager *manager, const wrt_wasm_module_info *info);

/** Forgets a module. Errors: NOT_FOUND, BUSY (threads of it have not been joined, or something is
 * charged to its account). */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_unregister_module(wrt_thread_manager *manager,
                                                                      uint32_t module_id);

/** A module's account, for counted allocators of the caller's own; it belongs to the manager and
 * lives until the module is forgotten. Errors: NOT_FOUND, STATE. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_account(wrt_thread_manager *manager,
                                                            uint32_t module_id,
                                                            wrt_memory_account **account_out);

/** Spawns a thread of a module. Priority DEFAULT is the module's. The executor finds the function
 * by its id; what happens then is said with wrt_thread_pool_spawn_wasm_thread().
 * Errors: as there; NOT_FOUND (no such module), LIMIT (max_threads of the module, of a module, or
 * in total: the numbers are in the error; counted). On error `thread` is as it was.
 * Cost: linear in the threads that were not joined, if a limit on threads is near. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_spawn(wrt_thread_manager *manager,
                                                          uint32_t module_id,
                                                          const wrt_wasm_task_config *config,
                                                          wrt_managed_thread *thread);

/** Waits for a thread's end as wrt_wasm_task_join() does; its storage is the caller's again then.
 * *health_out, if not NULL: what it was killed for, else HEALTHY. One that was given up can be
 * joined once it has come back. Errors: as wrt_wasm_task_join(). */
WRT_API WRT_NODISCARD wrt_status wrt_managed_thread_join(wrt_managed_thread *thread,
                                                         uint64_t timeout_ns,
                                                         wrt_cancel_token *cancel,
                                                         wrt_wasm_outcome *outcome_out,
                                                         uint32_t *health_out);

/** Asks one thread to end, healthy or not. Errors: as wrt_task_cancel(). */
WRT_API WRT_NODISCARD wrt_status wrt_managed_thread_kill(wrt_managed_thread *thread);

/** Looks at every thread that has not ended. The first `capacity` rows are written; *count_out says
 * how many there are in all. reports_out may be NULL if capacity is 0.
 * Errors: STATE. Cost: some calls of the system for each running thread. */
WRT_API WRT_NODISCARD wrt_status
wrt_thread_manager_health_check(wrt_thread_manager *manager, wrt_thread_health_report *reports_out,
                                uint32_t capacity, uint32_t *count_out);

/** Checks, kills every thread that is not healthy, waits for them for at most kill_timeout_ns
 * together, and gives up those that have not come back. *stopped_out: how many were killed or given
 * up by this call. A healthy thread is never touched.
 * Errors: STATE, SYSTEM. Cost: a check, and the wait. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_kill_unhealthy(wrt_thread_manager *manager,
                                                                   uint32_t *stopped_out);

/** Starts a monitor thread, which does wrt_thread_manager_kill_unhealthy() in each check interval.
 * Errors: STATE (it runs), and those of wrt_thread_start_fn. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_start(wrt_thread_manager *manager);

/** Ends the monitor thread, and waits for that. Of one that does not run it does nothing.
 * Errors: TIMED_OUT (it is just killing; call again), BUSY (another thread is in this call), STATE.
 */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_stop(wrt_thread_manager *manager,
                                                         uint64_t timeout_ns);

/** Reports what the manager has done. Errors: STATE. Cost: linear in threads and workers. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_query(wrt_thread_manager *manager,
                                                          wrt_thread_manager_report *report_out);

/** Ends the monitor and the pool, as wrt_thread_pool_shutdown() does; with CANCEL, threads that
 * have not come back in time are given up. Threads may be joined afterwards. Errors: as
 * wrt_thread_pool_shutdown(). */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_shutdown(wrt_thread_manager *manager,
                                                             uint32_t mode, uint64_t timeout_ns);

/** Lets go of the buffer and of all threads that have ended. A zeroed manager is accepted, so twice
 * is harmless.
 * Errors: STATE (not shut down, or threads that were given up are still out; moved). */
WRT_API WRT_NODISCARD wrt_status wrt_thread_manager_deinit(wrt_thread_manager *manager);

WRT_END_DECLS
#endif
