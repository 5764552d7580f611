/* Internal: Linux, as this library sees it. The only file here that includes the
 * system's headers, and it must be the first to be included. Calls that can fail for
 * want of something go through the wrappers below, so that a test can let the n-th of
 * them fail; no public header leads there. */
#ifndef WRT_LINUX_SYS_H
#define WRT_LINUX_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Lets the `call`-th wrapped call of this thread from now on fail with `os_code`, once;
 * 1 is the next one, 0 takes the order back. */
void wrt__sys_fail_at(uint32_t call, int32_t os_code);

/* How many wrapped calls this thread has made. */
uint64_t wrt__sys_call_count(void);

/* A place in the wrapper that the last order of this thread let fail; NULL: none did. */
const void *wrt__sys_failed_at(void);

/* As the calls of the same name: -1 (MAP_FAILED) and errno say that they failed. */
void *wrt__sys_mmap(size_t size, int protection, int flags, int descriptor);
int wrt__sys_munmap(void *start, size_t size);
int wrt__sys_mprotect(void *start, size_t size, int protection);
int wrt__sys_madvise(void *start, size_t size, int advice);
int wrt__sys_mlock(const void *start, size_t size);

/* Names an anonymous mapping for /proc/<pid>/maps. */
int wrt__sys_name(const void *start, size_t size, const char *name);

/* Makes a file in memory of `size` zeros, closed by exec; returns its descriptor. */
int wrt__sys_memfd(const char *name, size_t size);
/* The same, for a file that can be sealed. */
int wrt__sys_memfd_sealable(const char *name, size_t size);

/* In a child on its way to another program: no signal is ignored, handled or blocked any more. What
 * is ignored would stay so, and a handler of the parent's would run on its memory. */
void wrt__sys_reset_signals(void);

/* ---- sys_threads.c ---- */

/* For wrappers in other files: counts a call; true, with errno set, if it has to fail. */
bool wrt__sys_fails(void);

/* Waits while *word is `expected`; NULL: without limit. -1 and errno: EAGAIN (it is another),
 * ETIMEDOUT, EINTR. */
int wrt__sys_futex_wait(const uint32_t *word, uint32_t expected, const struct timespec *timeout);
/* Wakes up to `count`; returns how many, or -1. */
int wrt__sys_futex_wake(const uint32_t *word, uint32_t count);

/* As the calls of the same name, of thread `id`: -1 and errno. */
int wrt__sys_setaffinity(pid_t id, const cpu_set_t *cpus);
int wrt__sys_getaffinity(pid_t id, cpu_set_t *cpus);
int wrt__sys_setscheduler(pid_t id, int policy, int priority);
int wrt__sys_getscheduler(pid_t id, int *priority_out);
int wrt__sys_setnice(pid_t id, int nice_value);
int wrt__sys_getnice(pid_t id, int *nice_value_out);

/* As the calls of the C library: they return an error number. */
int wrt__sys_thread_create(pthread_t *thread, const pthread_attr_t *attributes,
                           void *(*entry)(void *), void *context);
int wrt__sys_thread_join(pthread_t thread, const struct timespec *deadline);
int wrt__sys_thread_detach(pthread_t thread);
int wrt__sys_thread_name(pthread_t thread, char *name, size_t size);
int wrt__sys_thread_set_name(pthread_t thread, const char *name);
int wrt__sys_thread_attributes(pthread_t thread, pthread_attr_t *attributes);
int wrt__sys_thread_clock(pthread_t thread, clockid_t *clock_out);
int wrt__sys_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int wrt__sys_mutex_lock(pthread_mutex_t *mutex);
int wrt__sys_mutex_trylock(pthread_mutex_t *mutex);
int wrt__sys_mutex_timedlock(pthread_mutex_t *mutex, clockid_t clock,
                             const struct timespec *deadline);
int wrt__sys_mutex_unlock(pthread_mutex_t *mutex);
int wrt__sys_mutex_consistent(pthread_mutex_t *mutex);
int wrt__sys_mutex_destroy(pthread_mutex_t *mutex);

/* An event counter that never blocks; its descriptor, or -1. */
int wrt__sys_eventfd(void);
/* Adds 1; -1 and errno. */
int wrt__sys_eventfd_add(int descriptor);
/* Takes all; -1 and errno, EAGAIN if it was 0. */
int wrt__sys_eventfd_take(int descriptor, uint64_t *count_out);

#endif
