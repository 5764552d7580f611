/* Runs a few threads in all interleavings of their accesses to shared memory. */
#ifndef EXPLORER_H
#define EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPLORER_THREADS = 4, EXPLORER_STEPS = 400 };

typedef struct explorer_test {
    int thread_count;
    void (*prepare)(void);     /* before each execution */
    void (*thread)(int index); /* what each thread does */
    bool (*judge)(void);       /* after each execution: was it right? */
} explorer_test;

typedef struct explorer_result {
    uint64_t executions;
    uint64_t abandoned; /* equal to another one in all that matters, and so not run to the end */
    bool is_complete;   /* all were run, within the limit */
    bool is_wrong;      /* the last execution was judged wrong, or did not end */
} explorer_result;

/* Stops at the first wrong execution, which stays as it is for a report. */
explorer_result explorer_run(const explorer_test *test, uint64_t most_executions);

/* Other threads may go on now; then this one reads and writes these bytes in one step. */
void explorer_access(const void *read, size_t read_size, void *written, size_t written_size);

/* Memory that the threads share; copies elsewhere are nobody's affair. */
void explorer_share(void *memory, size_t size);

/* memcpy(), in two halves between which others may go on. */
void *explorer_copy(void *restrict to, const void *restrict from, size_t size);

/* Which threads had the steps of the last execution. */
int explorer_trace(const uint8_t **threads_out);

#endif
