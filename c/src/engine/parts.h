/* Internal: what the loader builds in the module's buffer, and the engine executes.
 *
 * Everything is found by offset in the module's own bytes: the loader copies no code, name or
 * data, it notes where they lie. All of this is constant once wrt_module_init() has returned.
 *
 * The side table says where branches go. It has one entry of three 16-bit words for each br,
 * br_if, if, else, return and each arm of a br_table, in the order of the code, dead code included:
 *
 *     word 0   distance in bytes from the branching opcode to the next instruction (signed)
 *     word 1   fuel to give back: instructions jumped over forwards; to charge, if negative
 *     word 2   bits 4-15: distance in entries from this entry to the target's next (signed)
 *              bits 0-3:  0 the stack stays | 1-7 drop that many | 8-14 drop that less 7, below
 *                         the one value that is kept | 15 the branch is long
 *
 * Distances of br_table are from the br_table opcode; its arms' entries follow each other, the
 * default last. A branch to a loop lands behind the loop's block type; one to any other block
 * behind its `end`; one to the function itself (and `return`) on the final `end`, which takes the
 * results from the top of the stack, so nothing needs dropping then. `if` has the entry for its
 * condition being false: to the instruction behind `else`, or behind `end`. `else`, reached from
 * above, has an entry behind `end`. A long branch's words 0 and 1 are the index (low, high) of
 * its wrt__long_branch.
 *
 * Fuel: a function's instructions are all paid for when it is entered; word 1 keeps the account
 * right where the path differs from the straight line. For a branch at instruction number b
 * (counting opcodes from 0 in the order of the code) that lands on number t, it is t - b - 1. */
#ifndef WRT_ENGINE_PARTS_H
#define WRT_ENGINE_PARTS_H

#include "wrt_platform/module.h"

enum {
    WRT__MODULE_MAGIC = 0x6D6F6475,
    WRT__ENTRY_WORDS = 3,
    WRT__ENTRY_LONG = 15,
    WRT__NO_OFFSET = 0 /* no part of a module starts at byte 0 */
};

typedef struct wrt__long_branch {
    int32_t bytes;   /* as word 0 */
    int32_t fuel;    /* as word 1 */
    int32_t entries; /* as bits 4-15 of word 2 */
    uint32_t drop;   /* values below those kept */
    uint32_t keep;   /* values */
} wrt__long_branch;

typedef struct wrt__type {
    uint32_t parameters; /* offset of the first value type in the module's bytes */
    uint32_t results;
    uint16_t parameter_count;
    uint16_t result_count;
    uint32_t canonical; /* index of the first type of the module that is equal to this one */
} wrt__type;

/* A defined function. Numbers of cells are 8 bytes each. */
typedef struct wrt__code {
    uint32_t start;        /* offset of the first instruction */
    uint32_t end;          /* offset of the final `end` */
    uint32_t entry;        /* its first side-table entry, counted in entries */
    uint32_t instructions; /* all of them, the final `end` included */
    uint32_t type;
    uint32_t cells; /* parameters, locals and the deepest operand stack */
    uint16_t parameter_count;
    uint16_t result_count;
    uint16_t local_count; /* parameters included */
    uint16_t reserved;
} wrt__code;

typedef struct wrt__table_type {
    uint32_t element_type;
    uint32_t minimum;
    uint32_t maximum; /* UINT32_MAX if none */
} wrt__table_type;

typedef struct wrt__global_type {
    uint32_t initializer; /* offset of the constant expression; WRT__NO_OFFSET if imported */
    uint16_t value_type;
    uint16_t is_mutable;
} wrt__global_type;

enum wrt__segment_mode { WRT__ACTIVE, WRT__PASSIVE, WRT__DECLARATIVE };

typedef struct wrt__element_segment {
    uint32_t mode;   /* of wrt__segment_mode */
    uint32_t table;  /* if active */
    uint32_t offset; /* of the constant expression, if active */
    uint32_t items;  /* offset of the first item */
    uint32_t count;  /* items */
    uint16_t element_type;
    uint16_t has_expressions; /* items are constant expressions, else function indices */
} wrt__element_segment;

typedef struct wrt__data_segment {
    uint32_t mode;   /* active or passive */
    uint32_t offset; /* of the constant expression, if active */
    uint32_t bytes;  /* offset of the first byte */
    uint32_t size;
} wrt__data_segment;

static inline const wrt__type *wrt__types(const wrt_module *module)
{
    return module->types;
}

static inline const wrt__code *wrt__codes(const wrt_module *module)
{
    return module->functions;
}

/* Type index of each imported function. */
static inline const uint32_t *wrt__imported_functions(const wrt_module *module)
{
    return module->imported_functions;
}

/* Imported ones included, as in wrt__globals. */
static inline const wrt__table_type *wrt__tables(const wrt_module *module)
{
    return module->tables;
}

static inline const wrt__global_type *wrt__globals(const wrt_module *module)
{
    return module->globals;
}

static inline const wrt__element_segment *wrt__elements(const wrt_module *module)
{
    return module->elements;
}

static inline const wrt__data_segment *wrt__data(const wrt_module *module)
{
    return module->data;
}

static inline const wrt__long_branch *wrt__long_branches(const wrt_module *module)
{
    return (const wrt__long_branch *)(const void *)module->long_branches;
}

static inline uint32_t wrt__defined_function_count(const wrt_module *module)
{
    return module->usage.function_count - module->usage.imported_function_count;
}

/* Type index of any function of the module. */
static inline uint32_t wrt__function_type_index(const wrt_module *module, uint32_t function)
{
    const uint32_t imported = module->usage.imported_function_count;

    return function < imported ? wrt__imported_functions(module)[function]
                               : wrt__codes(module)[function - imported].type;
}

static inline wrt_function_type wrt__function_type(const wrt_module *module, uint32_t type_index)
{
    const wrt__type *type = &wrt__types(module)[type_index];

    return (wrt_function_type){module->bytes + type->parameters, module->bytes + type->results,
                               type->parameter_count, type->result_count};
}

/* Same parameters and results, wherever the two types come from. */
bool wrt__function_types_equal(const wrt_function_type *one, const wrt_function_type *other);

/* True if wrt_module_init() succeeded on it. */
static inline bool wrt__module_is_ready(const wrt_module *module)
{
    return module->magic == WRT__MODULE_MAGIC;
}

/* Walks the import section. Start with {.offset = module->import_offset}; each call describes
 * the next import. The section has been validated, so nothing can fail. */
typedef struct wrt__import_cursor {
    uint32_t offset;    /* of the next import, or of the section's count at first */
    uint32_t index;     /* of the next import */
    uint32_t counts[4]; /* imports so far, by kind */
} wrt__import_cursor;

void wrt__next_import(const wrt_module *module, wrt__import_cursor *cursor,
                      wrt_name *module_name_out, wrt_name *name_out, wrt_extern_type *type_out);

/* Looks an export up by name; false if there is none. Cost: linear in the exports. */
bool wrt__find_export(const wrt_module *module, const char *name, size_t name_size,
                      uint32_t *kind_out, uint32_t *index_out);

#endif
