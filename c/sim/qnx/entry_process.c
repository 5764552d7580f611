/* QNX: the process, and what its machine has. */
#include <errno.h>
#include <unistd.h>

#include "entry_answer.h"

int *__get_errno_ptr(void)
{
    return qk_error_slot();
}

pid_t getpid(void)
{
    return qk_process_id();
}

long sysconf(int name)
{
    switch (name) {
    case _SC_PAGESIZE:
        return 4096;
    case _SC_NPROCESSORS_CONF:
    case _SC_NPROCESSORS_ONLN:
        return (long)qk_processors();
    default:
        return sim_answer(QK_EINVAL);
    }
}
