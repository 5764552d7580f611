/** What this machine can do for a guest's limits: each row is an attempt, not a look-up.
 *
 *     for (uint32_t index = 0; index < wrt_doctor_count(); index++) {
 *         wrt_doctor_row row;
 *         if (wrt_doctor_examine(index, &row) == WRT_OK && row.state != WRT_DOCTOR_AVAILABLE)
 *             printf("%s: %s; %s\n", row.name, row.reason, row.remedy);
 *     }
 *
 * A system says that it can do more than it lets a process do: a container's filter, a setting or a
 * limit is in the way, and is met only by trying. So each row tries, and what it made is taken back
 * at once. What would change this process, or might end it, is tried in a child.
 *
 * Such a child starts on this process's memory, with a stack of its own, while the calling thread
 * stands still: so it costs the same in a large process, and other threads may run on. Rows of
 * namespaces make an ordinary forked child.
 *
 * Rows of the topic "kernel" are the settings that guides name: they are read, since trying would
 * change the whole machine, and the remedy is the command that changes them.
 *
 * Heap: none.  Stack: up to 64 KiB.  Threads: any.  ISR: no.
 * Fork: any. SIGCHLD may be handled or ignored.
 */
#ifndef WRT_PLATFORM_LINUX_DOCTOR_H
#define WRT_PLATFORM_LINUX_DOCTOR_H

#include "wrt_platform/status.h"

WRT_BEGIN_DECLS

/** Sizes. */
enum wrt_doctor_limit {
    WRT_DOCTOR_TEXT_SIZE = 384 /* bytes of a text of a row, the closing NUL included */
};

/** What an attempt came to. */
enum wrt_doctor_state {
    WRT_DOCTOR_AVAILABLE = 1, /* it was done */
    WRT_DOCTOR_PARTIAL = 2,   /* it works with the exception that `reason` names */
    WRT_DOCTOR_ABSENT = 3     /* it does not, see `reason` */
};

/** What one attempt came to. */
typedef struct wrt_doctor_row {
    const char *id;       /* "memory.huge_2_mib", the topic first; it stays the same over versions.
                             Static text, as the next two */
    const char *name;     /* for people */
    const char *promises; /* the rows of the feature table that need it: "LM-1 LM-5" */
    uint32_t state;       /* one of wrt_doctor_state */
    int32_t os_code;      /* error number, where a system call has said no; else 0 */
    char reason[384];     /* WRT_DOCTOR_TEXT_SIZE: what was seen, or why not */
    char remedy[384];     /* what to do about it; empty if it is available */
} wrt_doctor_row;

/** How many rows there are. Errors: none, it cannot fail.  Cost: constant. */
WRT_API uint32_t wrt_doctor_count(void);

/** Makes one attempt. index: below wrt_doctor_count().
 * A system that refuses is no error: the row says so.
 * Errors: INVALID_ARGUMENT (NULL), NOT_FOUND (no such row).
 * Cost: a few system calls, for most; a child process, some 100 us, where trying is dangerous; up
 * to 40 ms for those that have to wait. All of them together some 100 ms.
 */
WRT_API WRT_NODISCARD wrt_status wrt_doctor_examine(uint32_t index, wrt_doctor_row *row_out);

WRT_END_DECLS
#endif
