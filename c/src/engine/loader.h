/* Internal: how a module is loaded. The bytes are read twice by the same functions.
 *
 * The first pass (wrt__measure) decodes everything in constant memory: it finds what is malformed
 * and counts what the second will need. wrt_module_layout() is this pass. The second
 * (wrt__build) validates what the first has decoded, and fills the arrays. So a malformed module
 * is told from an invalid one whatever comes first in it, as the specification does.
 *
 * The buffer, once the counts are known; what is above the gap is scratch:
 *
 *     | arrays of parts | side table | long branches ->      <- types of values | control frames |
 *                                                            branches | declared functions |
 *
 * Side table, frames and branches have their final or largest size from the first pass. Long
 * branches and the types of the values on the stack are seen by the validator alone, and share the
 * gap between them. While sections are read, the place of the side table serves for sorting. */
#ifndef WRT_ENGINE_LOADER_H
#define WRT_ENGINE_LOADER_H

#include "opcodes.h"
#include "parts.h"

/* What one function asks for, in numbers; of all functions, the largest or the sum. */
typedef struct wrt__figures {
    uint64_t entries;        /* of the side table: sum */
    uint64_t long_entries;   /* those that a long branch may be needed for: sum */
    uint32_t entries_max;    /* of one function */
    uint32_t depth_max;      /* control frames of one function */
    uint32_t values_max;     /* locals and operands of one function, an upper bound */
    uint32_t parameters_max; /* of one type */
    uint32_t results_max;
} wrt__figures;

typedef struct wrt__loader {
    wrt__reader reader;
    wrt_module module; /* as it grows; the caller's is written at the very end */
    wrt__figures figures;
    uint32_t seen[4];            /* parts so far, by wrt_extern_kind, imports first */
    uint32_t functions_declared; /* by the function section */
    uint32_t bodies;             /* in the code section */
    uint32_t data_announced;     /* by the data count section */
    bool has_data_count;
    bool is_building; /* second pass: the arrays are there */
    uint8_t nothing;  /* stands for a buffer of no bytes */
    uint8_t *buffer;
    size_t buffer_size;
    size_t arrays_bytes;  /* of the arrays of parts, at the lower end of the buffer */
    size_t scratch_bytes; /* of what has a fixed size at the upper end */
    size_t needed_bytes;  /* of the buffer, the most at one time so far */
    uint32_t *declared;   /* a bit a function: ref.func may name it */
    void *branches;       /* wrt__branch, figures.entries_max of them */
    void *frames;         /* wrt__frame, figures.depth_max of them */
    uint8_t *values_top;  /* the first value's type is just below */
    uint32_t entry_count; /* of the side table, so far */
    uint32_t long_branch_count;
} wrt__loader;

/* First pass. Fills figures and usage. */
void wrt__measure(wrt__loader *loader);

/* Second pass. The buffer has been laid out. */
void wrt__build(wrt__loader *loader);

/* buffer.c: bytes of a buffer that is enough, by the figures of the first pass. */
uint64_t wrt__buffer_bytes(const wrt__loader *loader);

/* Places in the buffer all that has a known size; fails if that does not fit. */
void wrt__place(wrt__loader *loader);

/* Fails unless the buffer has the bytes, and keeps account of the most that was needed. */
bool wrt__reserve(wrt__loader *loader, uint64_t bytes);

/* Room for a number a type or a number an export, where the side table will be. */
uint32_t *wrt__sort_area(const wrt__loader *loader);

/* Offset in the buffer at which the long branches end, once there are `count` of them. */
size_t wrt__long_branches_end(const wrt__loader *loader, uint32_t count);

/* Moves what has been built into the module; the scratch is free again. */
void wrt__finish(wrt__loader *loader);

/* scan.c: decodes a function body up to loader->reader.end, or a constant expression. */
void wrt__scan_function(wrt__loader *loader);
void wrt__scan_constant(wrt__loader *loader);

/* sections.c and the files beside it: contents of one section, in either pass. */
void wrt__read_types(wrt__loader *loader);
void wrt__read_imports(wrt__loader *loader);
void wrt__read_functions(wrt__loader *loader);
void wrt__read_tables(wrt__loader *loader);
void wrt__read_memories(wrt__loader *loader);
void wrt__read_globals(wrt__loader *loader);
void wrt__read_exports(wrt__loader *loader);
void wrt__read_start(wrt__loader *loader);
void wrt__read_elements(wrt__loader *loader);
void wrt__read_code(wrt__loader *loader);
void wrt__read_data(wrt__loader *loader);

/* Types of tables and memories, as sections and imports have them. */
wrt__table_type wrt__read_table_type(wrt__reader *reader);
void wrt__read_memory_type(wrt__reader *reader, uint32_t *minimum_out, uint32_t *maximum_out);
wrt__global_type wrt__read_global_type(wrt__loader *loader);

/* Reads the type of a table or memory that comes next in its index space. */
void wrt__add_table(wrt__loader *loader);
void wrt__add_memory(wrt__loader *loader);

/* constant_expression.c: reads an expression in either pass; in the second, it must be constant
 * and give one value of `type`. Returns its offset. */
uint32_t wrt__read_constant(wrt__loader *loader, uint8_t type);

/* Notes that ref.func may name the function; fails if there is no such function. */
void wrt__declare_function(wrt__loader *loader, uint32_t function, uint32_t offset);
bool wrt__is_declared(const wrt__loader *loader, uint32_t function);

/* validator.c: validates the body that reader stands at and fills `code`. */
void wrt__validate_function(wrt__loader *loader, wrt__code *code);

/* sort.c: heap sort of `count` numbers, in place. `is_less` is a total order. */
typedef bool (*wrt__is_less)(const void *context, uint32_t one, uint32_t other);
void wrt__sort(uint32_t *numbers, uint32_t count, wrt__is_less is_less, const void *context);

/* names.c: walks the export section, as wrt__next_import does the other. */
typedef struct wrt__export_cursor {
    uint32_t offset;
    uint32_t index;
} wrt__export_cursor;

void wrt__next_export(const wrt_module *module, wrt__export_cursor *cursor, wrt_name *name_out,
                      uint32_t *kind_out, uint32_t *index_out);
wrt_extern_type wrt__extern_type(const wrt_module *module, uint32_t kind, uint32_t index);
bool wrt__find_function_name(const wrt_module *module, uint32_t function, wrt_name *name_out);

static inline bool wrt__failed(const wrt__loader *loader)
{
    return wrt__reader_failed(&loader->reader);
}

/* The module is well-formed and breaks a rule of validation at `offset`. */
static inline void wrt__invalid(wrt__loader *loader, const char *reason, uint32_t offset,
                                uint32_t index)
{
    wrt__reader_fail(&loader->reader, WRT_ERR_INVALID_MODULE, reason, offset, index);
}

#endif
