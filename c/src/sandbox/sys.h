/* Internal: Linux, as the parent of a sealed worker sees it. The wrappers below have their place in
 * the count of calls that a test lets fail. Included first. */
#ifndef WRT_SANDBOX_SYS_H
#define WRT_SANDBOX_SYS_H

#include "../linux/sys.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Older headers than the kernel's lack them; the numbers are part of its interface. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 16U
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_pidfd_send_signal
#define __NR_pidfd_send_signal 424
#endif
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule       445
#define __NR_landlock_restrict_self  446
#endif

typedef int (*wrt__child_fn)(void *context);

/* As the calls of the same name: -1 (MAP_FAILED) and errno say that they failed. */

/* A file in memory that can be sealed, closed by exec; `flags` on top of that. */
int wrt__process_sealable(const char *name, unsigned int flags);
int wrt__process_resize(int descriptor, uint64_t size);
int wrt__process_write_all(int descriptor, const void *bytes, size_t size);
int wrt__process_seal(int descriptor, int seals);
int wrt__process_chmod(int descriptor, mode_t mode);
int wrt__process_duplicate(int descriptor, int least);
int wrt__process_open(const char *path);
int wrt__process_socketpair(int pair[2]);
int wrt__process_pipe(int pair[2]);
int wrt__process_poll(struct pollfd *polls, nfds_t count, const struct timespec *timeout);

/* Starts a child on `stack` that shares this memory; returns its id when it has executed a program
 * or ended. *pidfd_out: its descriptor. */
int wrt__process_vfork_with(wrt__child_fn child, void *context, uint8_t *stack, size_t stack_size,
                            int flags, int *pidfd_out);

/* Those that follow clean up: they do not count, since they may not fail. */

int wrt__process_kill(int pidfd, pid_t process);

/* Waits for the end of a child. 0, or -1 and errno: ECHILD, if its status is somebody else's. */
int wrt__process_reap(int pidfd, int *status_out);

/* Nanoseconds of processor time of a process that is there; `otherwise` if it is not (0). */
uint64_t wrt__process_cpu_time(pid_t process, uint64_t otherwise);

/* Closes a descriptor and forgets it; below 0 is none. */
void wrt__process_close(int *descriptor);

#endif
