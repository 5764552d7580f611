/* What the ready-made executors have in common. */
#include "executor.h"

#include "fail.h"

/* ---- Lines ---- */

void wrt__line_append(wrt_turn_line *line, wrt_turn *turn)
{
    turn->next = NULL;
    if (line->last == NULL) {
        line->first = turn;
    } else {
        line->last->next = turn;
    }
    line->last = turn;
    line->count++;
}

wrt_turn *wrt__line_take(wrt_turn_line *line)
{
    wrt_turn *turn = line->first;

    if (turn == NULL) return NULL;
    line->first = turn->next;
    if (line->first == NULL) line->last = NULL;
    line->count--;
    turn->next = NULL;
    return turn;
}

wrt_turn *wrt__line_take_all(wrt_turn_line *line)
{
    wrt_turn *first = line->first;

    *line = (wrt_turn_line){0};
    return first;
}

bool wrt__line_remove(wrt_turn_line *line, wrt_turn *turn)
{
    wrt_turn *before = NULL;

    for (wrt_turn *at = line->first; at != NULL; before = at, at = at->next) {
        if (at != turn) continue;
        if (before == NULL) {
            line->first = turn->next;
        } else {
            before->next = turn->next;
        }
        if (line->last == turn) line->last = before;
        line->count--;
        turn->next = NULL;
        return true;
    }
    return false;
}

/* ---- Checks ---- */

wrt_status wrt__executor_gone(const char *operation)
{
    return wrt_fail(WRT_ERR_STATE, operation, "the executor was deinitialised or moved");
}

wrt_status wrt__executor_serve(const char *operation, const void **served, uint32_t used,
                               const void *pool)
{
    if (used == 0) *served = pool;
    if (*served == pool) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, operation,
                           "the executor serves {0} tasks of another pool", used, 0);
}

wrt_status wrt__executor_check_count(const char *operation, uint32_t count, const void *array)
{
    if (count < 1 || count > WRT_EXECUTOR_FUNCTION_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "there are {0} functions, not 1 to {1}", count,
                               WRT_EXECUTOR_FUNCTION_MAX);
    }
    if (array != NULL) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "the array of functions is NULL");
}

wrt_status wrt__executor_check_buffer(const char *operation, const wrt_thread_system *system,
                                      const void *buffer, size_t given, size_t needed)
{
    if (system->ops == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "system is all zero");
    }
    if (buffer == NULL || (uintptr_t)buffer % WRT_EXECUTOR_BUFFER_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not 8-byte aligned");
    }
    if (given >= needed) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                           "buffer has {0} bytes, the executor needs {1}", given, needed);
}

wrt_status wrt__executor_check_end(const char *operation, bool is_in_place, uint32_t used)
{
    if (!is_in_place) return wrt_fail(WRT_ERR_STATE, operation, "executor was moved");
    if (used == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, operation, "{0} tasks hold an instance or wait for one",
                           used, 0);
}

void wrt__executor_lock(const wrt_thread_system *system, wrt_system_lock *lock)
{
    const wrt_status never_fails = system->ops->lock(system->self, lock);
    (void)never_fails;
}

void wrt__executor_unlock(const wrt_thread_system *system, wrt_system_lock *lock)
{
    const wrt_status never_fails = system->ops->unlock(system->self, lock);
    (void)never_fails;
}
