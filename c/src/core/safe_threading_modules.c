/* The modules of a thread manager: a table in the caller's buffer, each with an account that its
 * threads' memory is charged to. */
#include "config.h"
#include "fail.h"
#include "name.h"
#include "safe_threading.h"

wrt__module_record *wrt__manager_module(const wrt_thread_manager *manager, uint32_t module_id)
{
    for (uint32_t i = 0; i < manager->module_capacity; i++) {
        wrt__module_record *const module = &wrt__manager_modules(manager)[i];
        if (module->is_known != 0 && module->info.id == module_id) return module;
    }
    return NULL;
}

static wrt__module_record *free_record(const wrt_thread_manager *manager)
{
    for (uint32_t i = 0; i < manager->module_capacity; i++) {
        if (wrt__manager_modules(manager)[i].is_known == 0)
            return &wrt__manager_modules(manager)[i];
    }
    return NULL;
}

/* The lock is held. */
static wrt_status add_module(wrt_thread_manager *manager, const char *operation,
                             const wrt_wasm_module_info *info)
{
    if (wrt__manager_module(manager, info->id) != NULL) {
        return wrt_fail_detail(WRT_ERR_STATE, operation, "module {0} is registered already",
                               info->id, 0);
    }
    wrt__module_record *const module = free_record(manager);
    if (module == NULL) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "{0} modules are registered, module_capacity of the config is {1}",
                               manager->report.module_count, manager->module_capacity);
    }
    *module = (wrt__module_record){.info = *info};
    wrt__name_copy(module->name, sizeof module->name, info->name);
    module->info.name = module->name;
    const wrt_memory_account_config config = {
        .struct_size = sizeof config,
        .maximum = wrt__stricter(info->memory_limit, manager->limits.memory_limit_per_module),
        .parent = &manager->account,
        .name = module->name,
    };
    const wrt_status status = wrt_memory_account_init(&module->account, &config);
    if (status != WRT_OK) return status;
    module->is_known = 1;
    manager->report.module_count++;
    return WRT_OK;
}

wrt_status wrt_thread_manager_register_module(wrt_thread_manager *manager,
                                              const wrt_wasm_module_info *info)
{
    wrt_wasm_module_info known;

    wrt_status status = wrt__manager_check(__func__, manager);
    if (status == WRT_OK) status = wrt__config_read(__func__, info, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (known.default_priority > WRT_THREAD_PRIORITY_REALTIME) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "default_priority is {0}, not one of wrt_thread_priority",
                               known.default_priority, 0);
    }
    status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    status = add_module(manager, __func__, &known);
    wrt__manager_leave(manager);
    return status;
}

/* The lock is held. */
static wrt_status remove_module(wrt_thread_manager *manager, const char *operation,
                                uint32_t module_id)
{
    wrt__module_record *const module = wrt__manager_module(manager, module_id);

    if (module == NULL) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, operation, "no module {0} is registered",
                               module_id, 0);
    }
    const wrt_status status = wrt_memory_account_deinit(&module->account);
    if (status != WRT_OK) return status; /* its threads' views are on it, too */
    module->is_known = 0;
    manager->report.module_count--;
    return WRT_OK;
}

wrt_status wrt_thread_manager_unregister_module(wrt_thread_manager *manager, uint32_t module_id)
{
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status == WRT_OK) status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    status = remove_module(manager, __func__, module_id);
    wrt__manager_leave(manager);
    return status;
}

wrt_status wrt_thread_manager_account(wrt_thread_manager *manager, uint32_t module_id,
                                      wrt_memory_account **account_out)
{
    wrt_status status = wrt__manager_check(__func__, manager);
    if (status != WRT_OK) return status;
    if (account_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "account_out is NULL");
    }
    *account_out = NULL;
    status = wrt__manager_enter(manager);
    if (status != WRT_OK) return status;
    wrt__module_record *const module = wrt__manager_module(manager, module_id);
    wrt__manager_leave(manager);
    if (module == NULL) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "no module {0} is registered",
                               module_id, 0);
    }
    *account_out = &module->account;
    return WRT_OK;
}
