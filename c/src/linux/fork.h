/* Internal: how objects notice that they are used in a forked child. */
#ifndef WRT_LINUX_FORK_H
#define WRT_LINUX_FORK_H

#include "wrt_platform/status.h"

/* Starts to watch for forks; again does nothing. Errors: NO_MEMORY. */
wrt_status wrt__fork_watch(const char *operation);

/* A number that changes in each forked child; an object keeps it and compares.
 * Cost: a load, where getpid() would be a system call. */
uint32_t wrt__fork_generation(void);

#endif
