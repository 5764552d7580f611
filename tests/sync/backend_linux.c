#include "backend.h"

#include "wrt_platform/linux/sync.h"
#include "wrt_platform/linux/threading.h"

static wrt_linux_thread_system threads;
static wrt_linux_futex futex;
static wrt_linux_lock lock;

wrt_thread_system backend_system(void)
{
    const wrt_linux_thread_system_config config = {.struct_size = sizeof config};

    if (threads.self == NULL) MUST(wrt_linux_thread_system_init(&threads, &config));
    return wrt_linux_thread_system_interface(&threads);
}

wrt_futex backend_futex(void)
{
    const wrt_linux_futex_config config = {.struct_size = sizeof config};

    if (futex.self == NULL) MUST(wrt_linux_futex_init(&futex, &config));
    return wrt_linux_futex_interface(&futex);
}

wrt_lock backend_lock(void)
{
    const wrt_linux_lock_config config = {.struct_size = sizeof config, .robust = true};

    if (lock.base.self == NULL) MUST(wrt_linux_lock_init(&lock, &config));
    return wrt_linux_lock_interface(&lock);
}

void backend_end(void)
{
    MUST(wrt_linux_futex_deinit(&futex));
    MUST(wrt_linux_lock_deinit(&lock));
    MUST(wrt_linux_thread_system_deinit(&threads));
}
