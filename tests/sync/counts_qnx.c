/* The simulated kernel's trace tells which thread waited, and which calls were made. */
#include "counts.h"

#include "wrt_platform/qnx/sync.h"
#include "wrt_platform/sim/qnx.h"
#include <string.h>

static uint32_t count(uint32_t event, const char *name, int32_t thread)
{
    wrt_sim_qnx_trace_view view = {0};
    uint32_t found = 0;

    while (wrt_sim_qnx_trace_query(view.sequence + 1, &view) == WRT_OK) {
        if (view.event != (int32_t)event || strcmp(view.name, name) != 0) continue;
        if (thread == 0 || view.thread == thread) found++;
    }
    return found;
}

uint32_t waits_of_this_thread(void)
{
    wrt_thread_report report;
    const wrt_thread_system system = backend_system();

    MUST(system.ops->query(system.self, NULL, &report));
    return count(WRT_SIM_QNX_EVENT_BLOCK, "receive", (int32_t)report.system_id);
}

uint32_t wakes_of_the_process(void)
{
    return count(WRT_SIM_QNX_EVENT_CALL, "MsgSendPulse", 0);
}

uint32_t parks_begun(void)
{
    wrt_qnx_futex_usage usage;
    const wrt_futex futex = backend_futex();

    MUST(wrt_qnx_futex_query(futex.self, &usage));
    return usage.wait_calls;
}
