/** Instances: a module that can be called, with its memory, tables, globals and guest stack.
 *
 *     wrt_instance_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.module = &module;
 *     config.allocator = allocator; // linear memory comes from here
 *     config.imports = imports;
 *     config.import_count = 2;
 *     config.has_fuel = true;
 *     config.fuel = 1000000;
 *     // config.buffer as wrt_instance_layout() asks
 *     wrt_status status = wrt_instance_init(&instance, &config);
 *     status = wrt_instance_start(&instance, 0);
 *     wrt_extern main_function;
 *     status = wrt_instance_export(&instance, "main", 4, &main_function);
 *     wrt_call call = {0};
 *     call.struct_size = sizeof call;
 *     call.function = main_function.of.function;
 *     call.timeout_ns = 5000000000;
 *     status = wrt_instance_call(&instance, &call);
 *
 * Guest frames live in the guest stack, never on the C stack: a call can stop at any instruction
 * and go on later. Bounds are checked by compare; no signal is relied on.
 *
 * Fuel: one unit is one instruction of the binary format, `block` and `end` included. A call with
 * fuel n stops exactly after n instructions. memory.fill, memory.copy, memory.init and their table
 * twins are one instruction each, however long, but look at the interrupt flag as they go.
 *
 * Source: WebAssembly specification, release 2.0, chapter 4, execution: 4.4 for what an instruction
 * does and when it traps, 4.5.4 instantiation, 4.5.5 invocation.
 *
 * Heap: none.  Threads: one caller at a time per instance, and per set of instances that share a
 * memory, table or global; wrt_instance_interrupt() alone may come from any thread.  ISR: no,
 * wrt_instance_interrupt() aside.
 */
#ifndef WRT_PLATFORM_INSTANCE_H
#define WRT_PLATFORM_INSTANCE_H

#include "wrt_platform/cancel.h"
#include "wrt_platform/module.h"
#include "wrt_platform/page_allocator.h"

WRT_BEGIN_DECLS

typedef struct wrt_instance wrt_instance;

/** Sizes and defaults. */
enum wrt_instance_limit {
    WRT_INSTANCE_STACK_SIZE_MIN = 512,        /* bytes */
    WRT_INSTANCE_STACK_SIZE_DEFAULT = 65536,  /* bytes */
    WRT_INSTANCE_STACK_SIZE_MAX = 1073741824, /* bytes: 1 GiB */
    WRT_INSTANCE_PAGES_DEFAULT = 4096,        /* 256 MiB, for memories without a maximum */
    WRT_INSTANCE_TABLE_HEADROOM = 1024,       /* elements by which a table may grow by default */
    WRT_INSTANCE_BUFFER_ALIGNMENT = 8         /* bytes */
};

/** Why a guest trapped. */
enum wrt_trap_code {
    WRT_TRAP_NONE = 0,
    WRT_TRAP_UNREACHABLE = 1,
    WRT_TRAP_INTEGER_DIVIDE_BY_ZERO = 2,
    WRT_TRAP_INTEGER_OVERFLOW = 3,
    WRT_TRAP_INVALID_CONVERSION = 4, /* NaN to integer */
    WRT_TRAP_MEMORY_OUT_OF_BOUNDS = 5,
    WRT_TRAP_TABLE_OUT_OF_BOUNDS = 6,
    WRT_TRAP_UNDEFINED_ELEMENT = 7,     /* call_indirect beyond the table */
    WRT_TRAP_UNINITIALIZED_ELEMENT = 8, /* call_indirect of a null */
    WRT_TRAP_CALL_TYPE_MISMATCH = 9,
    WRT_TRAP_STACK_EXHAUSTED = 10
};

/** A value of any type; which member counts is said by the function's type. A reference is 0
 * if null; a funcref is the address of a wrt_function; an externref is any other number the
 * host chooses. */
typedef union wrt_value {
    uint32_t i32;
    uint64_t i64;
    float f32;
    double f64;
    uint64_t reference;
} wrt_value;

/** A function that can be called, passed and put into tables: of an instance, or of the host
 * (then the first member of a wrt_host_function). Fields are private. */
typedef struct wrt_function {
    void *owner; /* wrt_instance or wrt_host_function */
    uint32_t index;
    uint32_t is_host;
} wrt_function;

/** A host function. `values` holds the arguments and takes the results, in order; it has room
 * for the longer of the two. `caller` is the instance whose code called; its memory is reached by
 * wrt_instance_memory(), and it may be called again from inside.
 * Returns WRT_OK; WRT_ERR_PENDING to be called again, with the same arguments, when the call is
 * run on (a wait must not block for longer than some 20 ms, so that time-outs and interrupts land,
 * unless it takes the token of wrt_instance_cancel_token()); WRT_ERR_INTERRUPTED, the status of
 * such a wait, which is taken as PENDING where the token was requested: the call is interrupted; or
 * any other status, which ends the guest's call with just that status. */
typedef wrt_status (*wrt_host_fn)(void *context, wrt_instance *caller, wrt_value *values);

/** Caller-provided storage; must not move once it is imported anywhere. Fields are private. */
typedef struct wrt_host_function {
    wrt_function function;
    wrt_function_type type;
    wrt_host_fn call;
    void *context;
    const char *name;
} wrt_host_function;

/** What a host function is made of. */
typedef struct wrt_host_function_config {
    uint32_t struct_size;      /* sizeof(wrt_host_function_config); 0 is refused */
    uint32_t parameter_count;  /* at most WRT_MODULE_PARAMETER_MAX */
    const uint8_t *parameters; /* bytes of wrt_value_type; borrowed for the function's life */
    const uint8_t *results;    /* the same */
    uint32_t result_count;     /* at most WRT_MODULE_PARAMETER_MAX */
    uint8_t reserved[4];       /* zero */
    wrt_host_fn call;          /* what the guest calls */
    void *context;             /* passed to `call` */
    const char *name;          /* for backtraces; static or borrowed; may be NULL */
} wrt_host_function_config;

/** A linear memory. `base` never changes. Fields are private but for reading base and pages. */
typedef struct wrt_memory {
    uint8_t *base;                /* first byte */
    uint64_t bytes;               /* page_count * 64 KiB */
    uint32_t page_count;          /* pages of 64 KiB, now */
    uint32_t declared_maximum;    /* pages, UINT32_MAX if none: what the type says */
    uint32_t peak_pages;          /* the most there ever were */
    uint32_t refused_growths;     /* memory.grow answered -1 */
    wrt_page_allocator allocator; /* private */
    wrt_pages pages;              /* private */
} wrt_memory;

/** What a memory is made of. */
typedef struct wrt_memory_config {
    uint32_t struct_size;         /* sizeof(wrt_memory_config); 0 is refused */
    uint32_t initial_pages;       /* of 64 KiB, at most maximum_pages */
    uint32_t declared_maximum;    /* pages of the memory's type; UINT32_MAX if it has none */
    uint32_t maximum_pages;       /* reserved; 0: declared_maximum, at most 4096 (256 MiB) */
    wrt_page_allocator allocator; /* where the pages come from; must outlive the memory */
} wrt_memory_config;

/** A table of references. Fields are private. */
typedef struct wrt_table {
    uint64_t *elements;
    uint32_t element_count;
    uint32_t capacity;         /* elements that the buffer holds */
    uint32_t declared_maximum; /* UINT32_MAX if none */
    uint32_t element_type;
} wrt_table;

/** What a table is made of. */
typedef struct wrt_table_config {
    uint32_t struct_size;      /* sizeof(wrt_table_config); 0 is refused */
    uint32_t element_type;     /* WRT_FUNCREF or WRT_EXTERNREF */
    uint32_t initial_elements; /* at most declared_maximum */
    uint32_t declared_maximum; /* UINT32_MAX if the type has none */
    uint64_t initial_value;    /* reference that the first elements hold; 0: null */
    uint64_t *buffer;          /* borrowed for the table's life */
    size_t buffer_size;        /* bytes; 8 an element; growth ends where it ends */
} wrt_table_config;

/** A global. Fields are private but for reading. */
typedef struct wrt_global {
    wrt_value value;
    uint32_t value_type; /* one of wrt_value_type */
    uint32_t is_mutable; /* 0 or 1 */
} wrt_global;

/** What is imported or exported; `kind` says which member counts. */
typedef struct wrt_extern {
    uint32_t kind; /* one of wrt_extern_kind */
    uint32_t reserved;
    union {
        wrt_function *function;
        wrt_table *table;
        wrt_memory *memory;
        wrt_global *global;
    } of;
} wrt_extern;

/** What a module's import of these two names gets. */
typedef struct wrt_import {
    const char *module; /* NUL-terminated UTF-8 */
    const char *name;   /* the same */
    wrt_extern value;   /* what it gets */
} wrt_import;

/** What an instance is made of. */
typedef struct wrt_instance_config {
    uint32_t struct_size;            /* sizeof(wrt_instance_config); 0 is refused */
    uint32_t import_count;           /* of `imports` */
    const wrt_module *module;        /* borrowed until wrt_instance_deinit */
    const wrt_import *imports;       /* what they point to is borrowed until deinit, the array only
                                        for the call; the order does not matter; extra ones are
                                        ignored; of two with the same names the last one counts */
    void *buffer;                    /* as wrt_instance_layout() asks; borrowed until deinit */
    size_t buffer_size;              /* bytes */
    wrt_page_allocator allocator;    /* for the module's own memory; may be zero if it has none */
    uint32_t maximum_pages;          /* of its own memory: reserved, growth beyond answers -1;
                                        0: the declared maximum, at most 4096 (256 MiB) */
    uint32_t maximum_table_elements; /* a table may grow to this; 0: the declared maximum, at most
                                        1024 above the initial size */
    uint32_t stack_size;             /* bytes of the guest stack; 0: 65536 */
    bool has_fuel;                   /* false: without bound */
    uint8_t reserved[3];             /* zero */
    uint64_t fuel;                   /* instructions, at most INT64_MAX / 2; with has_fuel */
} wrt_instance_config;

/** Why and where the guest trapped, or where it stands while a call is paused. */
typedef struct wrt_trap {
    uint32_t code;            /* one of wrt_trap_code */
    uint32_t function;        /* index in its module; UINT32_MAX if nothing ran yet */
    uint32_t offset;          /* of the instruction, from the start of the module's bytes */
    uint32_t depth;           /* guest frames on the stack, this one included */
    const wrt_module *module; /* of the function; NULL if nothing ran yet */
} wrt_trap;

/** What an instance has used. */
typedef struct wrt_instance_usage {
    uint64_t fuel_used;         /* instructions executed since init, exact */
    uint64_t fuel_left;         /* UINT64_MAX if without bound */
    size_t buffer_bytes;        /* of the buffer in use */
    uint32_t stack_peak_bytes;  /* the deepest the guest stack has been, seen at calls */
    uint32_t memory_pages;      /* of its memory, own or imported */
    uint32_t memory_peak_pages; /* the most there ever were */
    uint32_t refused_growths;   /* of its memory: memory.grow answered -1 */
} wrt_instance_usage;

/** One call, for wrt_instance_call(). */
typedef struct wrt_call {
    uint32_t struct_size;       /* sizeof(wrt_call); 0 is refused */
    uint32_t argument_count;    /* as the function's type has it */
    wrt_function *function;     /* as wrt_instance_export() found it */
    const wrt_value *arguments; /* read before the call begins */
    wrt_value *results;         /* written on WRT_OK only */
    uint32_t result_count;      /* as the function's type has it */
    uint8_t reserved[4];        /* zero */
    uint64_t timeout_ns;        /* 0: none */
} wrt_call;

/** Caller-provided storage. Fields are private. It must not be moved (STATE). */
struct wrt_instance {
    wrt_instance *self;
    const wrt_module *module;
    wrt_function **imported_functions;
    wrt_function *functions; /* one for each defined function */
    wrt_table **tables;
    wrt_memory *memory; /* own or imported; NULL if none */
    wrt_global **globals;
    uint8_t *dropped;                /* bit a segment: elements, then data */
    void *execution;                 /* guest stack and where it stands */
    wrt_cancel_token *running_token; /* of the call that is inside a host function of this one */
    wrt_memory own_memory;
    size_t buffer_bytes;
    uint32_t state;
    uint32_t magic; /* set while initialised */
    uint64_t reserved[7];
};

/** Says what buffer an instance needs; exact. The config's buffer is not looked at.
 * Errors: INVALID_ARGUMENT, UNSUPPORTED (reserved bytes), STATE (module not initialised),
 * LIMIT (a table's minimum is beyond maximum_table_elements), NO_MEMORY (more than can be
 * addressed).
 * Cost: linear in tables and functions.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_layout(const wrt_instance_config *config,
                                                     wrt_layout *layout_out);

/** Links and initialises: memories, tables, globals, segments. No guest code runs yet: a start
 * function waits for wrt_instance_start() or wrt_instance_run().
 * Errors: LINK (an import is unknown or of another type: detail[0] its index, detail[1] how many
 * are unknown in all), LIMIT (minimum memory beyond maximum_pages), NO_MEMORY (buffer, pages),
 * INVALID_ARGUMENT, UNSUPPORTED. In all these `instance` is left as it was. TRAP (a segment does
 * not fit): as the specification has it, what came before has been written; tables that the
 * instance imports may already hold its functions, so its storage must stay as long as they do;
 * it is to be deinitialised like one that succeeded, and can only be asked for its trap.
 * Cost: linear in functions, segments and their contents, and imports times imports given.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_init(wrt_instance *instance,
                                                   const wrt_instance_config *config);

/** Finds the first import, at or after `index`, that `imports` has no name for.
 * For one message that names all. Cost: linear in the imports of the module and those given.
 * Errors: NOT_FOUND (all are there), STATE, INVALID_ARGUMENT.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_missing_import(const wrt_instance_config *config,
                                                             uint32_t index, uint32_t *missing_out);

/** Runs the start function, if there is one, to its end. timeout_ns: nanoseconds, 0: none.
 * Errors: as wrt_instance_call. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_start(wrt_instance *instance, uint64_t timeout_ns);

/** Looks up an export. name: UTF-8, name_size bytes of it, no NUL needed. What *extern_out points
 * to lives as long as the instance (or as what it imported).
 * Errors: NOT_FOUND, STATE, INVALID_ARGUMENT. Cost: linear in the exports.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_export(wrt_instance *instance, const char *name,
                                                     size_t name_size, wrt_extern *extern_out);

/** Calls a function and waits for its end, within a time. A host function may use it on its
 * caller. Errors: TRAP, OUT_OF_FUEL, INTERRUPTED, TIMED_OUT, EXIT, HOST, or what a host function
 * returned; INVALID_ARGUMENT (counts), STATE (a call is under way, or the start function has not
 * run), UNSUPPORTED (time-out without a clock). After OUT_OF_FUEL, INTERRUPTED and TIMED_OUT the
 * call is paused: wrt_instance_run() goes on, wrt_instance_abort() drops it.
 * Cost: the time is looked at every some 2^20 instructions.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_call(wrt_instance *instance, const wrt_call *call);

/** Prepares a call, without running any of it: wrt_instance_run() does. The arguments are copied;
 * argument_count is what the function's type has.
 * Errors: INVALID_ARGUMENT (count), STATE (another is under way), TRAP (stack exhausted).
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_begin(wrt_instance *instance, wrt_function *function,
                                                    const wrt_value *arguments,
                                                    uint32_t argument_count);

/** Runs the call that was begun (or the start function) for about `instructions` (stops at the
 * next loop or call after it); *done_out says whether it ended. A host function that waits
 * (PENDING) ends the run early, not done.
 * Errors: as wrt_instance_call, time-out aside.
 * Cost: the instructions; what a call to it adds is constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_run(wrt_instance *instance, uint64_t instructions,
                                                  bool *done_out);

/** Runs exactly `instructions`, fewer only if the call ends. Errors: as wrt_instance_run.
 * Cost: each instruction is counted by itself, which takes some times as long as running. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_step(wrt_instance *instance, uint64_t instructions,
                                                   bool *done_out);

/** Reads the results of the call that ended. Errors: STATE (none ended), INVALID_ARGUMENT
 * (result_count is not what the function's type has). Cost: linear in them. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_results(wrt_instance *instance, wrt_value *results,
                                                      uint32_t result_count);

/** Drops the call that is paused, start function included. Errors: STATE (none, or it is inside
 * a host function). */
WRT_API WRT_NODISCARD wrt_status wrt_instance_abort(wrt_instance *instance);

/** Stops the running call at its next loop or call with INTERRUPTED, or the next one, if none
 * runs: it requests the instance's cancel token, so a host function that waits with it is woken.
 * Of an instance that is not initialised it does nothing.
 * Errors: none, it cannot fail. Threads: any.  ISR: yes, while no host function waits on the token.
 * Cost: one store; a wake of the system if a host function waits on the token.
 */
WRT_API void wrt_instance_interrupt(wrt_instance *instance);

/** Takes an interrupt back that no call has seen yet. Of an instance that is not initialised it
 * does nothing. Errors: none, it cannot fail. Threads: any.  ISR: yes.  Cost: one store.
 */
WRT_API void wrt_instance_clear_interrupt(wrt_instance *instance);

/** The token that wrt_instance_interrupt() requests. A host function asks with the instance that
 * it is given, and gets the token of the call that it is part of, also where that began in another
 * instance. It belongs to the instance, until wrt_instance_deinit().
 * Returns NULL for an instance that is not initialised. Errors: none, it cannot fail.
 * Threads: any while no call runs, else the caller's.  ISR: no.  Cost: constant.
 */
WRT_API wrt_cancel_token *wrt_instance_cancel_token(wrt_instance *instance);

/** How often the guest has shown that it gets on: a counter that moves every 2^20 instructions, and
 * when a host function has done its work; one that waits, or that never comes back, does not move
 * it. It wraps. 0 for an instance that is not initialised. Errors: none, it cannot fail.
 * Threads: any.  ISR: yes.  Cost: one load; to the guest one store every 2^20 instructions.
 */
WRT_API uint32_t wrt_instance_heartbeat(const wrt_instance *instance);

/** Sets what fuel is left; `has_fuel` false: without bound. fuel: instructions, at most
 * INT64_MAX / 2. Errors: INVALID_ARGUMENT (more), STATE. Cost: constant between calls, else as
 * deep as the stack. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_set_fuel(wrt_instance *instance, bool has_fuel,
                                                       uint64_t fuel);

/** Why the last call trapped, or (code NONE) where the paused call stands. Errors: STATE. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_trap(const wrt_instance *instance,
                                                   wrt_trap *trap_out);

/** Frame `level` of the last trap or the paused call; 0 is the innermost; code is NONE.
 * Errors: NOT_FOUND (no such frame), STATE.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_frame(const wrt_instance *instance, uint32_t level,
                                                    wrt_trap *frame_out);

/** The specification's words for a trap code: "integer divide by zero". Static text; "unknown trap"
 * for any other number. Errors: none, it cannot fail. Threads: any.  ISR: yes. */
WRT_API const char *wrt_trap_text(uint32_t code);

/** Reports what has been used. Errors: STATE. Cost: constant between calls, else as deep as the
 * stack. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_query(const wrt_instance *instance,
                                                    wrt_instance_usage *usage_out);

/** The instance's memory, own or imported; it lives as long as the instance, or as what was
 * imported. Errors: NOT_FOUND (it has none; *memory_out is NULL), STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_instance_memory(wrt_instance *instance,
                                                     wrt_memory **memory_out);

/** Gives memory back and lets go of the buffer. A zeroed instance is accepted, so twice is
 * harmless. Errors: STATE (inside a host function). A paused call is dropped.
 */
WRT_API WRT_NODISCARD wrt_status wrt_instance_deinit(wrt_instance *instance);

/** Prepares a host function; there is nothing to deinitialise. Errors: INVALID_ARGUMENT (NULL call,
 * unknown value type, more than 1000 parameters or results), UNSUPPORTED (reserved bytes).
 * Cost: linear in the types. */
WRT_API WRT_NODISCARD wrt_status wrt_host_function_init(wrt_host_function *function,
                                                        const wrt_host_function_config *config);

/** Type of any function, borrowed for the function's life. Errors: INVALID_ARGUMENT (not
 * initialised). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_function_query(const wrt_function *function,
                                                    wrt_function_type *type_out);

/** Makes a memory of its own, to be imported; on error it is left as it was. Errors: as
 * wrt_page_allocator_allocate, LIMIT (initial_pages beyond maximum_pages) among them. */
WRT_API WRT_NODISCARD wrt_status wrt_memory_init(wrt_memory *memory,
                                                 const wrt_memory_config *config);

/** Grows a memory as memory.grow does; *old_pages_out is its size before.
 * Errors: LIMIT (declared or reserved maximum; nothing changed), NO_MEMORY, INVALID_ARGUMENT.
 */
WRT_API WRT_NODISCARD wrt_status wrt_memory_grow(wrt_memory *memory, uint32_t additional_pages,
                                                 uint32_t *old_pages_out);

/** Gives its pages back. No instance may be using it. A zeroed memory is accepted, so twice is
 * harmless. Errors: as wrt_page_allocator_deallocate. */
WRT_API WRT_NODISCARD wrt_status wrt_memory_deinit(wrt_memory *memory);

/** Makes a table of its own, to be imported; there is nothing to deinitialise. Errors:
 * INVALID_ARGUMENT (a rule of the config), NO_MEMORY (buffer too small or misaligned).
 * Cost: linear in initial_elements. */
WRT_API WRT_NODISCARD wrt_status wrt_table_init(wrt_table *table, const wrt_table_config *config);

/** Reads element `index`, 0 to element_count - 1.
 * Errors: INVALID_ARGUMENT (index). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_table_get(const wrt_table *table, uint32_t index,
                                               uint64_t *reference_out);

/** Writes element `index`, 0 to element_count - 1. A function in a table must live as long as it is
 * there: that is the caller's promise.
 * Errors: INVALID_ARGUMENT (index). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_table_set(wrt_table *table, uint32_t index,
                                               uint64_t reference);

/** Grows a table as table.grow does; new elements hold `reference`, *old_count_out is the size
 * before. Errors: LIMIT (declared maximum or end of the buffer; nothing changed).
 * Cost: linear in additional_elements. */
WRT_API WRT_NODISCARD wrt_status wrt_table_grow(wrt_table *table, uint32_t additional_elements,
                                                uint64_t reference, uint32_t *old_count_out);

/** Makes a global of its own, to be imported; there is nothing to deinitialise. value_type: one of
 * wrt_value_type. Errors: INVALID_ARGUMENT (type). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_global_init(wrt_global *global, uint32_t value_type,
                                                 bool is_mutable, wrt_value value);

/** Writes a global. Errors: STATE (it is immutable). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_global_set(wrt_global *global, wrt_value value);

WRT_END_DECLS
#endif
