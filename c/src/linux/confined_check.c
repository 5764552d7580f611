/* What a confined process is asked for, checked before there is one. */
#include "confined.h"

#include "../core/config.h"
#include "../core/fail.h"

enum {
    DEFAULT_NAMESPACES = WRT_NAMESPACE_USER | WRT_NAMESPACE_MOUNT | WRT_NAMESPACE_PID |
                         WRT_NAMESPACE_IPC | WRT_NAMESPACE_UTS
};

static wrt_status refuse(const char *reason, uint64_t detail)
{
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, WRT__CONFINED_START, reason, detail, 0);
}

/* ---- Defaults ---- */

static void default_wall(uint32_t *wall, bool asked, uint32_t standard)
{
    if (!asked) *wall = WRT_CONFINED_OFF;
    if (*wall == WRT_CONFINED_DEFAULT) *wall = standard;
}

static void fill_walls(wrt_confined_process_config *config)
{
    default_wall(&config->cgroup_wall, config->has_cgroup, WRT_CONFINED_REQUIRED);
    default_wall(&config->namespace_wall, true,
                 config->root != NULL ? WRT_CONFINED_REQUIRED : WRT_CONFINED_PREFERRED);
    default_wall(&config->capability_wall, true, WRT_CONFINED_PREFERRED);
    default_wall(&config->selinux_wall, config->selinux_context != NULL, WRT_CONFINED_REQUIRED);
    default_wall(&config->file_wall, true, WRT_CONFINED_PREFERRED);
    default_wall(&config->filter_wall, true, WRT_CONFINED_REQUIRED);
}

/* A user namespace made here would know but the one user who made it. */
static void fill_namespaces(wrt_confined_process_config *config)
{
    if (config->namespaces == 0) config->namespaces = DEFAULT_NAMESPACES;
    if (config->has_user) config->namespaces &= ~(uint32_t)WRT_NAMESPACE_USER;
    if (config->namespace_wall == WRT_CONFINED_OFF) config->namespaces = 0;
}

static void fill_descriptors(wrt_confined_process_config *config)
{
    if (config->standard_output == 0) config->standard_output = 1;
    if (config->standard_error == 0) config->standard_error = 2;
    if (config->open_files == 0) config->open_files = WRT_CONFINED_OPEN_FILES_DEFAULT;
}

/* ---- Rules ---- */

static wrt_status check_walls(const wrt_confined_process_config *config)
{
    const uint32_t walls[] = {config->cgroup_wall,  config->namespace_wall, config->capability_wall,
                              config->selinux_wall, config->file_wall,      config->filter_wall};

    for (uint32_t index = 0; index < sizeof walls / sizeof walls[0]; index++) {
        if (walls[index] > WRT_CONFINED_REQUIRED) {
            return refuse("a wall is none of wrt_confined_wall: {0}", walls[index]);
        }
    }
    return WRT_OK;
}

static wrt_status check_paths(const wrt_confined_process_config *config)
{
    if (config->executable == NULL || config->executable[0] == '\0') {
        return refuse("executable is NULL or empty", 0);
    }
    if (config->arguments != NULL && config->arguments[0] == NULL) {
        return refuse("arguments has no first one, the program's name", 0);
    }
    if (config->file_count > WRT_CONFINED_FILE_MAX) {
        return refuse("there are more than 256 file rules: {0}", config->file_count);
    }
    if (config->file_count > 0 && config->files == NULL) return refuse("files is NULL", 0);
    if (config->selinux_context != NULL && config->selinux_context[0] == '\0') {
        return refuse("selinux_context is empty", 0);
    }
    return WRT_OK;
}

static wrt_status check_namespaces(const wrt_confined_process_config *config)
{
    if ((config->namespaces & ~(uint32_t)WRT_NAMESPACE_ALL) != 0) {
        return refuse("namespaces has bits that are not in wrt_namespace", 0);
    }
    if (config->root == NULL) return WRT_OK;
    if (config->namespaces != 0 && (config->namespaces & WRT_NAMESPACE_MOUNT) == 0) {
        return refuse("a root takes a mount namespace", 0);
    }
    if (config->namespace_wall == WRT_CONFINED_OFF ||
        config->namespace_wall == WRT_CONFINED_PREFERRED) {
        return refuse("a root takes a mount namespace: namespace_wall is REQUIRED then", 0);
    }
    return WRT_OK;
}

static wrt_status check_numbers(const wrt_confined_process_config *config)
{
    if (config->standard_input < WRT_CONFINED_NULL || config->standard_output < WRT_CONFINED_NULL ||
        config->standard_error < WRT_CONFINED_NULL || (config->has_cgroup && config->cgroup < 0)) {
        return refuse("a descriptor is negative", 0);
    }
    if ((config->filter == NULL) != (config->filter_count == 0) ||
        config->filter_count > WRT_SECCOMP_PROGRAM_MAX) {
        return refuse("filter and filter_count don't belong together, or there are more than 4096 "
                      "instructions",
                      0);
    }
    return WRT_OK;
}

/* The profile's program, where the caller brings none. */
static wrt_status fill_filter(wrt__confined_start *start)
{
    wrt_confined_process_config *config = &start->config;
    wrt_seccomp_config profile = {0};
    wrt_seccomp_report report;

    if (config->filter_wall == WRT_CONFINED_OFF || config->filter != NULL) return WRT_OK;
    profile.struct_size = sizeof profile;
    profile.profile = WRT_SECCOMP_PROFILE_STRICT;
    const wrt_status status =
        wrt_seccomp_compile(&profile, start->program, WRT__CONFINED_PROGRAM_MAX, &report);
    config->filter = start->program;
    config->filter_count = report.instruction_count;
    return status;
}

wrt_status wrt__confined_check(wrt__confined_start *start)
{
    wrt_confined_process_config *config = &start->config;
    wrt_status status = WRT_OK;

    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, WRT__CONFINED_START, "reserved bytes are not zero");
    }
    status = check_walls(config);
    if (status == WRT_OK) status = check_paths(config);
    if (status == WRT_OK) status = check_namespaces(config);
    if (status == WRT_OK) status = check_numbers(config);
    if (status != WRT_OK) return status;
    fill_walls(config);
    fill_namespaces(config);
    fill_descriptors(config);
    return fill_filter(start);
}
