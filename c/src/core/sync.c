/* The public calls of futexes. What every backend would have to do stands here: the checks, and
 * the waits with a cancel token, which are cut into slices. A slice that ends looks at the word
 * anew, so a wake that comes between two slices is seen by what was changed before it.
 *
 * Stores and exchanges are ordered with the backends' counts of waiters: either a waker sees the
 * waiter, or the waiter sees the new word. */
#include "wrt_platform/sync.h"

#include "atomic.h"
#include "fail.h"
#include "slices.h"

static wrt_status check_futex(const char *operation, const wrt_futex *futex)
{
    if (futex != NULL && futex->ops != NULL) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "futex is NULL or all zero");
}

static wrt_status find_word(const char *operation, const wrt_futex *futex, uint32_t **word_out)
{
    const wrt_status status = check_futex(operation, futex);
    if (status != WRT_OK) return status;
    *word_out = futex->ops->word(futex->self);
    return *word_out != NULL ? WRT_OK : wrt_error_last()->status;
}

wrt_status wrt_futex_wait(const wrt_futex *futex, uint32_t expected, uint64_t timeout_ns,
                          wrt_cancel_token *cancel)
{
    wrt__slices slices;

    wrt_status status = check_futex(__func__, futex);
    if (status != WRT_OK) return status;
    if (cancel == NULL) return futex->ops->wait(futex->self, expected, timeout_ns);

    status = wrt__slices_begin(&slices, __func__, futex->ops->now, futex->self, timeout_ns, cancel);
    while (status == WRT_OK) {
        status = futex->ops->wait(futex->self, expected, slices.next_ns);
        if (status != WRT_ERR_TIMED_OUT) return status;
        status = wrt__slices_next(&slices);
    }
    return status;
}

wrt_status wrt_futex_wake(const wrt_futex *futex, uint32_t count, uint32_t *woken_out)
{
    uint32_t woken = 0;

    wrt_status status = check_futex(__func__, futex);
    if (status != WRT_OK) return status;
    if (count == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "count is 0: there is nobody to wake");
    }
    status = futex->ops->wake(futex->self, count, &woken);
    if (woken_out != NULL) *woken_out = woken;
    return status;
}

wrt_status wrt_futex_load(const wrt_futex *futex, uint32_t *value_out)
{
    uint32_t *word = NULL;

    if (value_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "value_out is NULL");
    const wrt_status status = find_word(__func__, futex, &word);
    if (status == WRT_OK) *value_out = wrt__load_acquire(word);
    return status;
}

wrt_status wrt_futex_store(const wrt_futex *futex, uint32_t value)
{
    uint32_t *word = NULL;

    const wrt_status status = find_word(__func__, futex, &word);
    if (status == WRT_OK) wrt__store_ordered(word, value);
    return status;
}

wrt_status wrt_futex_fetch_add(const wrt_futex *futex, uint32_t value, uint32_t *before_out)
{
    uint32_t *word = NULL;

    const wrt_status status = find_word(__func__, futex, &word);
    if (status != WRT_OK) return status;
    const uint32_t before = wrt__add(word, value);
    if (before_out != NULL) *before_out = before;
    return WRT_OK;
}

wrt_status wrt_futex_compare_exchange(const wrt_futex *futex, uint32_t *expected, uint32_t value,
                                      bool *exchanged_out)
{
    uint32_t *word = NULL;

    if (expected == NULL || exchanged_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "expected or exchanged_out is NULL");
    }
    const wrt_status status = find_word(__func__, futex, &word);
    if (status == WRT_OK) *exchanged_out = wrt__compare_exchange(word, expected, value);
    return status;
}
