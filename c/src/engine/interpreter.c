/* The interpreter: executes a module's bytes where they lie.
 *
 * opcodes.inc says what each opcode does, work.h what the words there mean, and one of two headers
 * makes an interpreter of it: what a compiler makes fast differs. Three tables lead from an opcode
 * to its handler: `fast` looks ahead and does blocks that open or close together at once; `plain`
 * does one instruction each; `counted` sends every opcode to `count`, which counts a step and goes
 * on through `plain`: so running costs nothing for being able to stop after any instruction.
 *
 * memcpy is the compiler's own, also in a freestanding build, where it would be a call. */
#include "execution.h"
#include "numeric.h"
#include "work.h"


#define memcpy __builtin_memcpy

#if defined(__clang__)
#include "dispatch_tail.h"
#else
#include "dispatch_goto.h"
#endif
