#include "priorities.h"

#include "wrt_platform/linux/sync.h"
#include "wrt_platform/linux/threading.h"
#include <time.h>

static wrt_linux_thread_system systems[6]; /* by tens */
static wrt_linux_lock lock;

wrt_thread_system system_at(uint32_t priority)
{
    const wrt_linux_thread_system_config config = {.struct_size = sizeof config,
                                                   .realtime_priority = priority};
    wrt_linux_thread_system *system = &systems[priority / 10];

    if (system->self == NULL) MUST(wrt_linux_thread_system_init(system, &config));
    return wrt_linux_thread_system_interface(system);
}

wrt_lock lock_with(uint32_t protocol, uint32_t ceiling)
{
    const wrt_linux_lock_config config = {.struct_size = sizeof config,
                                          .protocol = protocol,
                                          .ceiling =
                                              protocol == WRT_LOCK_PROTOCOL_CEILING ? ceiling : 0};

    MUST(wrt_linux_lock_init(&lock, &config));
    return wrt_linux_lock_interface(&lock);
}

bool become_director(uint32_t priority)
{
    const wrt_cpu_set first = {{1, 0, 0, 0}};

    for (uint32_t each = 10; each <= 50; each += 10) (void)system_at(each);
    const wrt_thread_system system = system_at(priority);
    MUST(system.ops->set_cpus(system.self, &first));
    const wrt_status status = system.ops->set_priority(system.self, WRT_THREAD_PRIORITY_REALTIME);
    if (status == WRT_ERR_PERMISSION) return false;
    MUST(status);
    return true;
}

void end_directing(void) {}

static uint64_t used(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void work(uint64_t nanoseconds)
{
    const uint64_t end = used() + nanoseconds;

    while (used() < end) continue;
}
