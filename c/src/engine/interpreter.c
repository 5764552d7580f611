/* The interpreter: executes a module's bytes where they lie.
 *
 * opcodes.inc says what each opcode does, work.h what the words there mean, and one of two headers
 * makes an interpreter of it: what a compiler makes fast differs. Three tables lead from an opcode
 * to its handler: `fast` to handlers that look ahead and do what often comes together at once,
 * `plain` to those that do one instruction each, `counted` sends every opcode to `count`, which
 * counts a step and goes on through `plain`. So running costs nothing for being able to stop after
 * any instruction. Where code must be small, there is no look-ahead.
 *
 * memcpy is the compiler's own, also in a freestanding build, where it would be a call. */
#include "execution.h"
#include "numeric.h"
#include "work.h"

#define memcpy __builtin_memcpy

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "linear memory is little-endian, and is read as the processor does");

#if defined(__OPTIMIZE_SIZE__)
#define RUN_MODE     PLAIN
#define FAST_OPCODES "no_opcodes.inc"
#else
#define RUN_MODE     FAST
#define FAST_OPCODES "opcodes.inc"
#endif

#if defined(__clang__)
#include "dispatch_tail.h"
#else
#include "dispatch_goto.h"
#endif
