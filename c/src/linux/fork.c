/* One handler of fork() counts the generations of this process. A child made by a raw
 * clone system call, past the C library, is not noticed. */
#include "sys.h"

#include "../core/fail.h"
#include "fork.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int watch_code; /* error number of the registration */
static uint32_t generation;
static _Thread_local uint32_t number; /* of the thread; 0: not asked for yet */

/* In the child, whose only thread this is. */
static void count_child(void)
{
    generation++;
    number = 0;
}

static void watch(void)
{
    watch_code = pthread_atfork(NULL, NULL, count_child);
}

wrt_status wrt__fork_watch(const char *operation)
{
    pthread_once(&once, watch);
    if (watch_code == 0) return WRT_OK;
    return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "forks can't be watched", watch_code, 0,
                           0);
}

uint32_t wrt__fork_generation(void)
{
    return generation;
}

uint32_t wrt__thread_number(void)
{
    if (number == 0) number = (uint32_t)syscall(SYS_gettid);
    return number;
}
