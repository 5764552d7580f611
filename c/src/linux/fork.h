/* Internal: how objects notice that they are used in a forked child. */
#ifndef WRT_LINUX_FORK_H
#define WRT_LINUX_FORK_H

#include "wrt_platform/status.h"

/* Starts to watch for forks; again does nothing. Errors: NO_MEMORY. */
wrt_status wrt__fork_watch(const char *operation);

/* A number that changes in each forked child; an object keeps it and compares.
 * Cost: a load, where getpid() would be a system call. */
uint32_t wrt__fork_generation(void);

/* The calling thread's number as the kernel has it, asked for once; never 0. Right in forked
 * children once forks are watched. */
uint32_t wrt__thread_number(void);

#endif
