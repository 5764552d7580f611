/** Thread pools: worker threads that run tasks, the most urgent one first.
 *
 *     wrt_thread_pool_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.max_threads = 4;
 *     config.name_prefix = "wasm-worker";
 *     config.system = wrt_linux_thread_system_interface();
 *     config.executor = wrt_instance_executor_interface(&executor);
 *     config.buffer = buffer; // as wrt_thread_pool_layout() asks
 *     config.buffer_size = sizeof buffer;
 *     wrt_status status = wrt_thread_pool_init(&pool, &config);
 *
 *     wrt_wasm_task_config task_config = {0};
 *     task_config.struct_size = sizeof task_config;
 *     task_config.function_id = 100;
 *     status = wrt_thread_pool_spawn_wasm_thread(&pool, &task_config, &task);
 *     wrt_wasm_outcome outcome;
 *     status = wrt_wasm_task_join(&task, UINT64_MAX, NULL, &outcome); // did it end in time?
 *     status = outcome.status;                                       // and how did it end?
 *
 * A task is the caller's storage, and lies in the pool's queue itself: a submit takes no memory and
 * no lock, and makes a system call only if a worker has to be woken. There is one queue a priority;
 * a full one refuses (BUSY) and keeps what it has. A worker takes on the priority and the CPUs of
 * the task that it runs, if they are other than it has.
 *
 * Nothing here stops a thread from outside. Cancelling sets the task's token, and interrupts the
 * instance that it runs on; a task that does not react can be given up: its thread is let go, and
 * another one takes its place in the pool.
 *
 * Times are nanoseconds: a `timeout_ns` of 0 does not wait, UINT64_MAX waits without limit.
 *
 * Heap: none.  Threads: any, where nothing else is said.  ISR: no.  Fork: the child has no workers;
 * it must not use the pool.
 */
#ifndef WRT_PLATFORM_THREADING_H
#define WRT_PLATFORM_THREADING_H

#include "wrt_platform/executor.h"

WRT_BEGIN_DECLS

struct wrt_events; /* of events.h */

/** Sizes and defaults. */
enum wrt_thread_pool_limit {
    WRT_THREAD_POOL_THREAD_MAX = 256, /* max_threads and spare_threads together */
    WRT_THREAD_POOL_PRIORITIES = 4,   /* LOW to REALTIME: place p - 1 in an array */
    WRT_THREAD_POOL_QUEUE_DEFAULT = 256,
    WRT_THREAD_POOL_QUEUE_MAX = 1048576, /* tasks a priority */
    WRT_THREAD_POOL_SPIN_DEFAULT = 2000, /* looks */
    WRT_THREAD_POOL_SPIN_MAX = 1000000,
    WRT_THREAD_POOL_BUFFER_ALIGNMENT = 8 /* bytes */
};

/** Whether a worker looks for work for a while before it sleeps, and a join for the end of its
 * task. Who has looked in vain looks only briefly for some turns, up to 31, until something is
 * found: where the system runs both threads on one CPU, looking only takes the other's time. */
enum wrt_thread_pool_spin {
    WRT_THREAD_POOL_SPIN_AUTOMATIC = 0, /* WRT_THREAD_POOL_SPIN_DEFAULT looks, with two CPUs or
                                           more, and never at priority REALTIME */
    WRT_THREAD_POOL_SPIN_NONE = 1       /* sleeps at once */
};

/** Where a task is. */
enum wrt_task_state {
    WRT_TASK_NEW = 0,     /* not submitted, or joined */
    WRT_TASK_QUEUED = 1,  /* in the queue of its priority */
    WRT_TASK_WAITING = 2, /* for its turn on a busy instance */
    WRT_TASK_RUNNING = 3,
    WRT_TASK_DONE = 4, /* has ended, or was cancelled before it began; can be joined */
    WRT_TASK_LOST = 5  /* its thread was given up and is still in it */
};

/** How wrt_thread_pool_shutdown() deals with tasks that have not ended. */
enum wrt_shutdown_mode {
    WRT_SHUTDOWN_DRAIN = 1, /* lets them all run to their end */
    WRT_SHUTDOWN_CANCEL = 2 /* cancels those that run; the others don't begin */
};

/** Caller-provided storage. Fields are private. It must not be moved (STATE). */
typedef struct wrt_thread_pool {
    struct wrt_thread_pool *self;
    void *parts; /* in the buffer */
    uint32_t magic;
    uint32_t reserved;
} wrt_thread_pool;

/** What a pool is made of. */
typedef struct wrt_thread_pool_config {
    uint32_t struct_size;       /* sizeof(wrt_thread_pool_config); 0 is refused */
    uint32_t max_threads;       /* workers, all started at init; 1 to WRT_THREAD_POOL_THREAD_MAX */
    uint32_t priority_range[2]; /* lowest and highest of wrt_thread_priority that a task may have;
                                   both 0: LOW to HIGH */
    wrt_cpu_set cpu_affinity;   /* of the workers; all zero: any */
    uint64_t stack_size;        /* bytes of a worker's stack; 0: the system's default */
    uint64_t memory_limit_per_thread; /* bytes of linear memory that the instances made on one
                                         worker have at most; 0: without limit. Counts what is
                                         allocated by `page_allocator`, and nothing else. */
    const char *name_prefix;  /* copied; worker n is called "<prefix>-n", where the prefix is cut so
                                 that the name has 15 bytes; NULL: "wrt-worker" */
    uint32_t queue_capacity;  /* tasks a priority, rounded up to a power of two; 0: 256 */
    uint32_t spin;            /* looks, up to WRT_THREAD_POOL_SPIN_MAX, or wrt_thread_pool_spin */
    uint32_t spare_threads;   /* workers that can be given up and replaced, each once until its lost
                                 thread comes back */
    bool require_priority;    /* PERMISSION at init if not all of priority_range may be had;
                                 otherwise workers run with the nearest that may */
    uint8_t reserved[3];      /* zero */
    wrt_thread_system system; /* of the backend; copied */
    wrt_page_allocator page_allocator; /* where turns get memory from, through a view that counts; a
                                          lock of the pool lets in one worker at a time; may be
                                          zero */
    wrt_executor executor;             /* for wasm tasks; may be zero if there are none */
    struct wrt_events *events;         /* gets what happens to threads; borrowed; may be NULL */
    void *buffer;                      /* as wrt_thread_pool_layout() asks; borrowed until deinit */
    size_t buffer_size;                /* bytes */
} wrt_thread_pool_config;

/** What a task runs, on a worker. Its result becomes the task's outcome. */
typedef wrt_status (*wrt_task_fn)(void *context);

/** What a task is made of. */
typedef struct wrt_task_config {
    uint32_t struct_size;     /* sizeof(wrt_task_config); 0 is refused */
    uint32_t priority;        /* one of wrt_thread_priority within the pool's range; 0: NORMAL, or
                                 what of the range is next to it */
    wrt_cpu_set cpu_affinity; /* within the pool's own; all zero: that */
    wrt_task_fn run;          /* what runs */
    void *context;            /* passed to `run` */
} wrt_task_config;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. Where it is
 * aligned to 64 bytes, what a submit, a worker and a join touch lies in one cache line, and no two
 * tasks share one: that saves about a tenth of a task's cost. Nothing else depends on it. */
typedef struct wrt_task {
    uint32_t state;  /* atomic; one of wrt_task_state, and whether somebody waits */
    uint32_t worker; /* atomic */
    wrt_task_fn run;
    void *context;
    struct wrt_task *self;
    void *pool;
    uint32_t magic;
    int32_t outcome;
    uint8_t kind;
    uint8_t priority; /* as asked for */
    uint8_t runs_at;  /* one of wrt_thread_priority, never DEFAULT */
    uint8_t has_cpus;
    uint32_t reserved;
    wrt_cancel_token cancel;
    wrt_cpu_set cpus;
    uint64_t reserved_behind[2];
} wrt_task;

/** A call of a function in an instance, as the documents' WasmTask. */
typedef struct wrt_wasm_task_config {
    uint32_t struct_size;   /* sizeof(wrt_wasm_task_config); 0 is refused */
    uint32_t function_id;   /* as the pool's executor knows it */
    uint64_t id;            /* the caller's own number; for reports */
    const wrt_value *args;  /* copied when the call begins; borrowed until the task is done */
    wrt_value *results;     /* written if the outcome is WRT_OK; borrowed the same */
    uint32_t args_count;    /* as the function's type has it */
    uint32_t results_count; /* the same */
    const wrt_function_type *type; /* what the caller takes the function for, compared at spawn;
                                      read then only; NULL: the counts alone are compared */
    uint32_t priority;             /* as in wrt_task_config */
    bool has_fuel;                 /* sets the instance's fuel before the call; false: leaves it */
    uint8_t reserved[3];           /* zero */
    wrt_cpu_set cpu_affinity;      /* as in wrt_task_config */
    uint64_t fuel;                 /* instructions, at most INT64_MAX / 2; with has_fuel */
    uint64_t timeout_ns;           /* from the call's beginning, start function included; 0: none */
} wrt_wasm_task_config;

/** How a wasm task ended. */
typedef struct wrt_wasm_outcome {
    int32_t status;       /* of the call: WRT_OK, TRAP, OUT_OF_FUEL, TIMED_OUT, INTERRUPTED
                             (cancelled), EXIT, what a host function returned, or why there was no
                             call: an error of the executor or of the thread system */
    uint32_t worker;      /* that ran it; UINT32_MAX if none did */
    uint64_t id;          /* of the config */
    uint64_t run_time_ns; /* from the call's beginning to its end */
    uint64_t cpu_time_ns; /* that the thread used meanwhile */
    uint64_t fuel_used;   /* instructions executed */
    wrt_trap trap;        /* with TRAP: code, function, offset; otherwise where the guest stood */
    wrt_error error;      /* the worker's wrt_error_last(), if status is not WRT_OK */
} wrt_wasm_outcome;

/** Caller-provided storage, not to be moved until it has been joined. Fields are private. */
typedef struct wrt_wasm_task {
    wrt_task task; /* for the calls on any task; spawn initialises it */
    wrt_turn turn;
    const wrt_value *args;
    wrt_value *results;
    uint32_t args_count;
    uint32_t results_count;
    uint64_t fuel;
    uint64_t timeout_ns;
    uint64_t started_ns;
    uint64_t started_cpu_ns;
    wrt_wasm_outcome outcome;
    uint32_t has_fuel;
    uint32_t reserved;
} wrt_wasm_task;

/** Where a task is now; of one that is not running, what follows `worker` is 0. */
typedef struct wrt_task_report {
    uint32_t state;        /* one of wrt_task_state */
    uint32_t priority;     /* one of wrt_thread_priority */
    uint32_t worker;       /* that runs it, or has been given up with it; else UINT32_MAX */
    uint32_t heartbeat;    /* wrt_instance_heartbeat() of its instance; 0 of a plain task */
    uint64_t id;           /* of a wasm task */
    uint64_t system_id;    /* of its thread */
    uint64_t run_time_ns;  /* since a wasm task's call began */
    uint64_t cpu_time_ns;  /* that the thread has used since then */
    uint64_t memory_bytes; /* that the worker's allocator has out */
} wrt_task_report;

/** What a pool has done and what waits. Numbers of tasks wrap at 2^32. */
typedef struct wrt_thread_pool_report {
    uint32_t threads;           /* workers, without lost ones */
    uint32_t running;           /* of them, run a task now */
    uint32_t lost;              /* threads that were given up and have not come back */
    uint32_t returned;          /* threads that were given up and have come back since */
    uint32_t spare;             /* workers that can still be replaced */
    uint32_t queued[4];         /* tasks by priority, LOW first */
    uint32_t peak_queued;       /* the most that a worker found in one queue */
    uint32_t submitted;         /* tasks */
    uint32_t finished;          /* tasks, cancelled ones included */
    uint32_t cancelled;         /* tasks that did not begin */
    uint32_t refused;           /* tasks that found their queue full */
    uint32_t wakes;             /* system calls that submits made */
    uint32_t sleeps;            /* times that a worker began to wait in the system */
    uint32_t priority_refusals; /* tasks that ran at another priority than their own */
    uint32_t reserved;
} wrt_thread_pool_report;

/** One worker, as the system describes its thread, and what it has done. */
typedef struct wrt_thread_pool_worker_report {
    wrt_thread_report thread; /* all zero of one that is not there */
    uint32_t state;           /* one of wrt_worker_state */
    uint32_t finished;        /* tasks; wraps at 2^32 */
    uint64_t memory_bytes;    /* that its allocator has out */
    uint64_t memory_peak;     /* bytes: the most that were out at once */
    uint64_t memory_limit;    /* bytes; UINT64_MAX: none */
} wrt_thread_pool_worker_report;

/** What a worker is doing. */
enum wrt_worker_state {
    WRT_WORKER_FREE = 0, /* a record without a thread: a spare, or ended */
    WRT_WORKER_IDLE = 1, /* looks or waits for a task */
    WRT_WORKER_RUNNING = 2,
    WRT_WORKER_LOST = 3 /* was given up and has not come back */
};

/** Says what buffer `config` needs; its own buffer and system are not looked at.
 * Errors: INVALID_ARGUMENT (a rule of the config; all zero in *layout_out), UNSUPPORTED (the config
 * sets something that this library does not know). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_layout(const wrt_thread_pool_config *config,
                                                        wrt_layout *layout_out);

/** Starts the workers; on error `pool` is left as it was, and no thread remains.
 * Errors: as the layout call; NO_MEMORY (buffer too small, or the system has no room for the
 * threads), PERMISSION (require_priority; the text says what to do), INVALID_ARGUMENT (a CPU that
 * is not there, stack size), SYSTEM. Cost: max_threads starts of a thread. Threads: one caller. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_init(wrt_thread_pool *pool,
                                                      const wrt_thread_pool_config *config);

/** Prepares a task. It may be submitted again and again, each time after a join.
 * Errors: INVALID_ARGUMENT (run is NULL, unknown priority), STATE (`task` is in a pool already),
 * UNSUPPORTED. Cost: constant. Threads: one caller for a task. */
WRT_API WRT_NODISCARD wrt_status wrt_task_init(wrt_task *task, const wrt_task_config *config);

/** Ends a task that is not in a pool, whether it was joined or not; the storage is the caller's
 * again. A zeroed one is accepted, so twice is harmless. Of a wasm task pass &task->task.
 * Errors: STATE (queued, waiting, running or lost; or it was moved). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_task_deinit(wrt_task *task);

/** Hands a task to the workers; until it is done, task and context are theirs.
 * Errors: BUSY (the queue of its priority is full; the task may be submitted again), STATE
 * (submitted already and not joined; moved; the pool shuts down), INVALID_ARGUMENT (its priority is
 * not within priority_range; its CPUs not within the pool's). In all these nothing has changed.
 * Cost: constant, no memory and no lock; one wake of the system if a worker sleeps and none
 * is about to look. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_submit(wrt_thread_pool *pool, wrt_task *task);

/** Submits `count` tasks, in their order, with at most one wake of the system. *submitted_out says
 * how many there were before the one that failed; the status is why it did. Errors: as submit. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_submit_batch(wrt_thread_pool *pool,
                                                              wrt_task *const *tasks,
                                                              uint32_t count,
                                                              uint32_t *submitted_out);

/** Waits until a task is done; then it is NEW again. *outcome_out, if not NULL: what `run`
 * returned, or INTERRUPTED if it was cancelled before it began. `cancel` ends the waiting, not the
 * task; NULL: nothing does. Errors: TIMED_OUT, INTERRUPTED (cancel), STATE (never submitted, or
 * joined already; its worker was given up: then it can be joined once that thread has come back;
 * moved). Cost: some looks, then one wait of the system (with a token one every 20 ms). */
WRT_API WRT_NODISCARD wrt_status wrt_task_join(wrt_task *task, uint64_t timeout_ns,
                                               wrt_cancel_token *cancel, wrt_status *outcome_out);

/** Asks a task to end: one that is queued or waiting will not begin; the token of one that runs is
 * requested, and the instance that a wasm task runs on is interrupted, never a later task on that
 * instance. May be repeated. The task must not be joined and reused meanwhile.
 * Errors: STATE (not submitted, or done), INVALID_ARGUMENT. Cost: constant, a wake if it waits. */
WRT_API WRT_NODISCARD wrt_status wrt_task_cancel(wrt_task *task);

/** The token that wrt_task_cancel() requests: for the waits inside of `run`. NULL for NULL. It
 * lives as long as the task, and is cleared by each submit. Errors: none, it cannot fail. */
WRT_API wrt_cancel_token *wrt_task_cancel_token(wrt_task *task);

/** Says where a task is. Errors: STATE (not initialised, moved). Cost: some calls of the system if
 * it runs. */
WRT_API WRT_NODISCARD wrt_status wrt_task_query(wrt_task *task, wrt_task_report *report_out);

/** Gives up the worker of a task that was cancelled and does not come back: its thread is detached,
 * a spare takes its place, the task is LOST, tasks that wait for its instance end with STATE, and
 * the pool goes on. Storage that the thread can still reach must stay: the task, its arguments and
 * results, its instance, and the pool's buffer. When the thread does come back it ends quietly, the
 * task is DONE and can be joined, and the worker's record is a spare again.
 * *replaced_out, if not NULL: false if there was no spare, so that the pool goes on with one less.
 * Errors: STATE (it does not run; wrt_task_cancel() was not called before), SYSTEM or NO_MEMORY
 * (the spare could not be started; the worker was given up nevertheless). Cost: the start of a
 * thread. */
WRT_API WRT_NODISCARD wrt_status wrt_task_give_up(wrt_task *task, bool *replaced_out);

/** Submits a call of an exported function; wrt_wasm_task_join() tells its outcome. `task` is
 * all zero at first, and may be used again after its join.
 * Errors: as wrt_thread_pool_submit(); NOT_FOUND (the executor has no such function),
 * INVALID_ARGUMENT (counts or types are not those of the function; args or results NULL; fuel),
 * STATE (the pool has no executor; `task` is in a pool, or not joined), UNSUPPORTED. On error
 * `task` is in no pool. Cost: the executor's search, linear in its functions; then as submit. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_spawn_wasm_thread(
    wrt_thread_pool *pool, const wrt_wasm_task_config *config, wrt_wasm_task *task);

/** Spawns `count` tasks, in their order, with at most one wake of the system; tasks[i] is made of
 * configs[i], whose struct_size must be that of this library. *spawned_out: how many there were
 * before the one that failed; the status is why it did. Errors: as spawn. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_spawn_batch(wrt_thread_pool *pool,
                                                             const wrt_wasm_task_config *configs,
                                                             wrt_wasm_task *tasks, uint32_t count,
                                                             uint32_t *spawned_out);

/** Waits as wrt_task_join() does. The status says whether it ended in time, *outcome_out how it
 * ended. Errors: as wrt_task_join(). */
WRT_API WRT_NODISCARD wrt_status wrt_wasm_task_join(wrt_wasm_task *task, uint64_t timeout_ns,
                                                    wrt_cancel_token *cancel,
                                                    wrt_wasm_outcome *outcome_out);

/** Joins `count` tasks, in their order, within one time; *joined_out: how many, before the one that
 * failed. outcomes_out: one each; may be NULL. Errors: as wrt_task_join(). */
WRT_API WRT_NODISCARD wrt_status wrt_wasm_task_join_batch(wrt_wasm_task *tasks, uint32_t count,
                                                          uint64_t timeout_ns,
                                                          wrt_cancel_token *cancel,
                                                          wrt_wasm_outcome *outcomes_out,
                                                          uint32_t *joined_out);

/** Reports what the pool has done and what waits. Errors: STATE (not initialised, moved).
 * Cost: linear in the workers. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_query(const wrt_thread_pool *pool,
                                                       wrt_thread_pool_report *report_out);

/** Describes worker `index`, 0 to max_threads + spare_threads - 1, as the system sees it.
 * Errors: NOT_FOUND (no such record), STATE. Cost: some calls of the system. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_worker(const wrt_thread_pool *pool, uint32_t index,
                                                        wrt_thread_pool_worker_report *report_out);

/** The task that the calling thread, a worker of the pool, is running: for host functions that want
 * to know whose they are. *task_out is NULL on error.
 * Errors: NOT_FOUND (the caller is no worker of this pool, or runs no task), STATE.
 * Cost: a query of the system; linear in the workers. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_current(const wrt_thread_pool *pool,
                                                         wrt_task **task_out);

/** Takes no more tasks, deals with those that are there by `mode`, and ends the workers. May be
 * called again, from DRAIN to CANCEL as well. A worker of the pool must not call it. *left_out, if
 * not NULL: workers that have not ended, lost ones not counted.
 * Errors: TIMED_OUT (some workers are still in a task), INVALID_ARGUMENT (mode), STATE.
 * Cost: the tasks. Threads: one caller at a time. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_shutdown(wrt_thread_pool *pool, uint32_t mode,
                                                          uint64_t timeout_ns, uint32_t *left_out);

/** Lets go of the buffer. It joins no thread: wrt_thread_pool_shutdown() comes first. A zeroed pool
 * is accepted, so twice is harmless.
 * Errors: STATE (workers have not ended, or lost threads are still out: detail[0] says how many;
 * it was moved). Threads: one caller. */
WRT_API WRT_NODISCARD wrt_status wrt_thread_pool_deinit(wrt_thread_pool *pool);

WRT_END_DECLS
#endif
