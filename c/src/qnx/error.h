/* Internal: failures of QNX's calls. */
#ifndef WRT_QNX_ERROR_H
#define WRT_QNX_ERROR_H

#include "wrt_platform/status.h"

/* The kind of failure that an error number of QNX stands for; SYSTEM for most. */
wrt_status wrt__qnx_status(int32_t os_code);

#endif
