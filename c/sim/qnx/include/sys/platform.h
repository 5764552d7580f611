/* QNX: what all headers share. They are those of 7.1, or of 8.0 where -D_NTO_VERSION=800 says so;
 * where a number differs, both columns stand side by side.
 *
 * The simulated kernel lives in one process beside the machine's own C library, which has functions
 * of the same names. So each function here has another symbol, by label and not by macro: the
 * source, the compiler's messages and the debugger show the real name. The functions of string.h
 * keep theirs, since compilers call them by themselves.
 */
#ifndef QNX_SYS_PLATFORM_H
#define QNX_SYS_PLATFORM_H

#ifndef _NTO_VERSION
#define _NTO_VERSION 710
#endif

#if _NTO_VERSION >= 800
#define __QNX_7_OR_8(seven, eight) (eight)
#else
#define __QNX_7_OR_8(seven, eight) (seven)
#endif

#define __QNX_SYMBOL(name) __asm__("sim_qnx_" #name)

#endif
