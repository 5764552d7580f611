/* Internal: what a thread pool is made of. All of it lies in the caller's buffer:
 *
 *     parts | workers, a record each | queue of LOW | NORMAL | HIGH | REALTIME
 *
 * Three protocols hold it together.
 *
 * Sleeping. A worker that finds nothing announces itself in `sleepers`, looks at how far each queue
 * has been claimed and sleeps on `epoch`. A submit claims its place first and looks at `sleepers`
 * then: so one of the two sees the other, and no exchange is needed but the one that claims. A
 * place that is claimed and not filled yet keeps the worker from sleeping for long. Who wakes takes
 * the sleeper off the count himself, so that of a hundred submits only the first pays for a wake.
 * One worker at a time looks for a while before it sleeps (`looking`); while it does, nobody is
 * woken. Whoever goes from idle to busy wakes the next sleeper if there is more to do. The end of
 * the last worker is seen in the same way, by `alive`.
 *
 * Binding. What a worker runs can be touched from outside (interrupted, asked for its heartbeat)
 * only by who holds the binding, and a worker does not let go of a task while somebody does. That
 * is why a cancel never hits the next task on the same instance.
 *
 * Giving up. A worker whose task does not come back is marked LOST under its binding. When its
 * thread comes back it sees the mark, ends the task, and touches the pool for the last time when
 * it takes itself off `lost`. */
#ifndef WRT_CORE_THREADING_H
#define WRT_CORE_THREADING_H

#include "atomic.h"
#include "cache_line.h"
#include "lockfree_mpmc.h"
#include "thread_system.h"
#include "wrt_platform/memory_account.h"
#include "wrt_platform/threading.h"

enum {
    WRT__POOL_MAGIC = 0x706F6F6C,
    WRT__TASK_MAGIC = 0x7461736B,
    WRT__NOBODY = UINT16_MAX,  /* instead of a worker's index */
    WRT__TASK_STATE = 0xFF,    /* of the word: one of wrt_task_state */
    WRT__TASK_AWAITED = 0x100, /* of the word: somebody sleeps on it */
    WRT__TASK_ENTERS = 0x200   /* of the word, beside NEW: a submit is at it */
};

/* What a task is inside. */
enum wrt__task_kind { WRT__TASK_PLAIN = 1, WRT__TASK_WASM = 2 };

/* Who holds what a worker runs. */
enum wrt__binding {
    WRT__UNBOUND = 0,
    WRT__BOUND = 1,  /* the worker runs `task` */
    WRT__HELD = 2,   /* and somebody looks at it */
    WRT__AWAITED = 3 /* and the worker sleeps until he is done */
};

/* How far a shutdown has come. */
enum wrt__stop { WRT__GOES_ON = 0, WRT__DRAINS = 1, WRT__CANCELS = 2 };

typedef struct wrt__pool wrt__pool;

/* What came of looking for a while before sleeping; see threading_luck.c. */
typedef struct wrt__luck {
    uint32_t rests; /* atomic, as the other: how many looks were to be brief the last time */
    uint32_t left;  /* and how many of them still are */
} wrt__luck;

typedef struct wrt__worker {
    wrt__pool *pool;
    wrt_task *task;         /* while bound */
    wrt_instance *instance; /* while bound; NULL: none */
    uint32_t binding;       /* atomic; one of wrt__binding */
    uint32_t state;         /* atomic; one of wrt_worker_state */
    uint32_t index;
    uint32_t priority; /* that it asked the system for last */
    uint32_t refused;  /* and did not get */
    uint32_t has_cpus; /* it has `cpus`, not the pool's */
    wrt_cpu_set cpus;
    uint32_t finished; /* atomic, as the counters below: one writer each */
    uint32_t cancelled;
    uint32_t sleeps;
    uint32_t wakes; /* of other workers */
    wrt__luck luck; /* as it looks for tasks */
    uint32_t peak_queued;
    uint32_t priority_refusals;
    uint32_t is_joinable; /* a thread was started, and neither joined nor detached */
    uint32_t is_ready;    /* atomic: what its starter writes is there */
    uint64_t system_id;
    wrt_thread thread;
    wrt_memory_account account;
    wrt_counted_allocator view;
} wrt__worker;

/* One worker at a time inside the page allocator. */
typedef struct wrt__shared_pages {
    wrt_page_allocator inner;
    wrt_thread_system system;
    wrt_system_lock lock;
} wrt__shared_pages;

struct wrt__pool {
    /* What a submit reads, and nobody writes. */
    wrt__queue queues[WRT_THREAD_POOL_PRIORITIES];
    wrt_thread_system system;
    uint32_t lowest;
    uint32_t highest;
    wrt_cpu_set cpus; /* all zero: any */
    uint32_t has_cpus;
    uint32_t spin;
    uint32_t stop; /* atomic; one of wrt__stop; written once or twice */

    uint32_t worker_count; /* records */
    wrt__worker *workers;
    wrt_executor executor;
    struct wrt_events *events;
    wrt__shared_pages pages;
    wrt_system_lock lock; /* of giving up and ending */
    uint64_t stack_size;
    uint64_t memory_limit;
    uint32_t max_threads;
    uint32_t keeps_priority; /* who goes down here never comes up again: nobody goes */
    uint32_t require_priority;
    uint32_t reserved;
    char name_prefix[WRT_THREAD_NAME_SIZE];

    uint8_t line_before[WRT__CACHE_LINE];
    /* What each submit reads, and is written when a worker goes to sleep, is woken or ends. */
    uint32_t sleepers;
    uint32_t alive; /* workers that can still take a task */
    uint32_t epoch;
    uint8_t line_between[WRT__CACHE_LINE];
    uint32_t looking; /* a worker does; written each time that it begins or stops */
    uint8_t line_behind[WRT__CACHE_LINE];

    wrt__luck luck;   /* of those who join */
    uint32_t refused; /* atomic, as those below */
    uint32_t submit_wakes;
    uint32_t swept;    /* tasks that came while the last worker ended */
    uint32_t lost;     /* threads that are out */
    uint32_t returned; /* threads that were */
    uint32_t dead_finished;
};

extern const wrt_page_allocator_ops wrt__shared_pages_ops; /* of a wrt__shared_pages */

/* The pool's parts; NULL, and a failure, if it is not initialised or was moved. */
wrt__pool *wrt__pool_of(const wrt_thread_pool *pool, const char *operation);

/* ---- threading_config.c ---- */

/* Reads a caller's config of any age; capacity and range are final then. */
wrt_status wrt__pool_config(const char *operation, const wrt_thread_pool_config *given,
                            wrt_thread_pool_config *config);

/* Checks priority and CPUs that a task's config asks for; *priority is final then. */
wrt_status wrt__task_priority(const char *operation, const wrt__pool *pool, uint32_t *priority);
wrt_status wrt__task_cpus(const char *operation, const wrt__pool *pool, const wrt_cpu_set *cpus);

wrt_status wrt__pool_check_buffer(const char *operation, const wrt_thread_pool_config *config);

/* Lays the parts into the buffer, empty. */
wrt__pool *wrt__pool_place(const wrt_thread_pool_config *config);

wrt__worker *wrt__pool_worker(const wrt__pool *pool, uint32_t index);

/* ---- threading_submit.c ---- */

/* Makes a task that is not in a pool ready for one. */
void wrt__task_prepare(wrt_task *task, uint32_t kind, uint32_t priority, const wrt_cpu_set *cpus);

/* Refuses one that is not initialised or was moved. */
wrt_status wrt__task_check(const char *operation, const wrt_task *task);

/* Refuses one that is in a pool or was moved. */
wrt_status wrt__task_check_free(const char *operation, const wrt_task *task);

/* Queues one task; wrt__pool_announce() must follow. */
wrt_status wrt__pool_put(const char *operation, wrt__pool *pool, wrt_task *task, uint32_t priority);

/* True if a place of a queue is claimed that nobody has taken from yet. */
bool wrt__pool_has_work(const wrt__pool *pool);

/* Sleeps until a wake after `epoch` was read; not for long while the pool has work. */
void wrt__pool_sleep(wrt__pool *pool, uint32_t epoch);

/* Lets `count` tasks that were put be seen. */
void wrt__pool_announce(wrt__pool *pool, uint32_t count);

/* Wakes up to `count` sleepers; how many system calls that took. */
uint32_t wrt__pool_wake(wrt__pool *pool, uint32_t count);

/* The most urgent task; NULL: none. The longest queue that was seen goes to *peak. */
wrt_task *wrt__pool_take(wrt__pool *pool, uint32_t *peak);

/* Cancels all that is queued, when no worker is left to do it. */
void wrt__pool_sweep(wrt__pool *pool);

/* ---- threading_luck.c ---- */

/* How often to look now, at most `spin` times. */
uint32_t wrt__luck_looks(wrt__luck *luck, uint32_t spin);

/* Notes how that ended; was_long: all of `spin` was allowed. */
void wrt__luck_note(wrt__luck *luck, bool was_long, bool is_found);

/* ---- threading_task.c ---- */

/* One of wrt_task_state. A plain task stays QUEUED in its word while it runs, and its worker just
 * writes down who it is: an exchange less for each task. */
uint32_t wrt__task_state(const wrt_task *task);

/* Moves a task on from one state to the next; who waits goes on waiting. */
void wrt__task_moves(wrt_task *task, uint32_t from, uint32_t to);

/* Ends a task, the last that its worker does with it. */
void wrt__task_finish(wrt__pool *pool, wrt_task *task, wrt_status outcome);

/* Its worker was given up. */
void wrt__task_lose(wrt__pool *pool, wrt_task *task);

/* Ends one that did not run. */
void wrt__task_finish_unrun(wrt__pool *pool, wrt_task *task, wrt_status outcome);

/* Waits until a task is done, reads its outcome (all of it for a wasm task, the status alone for
 * another) and makes it NEW again. */
wrt_status wrt__task_join(const char *operation, wrt_task *task, uint64_t timeout_ns,
                          wrt_cancel_token *cancel, wrt_wasm_outcome *outcome_out);

/* ---- threading_binding.c ---- */

void wrt__bind(wrt__worker *worker, wrt_task *task, wrt_instance *instance);

/* The same for a task without an instance, by a plain store. All that a cancel does to it is to
 * request its token, which needs no binding; a shutdown that has not seen the store, while the
 * worker has not seen the shutdown, comes again. */
void wrt__bind_plain(wrt__worker *worker, wrt_task *task);

void wrt__unbind(wrt__worker *worker);

/* True if the worker runs something: then it does not let go of it before wrt__let_go(). */
bool wrt__hold(wrt__worker *worker);
void wrt__let_go(wrt__worker *worker);

/* The worker that runs `task`, held; NULL: none. */
wrt__worker *wrt__hold_task(wrt__pool *pool, wrt_task *task);

/* Requests the token of what a held worker runs, and interrupts its instance. */
void wrt__cancel_held(wrt__worker *worker);

/* ---- threading_worker.c ---- */

/* Starts a thread for a record that has none. */
wrt_status wrt__worker_start(wrt__worker *worker);

/* Takes on what a task asks for. Errors: of the system; PERMISSION, with require_priority. */
wrt_status wrt__worker_suit(wrt__worker *worker, const wrt_task *task);

/* True if what `worker` has bound is not to begin. */
bool wrt__is_cancelled(const wrt__worker *worker, const wrt_task *task);

/* ---- threading_probe.c ---- */

/* What workers start with: NORMAL, or what of the range is next to it. */
uint32_t wrt__pool_start_priority(const wrt__pool *pool);

/* Finds out, with a thread of its own, whether priorities can be changed to and fro.
 * Errors: PERMISSION, with require_priority; those of a thread's start. */
wrt_status wrt__pool_probe(const char *operation, wrt__pool *pool);

/* ---- threading_wasm.c ---- */

static inline wrt_wasm_task *wrt__wasm_task(wrt_task *task)
{
    return (wrt_wasm_task *)(void *)task; /* its first member */
}

static inline wrt_wasm_task *wrt__task_of_turn(wrt_turn *turn)
{
    return (wrt_wasm_task *)(void *)((uint8_t *)turn - offsetof(wrt_wasm_task, turn));
}

/* Runs a wasm task, and those that get its instance from it. */
void wrt__wasm_run(wrt__worker *worker, wrt_task *task);

/* Notes how one ended that never ran; the caller's last error says why. */
void wrt__wasm_note_unrun(wrt_task *task, wrt_status outcome);

/* Ends a task that waits for an instance, from outside; nothing if it does not wait. */
void wrt__wasm_withdraw(wrt__pool *pool, wrt_task *task);

/* The worker of a task was given up: ends those that wait for what it holds. */
void wrt__wasm_abandon(wrt__pool *pool, wrt_task *task);

#endif
