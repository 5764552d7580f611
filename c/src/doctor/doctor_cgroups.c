/* Control groups, memory pressure, and what a container or a manager leaves of the machine. */
#include "doctor.h"

#include "../core/fail.h"
#include "wrt_platform/linux/container.h"
#include "wrt_platform/linux/pressure.h"

#define GROUP_NAME "wrt-doctor"

static wrt_linux_cgroup_config group_config(void)
{
    return (wrt_linux_cgroup_config){
        .struct_size = sizeof(wrt_linux_cgroup_config), .name = GROUP_NAME, .take_existing = true};
}

static wrt_status try_version(wrt_doctor_row *row)
{
    wrt_linux_cgroup_location location;

    const wrt_status status = wrt_linux_cgroup_locate("", &location);
    if (status != WRT_OK) return status;
    switch (location.layout) {
    case WRT_LINUX_CGROUP_V2:
        return wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "version 2, own group {w}",
                               location.path);
    case WRT_LINUX_CGROUP_HYBRID:
        return wrt__found_word(row, WRT_DOCTOR_PARTIAL,
                               "version 2 beside version 1, which holds controllers back; own "
                               "group {w}",
                               location.path);
    case WRT_LINUX_CGROUP_V1:
        return wrt__found(row, WRT_DOCTOR_PARTIAL, "version 1 alone: limits are read, not set");
    default:
        return wrt__found(row, WRT_DOCTOR_ABSENT, "no control groups are mounted");
    }
}

/* Made in own group, and removed at once. */
static wrt_status try_group(wrt_doctor_row *row)
{
    const wrt_linux_cgroup_config config = group_config();
    wrt_linux_cgroup group = {0};

    wrt_status status = wrt_linux_cgroup_init(&group, &config);
    if (status != WRT_OK) return status;
    status = wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "{w} was made and removed",
                             wrt_linux_cgroup_path(&group));
    wrt_status removed = wrt_linux_cgroup_remove(&group, 0);
    if (removed != WRT_OK) removed = wrt_linux_cgroup_remove(&group, 0);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_linux_cgroup_deinit(&group);
    if (removed == WRT_OK) return status == WRT_OK ? ended : status;
    return wrt_fail_again(&first);
}

static wrt_status try_controller(wrt_doctor_row *row, uint32_t controller)
{
    wrt_linux_cgroup_config config = group_config();
    wrt_linux_cgroup_plan plan;

    config.controllers = controller;
    const wrt_status status = wrt_linux_cgroup_plan_of(&config, &plan);
    if (status != WRT_OK) return status;
    if (plan.blocked == 0 && plan.obstacle == WRT_LINUX_CGROUP_FREE) {
        return wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "a group {w} would have it", plan.path);
    }
    wrt__remedy(row, plan.remedy);
    return wrt__found_word(row, WRT_DOCTOR_ABSENT, "blocked at {w}",
                           plan.blocker[0] != '\0' ? plan.blocker : plan.path);
}

static wrt_status try_memory(wrt_doctor_row *row)
{
    return try_controller(row, WRT_LINUX_CGROUP_MEMORY);
}

static wrt_status try_cpu(wrt_doctor_row *row)
{
    return try_controller(row, WRT_LINUX_CGROUP_CPU);
}

static wrt_status try_pids(wrt_doctor_row *row)
{
    return try_controller(row, WRT_LINUX_CGROUP_PIDS);
}

static wrt_status try_io(wrt_doctor_row *row)
{
    return try_controller(row, WRT_LINUX_CGROUP_IO);
}

/* ---- Pressure ---- */

static wrt_status watch_pressure(wrt_doctor_row *row, wrt_events *events)
{
    wrt_linux_pressure_config config = {.struct_size = sizeof config, .events = events};
    wrt_linux_pressure pressure = {0};

    const wrt_status status = wrt_linux_pressure_init(&pressure, &config);
    if (status != WRT_OK) return status;
    (void)wrt__found(row, WRT_DOCTOR_AVAILABLE, "three levels of memory pressure were watched");
    return wrt_linux_pressure_deinit(&pressure);
}

static wrt_status try_pressure(wrt_doctor_row *row)
{
    _Alignas(128) uint8_t buffer[1024];
    wrt_events_config config = {.struct_size = sizeof config,
                                .capacity = 4,
                                .buffer = buffer,
                                .buffer_size = sizeof buffer};
    wrt_events events;

    wrt_status status = wrt_events_init(&events, &config);
    if (status != WRT_OK) return status;
    status = watch_pressure(row, &events);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_events_deinit(&events);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

/* ---- Containers and limits ---- */

static wrt_status try_container(wrt_doctor_row *row)
{
    wrt_linux_environment environment;

    const wrt_status status = wrt_linux_environment_detect("", &environment);
    if (status != WRT_OK) return status;
    return wrt__found_word(row, WRT_DOCTOR_AVAILABLE, "this process runs in: {w}",
                           wrt_linux_runtime_name(environment.environment));
}

static wrt_status try_limits(wrt_doctor_row *row)
{
    enum { KIB = 1024, MILLI = 1000 };
    wrt_linux_resources resources;

    const wrt_status status = wrt_linux_resources_detect("", &resources);
    if (status != WRT_OK) return status;
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                              "{0} KiB of memory and {1} thousandths of a CPU may be used",
                              resources.memory_limit / KIB, resources.cpu_milli);
}

static const wrt__attempt attempts[] = {
    {"cgroups.version", "control groups", "CG-1", try_version,
     "boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all; in a container mount "
     "/sys/fs/cgroup"},
    {"cgroups.make", "making a group", "CG-1 CG-2", try_group,
     "systemd-run --user --scope -p Delegate=yes, Delegate=yes in the service's unit, or, in a "
     "container, a writable /sys/fs/cgroup"},
    {"cgroups.memory", "controller memory", "CG-1", try_memory,
     "Delegate=yes in the service's unit (systemd-run --user --scope -p Delegate=yes)"},
    {"cgroups.cpu", "controller cpu", "CG-1", try_cpu,
     "Delegate=yes in the service's unit (systemd-run --user --scope -p Delegate=yes)"},
    {"cgroups.pids", "controller pids", "CG-1", try_pids,
     "Delegate=yes in the service's unit (systemd-run --user --scope -p Delegate=yes)"},
    {"cgroups.io", "controller io", "CG-1", try_io,
     "Delegate=yes in the service's unit (systemd-run --user --scope -p Delegate=yes)"},
    {"pressure.memory", "memory pressure", "CG-2 EV-1", try_pressure,
     "boot with psi=1; before Linux 6.4 it takes CAP_SYS_RESOURCE"},
    {"container.runtime", "container", "CT-1", try_container, "mount /proc"},
    {"container.limits", "limits of this process", "CT-1", try_limits, "mount /proc and /sys"},
};

const wrt__topic wrt__topic_cgroups = {attempts, sizeof attempts / sizeof *attempts};
