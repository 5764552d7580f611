/* errno, as QNX's <errno.h> reaches it. */
#include <errno.h>

#include "kernel.h"

int *__get_errno_ptr(void)
{
    return qk_error_slot();
}
