/* How often the system was asked to wait and to wake, by the system's own account. */
#ifndef TESTS_SYNC_COUNTS_H
#define TESTS_SYNC_COUNTS_H

#include "backend.h"

uint32_t waits_of_this_thread(void);
uint32_t wakes_of_the_process(void);

/* Waits that threads have begun in the backend's futex, to know when to wake. */
uint32_t parks_begun(void);

#endif
