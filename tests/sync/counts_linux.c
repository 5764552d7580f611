/* Linked with --wrap=syscall, by which all futex calls of the library go. A wait counts twice, here
 * and as the kernel's voluntary switch of the thread, and both have to agree. */
#define _GNU_SOURCE
#include "counts.h"

#include "wrt_platform/linux/sync.h"
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static _Thread_local uint32_t waits;
static uint32_t wakes;

long __wrap_syscall(long number, ...)
{
    long given[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++) given[i] = va_arg(list, long);
    va_end(list);
    const long command = given[1] & FUTEX_CMD_MASK;
    if (number == SYS_futex && (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET)) waits++;
    if (number == SYS_futex && command == FUTEX_WAKE) {
        (void)__atomic_fetch_add(&wakes, 1, __ATOMIC_SEQ_CST);
    }
    return __real_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

uint32_t waits_of_this_thread(void)
{
    static _Thread_local uint32_t switches_before;
    static _Thread_local uint32_t waits_before;
    struct rusage usage;

    (void)getrusage(RUSAGE_THREAD, &usage);
    const uint32_t switches = (uint32_t)usage.ru_nvcsw;
    if (switches_before != 0) EXPECT(switches - switches_before == waits - waits_before);
    switches_before = switches;
    waits_before = waits;
    return waits;
}

uint32_t wakes_of_the_process(void)
{
    return __atomic_load_n(&wakes, __ATOMIC_SEQ_CST);
}

uint32_t parks_begun(void)
{
    wrt_linux_futex_usage usage;
    const wrt_futex futex = backend_futex();

    MUST(wrt_linux_futex_query(futex.self, &usage));
    return usage.wait_calls;
}
