/* The backend that stands in for the kernel's ring: a few threads with pread, pwrite and fsync.
 *
 * A request is queued, taken by a thread, and finished; or parked, if its pipe or socket is not
 * ready. Parked ones are polled, and time-outs of those that wait looked at, by the caller in its
 * wait calls: so no thread is ever kept by what may never come, and all but what is at work can be
 * cancelled at once. An eventfd tells a waiting caller of what has finished or been parked.
 *
 * Slots that are free or not queued yet are the caller's alone; all else lies under the lock. */
#include "io_uring.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "mutex.h"
#include "times.h"

enum { STACK_SIZE = 262144, SLICE_NS = 1000000000 };

static wrt__io_threads *lock(wrt__io_state *state)
{
    (void)pthread_mutex_lock(&state->threads.lock); /* nobody holds it twice, and nobody dies */
    return &state->threads;
}

static void unlock(wrt__io_state *state)
{
    (void)pthread_mutex_unlock(&state->threads.lock);
}

static void tell(const wrt__io_threads *threads)
{
    if (threads->is_waited_for != 0) (void)wrt__sys_eventfd_add(threads->event);
}

static void call_threads(wrt__io_threads *threads, uint32_t count)
{
    (void)wrt__add(&threads->work_word, 1);
    (void)wrt__sys_futex_wake(&threads->work_word, count);
}

/* ---- What a thread does ---- */

/* Whether it came to its end, or has to wait. Runs without the lock: the slot is this thread's. */
static bool has_ended(wrt__io_slot *slot)
{
    int32_t result;

    do {
        result = wrt__io_transfer(slot);
        if (result == WRT__REQUEST_PARKED) return false;
    } while (wrt__io_goes_on(slot, result));
    return true;
}

static void put_away(wrt__io_state *state, uint32_t index, bool is_ended)
{
    wrt__io_slot *const slot = &state->slots[index];

    if (is_ended) {
        wrt__io_finish(state, index);
    } else if (wrt__load(&slot->progress.is_cancelled) != 0) {
        wrt__io_end(slot, -ECANCELED);
        wrt__io_finish(state, index);
    } else {
        slot->state = WRT__SLOT_PARKED;
        wrt__io_push(state, &state->threads.parked, index);
    }
    tell(&state->threads);
}

/* The next request; waits for one. WRT__NO_REQUEST: it is over. Holds the lock before and after. */
static uint32_t next_request(wrt__io_state *state)
{
    wrt__io_threads *const threads = &state->threads;

    while (threads->queued.first == WRT__NO_REQUEST && threads->is_over == 0) {
        const uint32_t seen = wrt__load(&threads->work_word);
        unlock(state);
        (void)wrt__sys_futex_wait(&threads->work_word, seen, NULL);
        (void)lock(state);
    }
    return wrt__io_pop(state, &threads->queued);
}

static void *work(void *context)
{
    wrt__io_state *const state = context;

    (void)lock(state);
    for (;;) {
        const uint32_t index = next_request(state);
        if (index == WRT__NO_REQUEST) break;
        state->slots[index].state = WRT__SLOT_AT_WORK;
        unlock(state);
        const bool is_ended = has_ended(&state->slots[index]);
        (void)lock(state);
        put_away(state, index, is_ended);
    }
    unlock(state);
    return NULL;
}

/* ---- Their life ---- */

/* Signals stay with the process's own threads; faults would end it without a word if blocked. */
static int start_without_signals(pthread_t *handle, const pthread_attr_t *attributes,
                                 wrt__io_state *state)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t blocked;
    sigset_t before;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&blocked, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int code = wrt__sys_thread_create(handle, attributes, work, state);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static int start_thread(wrt__io_state *state)
{
    static const char name[] = "wrt-io";
    wrt__io_threads *const threads = &state->threads;
    pthread_attr_t attributes;

    int code = pthread_attr_init(&attributes);
    if (code != 0) return code;
    code = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_t *const handle = &threads->threads[threads->thread_count];
    if (code == 0) code = start_without_signals(handle, &attributes, state);
    (void)pthread_attr_destroy(&attributes);
    if (code != 0) return code;
    (void)wrt__sys_thread_set_name(*handle, name); /* a name is never worth a failure */
    threads->thread_count++;
    return 0;
}

/* Calls a thread that is idle until it has heard, and joins it. */
static int end_thread(wrt__io_threads *threads, pthread_t handle)
{
    struct timespec limit = {0};
    int code;

    do {
        call_threads(threads, INT32_MAX);
        if (clock_gettime(CLOCK_MONOTONIC, &limit) != 0) return errno;
        limit = wrt__timespec(wrt__time_after(wrt__nanoseconds(&limit), SLICE_NS));
        code = wrt__sys_thread_join(handle, &limit);
    } while (code == ETIMEDOUT);
    return code;
}

static int end_threads(wrt__io_state *state)
{
    wrt__io_threads *const threads = lock(state);

    threads->is_over = 1;
    unlock(state);
    while (threads->thread_count != 0) {
        const int code = end_thread(threads, threads->threads[threads->thread_count - 1]);
        if (code != 0) return code;
        threads->thread_count--;
    }
    return 0;
}

static wrt_status start_threads(const char *operation, wrt__io_state *state, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const int code = start_thread(state);
        if (code == 0) continue;
        (void)end_threads(state);
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation,
                               "pthread_create has no room for one more thread: see RLIMIT_NPROC "
                               "(ulimit -u), and the control group's pids.max",
                               code, 0, 0);
    }
    return WRT_OK;
}

static void close_rest(wrt__io_threads *threads)
{
    if (threads->event >= 0) (void)close(threads->event);
    if (threads->has_lock != 0) (void)pthread_mutex_destroy(&threads->lock);
}

wrt_status wrt__io_threads_open(const char *operation, wrt__io_state *state,
                                const wrt_io_uring_config *config)
{
    const wrt__mutex_kind kind = {.protocol = PTHREAD_PRIO_NONE};
    wrt__io_threads *const threads = &state->threads;

    threads->queued = threads->parked = (wrt__io_list){WRT__NO_REQUEST, WRT__NO_REQUEST};
    threads->event = wrt__sys_eventfd();
    if (threads->event < 0) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, operation, "eventfd failed (ulimit -n)", errno, 0,
                               0);
    }
    wrt_status status = wrt__mutex_init(operation, &threads->lock, &kind);
    threads->has_lock = status == WRT_OK;
    if (status == WRT_OK) status = start_threads(operation, state, config->thread_count);
    if (status != WRT_OK) {
        close_rest(threads);
        return status;
    }
    state->backend = &wrt__io_pool;
    state->operations = (2u << WRT_IO_URING_FDATASYNC) - (1u << WRT_IO_URING_READ);
    return WRT_OK;
}

static wrt_status close_threads(const char *operation, wrt__io_state *state)
{
    const int code = end_threads(state);

    if (code != 0) {
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pthread_join failed", code, 0, 0);
    }
    close_rest(&state->threads);
    return WRT_OK;
}

/* ---- Handing in ---- */

static wrt_status submit(const char *operation, wrt__io_state *state,
                         const wrt_io_uring_request *requests, uint32_t count,
                         uint32_t *accepted_out)
{
    uint32_t accepted = 0;
    uint64_t now = 0;

    const wrt_status status = wrt__io_now(operation, &now);
    if (status != WRT_OK) return status;
    wrt__io_threads *const threads = lock(state);
    for (; accepted < count; accepted++) {
        const uint64_t timeout_ns = requests[accepted].timeout_ns;
        const uint32_t index = wrt__io_slot_take(state, &requests[accepted]);
        if (index == WRT__NO_REQUEST) break;
        wrt__io_slot *const slot = &state->slots[index];
        slot->deadline_ns = timeout_ns != 0 ? wrt__time_after(now, timeout_ns) : UINT64_MAX;
        slot->state = WRT__SLOT_QUEUED;
        (void)wrt__io_progress_of(slot);
        wrt__io_push(state, &threads->queued, index);
    }
    unlock(state);
    *accepted_out = accepted;
    if (accepted != 0) {
        call_threads(threads, accepted);
        return WRT_OK;
    }
    return wrt_fail_detail(WRT_ERR_BUSY, operation,
                           "the ring is full: {0} requests are under way; take completions first",
                           state->under_way, 0);
}

/* ---- Waiting ---- */

/* Ends those of a list whose time is over; returns the next end of one that has time left. */
static uint64_t end_overdue(wrt__io_state *state, wrt__io_list *list, uint64_t now)
{
    uint64_t next_end = UINT64_MAX;
    uint32_t next;

    for (uint32_t index = list->first; index != WRT__NO_REQUEST; index = next) {
        wrt__io_slot *const slot = &state->slots[index];
        next = slot->next;
        if (slot->deadline_ns > now) {
            if (slot->deadline_ns < next_end) next_end = slot->deadline_ns;
            continue;
        }
        wrt__io_remove(state, list, index);
        wrt__io_end(slot, -ETIME);
        wrt__io_finish(state, index);
    }
    return next_end;
}

static bool is_out(const wrt__io_slot *slot)
{
    return slot->request.operation == WRT_IO_URING_WRITE ||
           slot->request.operation == WRT_IO_URING_WRITE_FIXED;
}

/* What there is to be polled: the event, and all that is parked, in the order of the list. */
static uint32_t list_polled(wrt__io_state *state)
{
    wrt__io_threads *const threads = &state->threads;
    uint32_t count = 0;

    threads->polled[count++] = (struct pollfd){.fd = threads->event, .events = POLLIN};
    for (uint32_t at = threads->parked.first; at != WRT__NO_REQUEST; at = state->slots[at].next) {
        const wrt__io_slot *const slot = &state->slots[at];
        threads->polled[count++] = (struct pollfd){.fd = slot->request.descriptor,
                                                   .events = is_out(slot) ? POLLOUT : POLLIN};
    }
    return count;
}

/* Queues again what is ready. Threads only add behind what was polled, so the order still holds. */
static void unpark(wrt__io_state *state, uint32_t polled_count)
{
    wrt__io_threads *const threads = lock(state);
    uint32_t index = threads->parked.first;
    uint32_t count = 0;

    for (uint32_t i = 1; i < polled_count; i++) {
        const uint32_t next = state->slots[index].next;
        if (threads->polled[i].revents != 0) {
            wrt__io_remove(state, &threads->parked, index);
            state->slots[index].state = WRT__SLOT_QUEUED;
            wrt__io_push(state, &threads->queued, index);
            count++;
        }
        index = next;
    }
    unlock(state);
    if (count != 0) call_threads(threads, count);
}

/* Sleeps until something finishes, gets ready or is over. */
static wrt_status sleep_until(const char *operation, wrt__io_state *state, uint32_t polled_count,
                              uint64_t now, uint64_t end_ns)
{
    const uint64_t left = end_ns > now ? end_ns - now : 0;
    const struct timespec limit = wrt__timespec(left < SLICE_NS ? left : SLICE_NS);
    wrt__io_threads *const threads = &state->threads;
    uint64_t events = 0;

    if (wrt__sys_poll(threads->polled, polled_count, &limit) < 0) {
        if (errno == EINTR) return WRT_OK;
        return wrt_fail_system(WRT_ERR_SYSTEM, operation, "poll failed", errno, 0, 0);
    }
    if (threads->polled[0].revents != 0) (void)wrt__sys_eventfd_take(threads->event, &events);
    unpark(state, polled_count);
    return WRT_OK;
}

/* A look, and a sleep if that was not enough. *is_last: the time is over, and it was looked. */
static wrt_status look(const char *operation, wrt__io_state *state,
                       wrt_io_uring_completion *completions_out, uint32_t capacity,
                       uint32_t minimum, uint64_t end_ns, uint32_t *count, bool *is_last)
{
    uint64_t now = 0;

    const wrt_status status = wrt__io_now(operation, &now);
    if (status != WRT_OK) return status;
    wrt__io_threads *const threads = lock(state);
    const uint64_t queued_end = end_overdue(state, &threads->queued, now);
    const uint64_t parked_end = end_overdue(state, &threads->parked, now);
    *count += wrt__io_take_finished(state, &completions_out[*count], capacity - *count);
    const bool is_enough = *count >= minimum;
    threads->is_waited_for = !is_enough;
    const uint32_t polled_count = list_polled(state);
    const bool is_queued = threads->queued.first != WRT__NO_REQUEST;
    unlock(state);
    if (is_enough && (*count != 0 || *is_last)) return WRT_OK;
    if (is_queued) call_threads(threads, 1);
    *is_last = now >= end_ns;
    if (queued_end < end_ns) end_ns = queued_end;
    if (parked_end < end_ns) end_ns = parked_end;
    return sleep_until(operation, state, polled_count, now, end_ns);
}

static wrt_status wait_for(const char *operation, wrt__io_state *state,
                           wrt_io_uring_completion *completions_out, uint32_t capacity,
                           uint32_t minimum, uint64_t timeout_ns, uint32_t *count_out)
{
    uint64_t end_ns = 0;
    bool is_last = false;
    uint32_t count = 0;

    wrt_status status = wrt__io_now(operation, &end_ns);
    if (status != WRT_OK) return status;
    end_ns = wrt__time_after(end_ns, minimum != 0 ? timeout_ns : 0);
    for (;;) {
        const bool was_last = is_last;
        status =
            look(operation, state, completions_out, capacity, minimum, end_ns, &count, &is_last);
        if (status != WRT_OK || was_last || count >= minimum) break;
    }
    *count_out = count;
    if (count != 0 || minimum == 0) return count != 0 ? WRT_OK : status;
    if (status != WRT_OK) return status;
    return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                           "none of {0} requests under way came to an end in {1} nanoseconds",
                           state->under_way, timeout_ns);
}

/* ---- Cancelling ---- */

static void cancel_slot(wrt__io_state *state, uint32_t index)
{
    wrt__io_threads *const threads = &state->threads;
    wrt__io_slot *const slot = &state->slots[index];

    wrt__store(&wrt__io_progress_of(slot)->is_cancelled, 1);
    if (slot->state == WRT__SLOT_AT_WORK) return;
    wrt__io_remove(state, slot->state == WRT__SLOT_QUEUED ? &threads->queued : &threads->parked,
                   index);
    wrt__io_end(slot, -ECANCELED);
    wrt__io_finish(state, index);
}

static bool is_under_way(const wrt__io_slot *slot)
{
    return slot->state != WRT__SLOT_FREE && slot->state != WRT__SLOT_FINISHED;
}

static wrt_status cancel(const char *operation, wrt__io_state *state, uint64_t user_data,
                         bool is_all, uint32_t *found_out)
{
    (void)operation;
    (void)lock(state);
    for (uint32_t i = 0; i < state->slot_count; i++) {
        const wrt__io_slot *const slot = &state->slots[i];
        if (!is_under_way(slot) || !(is_all || slot->request.user_data == user_data)) continue;
        cancel_slot(state, i);
        (*found_out)++;
    }
    unlock(state);
    return WRT_OK;
}

/* There is nobody to be told: the rules are checked before. */
static wrt_status register_buffers(const char *operation, wrt__io_state *state,
                                   const wrt_io_uring_buffer *buffers, uint32_t count)
{
    (void)operation;
    (void)state;
    (void)buffers;
    (void)count;
    return WRT_OK;
}

const wrt__io_backend wrt__io_pool = {.number = WRT_IO_URING_THREADS,
                                      .submit = submit,
                                      .wait = wait_for,
                                      .cancel = cancel,
                                      .register_buffers = register_buffers,
                                      .close = close_threads};
