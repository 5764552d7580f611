/* Where the program begins on x86-64, and how it makes a system call. The stack pointer that the
 * kernel left leads to the arguments, the environment and the auxiliary vector. */
#include "worker.h"

#if defined(__x86_64__)

__asm__(".text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call wrt__worker_start\n"
        "    ud2\n"
        ".size _start, . - _start\n");

long wrt__call6(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

long wrt__call_by_interrupt(long number, long first)
{
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "0"(number), "b"(first), "c"(0L), "d"(0L)
                     : "memory");
    return result;
}

#endif
