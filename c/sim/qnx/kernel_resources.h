/* Internal: memory, heap, partitions, budgets and processes together. Under the kernel's lock. */
#ifndef SIM_QNX_KERNEL_RESOURCES_H
#define SIM_QNX_KERNEL_RESOURCES_H

#include <stdint.h>

/* Gives back everything, and starts the process anew, with the environment that was set for it. */
void qk_resources_reset(void);

/* The number of the present world, 1 up: what an entry keeps of an older one is void. */
uint32_t qk_world(void);

#endif
