/* Internal: the system, as the Linux port of WASI sees it. Included first, before any header. */
#ifndef WRT_WASI_SYS_H
#define WRT_WASI_SYS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

/* The error of WASI for an error of Linux; WASI_IO for one that has no counterpart. */
wasi_result wrt__wasi_linux_error(int os_code);

/* The same for the call that has just failed. */
static inline wasi_result wrt__wasi_linux_failed(void)
{
    return wrt__wasi_linux_error(errno);
}

/* What a mode of stat(2) says. */
uint8_t wrt__wasi_linux_file_type(uint32_t mode);

/* The pair that utimensat(2) takes: access, modification. */
void wrt__wasi_linux_times(const wasi_times *times, struct timespec *pair_out);

/* SIGPIPE and SIGXFSZ would end the host; between these two calls the thread does not get them,
 * and those that the guest's write raised are taken back. Others that were pending stay. */
typedef struct wasi_signal_guard {
    sigset_t mask;    /* of the thread, before */
    sigset_t pending; /* and what was pending then */
} wasi_signal_guard;

void wrt__wasi_linux_hold_signals(wasi_signal_guard *guard_out);
void wrt__wasi_linux_release_signals(const wasi_signal_guard *guard);

#endif
