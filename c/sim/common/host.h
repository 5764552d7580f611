/* Internal: the machine that the simulated kernels run on. The only file of c/sim that includes
 * its headers, and it must be the first to be included. */
#ifndef SIM_COMMON_HOST_H
#define SIM_COMMON_HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#endif
