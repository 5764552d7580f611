/* The clock, waits on a word, and the locks of the library's portable parts. */
#include "threading.h"

#include "../core/fail.h"
#include "../core/port.h"
#include "fork.h"
#include "mutex.h"
#include "wait.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(wrt_system_lock), "a mutex fits its storage");

wrt_status wrt__linux_thread_now(void *self, uint64_t *nanoseconds_out)
{
    static const char operation[] = "wrt_linux_thread_now";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (nanoseconds_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "nanoseconds_out is NULL");
    }
    return wrt__port_now(nanoseconds_out);
}

/* ---- Waits ---- */

wrt_status wrt__linux_thread_wait(void *self, const uint32_t *word, uint32_t expected,
                                  uint64_t timeout_ns)
{
    static const char operation[] = "wrt_linux_thread_wait";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (word == NULL || (uintptr_t)word % sizeof *word != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "word is NULL or not aligned");
    }
    return wrt__linux_wait_on(operation, word, expected, timeout_ns);
}

void wrt__linux_thread_wake(void *self, const uint32_t *word, uint32_t count)
{
    const wrt_linux_thread_system *system = self;

    if (system->fork_generation != wrt__fork_generation()) return;
    (void)wrt__sys_futex_wake(word, count);
}

/* ---- Locks ---- */

wrt_status wrt__linux_lock_init(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_linux_system_lock_init";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lock is NULL");
    const wrt__mutex_kind kind = {.protocol = PTHREAD_PRIO_INHERIT};
    return wrt__mutex_init(operation, (pthread_mutex_t *)(void *)lock, &kind);
}

wrt_status wrt__linux_lock(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_linux_system_lock";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = wrt__sys_mutex_lock((pthread_mutex_t *)(void *)lock);
    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

wrt_status wrt__linux_unlock(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_linux_system_unlock";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = wrt__sys_mutex_unlock((pthread_mutex_t *)(void *)lock);
    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}

wrt_status wrt__linux_lock_deinit(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_linux_system_lock_deinit";

    const wrt_status status = wrt__linux_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = wrt__sys_mutex_destroy((pthread_mutex_t *)(void *)lock);
    return code == 0 ? WRT_OK : wrt__mutex_fail(operation, code);
}
