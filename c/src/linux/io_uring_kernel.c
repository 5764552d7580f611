/* The backend that is the kernel's ring.
 *
 * Without an SQ thread the submission queue is empty between calls: what the kernel did not take is
 * taken back, so that a call that fails has done nothing. With one, what is in the queue is the
 * thread's, and a full queue says nothing about requests under way: their completions may be there
 * before their places are free again. So room in the queue is never waited for by waiting for a
 * completion.
 *
 * A request with a time-out is two entries, linked, and has two completions; it has ended when both
 * are there. A cancel is an entry of its own. What an entry is about stands in its user_data: the
 * slot below, its kind above.
 *
 * So many requests are let under way that their completions have room; if those of cancels are too
 * many, the kernel keeps the rest and says so (NODROP), and has to be called for them. */
#include "io_uring.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "times.h"

enum {
    SLICE_NS = 1000000000, /* so long one sleep is at most; then all is looked at again */
    ROOM_NS = 1000000000,  /* so long a full queue is waited for, with an SQ thread */
    ROOM_STEP_NS = 50000
};

enum kind { KIND_REQUEST, KIND_TIMEOUT, KIND_CANCEL };

enum { KIND_SHIFT = 32 };

static uint64_t tag(enum kind kind, uint32_t index)
{
    return (uint64_t)kind << KIND_SHIFT | index;
}

static uint32_t index_of(uint64_t user_data)
{
    return (uint32_t)user_data;
}

static enum kind kind_of(uint64_t user_data)
{
    return (enum kind)(user_data >> KIND_SHIFT);
}

/* ---- Filling the queue ---- */

static uint32_t room(const wrt__io_ring *ring)
{
    return ring->sq_entries - (ring->tail - wrt__load_acquire(ring->sq_head));
}

static wrt__io_uring_sqe *next_entry(wrt__io_ring *ring)
{
    wrt__io_uring_sqe *const entry = &ring->sqes[ring->tail & ring->sq_mask];

    ring->tail++;
    ring->part_count++;
    return entry;
}

static uint8_t code_of(uint32_t operation)
{
    static const uint8_t codes[] = {[WRT_IO_URING_READ] = WRT__OP_READ,
                                    [WRT_IO_URING_WRITE] = WRT__OP_WRITE,
                                    [WRT_IO_URING_READ_FIXED] = WRT__OP_READ_FIXED,
                                    [WRT_IO_URING_WRITE_FIXED] = WRT__OP_WRITE_FIXED,
                                    [WRT_IO_URING_FSYNC] = WRT__OP_FSYNC,
                                    [WRT_IO_URING_FDATASYNC] = WRT__OP_FSYNC};

    return codes[operation];
}

static uint32_t entries_of(const wrt_io_uring_request *request)
{
    return request->timeout_ns != 0 ? 2 : 1;
}

static void push_timeout(wrt__io_ring *ring, wrt__io_slot *slot, uint32_t index)
{
    const struct timespec limit = wrt__timespec(slot->request.timeout_ns);
    wrt__io_uring_sqe *const entry = next_entry(ring);

    slot->limit = (wrt__io_uring_time){limit.tv_sec, limit.tv_nsec};
    *entry = (wrt__io_uring_sqe){.opcode = WRT__OP_LINK_TIMEOUT,
                                 .fd = -1,
                                 .addr = (uint64_t)(uintptr_t)&slot->limit,
                                 .len = 1,
                                 .user_data = tag(KIND_TIMEOUT, index)};
    slot->part_count++;
}

/* What is left of a slot's request, after the bytes that are done. There is room for it. */
static inline void push(wrt__io_ring *ring, wrt__io_slot *slot, uint32_t index, uint64_t done)
{
    const wrt_io_uring_request *const request = &slot->request;
    const bool is_placed = request->offset != UINT64_MAX;
    wrt__io_uring_sqe *const entry = next_entry(ring);

    *entry = (wrt__io_uring_sqe){
        .opcode = code_of(request->operation),
        .flags = request->timeout_ns != 0 ? WRT__SQE_IO_LINK : 0,
        .fd = request->descriptor,
        .off = is_placed ? request->offset + done : request->offset,
        .addr = (uint64_t)(uintptr_t)request->buffer + done,
        .len = (uint32_t)(request->size - done),
        .op_flags = request->operation == WRT_IO_URING_FDATASYNC ? WRT__FSYNC_DATASYNC : 0,
        .user_data = tag(KIND_REQUEST, index),
        .buf_index = (uint16_t)request->buffer_index};
    slot->part_count++;
    slot->state = WRT__SLOT_AT_WORK;
    if (request->timeout_ns != 0) push_timeout(ring, slot, index);
}

/* As many requests as there is room for, in the queue and among the completions. */
static uint32_t fill(wrt__io_state *state, const wrt_io_uring_request *requests, uint32_t count)
{
    wrt__io_ring *const ring = &state->ring;
    uint32_t free_entries = room(ring);
    uint32_t filled = 0;

    while (filled < count) {
        const uint32_t needed = entries_of(&requests[filled]);
        if (needed > free_entries || ring->part_count + needed > state->slot_count) break;
        const uint32_t index = wrt__io_slot_take(state, &requests[filled]);
        if (index == WRT__NO_REQUEST) break;
        push(ring, &state->slots[index], index, 0);
        free_entries -= needed;
        filled++;
    }
    return filled;
}

/* ---- Handing it over ---- */

/* Takes back what the kernel has not taken. Requests that were to go on end with what they have,
 * new ones go out of their slots; returns how many of these. */
static uint32_t take_back(wrt__io_state *state, int32_t error)
{
    wrt__io_ring *const ring = &state->ring;
    const uint32_t head = wrt__load_acquire(ring->sq_head);
    uint32_t count = 0;

    for (uint32_t at = head; at != ring->tail; at++) {
        const wrt__io_uring_sqe *const entry = &ring->sqes[at & ring->sq_mask];
        const uint32_t index = index_of(entry->user_data);
        wrt__io_slot *const slot = &state->slots[index];
        ring->part_count--;
        if (kind_of(entry->user_data) == KIND_CANCEL || --slot->part_count != 0) continue;
        if (slot->progress.done == 0 && slot->progress.tries == 0) {
            wrt__io_slot_free(state, index);
            count++;
        } else {
            wrt__io_end(slot, error);
            wrt__io_finish(state, index);
        }
    }
    ring->tail = head;
    wrt__store_release(ring->sq_tail, head);
    return count;
}

static bool is_asleep(const wrt__io_ring *ring)
{
    /* the tail must be seen before the flag is looked at: both in one total order */
    return (wrt__load_ordered(ring->sq_flags) & WRT__SQ_NEED_WAKEUP) != 0;
}

/* With an SQ thread, what is in the queue is under way. If it can't be woken now, the wait calls
 * try again. */
static void wake(wrt__io_ring *ring)
{
    if (is_asleep(ring)) {
        (void)wrt__sys_io_uring_enter(ring->descriptor, 0, 0, WRT__ENTER_SQ_WAKEUP, NULL);
    }
}

static wrt_status fail_to_enter(const char *operation, int code)
{
    if (code == EBUSY || code == EAGAIN) {
        return wrt_fail_system(WRT_ERR_BUSY, operation,
                               "io_uring_enter takes no more now: take completions first", code, 0,
                               0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "io_uring_enter failed", code, 0, 0);
}

/* *lost_out: new requests that the kernel did not take. */
static wrt_status hand_over(const char *operation, wrt__io_state *state, uint32_t *lost_out)
{
    wrt__io_ring *const ring = &state->ring;

    *lost_out = 0;
    wrt__store_ordered(ring->sq_tail, ring->tail);
    if (ring->has_sq_thread) {
        wake(ring);
        return WRT_OK;
    }
    for (;;) {
        const uint32_t count = ring->tail - wrt__load_acquire(ring->sq_head);
        if (count == 0) return WRT_OK;
        const int taken = wrt__sys_io_uring_enter(ring->descriptor, count, 0, 0, NULL);
        if (taken > 0 || (taken < 0 && errno == EINTR)) continue;
        const int code = taken < 0 ? errno : EAGAIN;
        *lost_out = take_back(state, -code);
        return fail_to_enter(operation, code);
    }
}

/* Waits, with an SQ thread, until it has taken something out of a full queue. */
static bool wait_for_room(wrt__io_ring *ring, uint32_t needed)
{
    const struct timespec step = wrt__timespec(ROOM_STEP_NS);

    if (!ring->has_sq_thread) return room(ring) >= needed;
    for (uint32_t waited = 0; room(ring) < needed && waited < ROOM_NS; waited += ROOM_STEP_NS) {
        wake(ring);
        (void)nanosleep(&step, NULL);
    }
    return room(ring) >= needed;
}

static wrt_status submit(const char *operation, wrt__io_state *state,
                         const wrt_io_uring_request *requests, uint32_t count,
                         uint32_t *accepted_out)
{
    uint32_t accepted = 0;
    uint32_t lost = 0;
    wrt_status status = WRT_OK;

    while (accepted < count && status == WRT_OK) {
        if (!wait_for_room(&state->ring, entries_of(&requests[accepted]))) break;
        const uint32_t filled = fill(state, &requests[accepted], count - accepted);
        if (filled == 0) break;
        status = hand_over(operation, state, &lost);
        accepted += filled - lost;
    }
    *accepted_out = accepted;
    if (accepted != 0) return WRT_OK;
    if (status != WRT_OK) return status;
    return wrt_fail_detail(WRT_ERR_BUSY, operation,
                           "the ring is full: {0} requests are under way, and it has room for {1} "
                           "completions; take some first",
                           state->under_way, state->slot_count);
}

/* ---- Completions ---- */

/* The common case: all of it at once. Of a later part all would be less. */
static bool is_whole(const wrt__io_slot *slot)
{
    return slot->result >= 0 && (uint64_t)slot->result == slot->request.size;
}

/* A request's last part came to its result. True: the request has ended; else the rest of it is in
 * the queue. */
static bool is_over(const char *operation, wrt__io_state *state, uint32_t index)
{
    wrt__io_ring *const ring = &state->ring;
    wrt__io_slot *const slot = &state->slots[index];
    uint32_t lost = 0;

    if (!wrt__io_goes_on(slot, slot->result)) return true;
    if (room(ring) < entries_of(&slot->request)) {
        if (hand_over(operation, state, &lost) != WRT_OK ||
            !wait_for_room(ring, entries_of(&slot->request))) {
            wrt__io_end(slot, -EAGAIN);
            return true;
        }
    }
    push(ring, slot, index, slot->progress.done);
    return false;
}

/* Notes one; true if its request has ended. */
static inline bool note(const char *operation, wrt__io_state *state,
                        const wrt__io_uring_cqe *completion)
{
    const uint32_t index = index_of(completion->user_data);
    const enum kind kind = kind_of(completion->user_data);

    state->ring.part_count--;
    if (kind == KIND_CANCEL) return false;
    wrt__io_slot *const slot = &state->slots[index];
    if (kind == KIND_REQUEST) slot->result = completion->res;
    if (kind == KIND_TIMEOUT && completion->res == -ETIME) {
        wrt__io_progress_of(slot)->has_timed_out = 1;
    }
    if (--slot->part_count != 0) return false;
    return is_whole(slot) || is_over(operation, state, index);
}

/* Takes what is there. */
static uint32_t reap(const char *operation, wrt__io_state *state,
                     wrt_io_uring_completion *completions_out, uint32_t capacity)
{
    wrt__io_ring *const ring = &state->ring;
    uint32_t count = wrt__io_take_finished(state, completions_out, capacity);
    uint32_t head = wrt__load(ring->cq_head);
    const uint32_t tail = wrt__load_acquire(ring->cq_tail);
    uint32_t lost = 0;

    const uint32_t before = ring->tail;
    while (count < capacity && head != tail) {
        const wrt__io_uring_cqe completion = ring->cqes[head & ring->cq_mask];
        head++;
        if (note(operation, state, &completion)) {
            wrt__io_give(state, index_of(completion.user_data), &completions_out[count]);
            count++;
        }
    }
    wrt__store_release(ring->cq_head, head);
    if (ring->tail != before)
        (void)hand_over(operation, state, &lost); /* what is lost, has ended */
    return count + wrt__io_take_finished(state, &completions_out[count], capacity - count);
}

/* Whether the kernel keeps completions that had no room, or its thread sleeps over requests. */
static bool is_called_for(const wrt__io_ring *ring)
{
    if ((wrt__load(ring->sq_flags) & WRT__SQ_CQ_OVERFLOW) != 0) return true;
    return ring->has_sq_thread && ring->tail != wrt__load_acquire(ring->sq_head) && is_asleep(ring);
}

/* Sleeps until there are `minimum` completions more, but no longer than `limit_ns`. */
static wrt_status sleep_for(const char *operation, wrt__io_ring *ring, uint32_t minimum,
                            uint64_t limit_ns)
{
    const struct timespec limit = wrt__timespec(limit_ns < SLICE_NS ? limit_ns : SLICE_NS);
    const wrt__io_uring_time time = {limit.tv_sec, limit.tv_nsec};
    uint32_t flags = WRT__ENTER_GETEVENTS;

    if (ring->has_sq_thread && is_asleep(ring)) flags |= WRT__ENTER_SQ_WAKEUP;
    if (wrt__sys_io_uring_enter(ring->descriptor, 0, minimum, flags, &time) >= 0) return WRT_OK;
    const int code = errno;
    if (code == ETIME || code == EINTR || code == EBUSY || code == EAGAIN) return WRT_OK;
    return fail_to_enter(operation, code);
}

static wrt_status wait_longer(const char *operation, wrt__io_state *state, uint32_t minimum,
                              uint64_t timeout_ns, uint64_t *end_ns)
{
    uint64_t now = 0;

    const wrt_status status = wrt__io_now(operation, &now);
    if (status != WRT_OK) return status;
    if (*end_ns == 0) *end_ns = wrt__time_after(now, timeout_ns);
    if (now >= *end_ns && !is_called_for(&state->ring)) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "none of {0} requests under way came to an end in {1} nanoseconds",
                               state->under_way, timeout_ns);
    }
    const uint32_t parts = state->ring.part_count;
    return sleep_for(operation, &state->ring, minimum < parts ? minimum : parts,
                     now < *end_ns ? *end_ns - now : 0);
}

static wrt_status wait_for(const char *operation, wrt__io_state *state,
                           wrt_io_uring_completion *completions_out, uint32_t capacity,
                           uint32_t minimum, uint64_t timeout_ns, uint32_t *count_out)
{
    uint32_t count = reap(operation, state, completions_out, capacity);
    wrt_status status = WRT_OK;
    uint64_t end_ns = 0;

    if (count < capacity && is_called_for(&state->ring)) {
        status = sleep_for(operation, &state->ring, 0, 0);
        count += reap(operation, state, &completions_out[count], capacity - count);
    }
    while (count < minimum && status == WRT_OK) {
        status = wait_longer(operation, state, minimum - count, timeout_ns, &end_ns);
        count += reap(operation, state, &completions_out[count], capacity - count);
    }
    *count_out = count;
    return count != 0 ? WRT_OK : status;
}

/* ---- Cancelling ---- */

static bool is_meant(const wrt__io_slot *slot, uint64_t user_data, bool is_all)
{
    return slot->state == WRT__SLOT_AT_WORK && (is_all || slot->request.user_data == user_data);
}

static wrt_status cancel_slot(const char *operation, wrt__io_state *state, uint32_t index)
{
    wrt__io_ring *const ring = &state->ring;
    uint32_t lost = 0;

    if (room(ring) == 0) {
        const wrt_status status = hand_over(operation, state, &lost);
        if (status != WRT_OK) return status;
        if (!wait_for_room(ring, 1)) return fail_to_enter(operation, EBUSY);
    }
    *next_entry(ring) = (wrt__io_uring_sqe){.opcode = WRT__OP_ASYNC_CANCEL,
                                            .fd = -1,
                                            .addr = tag(KIND_REQUEST, index),
                                            .user_data = tag(KIND_CANCEL, 0)};
    wrt__store(&wrt__io_progress_of(&state->slots[index])->is_cancelled, 1);
    return WRT_OK;
}

static wrt_status cancel(const char *operation, wrt__io_state *state, uint64_t user_data,
                         bool is_all, uint32_t *found_out)
{
    wrt_status status = WRT_OK;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < state->slot_count && status == WRT_OK; i++) {
        if (!is_meant(&state->slots[i], user_data, is_all)) continue;
        status = cancel_slot(operation, state, i);
        (*found_out)++;
    }
    const wrt_status handed = hand_over(operation, state, &lost);
    return status == WRT_OK ? handed : status;
}

/* ---- Buffers, and the end ---- */

static wrt_status fail_to_register(const char *operation, int code)
{
    if (code == ENOMEM || code == EAGAIN) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "io_uring_register has no memory to lock: raise RLIMIT_MEMLOCK "
                               "(ulimit -l), or register less",
                               code, 0, 0);
    }
    if (code == EFAULT || code == EINVAL || code == EOPNOTSUPP) {
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "io_uring_register can't have that memory: a file, more than 1 GiB, "
                               "or not there",
                               code, 0, 0);
    }
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "io_uring_register failed", code, 0, 0);
}

/* A buffer looks as a struct iovec does. */
_Static_assert(sizeof(wrt_io_uring_buffer) == sizeof(struct iovec), "buffers go as they are");
_Static_assert(offsetof(wrt_io_uring_buffer, size) == offsetof(struct iovec, iov_len),
               "buffers go as they are");

static wrt_status register_buffers(const char *operation, wrt__io_state *state,
                                   const wrt_io_uring_buffer *buffers, uint32_t count)
{
    const uint32_t call = buffers != NULL ? WRT__REGISTER_BUFFERS : WRT__UNREGISTER_BUFFERS;

    if (wrt__sys_io_uring_register(state->ring.descriptor, call, buffers, count) >= 0) {
        return WRT_OK;
    }
    return fail_to_register(operation, errno);
}

static wrt_status close_ring(const char *operation, wrt__io_state *state)
{
    (void)operation;
    wrt__io_kernel_close(&state->ring);
    return WRT_OK;
}

const wrt__io_backend wrt__io_kernel = {.number = WRT_IO_URING_KERNEL,
                                        .submit = submit,
                                        .wait = wait_for,
                                        .cancel = cancel,
                                        .register_buffers = register_buffers,
                                        .close = close_ring};
