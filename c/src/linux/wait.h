/* Internal: a wait on any word of this process. */
#ifndef WRT_LINUX_WAIT_H
#define WRT_LINUX_WAIT_H

#include "sys.h"
#include "wrt_platform/status.h"

/* As wrt_thread_wait_fn. */
wrt_status wrt__linux_wait_on(const char *operation, const uint32_t *word, uint32_t expected,
                              uint64_t timeout_ns);

#endif
