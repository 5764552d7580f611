/* What the inversion asks of a backend; one file a system says what it is there. */
#ifndef TESTS_SYNC_PRIORITIES_H
#define TESTS_SYNC_PRIORITIES_H

#include "backend.h"

/* A thread system whose REALTIME has this number: 10, 20, 30 or 50. */
wrt_thread_system system_at(uint32_t priority);

/* A lock; `ceiling` counts with WRT_LOCK_PROTOCOL_CEILING. */
wrt_lock lock_with(uint32_t protocol, uint32_t ceiling);

/* Puts the caller on the one processor, at this priority; false if it may not. */
bool become_director(uint32_t priority);
void end_directing(void);

/* Uses that much processor time. */
void work(uint64_t nanoseconds);

#endif
