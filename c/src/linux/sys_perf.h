/* Internal: the call that opens a counter, see sys.h, and what its answers look like. */
#ifndef WRT_LINUX_SYS_PERF_H
#define WRT_LINUX_SYS_PERF_H

#include "sys.h"

/* Opens an event of this thread on all CPUs, closed by exec; -1 and errno. */
int wrt__sys_perf_open(struct perf_event_attr *attributes, int group);

/* PERF_EVENT_IOC_... with an argument. */
int wrt__sys_perf_control(int descriptor, unsigned long request, void *argument);

/* Reads a count; -1 and errno. */
ssize_t wrt__sys_perf_read(int descriptor, void *buffer, size_t size);

/* The kernel's setting kernel.perf_event_paranoid; INT32_MAX if it can't be read. */
int32_t wrt__sys_perf_paranoid(void);

#endif
