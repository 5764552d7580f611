/* Internal: the moment between the child's start and the program's. */
#ifndef WRT_SANDBOX_CHILD_H
#define WRT_SANDBOX_CHILD_H

#include "state.h"

/* What the child does before the program runs; the number of one that fails is told. */
enum wrt__child_step {
    WRT__CHILD_DESCRIPTORS = 1,
    WRT__CHILD_CLOSE,
    WRT__CHILD_PRIVILEGES,
    WRT__CHILD_LIMITS,
    WRT__CHILD_LANDLOCK,
    WRT__CHILD_LIFE_LINE,
    WRT__CHILD_SIGNALS,
    WRT__CHILD_EXECUTE
};

/* What the child is given, and what it tells: parent and child share this memory, and the parent
 * waits until the child has executed the program or ended. */
typedef struct wrt__child {
    int socket;
    int life;
    int shared;
    int program;
    uint32_t landlock; /* one of wrt_sandbox_wall, never DEFAULT */
    uint32_t cpu_seconds;
    uint32_t is_file;       /* the program is no file in memory */
    uint64_t address_bytes; /* that the program may map */
    uint32_t failed_step;   /* one of wrt__child_step; 0: none */
    int failed_code;
    uint32_t limits_missed;
    int landlock_code;  /* error number, if it is missing */
    int life_line_code; /* the same */
} wrt__child;

/* Runs in the child, on a stack of its own; returns only if it could not execute the program. */
int wrt__sandbox_child(void *context);

#endif
