/* How chunks come: the thread that the kernel tells of touches, turns, and what can't be loaded.
 *
 * Whoever loads a chunk has the turn, one at a time: the thread itself for a file, a caller for a
 * function. The thread waits for no caller; it only puts down what is wanted, and gives up what
 * nobody has brought in time. A chunk is given up by mapping an empty file over it: a touch of that
 * is SIGBUS, on every kernel that can load lazily at all. */
#include "lazy_memory.h"

#include "../core/fail.h"
#include "fork.h"
#include "times.h"

static const char TOUCH[] = "a touch of memory that is loaded lazily";

uint64_t wrt__lazy_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return wrt__nanoseconds(&now);
}

/* ---- Chunks ---- */

uint64_t wrt__chunk_size(const wrt__lazy_engine *engine, uint64_t chunk)
{
    const uint64_t left = engine->image_size - chunk * engine->chunk_bytes;

    return left < engine->chunk_bytes ? left : engine->chunk_bytes;
}

uint64_t wrt__chunk_span(const wrt__lazy_engine *engine, uint64_t chunk)
{
    const uint64_t page = engine->system_page;

    return (wrt__chunk_size(engine, chunk) + page - 1) / page * page;
}

static uint8_t *place_of(const wrt__lazy_engine *engine, uint64_t chunk)
{
    return engine->base + chunk * engine->chunk_bytes;
}

static void wake_touchers(const wrt__lazy_engine *engine, uint64_t chunk)
{
    struct uffdio_range range = {.start = (uintptr_t)place_of(engine, chunk),
                                 .len = wrt__chunk_span(engine, chunk)};

    (void)ioctl(engine->userfault, UFFDIO_WAKE, &range);
}

/* ---- Giving up ---- */

/* Without room for a mapping the page is taken away altogether, and a touch is SIGSEGV. */
static void put_out_of_reach(const wrt__lazy_engine *engine, uint64_t chunk)
{
    uint8_t *start = place_of(engine, chunk);
    const size_t size = (size_t)wrt__chunk_span(engine, chunk);

    if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, engine->nothing, 0) ==
        MAP_FAILED) {
        (void)mprotect(start, size, PROT_NONE);
    }
}

void wrt__lazy_give_up(wrt__lazy_engine *engine, uint64_t chunk, const wrt_error *failure)
{
    if (engine->failed_chunks++ == 0) engine->failure = *failure;
    put_out_of_reach(engine, chunk);
    engine->states[chunk] = WRT__CHUNK_FAILED;
    wake_touchers(engine, chunk);
}

void wrt__lazy_give_up_queue(wrt__lazy_engine *engine, const wrt_error *failure)
{
    while (engine->queue_count != 0) {
        const uint64_t chunk = engine->queue[engine->queue_start].chunk;
        engine->queue_start = (engine->queue_start + 1) % WRT__LAZY_QUEUE;
        engine->queue_count--;
        if (engine->states[chunk] != WRT__CHUNK_WANTED) continue;
        wrt_error of_chunk = *failure;
        of_chunk.detail[0] = chunk * engine->chunk_bytes;
        wrt__lazy_give_up(engine, chunk, &of_chunk);
    }
}

/* ---- Loading ---- */

static wrt_status read_file(const char *operation, const wrt__lazy_engine *engine, uint64_t offset,
                            uint8_t *bytes_out, size_t size)
{
    for (size_t done = 0; done < size;) {
        const off_t place = (off_t)(engine->file_offset + offset + done);
        const ssize_t count = wrt__sys_pread(engine->file, bytes_out + done, size - done, place);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                                   "pread of the image failed at offset {0}, of {1} bytes", errno,
                                   offset, size);
        }
        if (count == 0) {
            return wrt_fail_detail(WRT_ERR_SYSTEM, operation,
                                   "the file ends before the image does: it was truncated; offset "
                                   "{0} of {1} bytes",
                                   offset, engine->image_size);
        }
        done += (size_t)count;
    }
    return WRT_OK;
}

wrt_status wrt__lazy_read(const char *operation, const wrt__lazy_engine *engine, uint64_t offset,
                          uint8_t *bytes_out, size_t size)
{
    if (engine->load == NULL) return read_file(operation, engine, offset, bytes_out, size);
    const wrt_status status = engine->load(engine->context, offset, bytes_out, size);
    if (status == WRT_OK) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_HOST, operation,
                           "the function that loads failed at offset {0}, with status {1}", offset,
                           (uint64_t)status);
}

/* Gives the staged bytes to the kernel, which puts them in place. Pages that are there already stay
 * what they are. Who waits is woken when the chunk has been counted, see settle(). */
static wrt_status put_in_place(const char *operation, const wrt__lazy_engine *engine,
                               uint64_t chunk)
{
    const uint64_t span = wrt__chunk_span(engine, chunk);
    const uint64_t start = (uintptr_t)place_of(engine, chunk);
    uint64_t done = 0;

    while (done < span) {
        struct uffdio_copy copy = {.dst = start + done,
                                   .src = (uintptr_t)engine->staging + done,
                                   .len = span - done,
                                   .mode = UFFDIO_COPY_MODE_DONTWAKE |
                                           (engine->tracks_writes ? UFFDIO_COPY_MODE_WP : 0)};
        if (wrt__sys_userfault_control(engine->userfault, UFFDIO_COPY, &copy) == 0) break;
        const int code = errno;
        if (copy.copy > 0) {
            done += (uint64_t)copy.copy;
        } else if (code == EEXIST) {
            done += engine->system_page;
        } else if (code != EAGAIN && code != EINTR) {
            return wrt_fail_system(code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation,
                                   "ioctl(UFFDIO_COPY) failed for the chunk at offset {0}", code,
                                   chunk * engine->chunk_bytes, 0);
        }
    }
    return WRT_OK;
}

static wrt_status load_chunk(const char *operation, const wrt__lazy_engine *engine, uint64_t chunk)
{
    const uint64_t offset = chunk * engine->chunk_bytes;
    const uint64_t size = wrt__chunk_size(engine, chunk);
    const wrt_status status =
        wrt__lazy_read(operation, engine, offset, engine->staging, (size_t)size);

    if (status != WRT_OK) return status;
    memset(engine->staging + size, 0, (size_t)(wrt__chunk_span(engine, chunk) - size));
    return put_in_place(operation, engine, chunk);
}

/* ---- Turns ---- */

void wrt__lazy_take_turn(wrt__lazy_engine *engine, uint64_t chunk, uint64_t deadline)
{
    while (engine->turn_is_taken) (void)pthread_cond_wait(&engine->moved, &engine->guard);
    engine->turn_is_taken = true;
    engine->turn_thread = wrt__thread_number();
    engine->turn = (wrt__wanted){.chunk = chunk, .deadline = deadline};
}

static void leave_turn(wrt__lazy_engine *engine)
{
    engine->turn_is_taken = false;
    engine->turn_thread = 0;
    engine->turn = (wrt__wanted){0};
    (void)pthread_cond_broadcast(&engine->moved);
}

/* Whether a chunk came, by the kernel's word and by that of the clock: while its loader ran, it may
 * have been given up. */
static wrt_status settle(const char *operation, wrt__lazy_engine *engine, uint64_t chunk,
                         wrt_status status)
{
    if (engine->states[chunk] == WRT__CHUNK_FAILED) {
        const wrt_error *failure = &engine->failure;
        if (failure->status == WRT_ERR_STATE) {
            return wrt_fail_detail(WRT_ERR_STATE, operation, failure->reason,
                                   chunk * engine->chunk_bytes, 0);
        }
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "the chunk at offset {0} came after the limit of {1} ns, and was "
                               "given up",
                               chunk * engine->chunk_bytes, engine->timeout_ns);
    }
    if (status == WRT_OK) {
        engine->states[chunk] = WRT__CHUNK_LOADED;
        engine->loaded_bytes += wrt__chunk_size(engine, chunk);
        wake_touchers(engine, chunk);
    } else {
        wrt__lazy_give_up(engine, chunk, wrt_error_last());
    }
    return status;
}

wrt_status wrt__lazy_use_turn(const char *operation, wrt__lazy_engine *engine)
{
    const uint64_t chunk = engine->turn.chunk;
    wrt_status status;

    if (engine->states[chunk] == WRT__CHUNK_LOADED) {
        wake_touchers(engine, chunk);
        leave_turn(engine);
        return WRT_OK;
    }
    if (engine->states[chunk] == WRT__CHUNK_FAILED) {
        leave_turn(engine);
        return wrt_fail_detail(WRT_ERR_HOST, operation,
                               "the chunk at offset {0} could not be loaded before, see the report",
                               chunk * engine->chunk_bytes, 0);
    }
    engine->states[chunk] = WRT__CHUNK_LOADING;
    (void)pthread_mutex_unlock(&engine->guard);
    status = load_chunk(operation, engine, chunk);
    (void)pthread_mutex_lock(&engine->guard);
    status = settle(operation, engine, chunk, status);
    leave_turn(engine);
    return status;
}

/* ---- What the kernel tells ---- */

static void give_up_with(wrt__lazy_engine *engine, uint64_t chunk, wrt_status status,
                         const char *reason)
{
    (void)wrt_fail_detail(status, TOUCH, reason, chunk * engine->chunk_bytes, engine->timeout_ns);
    wrt__lazy_give_up(engine, chunk, wrt_error_last());
}

/* Puts a chunk down for the function, whose caller may be waiting. */
static void want(wrt__lazy_engine *engine, uint64_t chunk)
{
    const uint64_t deadline = wrt__time_after(wrt__lazy_now(), engine->timeout_ns);
    const uint32_t end = (engine->queue_start + engine->queue_count) % WRT__LAZY_QUEUE;

    if (engine->is_stopped) {
        give_up_with(engine, chunk, WRT_ERR_INTERRUPTED,
                     "nobody loads any more, since stop() was called; offset {0}");
        return;
    }
    engine->states[chunk] = WRT__CHUNK_WANTED;
    engine->queue[end] = (wrt__wanted){.chunk = chunk, .deadline = deadline};
    engine->queue_count++;
    (void)pthread_cond_broadcast(&engine->moved);
}

/* A touch of what somebody is loading: from now on there is a limit to it. The loader itself would
 * wait for itself. */
static void wait_for_turn(wrt__lazy_engine *engine, uint64_t chunk, uint32_t toucher)
{
    if (toucher != 0 && toucher == engine->turn_thread) {
        give_up_with(engine, chunk, WRT_ERR_STATE,
                     "the function that loads has touched the memory itself, at offset {0}");
        return;
    }
    if (engine->load != NULL && engine->turn.deadline == 0) {
        engine->turn.deadline = wrt__time_after(wrt__lazy_now(), engine->timeout_ns);
    }
}

/* The kernel may tell of a touch that is over by now; memory can also be given back meanwhile. */
static bool is_there(const wrt__lazy_engine *engine, uint64_t address)
{
    unsigned char in_ram = 0;
    void *page = (void *)(uintptr_t)(address / engine->system_page * engine->system_page);

    return mincore(page, (size_t)engine->system_page, &in_ram) == 0 && (in_ram & 1) != 0;
}

static void answer(wrt__lazy_engine *engine, uint64_t address, uint32_t toucher)
{
    const uint64_t offset = address - (uintptr_t)engine->base;
    const uint64_t chunk = offset / engine->chunk_bytes;

    if (engine->base == NULL || chunk >= engine->chunk_count) return;
    engine->touch_count++;
    switch (engine->states[chunk]) {
    case WRT__CHUNK_FAILED: /* before it could be put out of reach, or that failed */
        put_out_of_reach(engine, chunk);
        wake_touchers(engine, chunk);
        return;
    case WRT__CHUNK_WANTED:
    case WRT__CHUNK_LOADING:
        wait_for_turn(engine, chunk, toucher);
        return;
    case WRT__CHUNK_LOADED:
        if (is_there(engine, address)) {
            wake_touchers(engine, chunk);
            return;
        }
        engine->loaded_bytes -= wrt__chunk_size(engine, chunk);
        break;
    default:
        break;
    }
    if (toucher != 0 && toucher == engine->turn_thread) {
        give_up_with(engine, chunk, WRT_ERR_STATE,
                     "the function that loads has touched the memory itself, at offset {0}");
    } else if (engine->load != NULL) {
        want(engine, chunk);
    } else {
        engine->states[chunk] = WRT__CHUNK_ABSENT;
        wrt__lazy_take_turn(engine, chunk, 0);
        (void)wrt__lazy_use_turn(TOUCH, engine);
    }
}

/* Takes what the kernel tells, as long as there is room for it. */
static void take_touches(wrt__lazy_engine *engine)
{
    struct uffd_msg message;

    while (engine->queue_count < WRT__LAZY_QUEUE &&
           read(engine->userfault, &message, sizeof message) == (ssize_t)sizeof message) {
        if (message.event != UFFD_EVENT_PAGEFAULT) continue;
        answer(engine, message.arg.pagefault.address, message.arg.pagefault.feat.ptid);
    }
}

/* ---- Limits of time ---- */

static void give_up_late(wrt__lazy_engine *engine, uint64_t now)
{
    static const char nobody[] = "nobody called serve() within {1} ns, for offset {0}";
    static const char slow[] = "the function that loads took longer than {1} ns, at offset {0}";

    while (engine->queue_count != 0 && engine->queue[engine->queue_start].deadline <= now) {
        const uint64_t chunk = engine->queue[engine->queue_start].chunk;
        engine->queue_start = (engine->queue_start + 1) % WRT__LAZY_QUEUE;
        engine->queue_count--;
        if (engine->states[chunk] == WRT__CHUNK_WANTED) {
            give_up_with(engine, chunk, WRT_ERR_TIMED_OUT, nobody);
        } else if (engine->states[chunk] == WRT__CHUNK_LOADING) {
            give_up_with(engine, chunk, WRT_ERR_TIMED_OUT, slow);
        }
    }
    if (engine->turn.deadline == 0 || engine->turn.deadline > now) return;
    engine->turn.deadline = 0;
    if (engine->states[engine->turn.chunk] == WRT__CHUNK_LOADING) {
        give_up_with(engine, engine->turn.chunk, WRT_ERR_TIMED_OUT, slow);
    }
}

static uint64_t next_deadline(const wrt__lazy_engine *engine)
{
    const uint64_t none = UINT64_MAX;
    const uint64_t first =
        engine->queue_count != 0 ? engine->queue[engine->queue_start].deadline : none;
    const uint64_t of_turn = engine->turn.deadline != 0 ? engine->turn.deadline : none;

    return first < of_turn ? first : of_turn;
}

/* With a full queue only the clock and the caller matter. */
static void wait_for_news(const wrt__lazy_engine *engine, uint64_t deadline, bool has_room)
{
    struct pollfd descriptors[] = {{.fd = engine->wake, .events = POLLIN},
                                   {.fd = engine->userfault, .events = POLLIN}};
    const uint64_t now = wrt__lazy_now();
    const struct timespec left = wrt__timespec(deadline > now ? deadline - now : 0);
    uint64_t count;

    (void)ppoll(descriptors, has_room ? 2 : 1, deadline == UINT64_MAX ? NULL : &left, NULL);
    (void)!read(engine->wake, &count, sizeof count);
}

void *wrt__lazy_run(void *context)
{
    wrt__lazy_engine *engine = context;

    (void)pthread_mutex_lock(&engine->guard);
    while (!engine->is_ending) {
        const uint64_t deadline = next_deadline(engine);
        const bool has_room = engine->queue_count < WRT__LAZY_QUEUE;
        (void)pthread_mutex_unlock(&engine->guard);
        wait_for_news(engine, deadline, has_room);
        (void)pthread_mutex_lock(&engine->guard);
        take_touches(engine);
        give_up_late(engine, wrt__lazy_now());
    }
    (void)pthread_mutex_unlock(&engine->guard);
    return NULL;
}
