/** Executors: where a thread pool finds the function that a task names, and an instance to call it
 * on.
 *
 * wrt_executor is the interface. Two are ready-made: over instances that exist already, where one
 * task at a time has an instance and the others wait for their turn, in order; and over modules,
 * where each task gets an instance of its own, made by the worker from its own, counted memory.
 *
 *     wrt_executor_function functions[1] = {{0}};
 *     functions[0].function_id = 100;
 *     functions[0].instance = &instance;
 *     functions[0].function = main_function.of.function;
 *     wrt_instance_executor_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.functions = functions;
 *     config.function_count = 1;
 *     config.system = system;
 *     // config.buffer as wrt_instance_executor_layout() asks
 *     wrt_status status = wrt_instance_executor_init(&executor, &config);
 *
 * A task that has to wait for an instance holds no worker: the executor keeps its wrt_turn, and the
 * worker that gives the instance back goes on with it.
 *
 * Heap: none.  Threads: any, init and deinit aside.  ISR: no.
 */
#ifndef WRT_PLATFORM_EXECUTOR_H
#define WRT_PLATFORM_EXECUTOR_H

#include "wrt_platform/cancel.h"
#include "wrt_platform/instance.h"
#include "wrt_platform/layout.h"

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_executor_limit {
    WRT_EXECUTOR_FUNCTION_MAX = 65536, /* functions of one executor */
    WRT_EXECUTOR_SLOT_MAX = 1024,      /* instances of one module executor at once */
    WRT_EXECUTOR_BUFFER_ALIGNMENT = 8  /* bytes */
};

/** What a task asks of an executor, and what it gets; a part of the task, which the executor may
 * keep in a list while the task waits. */
typedef struct wrt_turn {
    uint32_t function_id;
    bool must_start;          /* out: the start function has not run yet; the pool runs it */
    uint8_t reserved[3];      /* zero */
    wrt_page_allocator pages; /* of the worker that runs the task */
    wrt_cancel_token *cancel; /* of the task: requested, it is not to wait any more */
    const void *pool;         /* whose task it is */
    wrt_instance *instance;   /* out: what the function runs on */
    wrt_function *function;   /* out */
    void *place;              /* the executor's own; NULL at first */
    struct wrt_turn *next;    /* the executor's own, while the turn waits */
} wrt_turn;

/** Turns that wait for the same, in order. Fields are private. */
typedef struct wrt_turn_line {
    wrt_turn *first;
    wrt_turn *last;
    uint32_t count;
    uint32_t reserved;
} wrt_turn_line;

/** Says what function `function_id` is, at spawn. *type_out is borrowed for the executor's life.
 * Errors: NOT_FOUND. */
typedef wrt_status (*wrt_executor_check_fn)(void *self, uint32_t function_id,
                                            wrt_function_type *type_out);
/** Gives a turn its instance and its function, on the worker that will call it. BUSY: no instance
 * is free; the executor keeps `turn`, which nobody else may touch then, until it hands it out by
 * release, withdraw or abandon; whoever gets it by release calls this again, on his own thread,
 * and does not wait then. Whether turn->cancel is requested is looked at under the lock that
 * withdraw takes.
 * Errors: INTERRUPTED (turn->cancel), any other (it becomes the task's outcome). In both nothing
 * is held; a turn that waited has given its place on (*next_out, as by release). */
typedef wrt_status (*wrt_executor_acquire_fn)(void *self, wrt_turn *turn, wrt_turn **next_out);
/** Takes the instance back after the call, which has ended or been dropped. *next_out: the turn
 * that has waited longest for it, which gets it; NULL: none. It cannot fail. */
typedef void (*wrt_executor_release_fn)(void *self, wrt_turn *turn, wrt_turn **next_out);
/** Takes a turn out of the list in which it waits. Errors: NOT_FOUND (it does not wait). */
typedef wrt_status (*wrt_executor_withdraw_fn)(void *self, wrt_turn *turn);
/** The thread that has `turn` was given up. What it holds is not given out again until it comes
 * back and releases it; *waiting_out: those that wait for just this, linked by `next`, which end
 * with an error. It cannot fail. */
typedef void (*wrt_executor_abandon_fn)(void *self, wrt_turn *turn, wrt_turn **waiting_out);

/** The calls of an executor; none may be NULL. */
typedef struct wrt_executor_ops {
    wrt_executor_check_fn check;
    wrt_executor_acquire_fn acquire;
    wrt_executor_release_fn release;
    wrt_executor_withdraw_fn withdraw;
    wrt_executor_abandon_fn abandon;
} wrt_executor_ops;

/** An executor of any kind. Copy it freely; `self` must outlive all copies. All zero: none. */
typedef struct wrt_executor {
    const wrt_executor_ops *ops;
    void *self;
} wrt_executor;

/** A function of an instance that exists. */
typedef struct wrt_executor_function {
    uint32_t function_id;   /* by which tasks name it; no two alike */
    uint32_t group;         /* instances that share a memory, a table or a global have one number
                               that is not 0, and take turns together; 0: the instance alone */
    wrt_instance *instance; /* whose start function has run; borrowed until deinit, and used by
                               nobody else until then */
    wrt_function *function; /* as wrt_instance_export() found it */
} wrt_executor_function;

/** What an executor over instances is made of. */
typedef struct wrt_instance_executor_config {
    uint32_t struct_size;                   /* sizeof(wrt_instance_executor_config); 0 is refused */
    uint32_t function_count;                /* 1 to WRT_EXECUTOR_FUNCTION_MAX */
    const wrt_executor_function *functions; /* read at init */
    wrt_thread_system system;               /* for its lock */
    void *buffer;       /* as wrt_instance_executor_layout() asks; borrowed until deinit */
    size_t buffer_size; /* bytes */
} wrt_instance_executor_config;

/** Caller-provided storage. Fields are private. It must not be moved (STATE). */
typedef struct wrt_instance_executor {
    struct wrt_instance_executor *self;
    wrt_thread_system system;
    wrt_system_lock lock;
    void *functions;
    void *places;
    const void *pool;
    uint32_t function_count;
    uint32_t place_count;
    uint32_t used;
    uint32_t reserved;
} wrt_instance_executor;

/** A function of a module. */
typedef struct wrt_executor_export {
    uint32_t function_id;                /* by which tasks name it; no two alike */
    uint32_t name_size;                  /* bytes of `name` */
    const char *name;                    /* of the export, UTF-8; borrowed until deinit */
    const wrt_instance_config *instance; /* how an instance is made: all but buffer and allocator,
                                            which the executor fills in; borrowed until deinit, with
                                            all that it points to */
} wrt_executor_export;

/** What an executor over modules is made of. */
typedef struct wrt_module_executor_config {
    uint32_t struct_size;               /* sizeof(wrt_module_executor_config); 0 is refused */
    uint32_t export_count;              /* 1 to WRT_EXECUTOR_FUNCTION_MAX */
    const wrt_executor_export *exports; /* read at init */
    uint32_t slots;      /* instances at once, 1 to WRT_EXECUTOR_SLOT_MAX; a task beyond waits */
    uint8_t reserved[4]; /* zero */
    wrt_thread_system system; /* for its lock */
    void *buffer;             /* as wrt_module_executor_layout() asks; borrowed until deinit */
    size_t buffer_size;       /* bytes */
} wrt_module_executor_config;

/** Caller-provided storage. Fields are private. It must not be moved (STATE). */
typedef struct wrt_module_executor {
    struct wrt_module_executor *self;
    wrt_thread_system system;
    wrt_system_lock lock;
    void *exports;
    uint8_t *slots;
    size_t slot_bytes;
    void *free_slots;
    wrt_turn_line line; /* that waits for a slot */
    const void *pool;
    uint32_t export_count;
    uint32_t slot_count;
    uint32_t used;
    uint32_t abandoned;
} wrt_module_executor;

/** Says what buffer an executor over instances needs; the config's own is not looked at.
 * Errors: INVALID_ARGUMENT (a rule of the config; all zero in *layout_out), UNSUPPORTED (reserved
 * bytes). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status
wrt_instance_executor_layout(const wrt_instance_executor_config *config, wrt_layout *layout_out);

/** Prepares an executor over instances; on error it is left as it was.
 * Errors: as the layout call; INVALID_ARGUMENT (two functions of one number, one that is not there
 * or belongs to another instance), NO_MEMORY (buffer, the system's lock), STATE (an instance is not
 * initialised), SYSTEM.
 * Cost: the square of function_count. Threads: one caller. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_executor_init(
    wrt_instance_executor *executor, const wrt_instance_executor_config *config);

/** The interface, all zero if `executor` is NULL or was moved. It serves one pool at a time: a task
 * of another while one is out or waits ends with STATE. Errors: none. Threads: any. */
WRT_API wrt_executor wrt_instance_executor_interface(wrt_instance_executor *executor);

/** Ends the executor: its instances are the caller's alone again. A zeroed one is accepted, so
 * twice is harmless. Errors: STATE (tasks hold instances or wait; it was moved).
 * Threads: one caller, when no pool uses it. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_executor_deinit(wrt_instance_executor *executor);

/** Says what buffer an executor over modules needs: `slots` times the largest of the instances.
 * Errors: INVALID_ARGUMENT, UNSUPPORTED (reserved bytes), NO_MEMORY (more than can be addressed),
 * and those of wrt_instance_layout(). Cost: linear in export_count. */
WRT_API WRT_NODISCARD wrt_status
wrt_module_executor_layout(const wrt_module_executor_config *config, wrt_layout *layout_out);

/** Prepares an executor over modules; on error it is left as it was. No instance is made yet.
 * Errors: as the layout call; INVALID_ARGUMENT (two exports of one number), NOT_FOUND (a module has
 * no such function: detail[0] is its function_id), NO_MEMORY (buffer, the system's lock), SYSTEM.
 * Cost: the square of export_count. Threads: one caller. */
WRT_API WRT_NODISCARD wrt_status wrt_module_executor_init(wrt_module_executor *executor,
                                                          const wrt_module_executor_config *config);

/** As wrt_instance_executor_interface(). A task's memory counts for the worker that runs it
 * (memory_limit_per_thread of the pool): an instance that does not fit is an error of the task,
 * LIMIT or NO_MEMORY; growth beyond answers -1. Errors: none, it cannot fail. Threads: any.
 * Cost of a task: wrt_instance_init, the start function, and wrt_instance_deinit. */
WRT_API wrt_executor wrt_module_executor_interface(wrt_module_executor *executor);

/** Ends the executor. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (tasks hold instances or wait; it was moved). Threads: as above. */
WRT_API WRT_NODISCARD wrt_status wrt_module_executor_deinit(wrt_module_executor *executor);

WRT_END_DECLS
#endif
