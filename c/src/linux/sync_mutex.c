/* Mutexes whose word holds the owner's number, and a bit that says that somebody waits: nobody
 * calls the system while that is not so. It is the word of the kernel's own locks with inheritance,
 * and with inheritance the kernel hands it over. */
#include "sys.h"
#include "wrt_platform/linux/sync_objects.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "fork.h"
#include "limit.h"
#include "shared.h"
#include "sys_futex.h"
#include "times.h"

#define WAITED_FOR ((uint32_t)FUTEX_WAITERS)
#define OWNER      ((uint32_t)FUTEX_TID_MASK)

enum { RETRIES = 1000 }; /* while an owner is just ending */

static wrt_status check(const char *operation, const wrt_linux_mutex *mutex)
{
    return wrt__futex_check(operation, mutex == NULL ? NULL : &mutex->futex);
}

/* ---- Life ---- */

wrt_status wrt_linux_mutex_init(wrt_linux_mutex *mutex, const wrt_linux_futex_config *config)
{
    if (mutex == NULL || config == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "mutex or config is NULL");
    }
    if (config->robust) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "the list of robust locks is the C library's: take a wrt_linux_lock");
    }
    if (config->initial_value != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "a mutex is free at first: "
                        "initial_value is not 0");
    }
    return wrt__futex_init(__func__, &mutex->futex, config,
                           config->priority_inheritance ? WRT__SHARED_INHERITING_MUTEX
                                                        : WRT__SHARED_MUTEX);
}

wrt_status wrt_linux_mutex_deinit(wrt_linux_mutex *mutex)
{
    if (mutex != NULL && mutex->futex.self == &mutex->futex) {
        const uint32_t owner = wrt__load(&mutex->futex.state->word) & OWNER;
        const bool is_shared = mutex->futex.state != &mutex->futex.own;
        if (owner == wrt__thread_number() || (owner != 0 && !is_shared)) {
            return wrt_fail_detail(WRT_ERR_STATE, __func__, "thread {0} holds the mutex", owner, 0);
        }
    }
    return wrt__futex_deinit(__func__, mutex == NULL ? NULL : &mutex->futex);
}

/* ---- Hand-overs ---- */

/* What the kernel hands over, takes or frees, tools that watch memory can't see; these they can. */
static void say_given(wrt_linux_mutex *mutex)
{
    (void)wrt__add(&mutex->futex.state->waiting, 1);
}

static inline void see_given(const wrt_linux_mutex *mutex)
{
    if (mutex->futex.inherits != 0) (void)wrt__load_acquire(&mutex->futex.state->waiting);
}

/* ---- Taking it, without inheritance ---- */

/* Says that somebody waits; true if it was free, and is taken. */
static bool take_or_mark(uint32_t *word, uint32_t *seen)
{
    *seen = wrt__load(word);
    for (;;) {
        const uint32_t marked =
            (*seen & OWNER) == 0 ? wrt__thread_number() | WAITED_FOR : *seen | WAITED_FOR;
        const bool was_free = (*seen & OWNER) == 0;
        if (marked == *seen) return false;
        if (wrt__compare_exchange(word, seen, marked)) {
            *seen = marked;
            return was_free;
        }
    }
}

static wrt_status take_plain(wrt_linux_mutex *mutex, const wrt__limit *limit)
{
    uint32_t *word = &mutex->futex.state->word;
    uint32_t seen = wrt__load(word);
    uint32_t is_free = 0;
    wrt_status status = WRT_OK;

    if (limit->end_ns != 0 && (seen & OWNER) != 0 && wrt__spin(&mutex->futex, seen) &&
        wrt__compare_exchange(word, &is_free, wrt__thread_number())) {
        return WRT_OK;
    }
    while (status == WRT_OK) {
        if (take_or_mark(word, &seen)) return WRT_OK;
        status = wrt__futex_wait_within(&mutex->futex, seen, limit);
    }
    return status;
}

/* ---- Taking it, by the kernel ---- */

static bool is_later(int code, const wrt__limit *limit, uint64_t end_ns)
{
    return code == EINTR || (code == ETIMEDOUT && end_ns != limit->end_ns);
}

/* For kernels whose inheritance knows CLOCK_REALTIME only: a slice on that clock. */
static int lock_for_a_slice(uint32_t *word, int flags, uint64_t end_ns)
{
    struct timespec real;
    uint64_t now = 0;

    if (wrt__port_now(&now) != WRT_OK || clock_gettime(CLOCK_REALTIME, &real) != 0) return EIO;
    if (now >= end_ns) return ETIMEDOUT;
    const uint64_t rest =
        end_ns - now < WRT_CANCEL_SLICE_NS ? end_ns - now : (uint64_t)WRT_CANCEL_SLICE_NS;
    const struct timespec deadline = wrt__timespec(wrt__time_after(wrt__nanoseconds(&real), rest));
    if (wrt__sys_futex_lock(word, flags, &deadline) == 0) return 0;
    return errno == ETIMEDOUT ? EINTR : errno; /* to be tried again: the time is counted above */
}

static int lock_until(uint32_t *word, int flags, const wrt__limit *limit, uint64_t end_ns)
{
    const struct timespec deadline = wrt__timespec(end_ns);

    if (end_ns == UINT64_MAX || limit->clock == CLOCK_REALTIME) {
        const struct timespec *end = end_ns == UINT64_MAX ? NULL : &deadline;
        return wrt__sys_futex_lock(word, flags, end) == 0 ? 0 : errno;
    }
    if (wrt__sys_futex_lock_monotonic(word, flags, &deadline) == 0) return 0;
    return errno == ENOSYS ? lock_for_a_slice(word, flags, end_ns) : errno;
}

static wrt_status fail_to_lock(const char *operation, int code)
{
    switch (code) {
    case ETIMEDOUT:
        return wrt_fail(WRT_ERR_TIMED_OUT, operation, "another thread held the mutex all the time");
    case EDEADLK:
        return wrt_fail(WRT_ERR_STATE, operation, "the caller holds the mutex already");
    case ESRCH:
        return wrt_fail(WRT_ERR_STATE, operation,
                        "the owner ended without giving the mutex back; a robust wrt_linux_lock "
                        "can be recovered then");
    case ENOSYS:
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, operation,
                               "this kernel has no inheritance (CONFIG_FUTEX_PI)", code, 0, 0);
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "FUTEX_LOCK_PI failed", code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "FUTEX_LOCK_PI failed", code, 0, 0);
    }
}

static wrt_status take_inheriting(wrt_linux_mutex *mutex, const wrt__limit *limit)
{
    const int flags = wrt__futex_flags(&mutex->futex);
    uint64_t end_ns = 0;
    int code = ETIMEDOUT;

    for (int tries = 0; tries < RETRIES; tries++) {
        const wrt_status status = wrt__limit_next(limit, &end_ns);
        if (status != WRT_OK) return status;
        code =
            end_ns == 0 ? ETIMEDOUT : lock_until(&mutex->futex.state->word, flags, limit, end_ns);
        if (code == 0) {
            (void)wrt__load_acquire(&mutex->futex.state->word);
            see_given(mutex);
            return WRT_OK;
        }
        if (is_later(code, limit, end_ns)) {
            tries = 0;
        } else if (code == EAGAIN) {
            (void)sched_yield();
        } else {
            break;
        }
    }
    return fail_to_lock(limit->operation, code);
}

/* ---- The calls ---- */

static wrt_status take(wrt_linux_mutex *mutex, const wrt__limit *limit)
{
    const uint32_t owner = wrt__load(&mutex->futex.state->word) & OWNER;

    if (owner == wrt__thread_number()) return fail_to_lock(limit->operation, EDEADLK);
    (void)wrt__add(&mutex->futex.wait_calls, mutex->futex.inherits);
    return mutex->futex.inherits != 0 ? take_inheriting(mutex, limit) : take_plain(mutex, limit);
}

/* What most calls come to. The word of a mutex of this process lies in it: no pointer to follow. */
static inline bool exchange(wrt_linux_mutex *mutex, uint32_t from, uint32_t to)
{
    if (mutex->futex.state == &mutex->futex.own) {
        return wrt__compare_exchange(&mutex->futex.own.word, &from, to);
    }
    return wrt__compare_exchange(&mutex->futex.state->word, &from, to);
}

static inline bool take_free(wrt_linux_mutex *mutex)
{
    if (!exchange(mutex, 0, wrt__thread_number())) return false;
    see_given(mutex);
    return true;
}

static inline bool is_usable(const wrt_linux_mutex *mutex)
{
    return mutex != NULL && mutex->futex.self == &mutex->futex &&
           mutex->futex.fork_generation == wrt__fork_generation();
}

wrt_status wrt_linux_mutex_lock(wrt_linux_mutex *mutex, uint64_t timeout_ns,
                                wrt_cancel_token *cancel)
{
    wrt__limit limit;

    if (!is_usable(mutex)) return check(__func__, mutex);
    if (take_free(mutex)) return WRT_OK;
    const wrt_status status = wrt__limit_after(&limit, __func__, timeout_ns, cancel);
    return status == WRT_OK ? take(mutex, &limit) : status;
}

wrt_status wrt_linux_mutex_lock_until(wrt_linux_mutex *mutex, uint64_t deadline_ns,
                                      wrt_cancel_token *cancel)
{
    if (!is_usable(mutex)) return check(__func__, mutex);
    if (take_free(mutex)) return WRT_OK;
    const wrt__limit limit = wrt__limit_at(__func__, &mutex->futex, deadline_ns, cancel);
    return take(mutex, &limit);
}

/* When it is free again it may be gone: what the wake needs is read before. */
static wrt_status hand_over(wrt_linux_mutex *mutex)
{
    uint32_t *word = &mutex->futex.state->word;
    const int flags = wrt__futex_flags(&mutex->futex);

    (void)wrt__add(&mutex->futex.wake_calls, 1);
    if (mutex->futex.inherits != 0) {
        say_given(mutex);
        if (wrt__sys_futex_unlock(word, flags) == 0) return WRT_OK;
        return wrt_fail_system(WRT_ERR_SYSTEM, "wrt_linux_mutex_unlock", "FUTEX_UNLOCK_PI failed",
                               errno, 0, 0);
    }
    wrt__store_ordered(word, 0);
    if (wrt__sys_futex_wake_on(word, 1, flags) >= 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, "wrt_linux_mutex_unlock",
                           "FUTEX_WAKE failed; the mutex is free", errno, 0, 0);
}

wrt_status wrt_linux_mutex_unlock(wrt_linux_mutex *mutex)
{
    if (!is_usable(mutex)) return check(__func__, mutex);
    const uint32_t number = wrt__thread_number();
    if (exchange(mutex, number, 0)) return WRT_OK;
    if ((wrt__load(&mutex->futex.state->word) & OWNER) == number) return hand_over(mutex);
    return wrt_fail(WRT_ERR_STATE, __func__, "the caller does not hold the mutex");
}

/* ---- As any lock ---- */

static wrt_status lock_lock(void *self, uint64_t timeout_ns, bool *owner_died_out)
{
    *owner_died_out = false;
    return wrt_linux_mutex_lock(self, timeout_ns, NULL);
}

static wrt_status lock_unlock(void *self)
{
    return wrt_linux_mutex_unlock(self);
}

static wrt_status lock_recover(void *self)
{
    (void)self;
    return wrt_fail(WRT_ERR_STATE, "wrt_linux_mutex_recover", "no owner of the lock died");
}

static wrt_status lock_now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    return wrt__port_now(nanoseconds_out);
}

wrt_lock wrt_linux_mutex_interface(wrt_linux_mutex *mutex)
{
    static const wrt_lock_ops ops = {lock_lock, lock_unlock, lock_recover, lock_now};

    return (wrt_lock){&ops, mutex};
}
