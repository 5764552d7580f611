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
#include "wait.h"

enum { LEAVE_NS = 1000000 };

static wrt_status check(const char *operation, const wrt_linux_futex *futex)
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
    const wrt_status status = check(operation, futex);
    if (status != WRT_OK || futex->priority_inheritance == 0) return status;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "this futex was made with priority inheritance: it is a lock, since nobody "
                    "owns a word that one could inherit from");
}

/* ---- Wait and wake ---- */

/* True if the word changed while it was looked at. */
static bool spins_to_change(const wrt_linux_futex *futex, uint32_t expected)
{
    for (uint32_t looks = 0; looks < futex->spin; looks++) {
        if (wrt__load_acquire(&futex->word) != expected) return true;
        wrt__spin_hint();
    }
    return false;
}

/* As a thread that is counted. */
static wrt_status sleep_on(const char *operation, wrt_linux_futex *futex, uint32_t expected,
                           uint64_t timeout_ns)
{
    wrt_status status = WRT_OK;

    if (wrt__load_ordered(&futex->closing) == 0 && wrt__load_ordered(&futex->word) == expected) {
        if (timeout_ns != 0) (void)wrt__add(&futex->wait_calls, 1);
        status = wrt__linux_wait_on(operation, &futex->word, expected, timeout_ns);
    }
    if (wrt__load_ordered(&futex->closing) == 0) return status;
    return wrt_fail(WRT_ERR_STATE, operation, "the futex was deinitialised meanwhile");
}

static wrt_status futex_wait(void *self, uint32_t expected, uint64_t timeout_ns)
{
    static const char operation[] = "wrt_linux_futex_wait";
    wrt_linux_futex *futex = self;

    wrt_status status = check_word(operation, futex);
    if (status != WRT_OK) return status;
    if (timeout_ns != 0 && spins_to_change(futex, expected)) return WRT_OK;
    (void)wrt__add(&futex->waiting, 1);
    status = sleep_on(operation, futex, expected, timeout_ns);
    (void)wrt__subtract(&futex->waiting, 1); /* it may be gone from here on */
    return status;
}

static wrt_status futex_wake(void *self, uint32_t count, uint32_t *woken_out)
{
    static const char operation[] = "wrt_linux_futex_wake";
    wrt_linux_futex *futex = self;

    const wrt_status status = check_word(operation, futex);
    if (status != WRT_OK) return status;
    if (wrt__load_ordered(&futex->waiting) == 0) return WRT_OK;
    (void)wrt__add(&futex->wake_calls, 1);
    const int woken = wrt__sys_futex_wake(&futex->word, count);
    if (woken < 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "FUTEX_WAKE failed", errno, 0, 0);
    }
    *woken_out = (uint32_t)woken;
    return WRT_OK;
}

static uint32_t *futex_word(void *self)
{
    wrt_linux_futex *futex = self;

    return check_word("wrt_linux_futex_word", futex) == WRT_OK ? &futex->word : NULL;
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

static wrt_status read_config(const char *operation, const wrt_linux_futex_config *given,
                              wrt_linux_futex_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->spin <= WRT_LINUX_SPIN_MAX) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "spin is {0}, at most {1}",
                           config->spin, WRT_LINUX_SPIN_MAX);
}

wrt_status wrt_linux_futex_init(wrt_linux_futex *futex, const wrt_linux_futex_config *config)
{
    const wrt_linux_lock_config lock_config = {.struct_size = sizeof lock_config};
    wrt_linux_futex_config known;

    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status != WRT_OK) return status;
    const wrt_linux_futex before = *futex;
    *futex = (wrt_linux_futex){.self = futex,
                               .word = known.initial_value,
                               .spin = known.spin,
                               .fork_generation = wrt__fork_generation(),
                               .priority_inheritance = known.priority_inheritance};
    if (known.priority_inheritance) status = wrt_linux_lock_init(&futex->lock, &lock_config);
    if (status != WRT_OK) *futex = before;
    return status;
}

wrt_status wrt_linux_futex_query(const wrt_linux_futex *futex, wrt_linux_futex_usage *usage_out)
{
    const wrt_status status = check(__func__, futex);
    if (status != WRT_OK) return status;
    if (usage_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    *usage_out = (wrt_linux_futex_usage){.waiting = wrt__load(&futex->waiting),
                                         .wait_calls = wrt__load(&futex->wait_calls),
                                         .wake_calls = wrt__load(&futex->wake_calls)};
    return WRT_OK;
}

wrt_status wrt_linux_futex_deinit(wrt_linux_futex *futex)
{
    const struct timespec pause = {.tv_nsec = LEAVE_NS};

    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex is NULL");
    if (wrt__is_zero(futex, sizeof *futex)) return WRT_OK;
    wrt_status status = check(__func__, futex);
    if (status == WRT_OK && futex->priority_inheritance != 0) {
        status = wrt_linux_lock_deinit(&futex->lock);
    }
    if (status != WRT_OK) return status;
    wrt__store_ordered(&futex->closing, 1);
    while (wrt__load_ordered(&futex->waiting) != 0) {
        (void)wrt__sys_futex_wake(&futex->word, UINT32_MAX);
        if (wrt__load_ordered(&futex->waiting) != 0) (void)nanosleep(&pause, NULL);
    }
    *futex = (wrt_linux_futex){0};
    return WRT_OK;
}
