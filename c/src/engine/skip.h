/* Internal: steps over instructions of validated code without executing them. */
#ifndef WRT_ENGINE_SKIP_H
#define WRT_ENGINE_SKIP_H

#include <stdint.h>

/* The instruction behind the one at `pc`. */
const uint8_t *wrt__skip_instruction(const uint8_t *pc);

#endif
