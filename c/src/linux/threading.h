/* Internal: what the files of Linux's thread system share. They are the three groups of its
 * calls: the life of threads, their scheduling, waits and locks; and why scheduling is refused. */
#ifndef WRT_LINUX_THREADING_IMPL_H
#define WRT_LINUX_THREADING_IMPL_H

#include "sys.h"
#include "wrt_platform/linux/threading.h"

#include "../core/thread_system.h"

/* What lies in a wrt_thread. */
typedef struct wrt__linux_thread {
    wrt__thread_record record;
    pthread_t handle;
    uint64_t reserved[5];
} wrt__linux_thread;

/* INVALID_ARGUMENT or STATE if `system` can't be used. */
wrt_status wrt__linux_threads_check(const char *operation, const wrt_linux_thread_system *system);

/* Gives thread `id` (0: the caller) a priority, or says why not. */
wrt_status wrt__linux_set_priority(const char *operation, const wrt_linux_thread_system *system,
                                   int32_t id, uint32_t priority);
/* The same, but steps down to what this process may have; DEFAULT is NORMAL. */
wrt_status wrt__linux_set_nearest_priority(const char *operation,
                                           const wrt_linux_thread_system *system, int32_t id,
                                           uint32_t priority);
wrt_status wrt__linux_set_cpus(const char *operation, const wrt_linux_thread_system *system,
                               int32_t id, const wrt_cpu_set *cpus);

/* ---- threading_refused.c: what to do about a refusal, by looking at what stands behind it ---- */

/* `policy` is one of wrt_linux_realtime_policy. Returns PERMISSION. */
wrt_status wrt__linux_refuse_realtime(const char *operation, uint32_t policy, uint32_t priority,
                                      int code);
/* Returns PERMISSION. */
wrt_status wrt__linux_refuse_nice(const char *operation, int nice_value, int code);
/* Returns INVALID_ARGUMENT (EINVAL: none of them can be had), PERMISSION or SYSTEM. */
wrt_status wrt__linux_refuse_cpus(const char *operation, const cpu_set_t *asked, int code);

/* The calls of wrt_thread_system_ops that are not in threading.c. */
wrt_status wrt__linux_thread_set_priority(void *self, uint32_t priority);
wrt_status wrt__linux_thread_set_cpus(void *self, const wrt_cpu_set *cpus);
wrt_status wrt__linux_thread_query(void *self, const wrt_thread *thread,
                                   wrt_thread_report *report_out);
wrt_status wrt__linux_thread_cpu_time(void *self, const wrt_thread *thread,
                                      uint64_t *nanoseconds_out);
wrt_status wrt__linux_thread_now(void *self, uint64_t *nanoseconds_out);
wrt_status wrt__linux_thread_wait(void *self, const uint32_t *word, uint32_t expected,
                                  uint64_t timeout_ns);
void wrt__linux_thread_wake(void *self, const uint32_t *word, uint32_t count);
wrt_status wrt__linux_lock_init(void *self, wrt_system_lock *lock);
wrt_status wrt__linux_lock(void *self, wrt_system_lock *lock);
wrt_status wrt__linux_unlock(void *self, wrt_system_lock *lock);
wrt_status wrt__linux_lock_deinit(void *self, wrt_system_lock *lock);

#endif
