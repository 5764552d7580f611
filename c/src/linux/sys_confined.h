/* Internal: the calls of confined processes, as sys.h has the others. */
#ifndef WRT_LINUX_SYS_CONFINED_H
#define WRT_LINUX_SYS_CONFINED_H

#include "sys_security.h"

/* Starts a process on the caller's memory, with a stack of its own, and with a descriptor of it;
 * the calling thread stands still until it executes something or ends. The number, or -1. */
pid_t wrt__sys_start(int (*entry)(void *), void *context, void *stack_top, int flags,
                     int *descriptor_out);

int wrt__sys_duplicate_above(int descriptor, int lowest); /* closed by exec */
int wrt__sys_duplicate_to(int descriptor, int target);    /* not closed by exec */
/* Closes all from `first` on. */
int wrt__sys_close_from(int first);
int wrt__sys_open_at(int folder, const char *path, int flags);
int wrt__sys_limit(int resource, uint64_t value); /* soft and hard; never raised */
int wrt__sys_execute(const char *path, const char *const *arguments,
                     const char *const *environment);
/* User and groups, with all capabilities kept. */
int wrt__sys_change_user(uint32_t user, uint32_t group);

/* 1: it has ended; 0: time is up; -1 and errno. timeout: NULL: no limit. */
int wrt__sys_wait_descriptor(int descriptor, const struct timespec *timeout);
/* 0 and what waitid() tells; -1 and errno. */
int wrt__sys_reap(int descriptor, siginfo_t *info_out);
/* The wait status of a process that somebody else has waited for; -1 where the kernel forgets it.
 */
int wrt__sys_exit_info(int descriptor, int *status_out);
int wrt__sys_signal(int descriptor, int signal_number);

#endif
