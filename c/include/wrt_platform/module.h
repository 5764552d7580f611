/** Modules: WebAssembly bytes, validated where they lie.
 *
 *     wrt_module_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.bytes = bytes; // borrowed: never copied, never written; flash will do
 *     config.bytes_size = size;
 *     wrt_layout layout;
 *     wrt_status status = wrt_module_layout(&config, &layout);
 *     config.buffer = buffer; // as the layout asks
 *     config.buffer_size = layout.bytes;
 *     status = wrt_module_init(&module, &config);
 *
 * The bytes are executed where they lie. Beside them, in the caller's buffer, stand an index of
 * the module's parts and the side table: where each branch goes. Everything is validated before
 * anything can run (WebAssembly 2.0 without SIMD); every error tells the byte at which it was
 * found, in wrt_error.detail[0].
 *
 * Source: WebAssembly specification, release 2.0: chapter 5, binary format (MALFORMED), chapter 3,
 * validation (INVALID_MODULE), appendix, custom sections (function names).
 *
 * Heap: none.  OS calls: none.  A module is read-only after init: any number of threads and
 * instances may use it at once.  ISR: no.
 */
#ifndef WRT_PLATFORM_MODULE_H
#define WRT_PLATFORM_MODULE_H

#include "wrt_platform/layout.h"
#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Value types, by their byte in the binary format. */
enum wrt_value_type {
    WRT_I32 = 0x7F,
    WRT_I64 = 0x7E,
    WRT_F32 = 0x7D,
    WRT_F64 = 0x7C,
    WRT_FUNCREF = 0x70,
    WRT_EXTERNREF = 0x6F
};

/** Kinds of imports and exports, by their byte in the binary format. */
enum wrt_extern_kind {
    WRT_EXTERN_FUNCTION = 0,
    WRT_EXTERN_TABLE = 1,
    WRT_EXTERN_MEMORY = 2,
    WRT_EXTERN_GLOBAL = 3
};

/** What this engine refuses beyond the specification's own limits (UNSUPPORTED). */
enum wrt_module_limit {
    WRT_MODULE_PARAMETER_MAX = 1000, /* also of results */
    WRT_MODULE_LOCAL_MAX = 50000,    /* parameters included */
    WRT_MODULE_STACK_MAX = 65535,    /* values on one function's operand stack */
    WRT_MODULE_BUFFER_ALIGNMENT = 8  /* bytes */
};

/** UTF-8 text that lies in the module's bytes: not NUL-terminated, may hold NUL. */
typedef struct wrt_name {
    const char *text; /* borrowed from the module's bytes */
    size_t size;      /* bytes */
} wrt_name;

/** Parameters and results, each a byte of wrt_value_type, borrowed. */
typedef struct wrt_function_type {
    const uint8_t *parameters;
    const uint8_t *results;
    uint32_t parameter_count;
    uint32_t result_count;
} wrt_function_type;

/** Type of an import or export of any kind; what does not belong to the kind is 0. */
typedef struct wrt_extern_type {
    uint32_t kind;              /* one of wrt_extern_kind */
    uint32_t value_type;        /* of a global; element type of a table */
    uint32_t minimum;           /* pages of a memory, elements of a table */
    uint32_t maximum;           /* the same; UINT32_MAX if none is declared */
    uint32_t is_mutable;        /* of a global: 0 or 1 */
    uint32_t index;             /* in the module's index space of that kind */
    wrt_function_type function; /* of a function */
} wrt_extern_type;

/** What a module is made of. */
typedef struct wrt_module_config {
    uint32_t struct_size; /* sizeof(wrt_module_config); 0 is refused */
    uint8_t reserved[4];  /* zero */
    const uint8_t *bytes; /* the module; borrowed until wrt_module_deinit */
    size_t bytes_size;    /* bytes, at most UINT32_MAX */
    void *buffer;         /* 8-byte aligned; borrowed until wrt_module_deinit */
    size_t buffer_size;   /* bytes */
} wrt_module_config;

/** What a module holds and what it costs. Bytes are exact. */
typedef struct wrt_module_usage {
    size_t buffer_bytes;     /* of the buffer, used since init: all that must be kept */
    size_t init_bytes;       /* of the buffer, that init needed in passing */
    size_t side_table_bytes; /* part of buffer_bytes */
    uint32_t code_bytes;     /* of the code section */
    uint32_t data_bytes;     /* of the data section */
    uint32_t type_count;
    uint32_t import_count;
    uint32_t export_count;
    uint32_t function_count; /* imported ones included, as in all that follow */
    uint32_t imported_function_count;
    uint32_t table_count;
    uint32_t memory_count;
    uint32_t global_count;
    uint32_t element_count;  /* segments */
    uint32_t data_count;     /* segments */
    uint32_t features;       /* flags of wrt_feature that the module uses */
    uint32_t start_function; /* index, UINT32_MAX if there is none */
} wrt_module_usage;

/** Parts of WebAssembly 2.0 that a module of 1.0 does not use; flags. */
enum wrt_feature {
    WRT_FEATURE_SIGN_EXTENSION = 1,
    WRT_FEATURE_SATURATING_CONVERSION = 2,
    WRT_FEATURE_MULTI_VALUE = 4,
    WRT_FEATURE_BULK_MEMORY = 8,
    WRT_FEATURE_REFERENCE_TYPES = 16
};

/** Caller-provided storage. Fields are private; wrt_module_query() tells what is to be known.
 * It may not be moved while an instance uses it. */
typedef struct wrt_module {
    const uint8_t *bytes;
    void *types;     /* in the buffer, as are all that follow */
    void *functions; /* defined functions: code and side table positions */
    void *imported_functions;
    void *tables;
    void *globals;
    void *elements;
    void *data;
    uint16_t *side_table;
    uint32_t *long_branches; /* records of branches that a side-table entry cannot hold */
    uint32_t bytes_size;
    uint32_t import_offset; /* of each section's contents, 0 if it is not there */
    uint32_t export_offset;
    uint32_t name_offset; /* of the custom section "name" */
    uint32_t name_size;
    uint32_t memory_minimum; /* pages */
    uint32_t memory_maximum; /* pages, UINT32_MAX if none is declared */
    uint32_t imported_table_count;
    uint32_t imported_memory_count;
    uint32_t imported_global_count;
    wrt_module_usage usage;
    uint32_t code_offset; /* of the code section's contents */
    uint32_t magic;       /* set while initialised */
    uint64_t reserved[8];
} wrt_module;

/** Says what buffer is enough for `config.bytes`, in one pass over them that decodes every
 * instruction; the buffer fields of the config are not looked at. It is an upper bound:
 * wrt_module_query() tells afterwards what was used, and a buffer of usage.init_bytes is
 * then enough for the same module.
 * Errors: MALFORMED (detail[0]: byte offset), UNSUPPORTED (a limit of wrt_module_limit),
 * INVALID_ARGUMENT (NULL, size). *layout_out is all zero then.
 * Cost: linear in bytes_size, no recursion.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_layout(const wrt_module_config *config,
                                                   wrt_layout *layout_out);

/** Validates the bytes and builds index and side table; on error `module` is left as it was.
 * Errors: MALFORMED, INVALID_MODULE (detail[0]: byte offset), UNSUPPORTED (a limit),
 * NO_MEMORY (detail: bytes there, bytes needed so far), INVALID_ARGUMENT.
 * Cost: linear in bytes_size, two passes, no recursion.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_init(wrt_module *module,
                                                 const wrt_module_config *config);

/** Reports contents and cost. Cost: constant. Errors: INVALID_ARGUMENT, STATE (not initialised). */
WRT_API WRT_NODISCARD wrt_status wrt_module_query(const wrt_module *module,
                                                  wrt_module_usage *usage_out);

/** Describes import `index` (0 to import_count - 1): its two names and its type, which lie in the
 * module's bytes and live as long as they.
 * Errors: INVALID_ARGUMENT (index), STATE. Cost: linear in index.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_import(const wrt_module *module, uint32_t index,
                                                   wrt_name *module_name_out, wrt_name *name_out,
                                                   wrt_extern_type *type_out);

/** Describes export `index` (0 to export_count - 1); name and type live as long as the bytes.
 * Errors: INVALID_ARGUMENT (index), STATE. Cost: linear in index.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_export(const wrt_module *module, uint32_t index,
                                                   wrt_name *name_out, wrt_extern_type *type_out);

/** Type of function `function` of the module's index space (0 to function_count - 1); borrowed
 * from the bytes.
 * Errors: INVALID_ARGUMENT (index), STATE. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_function_type(const wrt_module *module,
                                                          uint32_t function,
                                                          wrt_function_type *type_out);

/** Name of a function (0 to function_count - 1): from the name section, else of an export, else of
 * its import; borrowed from the bytes.
 * Errors: NOT_FOUND (it has none; *name_out is empty), INVALID_ARGUMENT, STATE.
 * Cost: linear in the name section. A damaged name section is as good as none.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_function_name(const wrt_module *module,
                                                          uint32_t function, wrt_name *name_out);

/** Lets go of bytes and buffer. A zeroed module is accepted, so twice is harmless.
 * No instance may be using it: that is the caller's promise, C does not count.
 * Errors: INVALID_ARGUMENT (NULL). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_module_deinit(wrt_module *module);

WRT_END_DECLS
#endif
