/* Internal: what the files of QNX's thread system share. */
#ifndef WRT_QNX_THREADING_IMPL_H
#define WRT_QNX_THREADING_IMPL_H

#include "sys.h"
#include "wrt_platform/qnx/threading.h"

#include "../core/thread_system.h"

/* What lies in a wrt_thread. */
typedef struct wrt__qnx_thread {
    wrt__thread_record record;
    uint64_t stack_size;
    uint64_t reserved[5];
} wrt__qnx_thread;

/* A run mask as ThreadCtl() takes it: the number of words of one mask, then two masks of exactly as
 * many. Zero leaves a mask as it is; what was there before comes back. */
typedef struct wrt__qnx_run_mask {
    int size;
    uint32_t words[2 * WRT_THREAD_CPU_MAX / 32];
} wrt__qnx_run_mask;

/* INVALID_ARGUMENT or STATE if `system` can't be used. */
wrt_status wrt__qnx_threads_check(const char *operation, const wrt_qnx_thread_system *system);

wrt_status wrt__qnx_now(const char *operation, uint64_t *nanoseconds_out);

/* Arms the caller's next call of the kernel, which must follow at once, to end in `states` after
 * `timeout_ns`; not if that is without limit. Returns 0 or an error number. */
int wrt__qnx_arm(int states, uint64_t timeout_ns);

/* Policy and number of one of wrt_thread_priority. */
int wrt__qnx_policy(uint32_t priority);
int wrt__qnx_number(const wrt_qnx_thread_system *system, uint32_t priority);

/* Sets the caller's CPUs, and those of threads that it makes; an error number of QNX. */
int wrt__qnx_set_cpus(const wrt_qnx_thread_system *system, const wrt_cpu_set *cpus);
/* Reads those of a thread, 0: the caller's. */
int wrt__qnx_get_cpus(uint32_t cpu_count, int32_t thread, wrt_cpu_set *cpus_out);

/* The failure that an error number of those two stands for. */
wrt_status wrt__qnx_fail_for_cpus(const char *operation, int code, uint32_t cpu_count);

wrt_status wrt__qnx_buckets_init(const char *operation, wrt_qnx_thread_system *system);
/* Ends the mutexes that are made; goes on where it failed. */
wrt_status wrt__qnx_buckets_deinit(const char *operation, wrt_qnx_thread_system *system);

/* The calls of wrt_thread_system_ops that are not in threading.c. */
wrt_status wrt__qnx_thread_set_priority(void *self, uint32_t priority);
wrt_status wrt__qnx_thread_set_cpus(void *self, const wrt_cpu_set *cpus);
wrt_status wrt__qnx_thread_query(void *self, const wrt_thread *thread,
                                 wrt_thread_report *report_out);
wrt_status wrt__qnx_thread_cpu_time(void *self, const wrt_thread *thread,
                                    uint64_t *nanoseconds_out);
wrt_status wrt__qnx_thread_now(void *self, uint64_t *nanoseconds_out);
wrt_status wrt__qnx_thread_wait(void *self, const uint32_t *word, uint32_t expected,
                                uint64_t timeout_ns);
void wrt__qnx_thread_wake(void *self, const uint32_t *word, uint32_t count);
wrt_status wrt__qnx_system_lock_init(void *self, wrt_system_lock *lock);
wrt_status wrt__qnx_system_lock(void *self, wrt_system_lock *lock);
wrt_status wrt__qnx_system_unlock(void *self, wrt_system_lock *lock);
wrt_status wrt__qnx_system_lock_deinit(void *self, wrt_system_lock *lock);

#endif
