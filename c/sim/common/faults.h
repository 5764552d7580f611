/* Internal: calls of a simulated kernel that fail on demand: the n-th use of a call, or of any.
 * So a test can walk through every way in which a backend's work can break off. All of it under
 * the kernel's lock. */
#ifndef SIM_COMMON_FAULTS_H
#define SIM_COMMON_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_FAULT_MAX = 16, SIM_FAULT_NAME_MAX = 32 };

/* Lets the `use`-th call named `name` from now on fail with `code`, once; 1 is the next one.
 * NULL or "" stands for any call. False: there are SIM_FAULT_MAX orders, or the name is too long.
 */
bool sim_fault_order(const char *name, uint32_t use, int32_t code);

/* Counts a use of the call `name`; the code it has to fail with, or 0. */
int32_t sim_fault_due(const char *name);

/* How many calls were counted, of every name, and how many of them had to fail. */
uint64_t sim_fault_calls(void);
uint64_t sim_fault_failures(void);

/* Forgets orders and counts. */
void sim_fault_reset(void);

#endif
