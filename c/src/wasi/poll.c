/* poll_oneoff: waits for the first of several clocks and descriptors.
 *
 * It goes twice over the guest's subscriptions: once to gather what to wait for, once to write
 * an event for each that is ready. Nothing is kept per subscription, so their number needs no
 * memory; what the first pass noted per descriptor lies in the table. A relative time counts
 * from when the call was first made, which a pause remembers. */
#include "state.h"

enum { SUBSCRIPTIONS_MAX = 65536 };

typedef struct subscription {
    uint64_t user_data;
    uint64_t timeout;
    uint32_t clock;
    uint32_t descriptor;
    uint16_t clock_flags;
    uint8_t type;
    uint8_t reserved[5];
} subscription;

typedef struct event {
    uint64_t user_data;
    uint64_t bytes;
    wasi_result error;
    uint32_t flags;
    uint8_t type;
    uint8_t reserved[7];
} event;

typedef struct polling {
    wrt_wasi *wasi;
    const wasi_guest *guest;
    uint32_t subscriptions; /* address */
    uint32_t events;        /* address */
    uint32_t count;
    uint32_t event_count; /* written */
    uint32_t wait_count;
    bool is_ready;     /* something is, without waiting */
    uint64_t start;    /* monotonic */
    uint64_t deadline; /* monotonic, the first; UINT64_MAX if there is none */
} polling;

static wasi_result read_subscription(const polling *poll, uint32_t index, subscription *out)
{
    uint8_t raw[WASI_SUBSCRIPTION_SIZE];
    const uint32_t address = poll->subscriptions + index * WASI_SUBSCRIPTION_SIZE;

    if (!wrt__guest_copy(poll->guest, address, raw, sizeof raw)) return WASI_FAULT;
    *out = (subscription){
        .user_data = wrt__load(raw, 8),
        .type = raw[8],
        .clock = (uint32_t)wrt__load(raw + 16, 4),
        .descriptor = (uint32_t)wrt__load(raw + 16, 4),
        .timeout = wrt__load(raw + 24, 8),
        .clock_flags = (uint16_t)wrt__load(raw + 40, 2),
    };
    return out->type > WASI_EVENT_WRITE ? WASI_INVAL : WASI_SUCCESS;
}

static uint64_t add_saturating(uint64_t left, uint64_t right)
{
    return left > UINT64_MAX - right ? UINT64_MAX : left + right;
}

/* When a clock subscription is due, on the monotonic clock. */
static wasi_result deadline_of(const polling *poll, const subscription *wanted,
                               uint64_t *deadline_out)
{
    uint64_t now = 0;

    if (wanted->clock > WASI_CLOCK_THREAD_CPU) return WASI_INVAL;
    if (wanted->clock > WASI_CLOCK_MONOTONIC) return WASI_NOTSUP;
    if ((wanted->clock_flags & WASI_CLOCK_ABSOLUTE) == 0) {
        *deadline_out = add_saturating(poll->start, wanted->timeout);
        return WASI_SUCCESS;
    }
    if (wanted->clock == WASI_CLOCK_MONOTONIC) {
        *deadline_out = wanted->timeout;
        return WASI_SUCCESS;
    }
    const wasi_result result = wrt__wasi_port_time(WASI_CLOCK_REALTIME, &now);
    const bool is_past = wanted->timeout <= now;
    *deadline_out = is_past ? 0 : add_saturating(wrt__wasi_now(), wanted->timeout - now);
    return result;
}

static uint32_t ready_flag(const subscription *wanted)
{
    return wanted->type == WASI_EVENT_READ ? WASI_READY_READ : WASI_READY_WRITE;
}

static void want_clock(polling *poll, const subscription *wanted)
{
    uint64_t deadline;

    if (deadline_of(poll, wanted, &deadline) != WASI_SUCCESS) {
        poll->is_ready = true; /* with an error */
    } else if (deadline < poll->deadline) {
        poll->deadline = deadline;
    }
}

static void want_descriptor(polling *poll, const subscription *wanted)
{
    wasi_wait *waits = poll->wasi->waits;
    wasi_descriptor *descriptor;

    if (wrt__wasi_find(poll->wasi, wanted->descriptor, WASI_RIGHT_POLL_FD_READWRITE, &descriptor) !=
            WASI_SUCCESS ||
        descriptor->file.handle == WASI_NULL_HANDLE) {
        poll->is_ready = true;
        return;
    }
    if (descriptor->wait_index == 0) {
        waits[poll->wait_count++] =
            (wasi_wait){.handle = descriptor->file.handle, .descriptor = wanted->descriptor};
        descriptor->wait_index = poll->wait_count;
    }
    waits[descriptor->wait_index - 1].wanted |= ready_flag(wanted);
}

static wasi_result gather(polling *poll)
{
    subscription wanted;

    for (uint32_t i = 0; i < poll->count; i++) {
        const wasi_result result = read_subscription(poll, i, &wanted);
        if (result != WASI_SUCCESS) return result;
        if (wanted.type == WASI_EVENT_CLOCK)
            want_clock(poll, &wanted);
        else
            want_descriptor(poll, &wanted);
    }
    return WASI_SUCCESS;
}

static void put_event(polling *poll, const event *happened)
{
    uint8_t raw[WASI_EVENT_SIZE] = {0};

    wrt__store(raw, 8, happened->user_data);
    wrt__store(raw + 8, 2, happened->error);
    raw[10] = happened->type;
    wrt__store(raw + 16, 8, happened->bytes);
    wrt__store(raw + 24, 2, happened->flags);
    wrt__guest_put(poll->guest, poll->events + poll->event_count * WASI_EVENT_SIZE, raw,
                   sizeof raw);
    poll->event_count++;
}

static bool clock_event(const polling *poll, const subscription *wanted, uint64_t now,
                        event *happened)
{
    uint64_t deadline;

    happened->error = deadline_of(poll, wanted, &deadline);
    return happened->error != WASI_SUCCESS || deadline <= now;
}

/* How much can be read is told as far as the system knows; of what can be written, one byte. */
static uint64_t bytes_ready(const wasi_descriptor *descriptor, const subscription *wanted)
{
    uint64_t bytes = 1;

    if (descriptor->file.handle == WASI_NULL_HANDLE) return 0;
    if (wanted->type == WASI_EVENT_READ) {
        (void)wrt__wasi_port_readable_bytes(&descriptor->file, &bytes);
    }
    return bytes;
}

static bool descriptor_event(const polling *poll, const subscription *wanted, event *happened)
{
    const wasi_wait *waits = poll->wasi->waits;
    wasi_descriptor *descriptor;

    happened->error =
        wrt__wasi_find(poll->wasi, wanted->descriptor, WASI_RIGHT_POLL_FD_READWRITE, &descriptor);
    if (happened->error != WASI_SUCCESS) return true;
    if (descriptor->file.handle != WASI_NULL_HANDLE) {
        if (descriptor->wait_index == 0) return false; /* changed since it was gathered */
        const uint32_t ready = waits[descriptor->wait_index - 1].ready;
        if ((ready & (ready_flag(wanted) | WASI_READY_HANGUP)) == 0) return false;
        if ((ready & WASI_READY_HANGUP) != 0) happened->flags = WASI_EVENT_HANGUP;
    }
    happened->bytes = bytes_ready(descriptor, wanted);
    return true;
}

static wasi_result report(polling *poll)
{
    const uint64_t now = wrt__wasi_now();
    subscription wanted;

    for (uint32_t i = 0; i < poll->count; i++) {
        const wasi_result result = read_subscription(poll, i, &wanted);
        if (result != WASI_SUCCESS) return result;
        event happened = {.user_data = wanted.user_data, .type = wanted.type};
        const bool has_happened = wanted.type == WASI_EVENT_CLOCK
                                      ? clock_event(poll, &wanted, now, &happened)
                                      : descriptor_event(poll, &wanted, &happened);
        if (has_happened) put_event(poll, &happened);
    }
    return WASI_SUCCESS;
}

/* Waits for the first deadline, but no longer than a call may. */
static wasi_result wait(polling *poll)
{
    const uint64_t now = wrt__wasi_now();
    uint64_t timeout = poll->deadline > now ? poll->deadline - now : 0;

    if (poll->is_ready) timeout = 0;
    if (timeout > WASI_WAIT_TIME) timeout = WASI_WAIT_TIME;
    return wrt__wasi_port_wait(poll->wasi->waits, poll->wait_count, poll->wasi->wait_scratch,
                               timeout);
}

static void forget_waits(const polling *poll)
{
    const wasi_wait *waits = poll->wasi->waits;

    for (uint32_t i = 0; i < poll->wait_count; i++) {
        wrt__wasi_descriptor(poll->wasi, waits[i].descriptor)->wait_index = 0;
    }
}

static wasi_result poll_once(polling *poll)
{
    wasi_result result = gather(poll);

    if (result == WASI_SUCCESS) result = wait(poll);
    if (result == WASI_SUCCESS) result = report(poll);
    forget_waits(poll);
    return result;
}

WASI_CALL(poll_oneoff)
{
    polling poll = {.wasi = wasi,
                    .guest = guest,
                    .subscriptions = arguments[0].i32,
                    .events = arguments[1].i32,
                    .count = arguments[2].i32,
                    .deadline = UINT64_MAX};
    const uint64_t count = poll.count;

    if (count == 0 || count > SUBSCRIPTIONS_MAX) return WASI_INVAL;
    if (!wrt__guest_has(guest, poll.subscriptions, count * WASI_SUBSCRIPTION_SIZE) ||
        !wrt__guest_has(guest, poll.events, count * WASI_EVENT_SIZE) ||
        !wrt__guest_has(guest, arguments[3].i32, 4)) {
        return WASI_FAULT;
    }
    poll.start = wrt__wasi_resumed(wasi, guest, wrt__wasi_now());
    const wasi_result result = poll_once(&poll);
    if (result == WASI_INTR || (result == WASI_SUCCESS && poll.event_count == 0)) {
        return wrt__wasi_pause(wasi, guest, poll.start);
    }
    if (result == WASI_SUCCESS) wrt__guest_put32(guest, arguments[3].i32, poll.event_count);
    return result;
}
