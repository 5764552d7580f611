/* The ring of one producer and one consumer.
 *
 *     buffer   | producer's end | consumer's end | element | element | ...
 *                ^                ^ each on cache lines of its own
 *
 * Positions count for ever and wrap at 2^32; element p lies at p & mask. Each end writes its own
 * position alone, when the copy is complete, and reads the other's, so the copies never meet.
 * An end remembers how far it may go by what it last saw of the other: as long as that lasts, it
 * does not touch the other's cache line. Both ends are the same thing, except that the producer
 * may be ahead of the consumer by the capacity, the consumer of the producer by nothing. */
#include "wrt_platform/lockfree.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "lockfree_parts.h"

/* A size that the compiler knows is one move instead of a call; pointers and timestamps have it. */
enum { FAST_SIZE = sizeof(uint64_t) };

typedef struct ring_end {
    uint32_t position; /* how many elements have gone through; the other end reads it */
    uint32_t limit;    /* the position where this end stops, until it looks again */
    uint32_t mask;     /* capacity - 1 */
    uint32_t element_size;
    uint8_t *elements;
    const uint32_t *other; /* the other end's position */
    uint32_t lead;         /* how far this end may be ahead of the other */
} ring_end;

static const char NULL_ARGUMENT[] = "ring, element or count_out is NULL";
static const char NOT_INITIALISED[] = "ring is not initialised";

static size_t end_bytes(void)
{
    return wrt__round_up(sizeof(ring_end), WRT__CACHE_LINE);
}

/* Reads a caller's config of any age. */
static wrt_status read_config(const char *operation, const wrt_ring_config *given,
                              wrt_ring_config *config, wrt_layout *layout_out)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = wrt__check_elements(operation, config->capacity, 1, config->element_size);
    if (status != WRT_OK) return status;
    return wrt__describe_buffer(operation, 2 * end_bytes(), config->capacity, config->element_size,
                                layout_out);
}

wrt_status wrt_ring_layout(const wrt_ring_config *config, wrt_layout *layout_out)
{
    wrt_ring_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    return read_config(__func__, config, &known, layout_out);
}

wrt_status wrt_ring_init(wrt_ring *ring, const wrt_ring_config *config)
{
    wrt_ring_config known;
    wrt_layout layout;

    if (ring == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "ring is NULL");
    wrt_status status = read_config(__func__, config, &known, &layout);
    if (status != WRT_OK) return status;
    status = wrt__check_buffer(__func__, known.buffer, known.buffer_size, &layout);
    if (status != WRT_OK) return status;

    uint8_t *bytes = known.buffer;
    ring_end *producer = known.buffer;
    ring_end *consumer = (ring_end *)(void *)(bytes + end_bytes());
    *producer = (ring_end){.limit = known.capacity,
                           .mask = known.capacity - 1,
                           .element_size = known.element_size,
                           .elements = bytes + 2 * end_bytes(),
                           .other = &consumer->position,
                           .lead = known.capacity};
    *consumer = *producer;
    consumer->limit = consumer->lead = 0;
    consumer->other = &producer->position;
    *ring = (wrt_ring){producer, consumer};
    return WRT_OK;
}

static uint8_t *element_at(const ring_end *end, uint32_t position, uint32_t element_size)
{
    return end->elements + (size_t)(position & end->mask) * element_size;
}

/* Looks at the other end again: may this one go on? Its elements up to there are complete. */
static bool may_go_on(ring_end *end)
{
    end->limit = wrt__load_acquire(end->other) + end->lead;
    return wrt__load(&end->position) != end->limit;
}

/* Elements of any size. They stand apart because a call of memcpy() would make the fast path below
 * save registers on the stack. */
__attribute__((noinline)) static wrt_status put_at(ring_end *producer, uint32_t position,
                                                   const void *element)
{
    const uint32_t size = producer->element_size;

    memcpy(element_at(producer, position, size), element, size);
    wrt__store_release(&producer->position, position + 1);
    return WRT_OK;
}

__attribute__((noinline)) static wrt_status get_at(ring_end *consumer, uint32_t position,
                                                   void *element_out)
{
    const uint32_t size = consumer->element_size;

    memcpy(element_out, element_at(consumer, position, size), size);
    wrt__store_release(&consumer->position, position + 1);
    return WRT_OK;
}

wrt_status wrt_ring_put(wrt_ring *ring, const void *element)
{
    if (ring == NULL || element == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    ring_end *producer = ring->producer;
    if (producer == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    const uint32_t position = wrt__load(&producer->position);
    if (position == producer->limit && !may_go_on(producer)) return WRT_ERR_BUSY;
    if (producer->element_size != FAST_SIZE) return put_at(producer, position, element);
    memcpy(element_at(producer, position, FAST_SIZE), element, FAST_SIZE);
    wrt__store_release(&producer->position, position + 1);
    return WRT_OK;
}

wrt_status wrt_ring_get(wrt_ring *ring, void *element_out)
{
    if (ring == NULL || element_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    ring_end *consumer = ring->consumer;
    if (consumer == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    const uint32_t position = wrt__load(&consumer->position);
    if (position == consumer->limit && !may_go_on(consumer)) return WRT_ERR_BUSY;
    if (consumer->element_size != FAST_SIZE) return get_at(consumer, position, element_out);
    memcpy(element_out, element_at(consumer, position, FAST_SIZE), FAST_SIZE);
    wrt__store_release(&consumer->position, position + 1);
    return WRT_OK;
}

/* How many of `count` elements this end may move now. */
static uint32_t available(ring_end *end, uint32_t position, uint32_t count)
{
    if (end->limit - position < count) (void)may_go_on(end);
    const uint32_t room = end->limit - position;
    return room < count ? room : count;
}

/* Of `count` elements from `position` on, how many lie before the end of the buffer. */
static uint32_t before_wrap(const ring_end *end, uint32_t position, uint32_t count)
{
    const uint32_t straight = end->mask + 1 - (position & end->mask);

    return straight < count ? straight : count;
}

wrt_status wrt_ring_put_many(wrt_ring *ring, const void *elements, uint32_t count,
                             uint32_t *count_out)
{
    if (count_out == NULL || ring == NULL || elements == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *count_out = 0;
    ring_end *producer = ring->producer;
    if (producer == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    const uint8_t *from = elements;
    const uint32_t size = producer->element_size;
    const uint32_t position = wrt__load(&producer->position);
    const uint32_t moved = available(producer, position, count);
    const uint32_t first = before_wrap(producer, position, moved);
    memcpy(element_at(producer, position, size), from, (size_t)first * size);
    if (moved > first) {
        memcpy(producer->elements, from + (size_t)first * size, (size_t)(moved - first) * size);
    }
    wrt__store_release(&producer->position, position + moved);
    *count_out = moved;
    return moved == 0 && count != 0 ? WRT_ERR_BUSY : WRT_OK;
}

wrt_status wrt_ring_get_many(wrt_ring *ring, void *elements_out, uint32_t count,
                             uint32_t *count_out)
{
    if (count_out == NULL || ring == NULL || elements_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *count_out = 0;
    ring_end *consumer = ring->consumer;
    if (consumer == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    uint8_t *to = elements_out;
    const uint32_t size = consumer->element_size;
    const uint32_t position = wrt__load(&consumer->position);
    const uint32_t moved = available(consumer, position, count);
    const uint32_t first = before_wrap(consumer, position, moved);
    memcpy(to, element_at(consumer, position, size), (size_t)first * size);
    if (moved > first) {
        memcpy(to + (size_t)first * size, consumer->elements, (size_t)(moved - first) * size);
    }
    wrt__store_release(&consumer->position, position + moved);
    *count_out = moved;
    return moved == 0 && count != 0 ? WRT_ERR_BUSY : WRT_OK;
}

wrt_status wrt_ring_count(const wrt_ring *ring, uint32_t *count_out)
{
    if (ring == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    const ring_end *producer = ring->producer;
    if (producer == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    /* The consumer's first: it never passes what the producer has reached by then. */
    const uint32_t got = wrt__load_acquire(producer->other);
    const uint32_t count = wrt__load_acquire(&producer->position) - got;
    *count_out = count <= producer->lead ? count : producer->lead;
    return WRT_OK;
}

wrt_status wrt_ring_deinit(wrt_ring *ring)
{
    if (ring == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "ring is NULL");
    *ring = (wrt_ring){0};
    return WRT_OK;
}
