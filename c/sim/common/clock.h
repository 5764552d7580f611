/* Internal: the simulated kernel's time, in nanoseconds: that of this machine, or one that moves
 * when a test turns it, when a thread works, or when all threads wait. Under the lock. */
#ifndef SIM_COMMON_CLOCK_H
#define SIM_COMMON_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Time since the kernel's start, and what has to be added for the time of day. */
uint64_t sim_now(void);
uint64_t sim_clock_day_offset(void);
void sim_clock_set_day_offset(uint64_t nanoseconds);

bool sim_clock_is_virtual(void);

/* Goes on from the present time with the other kind of clock; in a world that has no threads yet,
 * the virtual kind starts at zero. */
void sim_clock_use(bool is_virtual);

/* Moves the virtual clock; it never goes back. */
void sim_clock_set_virtual_now(uint64_t nanoseconds);

/* When this machine's clock will show the time `now` of the real kind. */
struct timespec sim_clock_host_time(uint64_t now);

/* Starts at zero, with the real kind. */
void sim_clock_reset(void);

#endif
