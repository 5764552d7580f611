/* The kernel's ring: made, mapped, asked what it can do, and closed.
 *
 * The ring is driven by the three system calls and not by way of liburing. Linked statically, that
 * would make its calls behind the back of the order that lets the n-th one fail (sys.h), would be
 * missing from wheels, whose build machines have none, and would have to be linked again by whoever
 * links the static library. It serves as the judge instead: bench/io_uring.c runs a loop over it.
 *
 * Kernels before 5.11 can't end a wait at a limit, and only a wait with a limit can't hang: what
 * they have counts as none. With that release came also SQ threads without special rights. */
#include "io_uring.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "files.h"

enum { NANOSECONDS_IN_MILLISECOND = 1000000 };

static const uint32_t needed_features =
    WRT__FEATURE_SINGLE_MMAP | WRT__FEATURE_NODROP | WRT__FEATURE_EXT_ARG;

/* ---- Refusals ---- */

static bool is_switched_off(void)
{
    char text[16];

    if (wrt__file_read(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", text, sizeof text) <= 0) {
        return false;
    }
    return text[0] != '0';
}

static wrt_status refuse(const char *operation, wrt_status status, const char *reason, int code,
                         bool *is_refused)
{
    *is_refused = true;
    return wrt_fail_system(status, operation, reason, code, 0, 0);
}

static wrt_status fail_to_set_up(const char *operation, int code, bool *is_refused)
{
    switch (code) {
    case EPERM:
    case EACCES:
        if (is_switched_off()) {
            return refuse(operation, WRT_ERR_PERMISSION,
                          "the sysctl kernel.io_uring_disabled forbids io_uring_setup: 0 allows it "
                          "to all, 1 to members of the group kernel.io_uring_group",
                          code, is_refused);
        }
        return refuse(operation, WRT_ERR_PERMISSION,
                      "a filter forbids io_uring_setup, as Docker's default does: run with a "
                      "seccomp profile that has io_uring_setup, io_uring_enter and "
                      "io_uring_register",
                      code, is_refused);
    case ENOSYS:
        return refuse(operation, WRT_ERR_UNSUPPORTED,
                      "there is no io_uring_setup: a kernel before 5.11 or built without io_uring, "
                      "or a filter that hides it",
                      code, is_refused);
    case EINVAL:
        return refuse(operation, WRT_ERR_UNSUPPORTED,
                      "io_uring_setup does not know what is asked for: a kernel before 5.11", code,
                      is_refused);
    case EMFILE:
    case ENFILE:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "io_uring_setup has no descriptor left (ulimit -n)", code, 0, 0);
    case ENOMEM:
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "io_uring_setup has no memory for the ring", code, 0, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "io_uring_setup failed", code, 0, 0);
    }
}

/* ---- Set-up ---- */

static wrt__io_uring_params parameters_of(const wrt_io_uring_config *config)
{
    wrt__io_uring_params parameters = {.flags = WRT__SETUP_CQSIZE, .cq_entries = config->cq_size};

    if (!config->sq_thread) return parameters;
    parameters.flags |= WRT__SETUP_SQPOLL;
    parameters.sq_thread_idle =
        (uint32_t)((config->sq_idle_ns - 1) / NANOSECONDS_IN_MILLISECOND + 1);
    if (!config->has_sq_thread_cpu) return parameters;
    parameters.flags |= WRT__SETUP_SQ_AFF;
    parameters.sq_thread_cpu = config->sq_thread_cpu;
    return parameters;
}

/* Whether it is the CPU that the kernel dislikes: then it takes the same without. */
static bool is_for_the_cpu(const wrt_io_uring_config *config)
{
    wrt_io_uring_config without = *config;

    if (!config->has_sq_thread_cpu) return false;
    without.has_sq_thread_cpu = false;
    wrt__io_uring_params parameters = parameters_of(&without);
    const int descriptor = wrt__sys_io_uring_setup(config->entries, &parameters);
    if (descriptor >= 0) (void)close(descriptor);
    return descriptor >= 0;
}

static wrt_status set_up(const char *operation, const wrt_io_uring_config *config,
                         wrt__io_uring_params *parameters, int *descriptor_out, bool *is_refused)
{
    *parameters = parameters_of(config);
    *descriptor_out = wrt__sys_io_uring_setup(config->entries, parameters);
    if (*descriptor_out >= 0) return WRT_OK;
    const int code = errno;
    if (code == EINVAL && is_for_the_cpu(config)) {
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "io_uring_setup has no CPU {0} for the SQ thread: it is not there, "
                               "offline, or outside of this process's cpuset",
                               code, config->sq_thread_cpu, 0);
    }
    return fail_to_set_up(operation, code, is_refused);
}

static wrt_status fail_to_map(const char *operation)
{
    return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "mmap of the ring failed", errno, 0, 0);
}

static wrt_status map(const char *operation, wrt__io_ring *ring,
                      const wrt__io_uring_params *parameters)
{
    const size_t sq = parameters->sq_off.array + parameters->sq_entries * sizeof(uint32_t);
    const size_t cq = parameters->cq_off.cqes + parameters->cq_entries * sizeof(wrt__io_uring_cqe);

    ring->rings_bytes = sq > cq ? sq : cq;
    void *const rings =
        wrt__sys_io_uring_map(ring->descriptor, ring->rings_bytes, WRT__OFFSET_RINGS);
    if (rings == MAP_FAILED) return fail_to_map(operation);
    ring->rings = rings;
    ring->sqes_bytes = parameters->sq_entries * sizeof(wrt__io_uring_sqe);
    void *const sqes = wrt__sys_io_uring_map(ring->descriptor, ring->sqes_bytes, WRT__OFFSET_SQES);
    if (sqes == MAP_FAILED) return fail_to_map(operation);
    ring->sqes = sqes;
    return WRT_OK;
}

static uint32_t *word_at(const wrt__io_ring *ring, uint32_t offset)
{
    return (uint32_t *)(void *)((uint8_t *)ring->rings + offset);
}

static void find_parts(wrt__io_ring *ring, const wrt__io_uring_params *parameters)
{
    uint32_t *const array = word_at(ring, parameters->sq_off.array);

    ring->sq_head = word_at(ring, parameters->sq_off.head);
    ring->sq_tail = word_at(ring, parameters->sq_off.tail);
    ring->sq_flags = word_at(ring, parameters->sq_off.flags);
    ring->cq_head = word_at(ring, parameters->cq_off.head);
    ring->cq_tail = word_at(ring, parameters->cq_off.tail);
    ring->cqes = (const wrt__io_uring_cqe *)(void *)word_at(ring, parameters->cq_off.cqes);
    ring->sq_entries = parameters->sq_entries;
    ring->sq_mask = *word_at(ring, parameters->sq_off.ring_mask);
    ring->cq_mask = *word_at(ring, parameters->cq_off.ring_mask);
    ring->tail = wrt__load(ring->sq_tail);
    for (uint32_t i = 0; i < parameters->sq_entries; i++) array[i] = i;
}

/* ---- What it can do ---- */

static bool knows(const wrt__io_uring_probed *probed, uint32_t code)
{
    return code <= probed->last_op && (probed->ops[code].flags & WRT__OP_SUPPORTED) != 0;
}

static uint32_t bit_if(bool is_there, uint32_t operation)
{
    return is_there ? 1u << operation : 0;
}

static wrt_status ask(const char *operation, wrt__io_state *state, bool *is_refused)
{
    wrt__io_uring_probed probed;

    memset(&probed, 0, sizeof probed);
    if (wrt__sys_io_uring_register(state->ring.descriptor, WRT__REGISTER_PROBE, &probed,
                                   WRT__PROBED_OPERATIONS) < 0) {
        return refuse(operation, WRT_ERR_UNSUPPORTED,
                      "io_uring_register does not tell which operations there are: a kernel before "
                      "5.6, or a filter in its way",
                      errno, is_refused);
    }
    if (!knows(&probed, WRT__OP_ASYNC_CANCEL) || !knows(&probed, WRT__OP_LINK_TIMEOUT)) {
        return refuse(operation, WRT_ERR_UNSUPPORTED,
                      "this kernel's io_uring can't cancel requests", 0, is_refused);
    }
    const bool has_fsync = knows(&probed, WRT__OP_FSYNC);
    state->operations = bit_if(knows(&probed, WRT__OP_READ), WRT_IO_URING_READ) |
                        bit_if(knows(&probed, WRT__OP_WRITE), WRT_IO_URING_WRITE) |
                        bit_if(knows(&probed, WRT__OP_READ_FIXED), WRT_IO_URING_READ_FIXED) |
                        bit_if(knows(&probed, WRT__OP_WRITE_FIXED), WRT_IO_URING_WRITE_FIXED) |
                        bit_if(has_fsync, WRT_IO_URING_FSYNC) |
                        bit_if(has_fsync, WRT_IO_URING_FDATASYNC);
    return WRT_OK;
}

/* ---- From outside ---- */

void wrt__io_kernel_close(wrt__io_ring *ring)
{
    (void)close(ring->descriptor);
    if (ring->sqes != NULL) (void)munmap(ring->sqes, ring->sqes_bytes); /* whole: can't fail */
    if (ring->rings != NULL) (void)munmap(ring->rings, ring->rings_bytes);
    *ring = (wrt__io_ring){0};
}

static wrt_status open_ring(const char *operation, wrt__io_state *state,
                            const wrt__io_uring_params *parameters, bool *is_refused)
{
    if ((parameters->features & needed_features) != needed_features) {
        return refuse(operation, WRT_ERR_UNSUPPORTED,
                      "this kernel's io_uring can't wait with a limit: it is before 5.11", 0,
                      is_refused);
    }
    const wrt_status status = map(operation, &state->ring, parameters);
    if (status != WRT_OK) return status;
    find_parts(&state->ring, parameters);
    return ask(operation, state, is_refused);
}

wrt_status wrt__io_kernel_open(const char *operation, wrt__io_state *state,
                               const wrt_io_uring_config *config, bool *is_refused)
{
    wrt__io_uring_params parameters;
    int descriptor = -1;

    wrt_status status = set_up(operation, config, &parameters, &descriptor, is_refused);
    if (status != WRT_OK) return status;
    state->ring = (wrt__io_ring){.descriptor = descriptor, .has_sq_thread = config->sq_thread};
    status = open_ring(operation, state, &parameters, is_refused);
    if (status != WRT_OK) {
        wrt__io_kernel_close(&state->ring);
        return status;
    }
    state->backend = &wrt__io_kernel;
    return WRT_OK;
}
