/* Seeing what a guest does: counters, and programs in the kernel. */
#include "doctor.h"

#include "../core/fail.h"
#include "wrt_platform/linux/perf.h"

enum { WORK = 100000 };

static void work(void)
{
    volatile uint32_t sum = 0;

    for (uint32_t i = 0; i < WORK; i++) sum = sum + i;
}

static wrt_status count_work(wrt_doctor_row *row, wrt_perf_event *event)
{
    wrt_perf_reading reading = {0};

    wrt_status status = wrt_perf_event_enable(event);
    if (status != WRT_OK) return status;
    work();
    status = wrt_perf_event_read(event, &reading);
    if (status != WRT_OK) return status;
    if (reading.state == WRT_PERF_NOT_COUNTED || reading.value == 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT,
                          "the counter was opened, and never got a place on the processor");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "a loop of {0} rounds was counted: {1}",
                              WORK, reading.value);
}

static wrt_status try_counter(wrt_doctor_row *row, uint32_t counter)
{
    const wrt_perf_event_config config = {.struct_size = sizeof config, .type = counter};
    wrt_perf_event event = {0};

    wrt_status status = wrt_perf_event_init(&event, &config);
    if (status == WRT_ERR_PERMISSION) {
        wrt__remedy(row, "sysctl kernel.perf_event_paranoid=2 or lower, CAP_PERFMON, or a "
                         "container's filter that lets perf_event_open pass");
    }
    if (status != WRT_OK) return status;
    status = count_work(row, &event);
    const wrt_error first = *wrt_error_last();
    const wrt_status ended = wrt_perf_event_deinit(&event);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static wrt_status try_software(wrt_doctor_row *row)
{
    return try_counter(row, WRT_PERF_TASK_CLOCK);
}

static wrt_status try_hardware(wrt_doctor_row *row)
{
    return try_counter(row, WRT_PERF_INSTRUCTIONS);
}

static wrt_status try_paranoia(wrt_doctor_row *row)
{
    enum { FOR_USERS = 2, UNKNOWN = 99 };
    const uint64_t level = wrt__setting("/proc/sys/kernel/perf_event_paranoid", UNKNOWN);

    if (level == UNKNOWN) { /* a negative one does not read as a number */
        return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                          "everybody may count everything, or there is "
                          "no such setting");
    }
    return wrt__found_numbers(row, level <= FOR_USERS ? WRT_DOCTOR_AVAILABLE : WRT_DOCTOR_PARTIAL,
                              "kernel.perf_event_paranoid is {0}", level, 0);
}

/* ---- eBPF ---- */

enum { LOAD = 5, SOCKET_FILTER = 1, ATTRIBUTE_BYTES = 128 };

/* union bpf_attr, as far as loading goes */
typedef struct bpf_load {
    uint32_t type;
    uint32_t instruction_count;
    uint64_t instructions;
    uint64_t licence;
    uint8_t rest[ATTRIBUTE_BYTES - 24];
} bpf_load;

static wrt_status try_bpf(wrt_doctor_row *row)
{
    static const uint64_t program[] = {0x00000000000000b7, 0x0000000000000095}; /* return 0 */
    const bpf_load load = {SOCKET_FILTER, 2, (uintptr_t)program, (uintptr_t) "GPL", {0}};
    const int descriptor =
        (int)wrt__doctor_call(SYS_bpf, LOAD, (uintptr_t)&load, sizeof load, 0, 0, 0);

    if (descriptor < 0) return wrt__refused("bpf(BPF_PROG_LOAD)");
    close(descriptor);
    return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a program of two instructions was loaded");
}

static const wrt__attempt attempts[] = {
    {"perf.software", "counters of the kernel", "PE-1", try_software,
     "a container's filter that lets perf_event_open pass"},
    {"perf.hardware", "counters of the processor", "PE-1", try_hardware,
     "a machine whose processor counts, or a virtual machine that is given its counters (vPMU); "
     "the kernel's own counters work without"},
    {"perf.paranoid", "who may count", "PE-1", try_paranoia,
     "sysctl kernel.perf_event_paranoid=2 lets users count their own processes; 1 adds what the "
     "kernel does for them"},
    {"perf.ebpf", "programs in the kernel (eBPF)", "RT-2", try_bpf,
     "CAP_BPF (Linux 5.8) or root; sysctl kernel.unprivileged_bpf_disabled=0 would let everybody, "
     "which is not advised"},
};

const wrt__topic wrt__topic_observing = {attempts, sizeof attempts / sizeof *attempts};
