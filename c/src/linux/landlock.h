/* Internal: Landlock where other threads don't matter, as in a process that is being started. The
 * rule set is made beforehand, while paths can still be opened. */
#ifndef WRT_LINUX_LANDLOCK_H
#define WRT_LINUX_LANDLOCK_H

#include "wrt_platform/linux/landlock.h"

/* Makes the descriptor of a rule set. */
wrt_status wrt__landlock_prepare(const char *operation, const wrt_landlock_config *config,
                                 int *ruleset_out, wrt_landlock_report *report_out);

/* Sets PR_SET_NO_NEW_PRIVS and restricts the calling thread. */
wrt_status wrt__landlock_enter(const char *operation, int ruleset);

#endif
