#include "backend.h"

#include "wrt_platform/qnx/sync.h"
#include "wrt_platform/qnx/threading.h"
#include "wrt_platform/sim/qnx.h"

static wrt_qnx_thread_system threads;
static wrt_qnx_futex futex;
static wrt_qnx_lock lock;

wrt_thread_system backend_system(void)
{
    const wrt_qnx_thread_system_config config = {.struct_size = sizeof config};

    if (threads.self == NULL) MUST(wrt_qnx_thread_system_init(&threads, &config));
    return wrt_qnx_thread_system_interface(&threads);
}

wrt_futex backend_futex(void)
{
    const wrt_qnx_futex_config config = {.struct_size = sizeof config};

    if (futex.self == NULL) MUST(wrt_qnx_futex_init(&futex, &config));
    return wrt_qnx_futex_interface(&futex);
}

wrt_lock backend_lock(void)
{
    const wrt_qnx_lock_config config = {.struct_size = sizeof config, .robust = true};

    if (lock.base.self == NULL) MUST(wrt_qnx_lock_init(&lock, &config));
    return wrt_qnx_lock_interface(&lock);
}

void backend_end(void)
{
    wrt_sim_qnx_census_view view;

    MUST(wrt_qnx_futex_deinit(&futex));
    MUST(wrt_qnx_lock_deinit(&lock));
    MUST(wrt_qnx_thread_system_deinit(&threads));
    for (uint32_t i = 0; wrt_sim_qnx_census_query(i, &view) == WRT_OK; i++) {
        if (view.count != 0) (void)fprintf(stderr, "left: %s, %d\n", view.kind, (int)view.count);
        EXPECT(view.count == 0);
    }
}
