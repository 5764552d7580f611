/* Internal: a sandbox, as its parent keeps it: in pages of their own, so that the caller's object
 * can be moved, and a guest that asks for a function gets the same place each time. */
#ifndef WRT_SANDBOX_STATE_H
#define WRT_SANDBOX_STATE_H

#include "sys.h"

#include "../engine/elsewhere.h"
#include "../worker/protocol.h"
#include "wrt_platform/linux/sandbox.h"

enum wrt__sandbox_phase {
    WRT__SANDBOX_SEALED = 1, /* waits for a module */
    WRT__SANDBOX_LOADED,     /* can be called */
    WRT__SANDBOX_CALLED,     /* a call is under way */
    WRT__SANDBOX_REFUSED,    /* its module was not taken */
    WRT__SANDBOX_ENDED       /* the process is gone */
};

/* The namespaces that a config can ask for, in the order of its fields. */
enum { WRT__NAMESPACE_COUNT = 4 };

/* How far one of the walls that a system may lack has come; `reason` is static. */
typedef struct wrt__sandbox_walls {
    wrt_enforcement landlock;
    wrt_enforcement namespaces[WRT__NAMESPACE_COUNT];
    wrt_enforcement resource_limits;
    wrt_enforcement life_line;
} wrt__sandbox_walls;

typedef struct wrt__sandbox {
    /* What is mapped. */
    wrt__control *control;
    uint8_t *program;
    uint8_t *memory;
    size_t shared_bytes;

    /* The process. */
    int socket;
    int life; /* the end of the pipe that keeps it alive */
    int pidfd;
    pid_t process;
    uint32_t stopping; /* atomic: somebody has asked for its end */
    uint32_t end;      /* one of wrt_sandbox_end */
    int32_t end_number;
    wrt__sandbox_walls walls;

    /* The call. */
    uint32_t phase;
    uint32_t serving;          /* inside a host function */
    uint32_t looks;            /* at the turn before sleeping, at most; 0 on one processor */
    uint32_t has_answered;     /* since the last order */
    wrt__patience patience[2]; /* after orders, after answers */
    uint32_t host_calls;
    uint32_t is_asked;   /* a host function is being called, for the second time or more */
    uint32_t import;     /* that one */
    int32_t host_status; /* of the last host function; it may end the call */
    uint32_t has_results;
    uint32_t result_count; /* its own word, as is the next */
    uint32_t parameter_count;
    uint64_t deadline; /* nanoseconds; UINT64_MAX: none */
    uint64_t maximum_pages;
    uint64_t cpu_ns; /* when it ended */
    uint32_t function_count;
    uint32_t trap_code;
    uint32_t frame_count;
    uint32_t text_size;
    wrt__worker_place frames[WRT__WORKER_FRAMES];
    wrt__elsewhere elsewhere;

    const wrt_host_function *functions[WRT_SANDBOX_IMPORTS_MAX];
    wrt_value values[WRT_MODULE_PARAMETER_MAX]; /* of a host function, or the results */
    char types[2 * WRT_MODULE_PARAMETER_MAX];   /* of the function that was looked for */
    char text[WRT__WORKER_TEXT_SIZE];           /* its last sentence */
} wrt__sandbox;

/* What a config comes to. */
typedef struct wrt__sandbox_plan {
    wrt_sandbox_config config;
    uint64_t program_bytes;
    uint64_t memory_bytes;
    uint64_t arena_bytes;
    bool proves; /* the worker is to lean against its walls, and gets no guest */
} wrt__sandbox_plan;

/* ---- plan.c ---- */

wrt_status wrt__sandbox_make_plan(const char *operation, const wrt_sandbox_config *given,
                                  wrt__sandbox_plan *plan_out);

/* ---- program.c ---- */

/* A descriptor of the program, to be executed; it belongs to the library, unless *is_own_out. */
wrt_status wrt__sandbox_open_program(const char *operation, const char *path, int *descriptor_out,
                                     bool *is_own_out);

/* ---- start.c ---- */

/* Maps what is shared, starts the process, and waits for its word that it is sealed. */
wrt_status wrt__sandbox_start(const char *operation, wrt__sandbox *state,
                              const wrt__sandbox_plan *plan);

/* ---- end.c ---- */

/* Kills and waits; notes how it ended. Again does nothing. */
void wrt__sandbox_finish(wrt__sandbox *state, bool was_wanted);

/* The failure that its end stands for. */
wrt_status wrt__sandbox_fail_end(const char *operation, const wrt__sandbox *state);

/* Gives back all that start took. */
void wrt__sandbox_release(wrt__sandbox *state);

/* ---- talk.c ---- */

enum wrt__sandbox_news {
    WRT__NEWS_TURN = 1, /* the worker has given the turn */
    WRT__NEWS_TIME,     /* the time is over */
    WRT__NEWS_END,      /* the process is gone */
    WRT__NEWS_FAILED    /* waiting failed, see errno */
};

/* Nanoseconds; `later` after now, or the end of time. */
uint64_t wrt__sandbox_now(void);
uint64_t wrt__sandbox_after(uint64_t later);

/* For the turn; or for a byte alone, whosever turn it is. */
enum wrt__sandbox_news wrt__sandbox_await(wrt__sandbox *state, uint64_t until);
enum wrt__sandbox_news wrt__sandbox_await_byte(const wrt__sandbox *state, uint64_t until);

/* Writes an order and gives the turn to the worker. */
void wrt__sandbox_order(wrt__sandbox *state, const wrt__order *order);

/* ---- load.c ---- */

/* Writes the module and what it may import into the shared memory; *order_out says where. */
wrt_status wrt__sandbox_pack(const char *operation, wrt__sandbox *state,
                             const wrt_sandbox_guest *guest, wrt__order *order_out);

/* ---- serve.c ---- */

/* Answers until the order that was given is done; its status. TIMED_OUT at `until`: then
 * *is_late_out, and it goes on when called again. */
wrt_status wrt__sandbox_serve(const char *operation, wrt__sandbox *state, uint64_t until,
                              bool *is_late_out);

/* ---- sandbox.c ---- */

/* As wrt_sandbox_init; `proves` as in the plan. */
wrt_status wrt__sandbox_init(const char *operation, wrt_sandbox *sandbox,
                             const wrt_sandbox_config *config, bool proves);

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, after fork). */
wrt_status wrt__sandbox_check(const char *operation, const wrt_sandbox *sandbox,
                              wrt__sandbox **state_out);

#endif
