/* Internal: thread systems, the part that is the same on every operating system: what a config may
 * say, and whose a thread is until it is joined or detached. A backend starts threads and waits
 * for their end. */
#ifndef WRT_CORE_THREAD_SYSTEM_H
#define WRT_CORE_THREAD_SYSTEM_H

#include "wrt_platform/thread_system.h"

/* What a backend remembers of a thread, at the start of its wrt_thread. The thread itself never
 * looks at it: after detach it may be gone. */
typedef struct wrt__thread_record {
    const void *system; /* that started it; NULL: never started */
    int32_t id;         /* the system's own */
    uint32_t state;     /* one of wrt__thread_state, atomic */
} wrt__thread_record;

enum wrt__thread_state {
    WRT__THREAD_OUT = 1, /* started, neither joined nor detached */
    WRT__THREAD_CLAIMED = 2,
    WRT__THREAD_GONE = 3
};

/* Reads a thread's config; DEFAULT is NORMAL then. Errors: INVALID_ARGUMENT, UNSUPPORTED. */
wrt_status wrt__thread_config_read(const char *operation, const wrt_thread_config *given,
                                   wrt_thread_config *config_out);

/* Makes NORMAL of DEFAULT. Errors: INVALID_ARGUMENT (it is none of wrt_thread_priority). */
wrt_status wrt__thread_priority_read(const char *operation, uint32_t *priority);

/* Whether the set names no CPU: then it stands for any. */
bool wrt__cpus_are_any(const wrt_cpu_set *cpus);

/* Whether the thread is known still. Errors: STATE. */
wrt_status wrt__thread_find(const char *operation, const void *system,
                            const wrt__thread_record *thread);

/* Makes the thread the caller's alone, to join or detach; wrt__thread_settle() ends that.
 * Errors: INVALID_ARGUMENT (`thread` is NULL), STATE (somebody else has it, or it is gone). */
wrt_status wrt__thread_claim(const char *operation, const void *system, wrt__thread_record *thread);

/* Ends a claim and returns `outcome`. If that is OK, the thread is gone, and one less of
 * `thread_count` is out; else it is as it was before. */
wrt_status wrt__thread_settle(wrt__thread_record *thread, uint32_t *thread_count,
                              wrt_status outcome);

#endif
