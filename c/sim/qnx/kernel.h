/* Internal: the simulated kernel, between two worlds. Its entries (entry_*.c) see QNX's headers,
 * its work (kernel_*.c) sees this machine's; here are only types and names that mean the same to
 * both. No number of QNX stands here: entries translate errors, flags and structures, so that a
 * wrong number can be wrong in one place alone, and a wrong prototype does not compile. */
#ifndef SIM_QNX_KERNEL_H
#define SIM_QNX_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calling thread's errno of QNX. */
int32_t *qk_error_slot(void);

#endif
