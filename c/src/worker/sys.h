/* Internal: Linux, as a program without a C library sees it: numbers from the kernel's own
 * headers, and one way to make a call. Included first. */
#ifndef WRT_WORKER_SYS_H
#define WRT_WORKER_SYS_H

#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/auxvec.h>
#include <linux/elf.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Older headers than the kernel's lack them; the numbers are part of its interface. */
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif

/* Makes a system call; below 0 is an error number. Defined for each processor. */
long wrt__call6(long number, long a, long b, long c, long d, long e, long f);

static inline long wrt__call3(long number, long a, long b, long c)
{
    return wrt__call6(number, a, b, c, 0, 0, 0);
}

#endif
