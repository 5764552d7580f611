/** A proof, at start-up, that the walls round a guest hold on this machine, now.
 *
 *     wrt_selftest_row rows[WRT_SELFTEST_ROWS];
 *     uint32_t count;
 *     if (wrt_selftest(NULL, rows, WRT_SELFTEST_ROWS, &count) != WRT_OK) refuse_to_start(rows);
 *
 * It does what a guest must not, and looks for the exact fault: bytes of each guard are touched,
 * and SIGSEGV for want of a right (SEGV_ACCERR) at that very address has to follow; memory is run;
 * each system call of this processor but the allowed ones is made by a sealed worker, which has to
 * die by SIGSYS in that very call; the limits of resources are exceeded; a guest reads beyond its
 * memory.
 *
 * What would end a process is done in one of its own, and this process is not harmed, whatever
 * comes out: touches in a child on this process's memory, system calls in sealed workers, which are
 * started as those of guests are, from the same program.
 *
 * Heap: none.  Stack: up to 64 KiB.  Threads: any, also beside threads at work.  ISR: no.
 * Fork: any. SIGCHLD may be handled or ignored, from Linux 6.15 on; before, rows of system calls
 * then fail, since how a worker ended is not known.
 */
#ifndef WRT_PLATFORM_LINUX_SELFTEST_H
#define WRT_PLATFORM_LINUX_SELFTEST_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_selftest_limit {
    WRT_SELFTEST_ROWS = 21,
    WRT_SELFTEST_TEXT_SIZE = 384 /* bytes of a text of a row, the closing NUL included */
};

/** What became of a wall. */
enum wrt_selftest_state {
    WRT_SELFTEST_PASSED = 1,
    WRT_SELFTEST_FAILED = 2, /* it did not hold, or could not be tried: see `reason` */
    WRT_SELFTEST_SKIPPED = 3 /* there is no such way here, or the kernel lets root pass: see
                                `reason` */
};

/** What to test. NULL stands for a config that is all zero. */
typedef struct wrt_selftest_config {
    uint32_t struct_size;     /* sizeof(wrt_selftest_config); 0 is refused */
    uint8_t reserved[4];      /* zero */
    const char *program_path; /* as in wrt_sandbox_config; borrowed for the call; NULL: from
                                 memory */
} wrt_selftest_config;

/** One wall. */
typedef struct wrt_selftest_row {
    const char *id;      /* "worker.calls"; it stays the same over versions. Static text */
    const char *name;    /* for people; static text */
    uint32_t state;      /* one of wrt_selftest_state */
    uint32_t attempts;   /* how often it was leant against */
    uint64_t elapsed_ns; /* nanoseconds */
    char reason[384];    /* WRT_SELFTEST_TEXT_SIZE: what was seen */
} wrt_selftest_row;

/** Tests all walls, and writes a row for each. All rows are written, also on failure, as soon as
 * the arguments are right.
 * rows_out: room for `capacity` of them, at least WRT_SELFTEST_ROWS. count_out: rows written.
 * Errors: UNSUPPORTED (a wall does not hold here: {0} rows failed, the first is row {1}; reserved
 * bytes), INVALID_ARGUMENT (NULL, capacity, a rule of the config).
 * Cost: some 500 processes; 0.2 s on a quiet machine, under 1 s on most.
 */
WRT_API WRT_NODISCARD wrt_status wrt_selftest(const wrt_selftest_config *config,
                                              wrt_selftest_row *rows_out, uint32_t capacity,
                                              uint32_t *count_out);

WRT_END_DECLS
#endif
