/* Internal: where a guest stands. All that a call needs lies here and on the guest stack, nothing
 * on the C stack: that is why it can stop at any instruction and go on later.
 *
 *     stack   | locals, operands | locals, operands | ...  free  ... | record | record |
 *             cells, upwards                                         frames, downwards
 *
 * A call's arguments are the first locals of the callee, in place; its results end up where its
 * arguments began. While the interpreter runs, pc, sp, fp and the memory's base live in registers
 * and the fields below are stale; it writes them back whenever it leaves. */
#ifndef WRT_ENGINE_EXECUTION_H
#define WRT_ENGINE_EXECUTION_H

#include "../core/atomic.h"
#include "parts.h"
#include "wrt_platform/instance.h"

/* What a caller goes back to. Without an instance it is the host that began the call. */
typedef struct wrt__frame {
    wrt_instance *instance;
    uint32_t pc;       /* offset of the instruction behind the call */
    uint32_t entry;    /* word of the side table */
    uint32_t fp;       /* cell of the stack */
    uint32_t function; /* index among the defined functions */
} wrt__frame;

typedef struct wrt__execution {
    const uint8_t *pc;
    wrt_value *sp; /* first free cell */
    wrt_value *fp; /* first local */
    const uint16_t *entry;
    wrt__frame *frame; /* the innermost record */

    wrt_instance *instance; /* whose code runs, and what of it is often needed: */
    const wrt__code *code;
    const uint8_t *code_end; /* the function's final `end` */
    const uint8_t *bytes;
    const wrt__code *codes;
    const uint16_t *side_table;
    uint8_t *memory; /* base; never moves, but the instance may change */
    uint64_t memory_bytes;
    uint32_t imported_functions;

    wrt_cancel_token cancel; /* the interrupt flag; waits of host functions end by it too */
    uint32_t heartbeat;      /* atomic; moves while the guest does, and with it alone */
    int64_t account;         /* fuel left, less what the functions on the stack are paid ahead */
    int64_t floor;           /* below this the interpreter stops at its next loop or call */
    uint64_t steps;          /* instructions left, when they are counted one by one */
    const uint8_t *operands; /* immediates behind a prefixed opcode */

    wrt_function *waiting_host; /* called by the host itself, and not done yet */
    wrt_value *stack;
    wrt__frame *stack_end;
    wrt_value *peak_cell;
    wrt__frame *peak_frame;
    uint64_t granted;       /* fuel given since init */
    wrt_status host_status; /* not WRT_OK: of the host function that ended the call */
    uint32_t host_depth;    /* host functions that this execution is inside of */
    uint32_t result_count;  /* of the call that ended */
    uint32_t is_bounded;    /* fuel is limited */
    wrt_trap trap;          /* the last one */
} wrt__execution;

/* Why the interpreter came back; its registers are written back in all cases. */
enum wrt__outcome {
    WRT__GO_ON = 0,  /* only between its own parts */
    WRT__FINISHED,   /* the call has ended, results lie from fp on */
    WRT__TRAPPED,    /* trap.code says why; pc is the instruction */
    WRT__CHECKPOINT, /* interrupt is set or the account is below the floor */
    WRT__STEPPED,    /* no steps are left */
    WRT__WAITING,    /* a host function is not ready; pc is still the call */
    WRT__HOST_ENDED  /* a host function returned host_status */
};

enum wrt__instance_state {
    WRT__IDLE = 1,     /* callable */
    WRT__STARTING,     /* the start function has not ended */
    WRT__CALLED,       /* a call is under way, paused */
    WRT__RUNNING,      /* a call runs, or is inside a host function */
    WRT__ENDED,        /* callable; results can be read */
    WRT__TRAPPED_CALL, /* callable; frames can be read */
    WRT__FAILED        /* initialisation or start failed: nothing can be called */
};

enum { WRT__INSTANCE_MAGIC = 0x696E7374, WRT__UNBOUNDED = 62 /* bits of fuel */ };

static inline wrt__execution *wrt__execution_of(const wrt_instance *instance)
{
    return instance->execution;
}

/* Runs until something stops it. `one_by_one` counts instructions in x->steps. */
enum wrt__outcome wrt__interpret(wrt__execution *x, bool one_by_one);

/* Notes why, and returns WRT__TRAPPED. */
enum wrt__outcome wrt__trap(wrt__execution *x, uint32_t code);

/* Makes `function` run next, in whatever instance it lives; a host function is called at once.
 * Its arguments lie below sp; `next` is where its caller goes on. */
enum wrt__outcome wrt__call_function(wrt__execution *x, wrt_function *function,
                                     const uint8_t *next);

/* Calls the host function whose arguments lie below sp, and replaces them by its results. */
enum wrt__outcome wrt__call_host(wrt__execution *x, wrt_function *function);

/* True if `function`, of another instance or of the host, has the running module's type. */
bool wrt__has_type(const wrt__execution *x, const wrt_function *function, uint32_t type);

/* Puts `code` of `instance` on top of the stack; its arguments lie below sp. */
enum wrt__outcome wrt__enter(wrt__execution *x, wrt_instance *instance, const wrt__code *code,
                             const uint8_t *next);

/* Where the running function goes on at `next`; the host's own record if that is NULL. */
wrt__frame wrt__record_of_caller(const wrt__execution *x, const uint8_t *next);

/* Goes back to the caller in `record`, which has been taken off, in another instance. */
void wrt__return_to(wrt__execution *x, const wrt__frame *record);

/* Makes `instance` the one whose code runs. */
void wrt__switch_instance(wrt__execution *x, wrt_instance *instance);

/* Takes a branch whose side-table entry is long. */
void wrt__branch_long(wrt__execution *x);

/* WRT_OK if it is an instance, initialised, and where it was then. */
wrt_status wrt__check_instance(const wrt_instance *instance, const char *operation);

/* True if a call has been begun, and is not running. */
bool wrt__is_paused(const wrt_instance *instance);

/* Where the guest stands: module, function, offset and depth. */
void wrt__note_place(const wrt__execution *x, wrt_trap *trap);

/* Instructions of all functions on the stack that are paid for, but have not run. */
uint64_t wrt__unexecuted(const wrt__execution *x);

/* memory.grow and table.grow: what the guest gets to see; UINT32_MAX if refused. */
uint32_t wrt__memory_grow(wrt_memory *memory, uint32_t additional_pages);
uint32_t wrt__table_grow(wrt_table *table, uint32_t additional_elements, uint64_t reference);

/* Bulk instructions; operands lie below sp. They return WRT__CHECKPOINT, with the operands
 * advanced to what is left, if interrupted. */
enum wrt__outcome wrt__memory_init(wrt__execution *x, uint32_t segment);
enum wrt__outcome wrt__memory_copy(wrt__execution *x);
enum wrt__outcome wrt__memory_fill(wrt__execution *x);
enum wrt__outcome wrt__table_init(wrt__execution *x, uint32_t segment, uint32_t table);
enum wrt__outcome wrt__table_copy(wrt__execution *x, uint32_t to, uint32_t from);
enum wrt__outcome wrt__table_fill(wrt__execution *x, uint32_t table);

/* Drops a segment, as data.drop and elem.drop do. */
void wrt__drop_element(wrt_instance *instance, uint32_t segment);
void wrt__drop_data(wrt_instance *instance, uint32_t segment);

/* Copies items of an element or data segment; false if they do not fit. */
bool wrt__copy_elements(wrt_instance *instance, uint32_t segment, uint32_t table, uint32_t to,
                        uint32_t from, uint32_t count);
bool wrt__copy_data(wrt_instance *instance, uint32_t segment, uint32_t to, uint32_t from,
                    uint32_t count);

/* Value of a constant expression that starts at `offset` of the module. */
wrt_value wrt__evaluate(const wrt_instance *instance, uint32_t offset);

static inline wrt_function *wrt__function_at(const wrt_instance *instance, uint32_t function)
{
    const uint32_t imported = instance->module->usage.imported_function_count;

    return function < imported ? instance->imported_functions[function]
                               : &instance->functions[function - imported];
}

static inline uint64_t wrt__reference_to(wrt_function *function)
{
    return (uint64_t)(uintptr_t)function;
}

static inline bool wrt__is_interrupted(const wrt__execution *x)
{
    return wrt__load(&x->cancel.requested) != 0;
}

#endif
