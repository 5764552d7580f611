/* Internal: the validator's state while it is in one function.
 *
 * It is the algorithm of the specification's appendix: a stack of types and a stack of control
 * frames. The types start with those of the parameters and locals, as the values in a guest frame
 * do, so an index in one is an index in the other; the array grows downwards from its top.
 *
 * Each branch waits in an array of the function's branches, in the order of the code, until its
 * target is met: those that go forward are chained per frame. At the end of the function all are
 * known, and become side-table entries. */
#ifndef WRT_ENGINE_VALIDATOR_H
#define WRT_ENGINE_VALIDATOR_H

#include "loader.h"

enum { WRT__UNKNOWN_TYPE = 0 }; /* of a value in code that is never reached */

enum wrt__frame_kind { WRT__FRAME_BLOCK, WRT__FRAME_LOOP, WRT__FRAME_IF, WRT__FRAME_ELSE };

typedef struct wrt__frame {
    uint32_t height;     /* values below the block's own */
    uint32_t parameters; /* offset of their types in the module's bytes */
    uint32_t results;
    uint16_t parameter_count;
    uint16_t result_count;
    uint32_t position; /* of a loop: where its branches land */
    uint32_t instruction;
    uint32_t entry;   /* the same; of an if: the branch for its condition being false */
    uint32_t waiting; /* the last branch to the end, counted from 1; 0: none */
    uint8_t kind;     /* of wrt__frame_kind */
    bool is_unreachable;
    uint16_t reserved;
} wrt__frame;

typedef union wrt__branch {
    struct {
        uint32_t position;    /* of the opcode */
        uint32_t instruction; /* its number */
        uint32_t next;        /* in the chain of the frame, as `waiting` */
        uint32_t drop;
        uint32_t keep;
    } waiting;
    wrt__long_branch resolved;
} wrt__branch;

/* A place that branches can land on. */
typedef struct wrt__target {
    uint32_t position;
    uint32_t instruction;
    uint32_t entry; /* the next one of the side table, counted from the function's first */
} wrt__target;

typedef struct wrt__validator {
    wrt__loader *loader;
    wrt__reader *reader;
    wrt__code *code;
    uint8_t *values_top;
    uint32_t height; /* values, parameters and locals included */
    uint32_t height_limit;
    uint32_t height_peak;
    wrt__frame *frames;
    wrt__frame *frame; /* the innermost */
    uint32_t depth;
    wrt__branch *branches;
    uint32_t branch_count;
    uint32_t position;    /* of the opcode at work */
    uint32_t instruction; /* its number */
} wrt__validator;

static inline uint8_t *wrt__value(const wrt__validator *validator, uint32_t index)
{
    return validator->values_top - 1 - index;
}

/* Fails with the present opcode's offset. */
void wrt__invalid_here(wrt__validator *validator, const char *reason, uint32_t index);

/* validator_stack.c: values by type. WRT__UNKNOWN_TYPE goes with every type. */
void wrt__push(wrt__validator *validator, uint8_t type);
uint8_t wrt__pop(wrt__validator *validator, uint8_t expected);
void wrt__push_types(wrt__validator *validator, uint32_t types, uint32_t count);
void wrt__pop_types(wrt__validator *validator, uint32_t types, uint32_t count);

/* Like wrt__pop_types, but leaves everything where it is. */
void wrt__check_types(wrt__validator *validator, uint32_t types, uint32_t count);

/* The rest of the block can't be reached. */
void wrt__set_unreachable(wrt__validator *validator);

/* validator_control.c: blocks, branches and calls. False if the opcode is none of these. */
bool wrt__validate_control(wrt__validator *validator, uint32_t opcode);

/* The frame of the function itself. */
void wrt__push_function_frame(wrt__validator *validator, const wrt__type *type);

/* side_table.c: notes a branch at the present opcode; answers its index. */
uint32_t wrt__add_branch(wrt__validator *validator, uint32_t drop, uint32_t keep);
void wrt__resolve_branch(wrt__validator *validator, uint32_t branch, const wrt__target *target);

/* Makes a branch wait for the end of `frame`; later, resolves all that wait there. */
void wrt__chain_branch(wrt__validator *validator, wrt__frame *frame, uint32_t branch);
void wrt__resolve_chain(wrt__validator *validator, const wrt__frame *frame,
                        const wrt__target *target);

/* Writes the function's branches, all of them resolved, to the side table. */
void wrt__write_side_table(wrt__validator *validator);

#endif
