/* The system calls as the attempts make them. */
#include "sys.h"

long wrt__doctor_call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                      uintptr_t f)
{
    return wrt__sys_fails() ? -1 : syscall(number, a, b, c, d, e, f);
}

void wrt__doctor_sleep(uint32_t milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}
