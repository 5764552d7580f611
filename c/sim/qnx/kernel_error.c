/* Each thread has an errno of QNX beside that of this machine. */
#include "../common/host.h"

#include "kernel.h"

int32_t *qk_error_slot(void)
{
    static _Thread_local int32_t slot;

    return &slot;
}
