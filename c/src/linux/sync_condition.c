/* Conditions: the word counts the signals. It is read while the mutex is held, so a signal after
 * the mutex was given back finds a waiter, or the waiter finds another word. */
#include "sys.h"
#include "wrt_platform/linux/sync_objects.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "limit.h"
#include "shared.h"

static wrt_status check(const char *operation, const wrt_linux_condition *condition)
{
    return wrt__futex_check(operation, condition == NULL ? NULL : &condition->futex);
}

wrt_status wrt_linux_condition_init(wrt_linux_condition *condition,
                                    const wrt_linux_futex_config *config)
{
    if (condition == NULL || config == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "condition or config is NULL");
    }
    if (config->priority_inheritance || config->robust) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "nobody owns a condition: inheritance and robustness are the mutex's");
    }
    if (config->initial_value != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "a condition has no initial_value");
    }
    return wrt__futex_init(__func__, &condition->futex, config, WRT__SHARED_CONDITION);
}

static wrt_status check_mutex(const char *operation, const wrt_linux_condition *condition,
                              const wrt_linux_mutex *mutex)
{
    wrt_status status = check(operation, condition);
    if (status == WRT_OK)
        status = wrt__futex_check(operation, mutex == NULL ? NULL : &mutex->futex);
    if (status != WRT_OK) return status;
    if (wrt__futex_flags(&condition->futex) != 0 || wrt__futex_flags(&mutex->futex) == 0) {
        return WRT_OK;
    }
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                    "the condition is shared between processes, the mutex is not");
}

static wrt_status wait_for_signal(wrt_linux_condition *condition, wrt_linux_mutex *mutex,
                                  const wrt__limit *limit)
{
    const uint32_t seen = wrt__load_ordered(&condition->futex.state->word);

    wrt_status status = wrt_linux_mutex_unlock(mutex);
    if (status != WRT_OK) return status;
    status = wrt__futex_wait_within(&condition->futex, seen, limit);
    const wrt_status taken = wrt_linux_mutex_lock(mutex, UINT64_MAX, NULL);
    if (taken != WRT_OK) return taken;
    const bool is_late = status == WRT_ERR_TIMED_OUT; /* a signal may have come on the way back */
    return is_late && wrt__load_ordered(&condition->futex.state->word) != seen ? WRT_OK : status;
}

wrt_status wrt_linux_condition_wait(wrt_linux_condition *condition, wrt_linux_mutex *mutex,
                                    uint64_t timeout_ns, wrt_cancel_token *cancel)
{
    wrt__limit limit;

    wrt_status status = check_mutex(__func__, condition, mutex);
    if (status == WRT_OK) status = wrt__limit_after(&limit, __func__, timeout_ns, cancel);
    return status == WRT_OK ? wait_for_signal(condition, mutex, &limit) : status;
}

wrt_status wrt_linux_condition_wait_until(wrt_linux_condition *condition, wrt_linux_mutex *mutex,
                                          uint64_t deadline_ns, wrt_cancel_token *cancel)
{
    const wrt_status status = check_mutex(__func__, condition, mutex);
    if (status != WRT_OK) return status;
    const wrt__limit limit = wrt__limit_at(__func__, &condition->futex, deadline_ns, cancel);
    return wait_for_signal(condition, mutex, &limit);
}

wrt_status wrt_linux_condition_signal(wrt_linux_condition *condition, uint32_t count)
{
    const wrt_status status = check(__func__, condition);
    if (status != WRT_OK) return status;
    if (count == 0) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "count is 0");
    (void)wrt__add(&condition->futex.state->word, 1);
    return wrt__futex_wake(__func__, &condition->futex, count, NULL);
}

wrt_status wrt_linux_condition_deinit(wrt_linux_condition *condition)
{
    return wrt__futex_deinit(__func__, condition == NULL ? NULL : &condition->futex);
}
