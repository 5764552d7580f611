/* Internal: semantics that can be broken on purpose; kernel_switches.inc lists them. Under the
 * kernel's lock. */
#ifndef SIM_QNX_KERNEL_SWITCH_H
#define SIM_QNX_KERNEL_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#define SWITCH(constant, name, meaning) QK_BREAK_##constant,
enum qk_switch {
#include "kernel_switches.inc"
    QK_SWITCH_COUNT
};
#undef SWITCH

/* Whether this semantic is broken. */
bool qk_switched(enum qk_switch which);

/* Breaks or mends the semantic of that name; false if there is none. */
bool qk_switch_set(const char *name, bool broken);

/* Name and meaning; NULL beyond the last. */
const char *qk_switch_name(uint32_t index);
const char *qk_switch_meaning(uint32_t index);

void qk_switch_reset(void);

#endif
