/* Internal: the frame of calls that look at the kernel from outside. */
#ifndef SIM_QNX_CONTROL_H
#define SIM_QNX_CONTROL_H

#include "wrt_platform/status.h"
#include <stdbool.h>

/* Takes the kernel's lock, unless there is something wrong with the call. */
wrt_status sim_control_begin(const char *operation, bool has_arguments);

/* Gives it back; NOT_FOUND if what was asked for isn't there. */
wrt_status sim_control_end(const char *operation, bool found);

#endif
