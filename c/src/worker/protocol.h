/* Internal: what a sealed worker and its parent say to each other, in memory that both map.
 *
 *     control | program: the imports' names and types, the module | the guest's linear memory
 *
 * They take turns: whoever has the turn writes its part and gives the turn away. To sleep is to
 * say so, look at the turn once more, and wait for a byte on the socket; so a byte is a hint, never
 * a message. The worker believes its parent. The parent believes nothing that it reads here: it
 * copies, then checks the copy, and what the guest can ask for are the functions that its embedder
 * lends. Both are built from one tree, so the layout needs no version. */
#ifndef WRT_WORKER_PROTOCOL_H
#define WRT_WORKER_PROTOCOL_H

#include "wrt_platform/instance.h"

/* Descriptors that the worker finds; it closes the last three itself, before it is sealed. */
enum {
    WRT__WORKER_IN = 0,     /* the socket */
    WRT__WORKER_OUT = 1,    /* the same */
    WRT__WORKER_LIFE = 2,   /* a pipe whose other end dies with the parent */
    WRT__WORKER_SHARED = 3, /* the memory */
    WRT__WORKER_SELF = 4    /* its own program; closed by exec */
};

enum {
    WRT__WORKER_MAGIC = 0x57524B52,
    WRT__WORKER_SEALED = 'S',     /* the first byte that it writes */
    WRT__CONTROL_BYTES = 65536,   /* a multiple of every system's page */
    WRT__WORKER_TEXT_SIZE = 4096, /* names of exports; sentences about failures */
    WRT__WORKER_FRAMES = 16,      /* of a trap's backtrace */
    WRT__WORKER_EXIT_STEP = 80    /* exit codes from here on: the step of the start that failed */
};

/* Whose turn it is. */
enum { WRT__TURN_PARENT = 0, WRT__TURN_WORKER = 1 };

/* How long it pays to look at the turn before sleeping: each side learns it by itself, and for each
 * kind of wait, since an answer comes soon and an order may take its time. */
typedef struct wrt__patience {
    uint32_t looks; /* as many as have paid */
    uint32_t rests; /* waits since it gave up looking */
} wrt__patience;

/* What the worker does on its way to the seal; the number of one that fails is told. */
enum wrt__worker_step {
    WRT__STEP_MAP = 1,
    WRT__STEP_CLOSE,
    WRT__STEP_DUMPABLE,
    WRT__STEP_PRIVILEGES,
    WRT__STEP_FILTER
};

/* Of the parent. */
enum wrt__order_kind {
    WRT__ORDER_LOAD = 1, /* validate, link, instantiate; no code of the guest runs */
    WRT__ORDER_FIND,     /* type of the exported function `text` */
    WRT__ORDER_START,    /* run the start function */
    WRT__ORDER_CALL,     /* call the exported function `text` with `values` */
    WRT__ORDER_ANSWER    /* the host function came to `status`; results in `values` */
};

typedef struct wrt__order {
    uint32_t kind;
    uint32_t count;        /* arguments of a call, imports of a module */
    uint32_t text_size;    /* of a name */
    int32_t status;        /* of an answer */
    uint64_t module_start; /* in the program; the imports lie before it */
    uint64_t module_bytes;
    uint32_t maximum_pages;
    uint32_t maximum_table_elements;
    uint32_t stack_size;
    uint32_t has_fuel;
    uint64_t fuel;
} wrt__order;

/* Of the worker. */
enum wrt__message_kind {
    WRT__MESSAGE_DONE = 1, /* with the last order; `status` says how it went */
    WRT__MESSAGE_ASK       /* wants the host function `import`; arguments in `values` */
};

typedef struct wrt__worker_place {
    uint32_t function;
    uint32_t offset;
} wrt__worker_place;

typedef struct wrt__message {
    uint32_t kind;
    int32_t status;
    uint32_t import;
    uint32_t text_size; /* of a sentence about a failure */
    uint64_t detail[2]; /* of the failure */
    uint32_t trap_code;
    uint32_t frame_count;
    uint32_t parameter_count; /* of a function that was found; its types lie in `text`, */
    uint32_t result_count;    /* parameters first */
    wrt__worker_place frames[WRT__WORKER_FRAMES];
} wrt__message;

/* What the guest has used; the worker writes it now and then. */
typedef struct wrt__worker_usage {
    uint64_t fuel_used;
    uint64_t fuel_left;
    uint64_t engine_bytes; /* of the arena */
    uint32_t memory_pages;
    uint32_t memory_peak_pages;
    uint32_t refused_growths;
    uint32_t stack_peak_bytes;
    uint32_t declared_maximum; /* pages; UINT32_MAX: none */
    uint32_t reserved;
} wrt__worker_usage;

typedef struct wrt__control {
    uint32_t magic;
    uint32_t spins;         /* looks at the turn before sleeping, at most; 0 on one processor */
    uint64_t program_bytes; /* room for it; of this and the next two the start is a page's */
    uint64_t memory_bytes;  /* reserved for the guest */
    uint64_t arena_bytes;   /* the worker's own */
    uint32_t failed_step;   /* one of wrt__worker_step */
    uint32_t failed_code;   /* error number */
    uint32_t reserved[4];
    uint32_t turn; /* atomic, as are the two that follow */
    uint32_t parent_sleeps;
    uint32_t worker_sleeps;
    uint32_t padding[13];
    wrt__order order;
    wrt__message message;
    wrt__worker_usage usage;
    wrt_value values[WRT_MODULE_PARAMETER_MAX];
    char text[WRT__WORKER_TEXT_SIZE];
} wrt__control;

_Static_assert(sizeof(wrt__control) <= WRT__CONTROL_BYTES, "it has its pages to itself");
_Static_assert(WRT__WORKER_TEXT_SIZE >= 2 * WRT_MODULE_PARAMETER_MAX, "a function's types fit");

/* What the worker answers itself, without asking: calls of WASI that touch nothing. */
enum wrt__worker_own { WRT__OWN_NONE = 0, WRT__OWN_CLOCK_TIME_GET, WRT__OWN_SCHED_YIELD };

/* An import in the program, a multiple of 8 bytes; behind it lie the two names, each with its NUL,
 * and the types of parameters and results. */
typedef struct wrt__worker_import {
    uint32_t size; /* of all of it */
    uint32_t own;  /* one of wrt__worker_own */
    uint32_t module_size;
    uint32_t name_size;
    uint32_t parameter_count;
    uint32_t result_count;
} wrt__worker_import;

#endif
