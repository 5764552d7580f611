/* Linux's futexes. A waiter counts itself before it looks at the word, a waker changes the word
 * before it looks at the count, all in one order: so one of the two sees the other, and nobody who
 * is not waited for makes a system call. */
#include "sys.h"
#include "wrt_platform/linux/sync.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "../core/port.h"
#include "fork.h"
#include "limit.h"
#include "shared.h"
#include "sys_futex.h"
#include "times.h"

enum { LEAVE_NS = 1000000 };

wrt_status wrt__futex_check(const char *operation, const wrt_linux_futex *futex)
{
    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "futex is NULL");
    if (futex->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the futex is not initialised");
    }
    if (futex->self != futex) return wrt_fail(WRT_ERR_STATE, operation, "the futex was moved");
    if (futex->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the futex belongs to the process that forked this one; make a new one");
}

static wrt_status check_word(const char *operation, const wrt_linux_futex *futex)
{
    const wrt_status status = wrt__futex_check(operation, futex);
    if (status != WRT_OK || futex->is_lock == 0) return status;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "this futex was made with priority inheritance, or robust: it is a lock, since "
                    "nobody owns a word that one could inherit from");
}

int wrt__futex_flags(const wrt_linux_futex *futex)
{
    return futex->state == &futex->own ? WRT__FUTEX_PRIVATE : 0;
}

/* ---- Wait and wake ---- */

static wrt_status fail_to_wait(const char *operation, uint32_t expected, int code)
{
    if (code == ETIMEDOUT) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "the word stayed {0}, and nobody woke it in time", expected, 0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "FUTEX_WAIT failed", code, 0, 0);
}

/* Waits until `end_ns`; returns an error number. */
static int wait_until(wrt_linux_futex *futex, uint32_t expected, const wrt__limit *limit,
                      uint64_t end_ns)
{
    const struct timespec deadline = wrt__timespec(end_ns);
    const int clock = limit->clock == CLOCK_REALTIME ? WRT__FUTEX_REALTIME : 0;

    if (end_ns == 0) return ETIMEDOUT;
    (void)wrt__add(&futex->wait_calls, 1);
    const bool woken =
        wrt__sys_futex_wait_until(&futex->state->word, expected, wrt__futex_flags(futex) | clock,
                                  end_ns == UINT64_MAX ? NULL : &deadline) == 0;
    return woken ? 0 : errno;
}

/* As a thread that is counted: stretch by stretch, until somebody wakes it. */
static wrt_status sleep_on(wrt_linux_futex *futex, uint32_t expected, const wrt__limit *limit)
{
    uint64_t end_ns = 0;

    while (wrt__load_ordered(&futex->closing) == 0 &&
           wrt__load_ordered(&futex->state->word) == expected) {
        const wrt_status status = wrt__limit_next(limit, &end_ns);
        if (status != WRT_OK) return status;
        const int code = wait_until(futex, expected, limit, end_ns);
        if (code == 0 || code == EAGAIN || code == EINTR) return WRT_OK;
        if (code != ETIMEDOUT || end_ns == limit->end_ns) {
            return fail_to_wait(limit->operation, expected, code);
        }
    }
    return WRT_OK;
}

wrt_status wrt__futex_wait_within(wrt_linux_futex *futex, uint32_t expected,
                                  const wrt__limit *limit)
{
    const bool is_shared = futex->state != &futex->own;

    if (limit->end_ns != 0 && wrt__spin(futex, expected)) return WRT_OK;
    (void)wrt__add(&futex->waiting, 1);
    if (is_shared) (void)wrt__add(&futex->state->waiting, 1);
    wrt_status status = sleep_on(futex, expected, limit);
    if (wrt__load_ordered(&futex->closing) != 0) {
        status = wrt_fail(WRT_ERR_STATE, limit->operation, "the futex was deinitialised meanwhile");
    }
    if (is_shared) (void)wrt__subtract(&futex->state->waiting, 1);
    (void)wrt__subtract(&futex->waiting, 1); /* it may be gone from here on */
    return status;
}

static wrt_status futex_wait(void *self, uint32_t expected, uint64_t timeout_ns)
{
    static const char operation[] = "wrt_linux_futex_wait";
    wrt__limit limit;

    wrt_status status = check_word(operation, self);
    if (status == WRT_OK) status = wrt__limit_after(&limit, operation, timeout_ns, NULL);
    return status == WRT_OK ? wrt__futex_wait_within(self, expected, &limit) : status;
}

wrt_status wrt_linux_futex_wait_until(wrt_linux_futex *futex, uint32_t expected,
                                      uint64_t deadline_ns, wrt_cancel_token *cancel)
{
    const wrt_status status = check_word(__func__, futex);
    if (status != WRT_OK) return status;
    const wrt__limit limit = wrt__limit_at(__func__, futex, deadline_ns, cancel);
    return wrt__futex_wait_within(futex, expected, &limit);
}

static uint32_t waiters_of(const wrt_linux_futex *futex)
{
    const bool is_shared = futex->state != &futex->own;

    return wrt__load_ordered(is_shared ? &futex->state->waiting : &futex->waiting);
}

wrt_status wrt__futex_wake(const char *operation, wrt_linux_futex *futex, uint32_t count,
                           uint32_t *woken_out)
{
    if (waiters_of(futex) == 0) return WRT_OK;
    (void)wrt__add(&futex->wake_calls, 1);
    const int woken = wrt__sys_futex_wake_on(&futex->state->word, count, wrt__futex_flags(futex));
    if (woken < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "FUTEX_WAKE failed", errno, 0, 0);
    }
    if (woken_out != NULL) *woken_out = (uint32_t)woken;
    return WRT_OK;
}

static wrt_status futex_wake(void *self, uint32_t count, uint32_t *woken_out)
{
    static const char operation[] = "wrt_linux_futex_wake";

    const wrt_status status = check_word(operation, self);
    return status == WRT_OK ? wrt__futex_wake(operation, self, count, woken_out) : status;
}

static uint32_t *futex_word(void *self)
{
    wrt_linux_futex *futex = self;

    return check_word("wrt_linux_futex_word", futex) == WRT_OK ? &futex->state->word : NULL;
}

static wrt_status futex_now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    return wrt__port_now(nanoseconds_out);
}

wrt_futex wrt_linux_futex_interface(wrt_linux_futex *futex)
{
    static const wrt_futex_ops ops = {futex_wait, futex_wake, futex_word, futex_now};

    return (wrt_futex){&ops, futex};
}

wrt_lock wrt_linux_futex_lock_interface(wrt_linux_futex *futex)
{
    return wrt_linux_lock_interface(futex == NULL ? NULL : &futex->lock);
}

/* ---- Life ---- */

static wrt_status check_ranges(const char *operation, const wrt_linux_futex_config *config)
{
    if (config->spin > WRT_LINUX_SPIN_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "spin is {0}, at most {1}",
                               config->spin, WRT_LINUX_SPIN_MAX);
    }
    if (config->backoff_ns > WRT_LINUX_BACKOFF_MAX_NS) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "backoff_ns is {0}, at most {1}", config->backoff_ns,
                               WRT_LINUX_BACKOFF_MAX_NS);
    }
    return wrt__shared_check(operation, config->shared, config->memory);
}

static wrt_status read_config(const char *operation, const wrt_linux_futex_config *given,
                              wrt_linux_futex_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    return check_ranges(operation, config);
}

/* As a wrt__shared_prepare_fn. */
static wrt_status prepare(const char *operation, wrt_linux_shared *memory, const void *context)
{
    (void)operation;
    wrt__store(&memory->word, *(const uint32_t *)context);
    return WRT_OK;
}

static wrt_status find_state(const char *operation, wrt_linux_futex *futex,
                             const wrt_linux_futex_config *config, uint32_t kind)
{
    futex->state = &futex->own;
    futex->own.word = config->initial_value;
    if (!config->shared) return WRT_OK;
    wrt__shared_use use = {.memory = config->memory, .kind = kind};
    const wrt_status status = wrt__shared_attach(operation, &use, prepare, &config->initial_value);
    futex->state = use.memory;
    futex->is_mapped = use.is_mapped;
    return status;
}

wrt_status wrt__futex_init(const char *operation, wrt_linux_futex *futex,
                           const wrt_linux_futex_config *config, uint32_t kind)
{
    wrt_linux_futex_config known;

    wrt_status status = read_config(operation, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(operation);
    if (status != WRT_OK) return status;
    const wrt_linux_futex before = *futex;
    *futex = (wrt_linux_futex){.self = futex,
                               .spin = known.spin,
                               .backoff_ns = known.backoff_ns,
                               .fork_generation = wrt__fork_generation(),
                               .realtime = known.realtime_clock,
                               .inherits = known.priority_inheritance};
    wrt__spin_init(futex);
    status = find_state(operation, futex, &known, kind);
    if (status != WRT_OK) *futex = before;
    return status;
}

static wrt_status init_lock(const char *operation, wrt_linux_futex *futex,
                            const wrt_linux_futex_config *config)
{
    const uint32_t protocol =
        config->priority_inheritance ? WRT_LOCK_PROTOCOL_INHERIT : WRT_LOCK_PROTOCOL_NONE;
    const wrt_linux_lock_config lock_config = {.struct_size = sizeof lock_config,
                                               .protocol = protocol,
                                               .robust = config->robust,
                                               .shared = config->shared,
                                               .memory = config->memory};

    if (config->realtime_clock) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "the waits of a lock have no deadlines: realtime_clock goes with a word");
    }
    const wrt_linux_futex before = *futex;
    *futex = (wrt_linux_futex){.self = futex,
                               .state = &futex->own,
                               .fork_generation = wrt__fork_generation(),
                               .is_lock = 1};
    const wrt_status status = wrt_linux_lock_init(&futex->lock, &lock_config);
    if (status != WRT_OK) *futex = before;
    return status;
}

wrt_status wrt_linux_futex_init(wrt_linux_futex *futex, const wrt_linux_futex_config *config)
{
    wrt_linux_futex_config known;

    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    if (known.priority_inheritance || known.robust) return init_lock(__func__, futex, &known);
    return wrt__futex_init(__func__, futex, config, WRT__SHARED_FUTEX);
}

wrt_status wrt_linux_futex_query(const wrt_linux_futex *futex, wrt_linux_futex_usage *usage_out)
{
    const wrt_status status = wrt__futex_check(__func__, futex);
    if (status != WRT_OK) return status;
    if (usage_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    *usage_out = (wrt_linux_futex_usage){.waiting = wrt__load(&futex->waiting),
                                         .wait_calls = wrt__load(&futex->wait_calls),
                                         .wake_calls = wrt__load(&futex->wake_calls),
                                         .spins = wrt__load(&futex->spins),
                                         .spin_hits = wrt__load(&futex->spin_hits)};
    return WRT_OK;
}

wrt_status wrt_linux_futex_shared(const wrt_linux_futex *futex, wrt_linux_shared **memory_out)
{
    if (futex == NULL || memory_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex or memory_out is NULL");
    }
    if (futex->self == futex && futex->is_lock != 0) {
        return wrt_linux_lock_shared(&futex->lock, memory_out);
    }
    if (futex->self != futex || futex->state == &futex->own) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the futex is not initialised, or not shared");
    }
    *memory_out = futex->state;
    return WRT_OK;
}

/* Sends this process's waiters away. */
static void close_word(wrt_linux_futex *futex)
{
    const struct timespec pause = {.tv_nsec = LEAVE_NS};

    wrt__store_ordered(&futex->closing, 1);
    while (wrt__load_ordered(&futex->waiting) != 0) {
        (void)wrt__sys_futex_wake_on(&futex->state->word, UINT32_MAX, wrt__futex_flags(futex));
        if (wrt__load_ordered(&futex->waiting) != 0) (void)nanosleep(&pause, NULL);
    }
    if (futex->is_mapped != 0) wrt__shared_unmap(futex->state);
}

wrt_status wrt__futex_deinit(const char *operation, wrt_linux_futex *futex)
{
    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "futex is NULL");
    if (wrt__is_zero(futex, sizeof *futex)) return WRT_OK;
    wrt_status status = wrt__futex_check(operation, futex);
    if (status == WRT_OK && futex->is_lock != 0) status = wrt_linux_lock_deinit(&futex->lock);
    if (status != WRT_OK) return status;
    if (futex->is_lock == 0) close_word(futex);
    *futex = (wrt_linux_futex){0};
    return WRT_OK;
}

wrt_status wrt_linux_futex_deinit(wrt_linux_futex *futex)
{
    return wrt__futex_deinit(__func__, futex);
}
