#include "priorities.h"

#include "wrt_platform/qnx/sync.h"
#include "wrt_platform/qnx/threading.h"
#include "wrt_platform/sim/qnx.h"

static wrt_qnx_thread_system systems[6]; /* by tens */
static wrt_qnx_lock lock;

wrt_thread_system system_at(uint32_t priority)
{
    const wrt_qnx_thread_system_config config = {.struct_size = sizeof config,
                                                 .low_priority = 1,
                                                 .normal_priority = 1,
                                                 .high_priority = 1,
                                                 .realtime_priority = priority};
    wrt_qnx_thread_system *system = &systems[priority / 10];

    if (system->self == NULL) MUST(wrt_qnx_thread_system_init(system, &config));
    return wrt_qnx_thread_system_interface(system);
}

wrt_lock lock_with(uint32_t protocol, uint32_t ceiling)
{
    const wrt_qnx_lock_config config = {.struct_size = sizeof config,
                                        .protocol = protocol,
                                        .ceiling =
                                            protocol == WRT_LOCK_PROTOCOL_CEILING ? ceiling : 0};

    MUST(wrt_qnx_lock_init(&lock, &config));
    return wrt_qnx_lock_interface(&lock);
}

bool become_director(uint32_t priority)
{
    for (uint32_t each = 10; each <= 50; each += 10) (void)system_at(each);
    MUST(wrt_sim_qnx_use_clock(WRT_SIM_QNX_VIRTUAL_CLOCK));
    MUST(wrt_sim_qnx_enter((int32_t)priority));
    return true;
}

void end_directing(void)
{
    MUST(wrt_sim_qnx_leave());
}

void work(uint64_t nanoseconds)
{
    MUST(wrt_sim_qnx_work(nanoseconds));
}
