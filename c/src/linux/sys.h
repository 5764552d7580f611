/* Internal: Linux, as this library sees it. The only file here that includes the
 * system's headers, and it must be the first to be included. Calls that can fail for
 * want of something go through the wrappers below, so that a test can let the n-th of
 * them fail; no public header leads there. */
#ifndef WRT_LINUX_SYS_H
#define WRT_LINUX_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Lets the `call`-th wrapped call of this thread from now on fail with `os_code`, once;
 * 1 is the next one, 0 takes the order back. */
void wrt__sys_fail_at(uint32_t call, int32_t os_code);

/* How many wrapped calls this thread has made. */
uint64_t wrt__sys_call_count(void);

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

#endif
