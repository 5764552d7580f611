/* Internal: what the ready-made executors have in common. */
#ifndef WRT_CORE_EXECUTOR_H
#define WRT_CORE_EXECUTOR_H

#include "wrt_platform/executor.h"

void wrt__line_append(wrt_turn_line *line, wrt_turn *turn);

/* The first; NULL: nobody waits. */
wrt_turn *wrt__line_take(wrt_turn_line *line);

/* All of them, linked by `next`. */
wrt_turn *wrt__line_take_all(wrt_turn_line *line);

/* False: it does not stand there. */
bool wrt__line_remove(wrt_turn_line *line, wrt_turn *turn);

/* STATE: the executor was deinitialised or moved. */
wrt_status wrt__executor_gone(const char *operation);

/* Notes whose tasks are served. Errors: STATE (another pool's are, `used` of them). */
wrt_status wrt__executor_serve(const char *operation, const void **served, uint32_t used,
                               const void *pool);

wrt_status wrt__executor_check_count(const char *operation, uint32_t count, const void *array);

wrt_status wrt__executor_check_buffer(const char *operation, const wrt_thread_system *system,
                                      const void *buffer, size_t given, size_t needed);

/* Errors: STATE (moved, or in use). */
wrt_status wrt__executor_check_end(const char *operation, bool is_in_place, uint32_t used);

/* Where an error can't be said: the lock is the executor's own, and no holder calls out. */
void wrt__executor_lock(const wrt_thread_system *system, wrt_system_lock *lock);
void wrt__executor_unlock(const wrt_thread_system *system, wrt_system_lock *lock);

#endif
