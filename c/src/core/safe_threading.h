/* Internal: what the parts of a thread manager share. */
#ifndef WRT_CORE_SAFE_THREADING_H
#define WRT_CORE_SAFE_THREADING_H

#include "guard.h"
#include "wrt_platform/safe_threading.h"

enum { WRT__MANAGER_MAGIC = 0x6D616E61 };

/* Of a managed thread. */
enum wrt__managed_flag {
    WRT__SEEN_RUNNING = 1, /* a check has */
    WRT__REPORTED = 2,     /* what its health is now */
    WRT__KILLED = 4,       /* it was asked to end, and has not been seen to */
    WRT__GIVEN_UP = 8
};

/* A module's record; free while `is_known` is 0. */
typedef struct wrt__module_record {
    wrt_wasm_module_info info;
    wrt_memory_account account;
    char name[WRT_WASM_MODULE_NAME_SIZE];
    uint32_t is_known;
    uint32_t reserved;
} wrt__module_record;

static inline wrt__module_record *wrt__manager_modules(const wrt_thread_manager *manager)
{
    return manager->modules;
}

/* The record of a module; NULL if it is not registered. The manager's lock is held. */
wrt__module_record *wrt__manager_module(const wrt_thread_manager *manager, uint32_t module_id);

wrt_status wrt__manager_check(const char *operation, const wrt_thread_manager *manager);

static inline wrt_status wrt__manager_enter(wrt_thread_manager *manager)
{
    return wrt__guard_enter(&manager->system, &manager->lock);
}

static inline void wrt__manager_leave(wrt_thread_manager *manager)
{
    wrt__guard_leave(&manager->system, &manager->lock);
}

/* True if it has ended, joined or not. */
bool wrt__managed_has_ended(const wrt_managed_thread *thread);

/* The stricter one of two limits, where 0 stands for none. */
static inline uint64_t wrt__stricter(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) return a + b;
    return a < b ? a : b;
}

void wrt__manager_post(wrt_thread_manager *manager, uint32_t kind, const wrt_managed_thread *thread,
                       uint64_t now);

/* Counts a killed thread that has ended, once; the manager's lock is held. */
void wrt__manager_note_end(wrt_thread_manager *manager, wrt_managed_thread *thread);

/* The executor that the manager's pool has: the caller's, with memory of the module's account. */
wrt_executor wrt__managed_executor(wrt_thread_manager *manager);

/* Lets the module's account pay for what the thread's instance allocates. */
wrt_status wrt__managed_pages_init(wrt_managed_thread *thread, wrt__module_record *module);

#endif
