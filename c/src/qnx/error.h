/* Internal: failures of QNX's calls. */
#ifndef WRT_QNX_ERROR_H
#define WRT_QNX_ERROR_H

#include "wrt_platform/status.h"

/* The kind of failure that an error number of QNX stands for; SYSTEM for most. */
wrt_status wrt__qnx_status(int32_t os_code);

/* An error number by its name, "ETIMEDOUT"; NULL if it is none that this library meets. On QNX it
 * is the port's; elsewhere the backend runs over the simulated kernel, and that system's port asks
 * for it. */
const char *wrt__qnx_code_name(int32_t os_code);

#endif
