/* Internal: the machine that the simulated kernels run on. The only file of c/sim that includes
 * its headers, and it must be the first to be included. */
#ifndef SIM_COMMON_HOST_H
#define SIM_COMMON_HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#endif
