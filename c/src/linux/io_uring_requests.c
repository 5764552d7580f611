/* Requests, completions and registered buffers: the rules, which are the same for both backends. */
#include "io_uring.h"

#include "../core/fail.h"

/* ---- Requests ---- */

static bool is_in_buffer(const wrt__io_state *state, const wrt_io_uring_request *request)
{
    if (request->buffer_index >= state->buffer_count) return false;
    const wrt_io_uring_buffer *const buffer = &state->buffers[request->buffer_index];
    const uintptr_t offset = (uintptr_t)request->buffer - (uintptr_t)buffer->start;

    return offset <= buffer->size && request->size <= buffer->size - offset;
}

/* What is wrong with a request; NULL: nothing. */
static const char *fault_of(const wrt__io_state *state, const wrt_io_uring_request *request)
{
    const bool is_fixed = request->operation == WRT_IO_URING_READ_FIXED ||
                          request->operation == WRT_IO_URING_WRITE_FIXED;

    if (request->operation < WRT_IO_URING_READ || request->operation > WRT_IO_URING_FDATASYNC) {
        return "request {0}: operation {1} is not one of wrt_io_uring_operation";
    }
    if (request->operation >= WRT_IO_URING_FSYNC) {
        const bool is_bare = request->buffer == NULL && request->size == 0 && request->offset == 0;
        return is_bare ? NULL : "request {0}: an FSYNC takes no buffer, size and offset";
    }
    if (request->size > WRT_IO_URING_SIZE_MAX) {
        return "request {0}: size is more than 2147479552 bytes, which read(2) takes at most";
    }
    if (request->buffer == NULL && request->size != 0) return "request {0}: buffer is NULL";
    if (is_fixed && !is_in_buffer(state, request)) {
        return "request {0}: its memory is not in the registered buffer of its buffer_index";
    }
    if (!is_fixed && request->buffer_index != 0) {
        return "request {0}: buffer_index is given, which only FIXED operations take";
    }
    return NULL;
}

/* Most requests, by few looks: reads and writes that break no rule. */
static inline bool is_plain(const wrt__io_state *state, const wrt_io_uring_request *request)
{
    if (request->operation >= WRT_IO_URING_FSYNC || request->reserved != 0) return false;
    if ((state->operations & 1u << request->operation) == 0) return false;
    if (request->size > WRT_IO_URING_SIZE_MAX || request->buffer == NULL) return false;
    if (request->operation <= WRT_IO_URING_WRITE) return request->buffer_index == 0;
    return is_in_buffer(state, request);
}

static wrt_status check_request(const char *operation, const wrt__io_state *state,
                                const wrt_io_uring_request *request, uint32_t place)
{
    const char *const fault = fault_of(state, request);

    if (fault != NULL) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, fault, place,
                               request->operation);
    }
    if (request->reserved != 0) {
        return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                               "request {0}: a reserved field is not zero", place, 0);
    }
    if ((state->operations & 1u << request->operation) != 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                           "request {0}: this kernel's io_uring has no operation {1}; the backend "
                           "THREADS has them all",
                           place, request->operation);
}

static wrt_status submit(const char *operation, wrt_io_uring *ring,
                         const wrt_io_uring_request *requests, uint32_t count,
                         uint32_t *accepted_out)
{
    wrt_status status = wrt__io_check(operation, ring);
    if (status != WRT_OK) return status;
    if (accepted_out == NULL || (requests == NULL && count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "requests or accepted_out is NULL");
    }
    wrt__io_state *const state = ring->state;
    *accepted_out = 0;
    for (uint32_t i = 0; i < count && status == WRT_OK; i++) {
        if (!is_plain(state, &requests[i])) {
            status = check_request(operation, state, &requests[i], i);
        }
    }
    if (status != WRT_OK || count == 0) return status;
    return state->backend->submit(operation, state, requests, count, accepted_out);
}

wrt_status wrt_io_uring_submit(wrt_io_uring *ring, const wrt_io_uring_request *requests,
                               uint32_t count, uint32_t *accepted_out)
{
    return submit(__func__, ring, requests, count, accepted_out);
}

wrt_status wrt_io_uring_submit_read(wrt_io_uring *ring, int32_t descriptor, void *buffer,
                                    uint64_t size, uint64_t offset, uint64_t user_data)
{
    uint32_t accepted = 0;
    const wrt_io_uring_request request = {.buffer = buffer,
                                          .size = size,
                                          .offset = offset,
                                          .user_data = user_data,
                                          .descriptor = descriptor,
                                          .operation = WRT_IO_URING_READ};

    return submit(__func__, ring, &request, 1, &accepted);
}

wrt_status wrt_io_uring_submit_write(wrt_io_uring *ring, int32_t descriptor, const void *buffer,
                                     uint64_t size, uint64_t offset, uint64_t user_data)
{
    uint32_t accepted = 0;
    const wrt_io_uring_request request = {.buffer = (void *)(uintptr_t)buffer,
                                          .size = size,
                                          .offset = offset,
                                          .user_data = user_data,
                                          .descriptor = descriptor,
                                          .operation = WRT_IO_URING_WRITE};

    return submit(__func__, ring, &request, 1, &accepted);
}

wrt_status wrt_io_uring_submit_fsync(wrt_io_uring *ring, int32_t descriptor, uint64_t user_data)
{
    uint32_t accepted = 0;
    const wrt_io_uring_request request = {
        .user_data = user_data, .descriptor = descriptor, .operation = WRT_IO_URING_FSYNC};

    return submit(__func__, ring, &request, 1, &accepted);
}

static wrt_status wait_for(const char *operation, wrt_io_uring *ring,
                           wrt_io_uring_completion *completions_out, uint32_t capacity,
                           uint32_t minimum, uint64_t timeout_ns, uint32_t *count_out)
{
    const wrt_status status = wrt__io_check(operation, ring);
    if (status != WRT_OK) return status;
    if (completions_out == NULL || count_out == NULL || capacity == 0 || minimum > capacity) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "completions_out or count_out is NULL, or capacity is 0 or below minimum");
    }
    wrt__io_state *const state = ring->state;
    *count_out = 0;
    if (state->under_way == 0) {
        return wrt_fail(WRT_ERR_STATE, operation,
                        "nothing is under way, so no completion will come; submit first");
    }
    if (minimum > state->under_way) minimum = state->under_way;
    return state->backend->wait(operation, state, completions_out, capacity, minimum, timeout_ns,
                                count_out);
}

wrt_status wrt_io_uring_wait(wrt_io_uring *ring, wrt_io_uring_completion *completions_out,
                             uint32_t capacity, uint32_t minimum, uint64_t timeout_ns,
                             uint32_t *count_out)
{
    return wait_for(__func__, ring, completions_out, capacity, minimum, timeout_ns, count_out);
}

wrt_status wrt_io_uring_wait_completion(wrt_io_uring *ring, wrt_io_uring_completion *completion_out,
                                        uint64_t timeout_ns)
{
    uint32_t count = 0;

    return wait_for(__func__, ring, completion_out, 1, 1, timeout_ns, &count);
}

wrt_status wrt_io_uring_cancel(wrt_io_uring *ring, uint64_t user_data)
{
    uint32_t found = 0;

    wrt_status status = wrt__io_check(__func__, ring);
    if (status != WRT_OK) return status;
    wrt__io_state *const state = ring->state;
    status = state->backend->cancel(__func__, state, user_data, false, &found);
    if (status != WRT_OK || found != 0) return status;
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "nothing with user_data {0} is under way",
                           user_data, 0);
}

/* ---- Registered buffers ---- */

static wrt_status check_buffers(const char *operation, const wrt_io_uring_buffer *buffers,
                                uint32_t count)
{
    if (buffers == NULL || count == 0 || count > WRT_IO_URING_BUFFERS_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "buffers is NULL, or there are {0}, not 1 to {1}", count,
                               WRT_IO_URING_BUFFERS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t size = buffers[i].size;
        if (buffers[i].start != NULL && size != 0 && size <= WRT_IO_URING_SIZE_MAX) continue;
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "buffer {0} is NULL, or has {1} bytes, not 1 to 2147479552", i,
                               size);
    }
    return WRT_OK;
}

static wrt_status check_idle(const char *operation, const wrt__io_state *state)
{
    if (state->under_way == 0) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_STATE, operation,
                           "{0} requests are under way; take their completions first",
                           state->under_way, 0);
}

wrt_status wrt_io_uring_register_buffers(wrt_io_uring *ring, const wrt_io_uring_buffer *buffers,
                                         uint32_t count)
{
    wrt_status status = wrt__io_check(__func__, ring);
    if (status == WRT_OK) status = check_buffers(__func__, buffers, count);
    if (status == WRT_OK) status = check_idle(__func__, ring->state);
    if (status != WRT_OK) return status;
    wrt__io_state *const state = ring->state;
    if (state->buffer_count != 0) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__,
                               "{0} buffers are registered; unregister them first",
                               state->buffer_count, 0);
    }
    status = state->backend->register_buffers(__func__, state, buffers, count);
    if (status != WRT_OK) return status;
    memcpy(state->buffers, buffers, count * sizeof *buffers);
    state->buffer_count = count;
    return WRT_OK;
}

wrt_status wrt_io_uring_unregister_buffers(wrt_io_uring *ring)
{
    wrt_status status = wrt__io_check(__func__, ring);
    if (status == WRT_OK) status = check_idle(__func__, ring->state);
    if (status != WRT_OK) return status;
    wrt__io_state *const state = ring->state;
    if (state->buffer_count == 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "no buffers are registered");
    }
    status = state->backend->register_buffers(__func__, state, NULL, 0);
    if (status == WRT_OK) state->buffer_count = 0;
    return status;
}
