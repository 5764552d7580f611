/* The one process of the simulated program, and its memory as calls look at it. */
#include "../common/host.h"

#include "../common/baton.h"

#include "kernel_call.h"
#include "kernel_memory.h"
#include "kernel_spawn.h"
#include "kernel_state.h"

enum { FORKED = 0x40000000 }; /* no id that the kernel gives out has this bit */

/* A forked child has no kernel, but it is another process, and what belongs to its parent has to
 * see that. */
int32_t qk_process_id(void)
{
    return sim_is_forked() ? qk_process_self() | FORKED : qk_process_self();
}

uint32_t qk_processors(void)
{
    return QK_PROCESSORS;
}

/* Entries ask before their call as well as in the midst of it. */
static bool may(const void *address, size_t size, uint32_t access)
{
    if (qk_is_inside()) return qk_memory_may(address, size, access);
    if (!qk_lock()) return address != NULL;
    bool answer = qk_memory_may(address, size, access);
    sim_unlock();
    return answer;
}

bool qk_may_read(const void *address, size_t size)
{
    return may(address, size, QK_READ);
}

bool qk_may_write(const void *address, size_t size)
{
    return may(address, size, QK_WRITE);
}
