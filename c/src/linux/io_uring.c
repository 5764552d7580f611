/* Rings: how they are made, over which backend, and how they end. */
#include "io_uring.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "fork.h"

enum { DRAIN_NS = 100000000, DRAINED_AT_ONCE = 64 };

const char *wrt_io_uring_backend_name(uint32_t backend)
{
    if (backend == WRT_IO_URING_KERNEL) return "kernel";
    return backend == WRT_IO_URING_THREADS ? "threads" : "unknown";
}

wrt_status wrt__io_check(const char *operation, const wrt_io_uring *ring)
{
    if (ring == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "ring is NULL");
    if (ring->self != ring) {
        return wrt_fail(WRT_ERR_STATE, operation, "the ring is not initialised, or was moved");
    }
    if (ring->fork_generation == wrt__fork_generation()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the ring belongs to the process that forked this one; make a new one");
}

/* ---- Init ---- */

static uint32_t power_of_two(uint32_t number)
{
    uint32_t power = 1;

    while (power < number) power *= 2;
    return power;
}

static void fill_in(wrt_io_uring_config *known)
{
    if (known->entries == 0) known->entries = WRT_IO_URING_ENTRIES_DEFAULT;
    known->entries = power_of_two(known->entries);
    if (known->cq_size == 0) known->cq_size = 2 * known->entries;
    known->cq_size = power_of_two(known->cq_size);
    if (known->thread_count == 0) known->thread_count = WRT_IO_URING_THREADS_DEFAULT;
    if (known->sq_idle_ns == 0) known->sq_idle_ns = WRT_IO_URING_SQ_IDLE_DEFAULT;
}

static wrt_status check_sizes(const char *operation, const wrt_io_uring_config *known)
{
    if (known->entries == 1 || known->entries > WRT_IO_URING_ENTRIES_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "entries is {0}, a ring has 2 to {1}", known->entries,
                               WRT_IO_URING_ENTRIES_MAX);
    }
    const uint32_t entries = known->entries == 0 ? WRT_IO_URING_ENTRIES_DEFAULT : known->entries;
    if (known->cq_size != 0 &&
        (known->cq_size < entries || known->cq_size > WRT_IO_URING_CQ_SIZE_MAX)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "cq_size is {0}, not from entries ({1}) to 65536", known->cq_size,
                               entries);
    }
    if (known->thread_count > WRT_IO_URING_THREADS_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "thread_count is {0}, at most {1}", known->thread_count,
                               WRT_IO_URING_THREADS_MAX);
    }
    return WRT_OK;
}

static wrt_status read_config(const char *operation, const wrt_io_uring_config *config,
                              wrt_io_uring_config *known)
{
    wrt_status status = wrt__config_read(operation, config, known, sizeof *known);
    if (status == WRT_OK) status = check_sizes(operation, known);
    if (status != WRT_OK) return status;
    if (known->backend > WRT_IO_URING_THREADS) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "backend {0} is not one of wrt_io_uring_backend", known->backend, 0);
    }
    if (!known->sq_thread && (known->has_sq_thread_cpu || known->sq_idle_ns != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "sq_thread_cpu or sq_idle_ns is given without sq_thread");
    }
    if (known->sq_idle_ns > UINT32_MAX * UINT64_C(1000000)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "sq_idle_ns is {0}, at most {1}", known->sq_idle_ns,
                               UINT32_MAX * UINT64_C(1000000));
    }
    if (!wrt__is_zero(known->reserved, sizeof known->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "a reserved field is not zero");
    }
    fill_in(known);
    return WRT_OK;
}

static size_t state_bytes(const wrt_io_uring_config *config)
{
    return sizeof(wrt__io_state) + config->cq_size * sizeof(wrt__io_slot) +
           WRT_IO_URING_BUFFERS_MAX * sizeof(wrt_io_uring_buffer) +
           (config->cq_size + 1) * sizeof(struct pollfd) + config->cq_size * sizeof(uint32_t);
}

/* The state, and behind it slots, buffers, what is polled, and which slots are free. */
static wrt_status map_state(const char *operation, const wrt_io_uring_config *config,
                            wrt__io_state **state_out)
{
    wrt__io_state *const state =
        wrt__sys_mmap(state_bytes(config), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    if (state == MAP_FAILED) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "mmap of {0} bytes failed", errno,
                               state_bytes(config), 0);
    }
    state->slots = (wrt__io_slot *)(void *)(state + 1);
    state->buffers = (wrt_io_uring_buffer *)(void *)(state->slots + config->cq_size);
    state->threads.polled = (struct pollfd *)(void *)(state->buffers + WRT_IO_URING_BUFFERS_MAX);
    state->free_slots = (uint32_t *)(void *)(state->threads.polled + config->cq_size + 1);
    state->free_count = config->cq_size;
    state->entries = config->entries;
    state->slot_count = config->cq_size;
    state->finished = (wrt__io_list){WRT__NO_REQUEST, WRT__NO_REQUEST};
    for (uint32_t i = 0; i < config->cq_size; i++) {
        state->free_slots[i] = config->cq_size - 1 - i;
    }
    *state_out = state;
    return WRT_OK;
}

static wrt_enforcement holds(uint32_t state, const char *reason)
{
    return (wrt_enforcement){.reason = reason, .state = state};
}

static wrt_status open_backend(const char *operation, wrt__io_state *state,
                               const wrt_io_uring_config *config, wrt_enforcement *kernel_out)
{
    bool is_refused = false;

    *kernel_out = holds(WRT_ENFORCEMENT_NOT_ASKED, "the config asks for threads");
    if (config->backend != WRT_IO_URING_THREADS) {
        const wrt_status status = wrt__io_kernel_open(operation, state, config, &is_refused);
        *kernel_out = holds(WRT_ENFORCEMENT_ENFORCED, "a ring of the kernel's");
        if (status == WRT_OK) return WRT_OK;
        if (!is_refused || config->backend == WRT_IO_URING_KERNEL) return status;
        *kernel_out = holds(WRT_ENFORCEMENT_ABSENT, wrt_error_last()->reason);
    }
    return wrt__io_threads_open(operation, state, config);
}

static wrt_enforcement sq_thread_of(const wrt_io_uring_config *config, const wrt__io_state *state)
{
    if (!config->sq_thread) return holds(WRT_ENFORCEMENT_NOT_ASKED, "not asked for");
    if (state->backend->number == WRT_IO_URING_KERNEL) {
        return holds(WRT_ENFORCEMENT_ENFORCED, "a thread of the kernel");
    }
    return holds(WRT_ENFORCEMENT_ABSENT, "only the kernel's ring has one, see there");
}

wrt_status wrt_io_uring_init(wrt_io_uring *ring, const wrt_io_uring_config *config)
{
    wrt_io_uring_config known;
    wrt__io_state *state = NULL;
    wrt_enforcement kernel = {0};

    if (ring == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "ring is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = wrt__fork_watch(__func__);
    if (status == WRT_OK) status = map_state(__func__, &known, &state);
    if (status != WRT_OK) return status;
    status = open_backend(__func__, state, &known, &kernel);
    if (status != WRT_OK) {
        (void)munmap(state, state_bytes(&known)); /* a whole mapping: it can't fail */
        return status;
    }
    *ring = (wrt_io_uring){.self = ring,
                           .state = state,
                           .state_bytes = state_bytes(&known),
                           .kernel = kernel,
                           .sq_thread = sq_thread_of(&known, state),
                           .fork_generation = wrt__fork_generation(),
                           .backend = state->backend->number};
    return WRT_OK;
}

wrt_status wrt_io_uring_probe(wrt_enforcement *kernel_out)
{
    const wrt_io_uring_config config = {
        .struct_size = sizeof config, .entries = 2, .backend = WRT_IO_URING_KERNEL};
    wrt_io_uring ring = {0};

    if (kernel_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "kernel_out is NULL");
    }
    const wrt_status status = wrt_io_uring_init(&ring, &config);
    if (status == WRT_OK) {
        *kernel_out = ring.kernel;
        return wrt_io_uring_deinit(&ring);
    }
    if (status != WRT_ERR_UNSUPPORTED && status != WRT_ERR_PERMISSION) {
        const wrt_error error = *wrt_error_last();
        return wrt_fail_system(status, __func__, error.reason, error.os_code, error.detail[0],
                               error.detail[1]);
    }
    *kernel_out = holds(WRT_ENFORCEMENT_ABSENT, wrt_error_last()->reason);
    return WRT_OK;
}

/* ---- The end ---- */

/* Cancels and takes all that is under way. What a cancel came too early for is cancelled again. */
static wrt_status drain(const char *operation, wrt__io_state *state)
{
    wrt_io_uring_completion taken[DRAINED_AT_ONCE];
    wrt_status status = WRT_OK;

    while (state->under_way != 0 && status == WRT_OK) {
        uint32_t count = 0;
        status = state->backend->cancel(operation, state, 0, true, &count);
        if (status == WRT_ERR_BUSY) status = WRT_OK; /* then what is there has to be taken first */
        while (state->under_way != 0 && status == WRT_OK) {
            count = 0;
            status =
                state->backend->wait(operation, state, taken, DRAINED_AT_ONCE, 1, DRAIN_NS, &count);
        }
        if (status == WRT_ERR_TIMED_OUT) status = WRT_OK;
    }
    return status;
}

wrt_status wrt_io_uring_deinit(wrt_io_uring *ring)
{
    if (ring == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "ring is NULL");
    if (wrt__is_zero(ring, sizeof *ring)) return WRT_OK;
    wrt_status status = wrt__io_check(__func__, ring);
    if (status != WRT_OK) return status;
    wrt__io_state *const state = ring->state;
    status = drain(__func__, state);
    if (status == WRT_OK) status = state->backend->close(__func__, state);
    if (status != WRT_OK) return status;
    (void)munmap(state, ring->state_bytes);
    *ring = (wrt_io_uring){0};
    return WRT_OK;
}

/* ---- Asking ---- */

wrt_status wrt_io_uring_query(const wrt_io_uring *ring, wrt_io_uring_report *report_out)
{
    const wrt_status status = wrt__io_check(__func__, ring);
    if (status != WRT_OK) return status;
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt__io_state *const state = ring->state;
    const bool is_kernel = ring->backend == WRT_IO_URING_KERNEL;
    *report_out = (wrt_io_uring_report){.backend = ring->backend,
                                        .entries = state->entries,
                                        .cq_size = state->slot_count,
                                        .thread_count = state->threads.thread_count,
                                        .under_way = state->under_way,
                                        .buffer_count = state->buffer_count,
                                        .operations = state->operations,
                                        .descriptor = is_kernel ? state->ring.descriptor : -1,
                                        .kernel = ring->kernel,
                                        .sq_thread = ring->sq_thread};
    return WRT_OK;
}
