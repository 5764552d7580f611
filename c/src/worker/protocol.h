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
    WRT__ORDER_ANSWER,   /* the host function came to `status`; results in `values` */
    WRT__ORDER_PROVE     /* lean against a wall, see wrt__proof; only of a worker that proves */
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

/* Against which wall. */
enum wrt__proof_kind {
    WRT__PROOF_CALL = 1,  /* the system call `number` with `arguments` */
    WRT__PROOF_INTERRUPT, /* the same by the way of 32-bit programs */
    WRT__PROOF_READ,      /* the byte at `offset` of `area` */
    WRT__PROOF_WRITE,
    WRT__PROOF_RUN
};

enum wrt__proof_area { WRT__AREA_PROGRAM = 0, WRT__AREA_MEMORY, WRT__AREA_ARENA };

enum wrt__proof_stage {
    WRT__PROOF_NOT_BEGUN = 0,
    WRT__PROOF_BEGUN,
    WRT__PROOF_CAME_BACK /* nothing stopped it; `result` of a call */
};

/* Limits of resources that a worker exceeds before it is sealed, since it could not even try
 * behind its filter. */
enum wrt__proof_limit {
    WRT__PROOF_ADDRESSES = 0,
    WRT__PROOF_DESCRIPTORS,
    WRT__PROOF_PROCESSES,
    WRT__PROOF_FILES,
    WRT__PROOF_LOCKS,
    WRT__PROOF_LIMITS
};

/* For a parent that wants to see the walls hold: the worker does what a guest must not, and its
 * parent looks how it ends. A fault of memory is caught, written down, and ends the worker. */
typedef struct wrt__proof {
    uint32_t kind; /* one of wrt__proof_kind */
    uint32_t area; /* one of wrt__proof_area */
    uint64_t number;
    uint64_t arguments[6];
    int64_t offset;
    uint64_t address; /* that `offset` came to; of the worker, as all that follows */
    uint64_t fault;   /* si_addr */
    int64_t result;
    int32_t signal_number; /* of a fault; 0: none */
    int32_t code;          /* si_code */
    uint32_t stage;        /* one of wrt__proof_stage */
    uint32_t reserved;
    int64_t limits[WRT__PROOF_LIMITS]; /* what exceeding each came to: below 0, an error number */
} wrt__proof;

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
    uint32_t proves;        /* the parent wants proofs, and has no guest */
    uint32_t reserved[3];
    uint32_t turn; /* atomic, as are the two that follow */
    uint32_t parent_sleeps;
    uint32_t worker_sleeps;
    uint32_t padding[13];
    wrt__order order;
    wrt__message message;
    wrt__worker_usage usage;
    wrt__proof proof;
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
