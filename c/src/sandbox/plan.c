/* Reading a config: every rule that can be checked without asking the system. */
#include "state.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "wrt_platform/linux/namespaces.h"

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

static wrt_status check_profile(const char *operation, uint32_t given, uint32_t wanted)
{
    if (given == wanted) return WRT_OK;
    if (given == WRT_SANDBOX_STRICT) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "the profile strict is for an ordinary program, which has no exports to "
                        "call: wrt_sandbox_confine(), or confine() of the builder, makes one of "
                        "these settings; run(..., sandbox=\"strict\") runs a module in one");
    }
    if (given == WRT_SANDBOX_SEALED) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "the profile sealed is for a module: wrt_sandbox_init(), or build() of the "
                        "builder; for an ordinary program set the profile to strict");
    }
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "profile {0} is not known", given,
                           0);
}

/* What does not depend on the system, nor on sizes. */
static wrt_status read_config(const char *operation, const wrt_sandbox_config *given,
                              uint32_t profile, wrt_sandbox_config *config)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = check_profile(operation, config->profile, profile);
    return status != WRT_OK ? status : check_walls(operation, config);
}

wrt_status wrt__sandbox_make_plan(const char *operation, const wrt_sandbox_config *given,
                                  wrt__sandbox_plan *out)
{
    *out = (wrt__sandbox_plan){0};
    const wrt_status status = read_config(operation, given, WRT_SANDBOX_SEALED, &out->config);
    return status != WRT_OK ? status : check_sizes(operation, out);
}

/* ---- The profile strict ---- */

typedef struct namespace_wish {
    uint32_t bit;
    uint32_t wall; /* as the config has it */
    uint32_t otherwise;
} namespace_wish;

static wrt_status refuse_settings_of_an_engine(const char *operation,
                                               const wrt_sandbox_config *config)
{
    if (config->maximum_pages == 0 && config->maximum_module_bytes == 0 &&
        config->working_bytes == 0 && config->program_path == NULL) {
        return WRT_OK;
    }
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                    "maximum_pages, maximum_module_bytes, working_bytes and program_path are of an "
                    "engine, which the profile strict has not; memory_bytes of the confined "
                    "process, or a control group, limits a program");
}

/* An ordinary program has processes and a host name to be kept from, too. */
static void ask_for_namespaces(const wrt_sandbox_config *config, wrt_confined_process_config *out)
{
    const namespace_wish wishes[] = {
        {WRT_NAMESPACE_USER, config->user_namespace, WRT_SANDBOX_WALL_PREFERRED},
        {WRT_NAMESPACE_MOUNT, config->mount_namespace, WRT_SANDBOX_WALL_PREFERRED},
        {WRT_NAMESPACE_IPC, config->ipc_namespace, WRT_SANDBOX_WALL_PREFERRED},
        {WRT_NAMESPACE_NETWORK, config->network_namespace, WRT_SANDBOX_WALL_OFF}};

    out->namespaces = WRT_NAMESPACE_PID | WRT_NAMESPACE_UTS;
    out->namespace_wall = WRT_CONFINED_PREFERRED;
    for (uint32_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        const uint32_t wall = wishes[i].wall != 0 ? wishes[i].wall : wishes[i].otherwise;

        if (wall != WRT_SANDBOX_WALL_OFF) out->namespaces |= wishes[i].bit;
        if (wall == WRT_SANDBOX_WALL_REQUIRED) out->namespace_wall = WRT_CONFINED_REQUIRED;
    }
}

_Static_assert((int)WRT_CONFINED_OFF == (int)WRT_SANDBOX_WALL_OFF &&
                   (int)WRT_CONFINED_PREFERRED == (int)WRT_SANDBOX_WALL_PREFERRED &&
                   (int)WRT_CONFINED_REQUIRED == (int)WRT_SANDBOX_WALL_REQUIRED,
               "walls are wanted by the same numbers");

wrt_status wrt_sandbox_confine(const wrt_sandbox_config *config,
                               wrt_confined_process_config *program_out)
{
    wrt_sandbox_config known;

    if (program_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "program_out is NULL");
    }
    wrt_status status = read_config(__func__, config, WRT_SANDBOX_STRICT, &known);
    if (status == WRT_OK) status = refuse_settings_of_an_engine(__func__, &known);
    if (status != WRT_OK) return status;
    *program_out = (wrt_confined_process_config){.struct_size = sizeof *program_out,
                                                 .cpu_seconds = known.cpu_seconds,
                                                 .file_wall = known.landlock};
    ask_for_namespaces(&known, program_out);
    return WRT_OK;
}
