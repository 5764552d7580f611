/* Counting semaphores: the word is the count. Who gives back wakes only if somebody waits, and who
 * was woken takes one like anybody else, or waits again. */
#include "sys.h"
#include "wrt_platform/linux/sync_objects.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "limit.h"
#include "shared.h"

static wrt_status check(const char *operation, const wrt_linux_semaphore *semaphore)
{
    return wrt__futex_check(operation, semaphore == NULL ? NULL : &semaphore->futex);
}

wrt_status wrt_linux_semaphore_init(wrt_linux_semaphore *semaphore,
                                    const wrt_linux_futex_config *config)
{
    if (semaphore == NULL || config == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "semaphore or config is NULL");
    }
    if (config->priority_inheritance || config->robust) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "nobody owns a semaphore: there is none to inherit, and none who dies");
    }
    if (config->initial_value > WRT_LINUX_SEMAPHORE_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "initial_value is {0}, at most {1}", config->initial_value,
                               WRT_LINUX_SEMAPHORE_MAX);
    }
    return wrt__futex_init(__func__, &semaphore->futex, config, WRT__SHARED_SEMAPHORE);
}

/* ---- Taking and giving ---- */

static bool take(uint32_t *word)
{
    uint32_t seen = wrt__load(word);

    while (seen > 0) {
        if (wrt__compare_exchange(word, &seen, seen - 1)) return true;
    }
    return false;
}

static wrt_status acquire(wrt_linux_semaphore *semaphore, const wrt__limit *limit)
{
    wrt_status status = WRT_OK;

    while (status == WRT_OK) {
        if (take(&semaphore->futex.state->word)) return WRT_OK;
        status = wrt__futex_wait_within(&semaphore->futex, 0, limit);
    }
    return status;
}

wrt_status wrt_linux_semaphore_acquire(wrt_linux_semaphore *semaphore, uint64_t timeout_ns,
                                       wrt_cancel_token *cancel)
{
    wrt__limit limit;

    wrt_status status = check(__func__, semaphore);
    if (status != WRT_OK || take(&semaphore->futex.state->word)) return status;
    status = wrt__limit_after(&limit, __func__, timeout_ns, cancel);
    return status == WRT_OK ? acquire(semaphore, &limit) : status;
}

wrt_status wrt_linux_semaphore_acquire_until(wrt_linux_semaphore *semaphore, uint64_t deadline_ns,
                                             wrt_cancel_token *cancel)
{
    const wrt_status status = check(__func__, semaphore);
    if (status != WRT_OK) return status;
    const wrt__limit limit = wrt__limit_at(__func__, &semaphore->futex, deadline_ns, cancel);
    return acquire(semaphore, &limit);
}

wrt_status wrt_linux_semaphore_release(wrt_linux_semaphore *semaphore, uint32_t count)
{
    const wrt_status status = check(__func__, semaphore);
    if (status != WRT_OK) return status;
    if (count == 0) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "count is 0");
    uint32_t seen = wrt__load(&semaphore->futex.state->word);
    do {
        if (count > WRT_LINUX_SEMAPHORE_MAX - seen) {
            return wrt_fail_detail(WRT_ERR_LIMIT, __func__,
                                   "{0} more than {1} is beyond what a semaphore counts to", count,
                                   seen);
        }
    } while (!wrt__compare_exchange(&semaphore->futex.state->word, &seen, seen + count));
    return wrt__futex_wake(__func__, &semaphore->futex, count, NULL);
}

wrt_status wrt_linux_semaphore_value(const wrt_linux_semaphore *semaphore, uint32_t *value_out)
{
    if (value_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "value_out is NULL");
    const wrt_status status = check(__func__, semaphore);
    if (status == WRT_OK) *value_out = wrt__load_acquire(&semaphore->futex.state->word);
    return status;
}

wrt_status wrt_linux_semaphore_deinit(wrt_linux_semaphore *semaphore)
{
    return wrt__futex_deinit(__func__, semaphore == NULL ? NULL : &semaphore->futex);
}
