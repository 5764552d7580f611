/* QNX: what POSIX adds to the limits of the compiler, whose header asks the system for this one. */
#ifndef QNX_LIMITS_H
#define QNX_LIMITS_H

#include <sys/platform.h>

#define PTHREAD_STACK_MIN      __QNX_7_OR_8(256, 4096)
#define _POSIX_THREAD_KEYS_MAX 128

#endif
