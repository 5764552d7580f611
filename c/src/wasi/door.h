/* Internal: telling the calls of WASI from other host functions. */
#ifndef WRT_WASI_DOOR_H
#define WRT_WASI_DOOR_H

#include "wrt_platform/instance.h"

/* The name of the call if `function` is one that wrt_wasi_imports() gave; else NULL. */
const char *wrt__wasi_name_of(const wrt_host_function *function);

#endif
