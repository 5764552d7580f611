/* Events: the queue of many producers, with events for its cells, and a word that says how the
 * taker wants to be told of the next one:
 *
 *     LOOKS      he has not found the ring empty since he was told: nothing to do
 *     MUST_KNOW  he found it empty and left: call the wake hook
 *     SLEEPS     he found it empty and waits on this word: wake him, and call the hook
 *
 * Both sides exchange the word, so one comes first: either the poster finds the wish, or the taker,
 * who looks at the ring once more after he wrote it, finds the event. */
#include "wrt_platform/events.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "lockfree_mpmc.h"
#include "slices.h"

enum { LOOKS = 0, MUST_KNOW = 1, SLEEPS = 2 };

typedef struct cell {
    uint32_t turn;
    uint32_t unused;
    wrt_event event;
} cell;

static uint32_t power_of_two_from(uint32_t capacity)
{
    uint32_t power = 2;

    while (power < capacity) power *= 2;
    return power;
}

/* Reads a caller's config of any age; its capacity is a power of two then. */
static wrt_status read_config(const char *operation, const wrt_events_config *given,
                              wrt_events_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (config->capacity < 1 || config->capacity > WRT_EVENTS_CAPACITY_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "capacity is {0}, not 1 to {1}",
                               config->capacity, WRT_EVENTS_CAPACITY_MAX);
    }
    config->capacity = power_of_two_from(config->capacity);
    return WRT_OK;
}

wrt_status wrt_events_layout(const wrt_events_config *config, wrt_layout *layout_out)
{
    wrt_events_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    *layout_out = (wrt_layout){wrt__queue_bytes(known.capacity, sizeof(cell)), WRT__CACHE_LINE};
    return WRT_OK;
}

static wrt_status check_buffer(const char *operation, const wrt_events_config *config)
{
    const size_t bytes = wrt__queue_bytes(config->capacity, sizeof(cell));

    if (config->buffer == NULL || (uintptr_t)config->buffer % WRT__CACHE_LINE != 0) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "buffer is NULL or not {0}-byte aligned", WRT__CACHE_LINE, 0);
    }
    if (config->buffer_size < bytes) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "buffer has {0} bytes, the ring needs {1}", config->buffer_size,
                               bytes);
    }
    return WRT_OK;
}

wrt_status wrt_events_init(wrt_events *events, const wrt_events_config *config)
{
    wrt_events_config known;
    wrt__queue queue;

    if (events == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "events is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = check_buffer(__func__, &known);
    if (status != WRT_OK) return status;

    wrt__queue_init(&queue, known.buffer, known.capacity, sizeof(cell));
    *events = (wrt_events){.self = events,
                           .system = known.system,
                           .wake = known.wake,
                           .wake_context = known.wake_context,
                           .put_position = queue.put_position,
                           .get_position = queue.get_position,
                           .cells = queue.cells,
                           .mask = queue.mask,
                           .attended = MUST_KNOW};
    return WRT_OK;
}

static wrt_status check_self(const char *operation, const wrt_events *events)
{
    if (events == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "events is NULL");
    if (events->self == events) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    events->self == NULL ? "events are not initialised" : "events were moved");
}

static wrt__queue queue_of(const wrt_events *events)
{
    return (wrt__queue){events->put_position, events->get_position, events->cells, events->mask};
}

static wrt_event *event_at(const wrt__queue *queue, uint32_t position)
{
    return &((cell *)(void *)wrt__queue_turn(queue, position, sizeof(cell)))->event;
}

static bool put(wrt_events *events, const wrt_event *event)
{
    const wrt__queue queue = queue_of(events);
    uint32_t position;

    if (wrt__queue_claim(&queue, queue.put_position, 0, sizeof(cell), 1, &position) == 0) {
        return false;
    }
    wrt_event *place = event_at(&queue, position);
    *place = *event;
    place->lost = wrt__load(&events->lost);
    wrt__queue_filled(&queue, position, sizeof(cell));
    return true;
}

static bool take(wrt_events *events, wrt_event *event_out)
{
    const wrt__queue queue = queue_of(events);
    uint32_t position;

    if (wrt__queue_claim(&queue, queue.get_position, 1, sizeof(cell), 1, &position) == 0) {
        return false;
    }
    *event_out = *event_at(&queue, position);
    wrt__queue_emptied(&queue, position, sizeof(cell));
    return true;
}

static void tell_taker(wrt_events *events)
{
    const uint32_t wish = wrt__exchange(&events->attended, LOOKS);

    if (wish == SLEEPS) {
        events->system.ops->wake(events->system.self, &events->attended, 1);
    }
    if (wish != LOOKS && events->wake != NULL) events->wake(events->wake_context);
}

wrt_status wrt_events_post(wrt_events *events, const wrt_event *event)
{
    const wrt_status status = check_self(__func__, events);
    if (status != WRT_OK) return status;
    if (event == NULL || event->kind == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "event is NULL, or its kind is 0");
    }
    if (!put(events, event)) {
        const uint32_t lost = wrt__add(&events->lost, 1) + 1;
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "the ring is full with {0} events; {1} are lost now",
                               events->mask + 1u, lost);
    }
    tell_taker(events);
    return WRT_OK;
}

/* Takes an event, or leaves the wish behind and looks once more. */
static bool take_or_wish(wrt_events *events, wrt_event *event_out, uint32_t wish)
{
    if (take(events, event_out)) return true;
    wrt__exchange(&events->attended, wish);
    if (!take(events, event_out)) return false;
    wrt__exchange(&events->attended, LOOKS);
    return true;
}

static wrt_status wait_for_one(wrt_events *events, wrt_event *event_out, uint64_t timeout_ns,
                               const wrt_cancel_token *cancel)
{
    const wrt_thread_system *system = &events->system;
    wrt__slices slices;

    wrt_status status = wrt__slices_begin(&slices, "wrt_events_next", system->ops->now,
                                          system->self, timeout_ns, cancel);
    while (status == WRT_OK && !take_or_wish(events, event_out, SLEEPS)) {
        status = system->ops->wait(system->self, &events->attended, SLEEPS, slices.next_ns);
        if (status == WRT_OK || status == WRT_ERR_TIMED_OUT) status = wrt__slices_next(&slices);
    }
    return status;
}

static wrt_status next(wrt_events *events, wrt_event *event_out, uint64_t timeout_ns,
                       const wrt_cancel_token *cancel)
{
    wrt_status status = WRT_ERR_TIMED_OUT;

    if (take(events, event_out)) return WRT_OK;
    if (timeout_ns != 0 && events->system.ops != NULL) {
        status = wait_for_one(events, event_out, timeout_ns, cancel);
        if (status == WRT_OK) return WRT_OK;
    }
    if (take_or_wish(events, event_out, MUST_KNOW)) return WRT_OK;
    if (timeout_ns == 0) return wrt_fail(status, "wrt_events_next", "there is no event");
    if (events->system.ops != NULL) return status;
    return wrt_fail(WRT_ERR_UNSUPPORTED, "wrt_events_next",
                    "there is no event, and the config has no thread system to wait with; pass "
                    "timeout_ns 0 and use the wake hook");
}

wrt_status wrt_events_next(wrt_events *events, wrt_event *event_out, uint64_t timeout_ns,
                           wrt_cancel_token *cancel)
{
    if (event_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "event_out is NULL");
    *event_out = (wrt_event){0};
    wrt_status status = check_self(__func__, events);
    if (status != WRT_OK) return status;
    if (wrt__exchange(&events->taking, 1) != 0) {
        return wrt_fail(WRT_ERR_BUSY, __func__, "another thread is taking events");
    }
    status = next(events, event_out, timeout_ns, cancel);
    wrt__store_release(&events->taking, 0);
    return status;
}

wrt_status wrt_events_query(const wrt_events *events, wrt_events_usage *usage_out)
{
    if (usage_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    const wrt_status status = check_self(__func__, events);
    if (status != WRT_OK) return status;
    const uint32_t taken = wrt__load_acquire(events->get_position); /* first: never above posted */
    const uint32_t posted = wrt__load_acquire(events->put_position);
    *usage_out = (wrt_events_usage){.capacity = events->mask + 1u,
                                    .waiting = posted - taken,
                                    .posted = posted,
                                    .lost = wrt__load(&events->lost)};
    return WRT_OK;
}

wrt_status wrt_events_deinit(wrt_events *events)
{
    if (events == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "events is NULL");
    if (wrt__is_zero(events, sizeof *events)) return WRT_OK;
    const wrt_status status = check_self(__func__, events);
    if (status != WRT_OK) return status;
    if (wrt__load_acquire(&events->taking) != 0) {
        return wrt_fail(WRT_ERR_BUSY, __func__, "a thread is waiting for events");
    }
    *events = (wrt_events){0};
    return WRT_OK;
}
