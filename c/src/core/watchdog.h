/* Internal: what the monitor thread of a watchdog shares with its watches. */
#ifndef WRT_CORE_WATCHDOG_H
#define WRT_CORE_WATCHDOG_H

#include "wrt_platform/watchdog.h"

/* Errors: INVALID_ARGUMENT (NULL), STATE (not initialised, or moved). */
wrt_status wrt__watchdog_check_self(const char *operation, const wrt_watchdog *watchdog);

/* A check, for a caller that holds the lock. */
void wrt__watchdog_check_all(wrt_watchdog *watchdog, uint64_t now_ns);

/* Forgets what earlier checks saw: time has passed that nobody watched. The caller holds the lock.
 */
void wrt__watchdog_begin_anew(wrt_watchdog *watchdog);

#endif
