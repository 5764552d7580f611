/* Internal: dropping capabilities where other threads don't matter, as in a process that is being
 * started. */
#ifndef WRT_LINUX_CAPABILITIES_H
#define WRT_LINUX_CAPABILITIES_H

#include "wrt_platform/linux/capabilities.h"

wrt_status wrt__capabilities_drop(const char *operation, uint64_t kept, uint32_t options,
                                  wrt_capabilities_report *report);

/* Becomes another user, and keeps what is permitted, for what is still to be done with it. */
wrt_status wrt__capabilities_change_user(const char *operation, uint32_t user, uint32_t group);

#endif
