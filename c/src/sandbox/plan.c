/* Reading a config: every rule that can be checked without asking the system. */
#include "state.h"

#include "../core/config.h"
#include "../core/fail.h"

static uint64_t in_pages(uint64_t size)
{
    return (size + WRT_PAGE_SIZE - 1) / WRT_PAGE_SIZE * WRT_PAGE_SIZE;
}

static wrt_status check_size(const char *operation, const char *reason, uint64_t given,
                             uint64_t otherwise, uint64_t *bytes_out)
{
    if (given > WRT_SANDBOX_BYTES_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, reason, given,
                               WRT_SANDBOX_BYTES_MAX);
    }
    *bytes_out = in_pages(given != 0 ? given : otherwise);
    return WRT_OK;
}

static wrt_status check_sizes(const char *operation, wrt__sandbox_plan *out)
{
    const wrt_sandbox_config *config = &out->config;
    const uint32_t pages =
        config->maximum_pages != 0 ? config->maximum_pages : WRT_SANDBOX_PAGES_DEFAULT;

    if (pages > WRT_PAGE_COUNT_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_pages is {0}, more than {1}", pages, WRT_PAGE_COUNT_MAX);
    }
    out->memory_bytes = (uint64_t)pages * WRT_PAGE_SIZE;
    const wrt_status status = check_size(operation, "maximum_module_bytes is {0}, more than {1}",
                                         config->maximum_module_bytes,
                                         WRT_SANDBOX_MODULE_BYTES_DEFAULT, &out->program_bytes);
    if (status != WRT_OK) return status;
    return check_size(operation, "working_bytes is {0}, more than {1}", config->working_bytes,
                      WRT_SANDBOX_WORKING_BYTES_DEFAULT, &out->arena_bytes);
}

static wrt_status check_walls(const char *operation, const wrt_sandbox_config *config)
{
    const uint32_t walls[] = {config->landlock, config->user_namespace, config->mount_namespace,
                              config->ipc_namespace, config->network_namespace};

    for (uint32_t i = 0; i < sizeof walls / sizeof *walls; i++) {
        if (walls[i] > WRT_SANDBOX_WALL_REQUIRED) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "wall {0} is {1}, which is no wrt_sandbox_wall", i, walls[i]);
        }
    }
    return WRT_OK;
}

static wrt_status check_profile(const char *operation, const wrt_sandbox_config *config)
{
    if (config->profile == WRT_SANDBOX_SEALED) return WRT_OK;
    if (config->profile == WRT_SANDBOX_STRICT) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "this library has no profile for ordinary processes yet; take the sealed "
                        "one");
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "profile {0} is not known",
                           config->profile, 0);
}

wrt_status wrt__sandbox_make_plan(const char *operation, const wrt_sandbox_config *given,
                                  wrt__sandbox_plan *out)
{
    *out = (wrt__sandbox_plan){0};
    wrt_status status = wrt__config_read(operation, given, &out->config, sizeof out->config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(out->config.reserved, sizeof out->config.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = check_profile(operation, &out->config);
    if (status == WRT_OK) status = check_walls(operation, &out->config);
    if (status == WRT_OK) status = check_sizes(operation, out);
    return status;
}
