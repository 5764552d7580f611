/* Internal: Linux, as the attempts of the doctor and of the selftest see it, beyond what the
 * backend wraps. The wrappers below have their place in the count of calls that a test lets fail.
 * Included first. */
#ifndef WRT_DOCTOR_SYS_H
#define WRT_DOCTOR_SYS_H

#include "../linux/files.h"
#include "../linux/sys_confined.h"

/* As the calls of the same name: -1 (MAP_FAILED) and errno say that they failed. */

/* Two numbers, an address, and two more numbers or addresses, as the call has them. */
long wrt__doctor_call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                      uintptr_t f);

/* Milliseconds; again after a signal, for the rest. */
void wrt__doctor_sleep(uint32_t milliseconds);

#endif
