/* QNX: what a thread can be doing. */
#ifndef QNX_SYS_STATES_H
#define QNX_SYS_STATES_H

#include <sys/platform.h>

#define STATE_DEAD      0x00
#define STATE_RUNNING   0x01
#define STATE_READY     0x02
#define STATE_STOPPED   0x03
#define STATE_SEND      0x04
#define STATE_RECEIVE   0x05
#define STATE_REPLY     0x06
#define STATE_NANOSLEEP 0x0c
#define STATE_MUTEX     0x0d
#define STATE_CONDVAR   0x0e
#define STATE_JOIN      0x0f
#define STATE_INTR      0x10
#define STATE_SEM       0x11
#define STATE_MAX       __QNX_7_OR_8(0x18, 63)

#endif
