/* Internal: a thread that does one thing again and again, until it is told to end. */
#ifndef WRT_CORE_REPEATING_THREAD_H
#define WRT_CORE_REPEATING_THREAD_H

#include "wrt_platform/thread_system.h"
#include <stdbool.h>

/* Waits `interval_ns`, from the end of what was done before by the clock of `system`; false: the
 * thread is to end. The thread's own entry calls it. */
bool wrt__repeating_wait(wrt_repeating_thread *repeating, const wrt_thread_system *system,
                         uint64_t interval_ns, uint64_t *now_out);

/* Starts it. Errors: STATE (it runs), and those of wrt_thread_start_fn. */
wrt_status wrt__repeating_start(wrt_repeating_thread *repeating, const char *operation,
                                const wrt_thread_system *system, const wrt_thread_config *config);

/* Tells it to end, and waits for that; nothing if it does not run.
 * Errors: TIMED_OUT (it was told, and has not ended yet), BUSY (another thread does the same). */
wrt_status wrt__repeating_stop(wrt_repeating_thread *repeating, const char *operation,
                               const wrt_thread_system *system, uint64_t timeout_ns);

bool wrt__repeating_runs(const wrt_repeating_thread *repeating);

#endif
