/* One handler of fork() counts the generations of this process. A child made by a raw
 * clone system call, past the C library, is not noticed. */
#include "sys.h"

#include "../core/fail.h"
#include "fork.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int watch_code; /* error number of the registration */
uint32_t wrt__fork_count;
_Thread_local uint32_t wrt__known_thread_number;

/* In the child, whose only thread this is. */
static void count_child(void)
{
    wrt__fork_count++;
    wrt__known_thread_number = 0;
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
    return wrt__fork_count;
}

uint32_t wrt__ask_thread_number(void)
{
    wrt__known_thread_number = (uint32_t)syscall(SYS_gettid);
    return wrt__known_thread_number;
}
