/* Internal: the environment that the simulated process was started with. */
#ifndef SIM_QNX_KERNEL_ENVIRONMENT_H
#define SIM_QNX_KERNEL_ENVIRONMENT_H

#include "kernel.h"

enum { QK_ENVIRONMENT_MAX = 16, QK_ENVIRONMENT_TEXT_MAX = 64 };

/* For the next start of the process; NULL as value takes the name out. */
qk_error qk_environment_set(const char *name, const char *value);

/* What the process finds; NULL if there is no such name. */
const char *qk_environment_get(const char *name);

/* The process starts with what was set, and the next one with nothing. */
void qk_environment_reset(void);

#endif
