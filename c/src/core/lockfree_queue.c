/* The queue of many producers and many consumers, for elements of any size: the cells and the
 * claims of lockfree_mpmc.h, and copies in between. A cell is its turn, and the element behind it
 * where a pointer would be aligned. */
#include "wrt_platform/lockfree.h"

#include "config.h"
#include "fail.h"
#include "lockfree_mpmc.h"
#include "lockfree_parts.h"

enum {
    ELEMENT_OFFSET = offsetof(wrt__queue_cell, element),
    FAST_SIZE = sizeof(uint64_t) /* bytes: pointers and timestamps */
};

static const char NULL_ARGUMENT[] = "queue, element or count_out is NULL";
static const char NOT_INITIALISED[] = "queue is not initialised";

static size_t cell_bytes(uint32_t element_size)
{
    return wrt__round_up(ELEMENT_OFFSET + (size_t)element_size, ELEMENT_OFFSET);
}

/* Reads a caller's config of any age. */
static wrt_status read_config(const char *operation, const wrt_queue_config *given,
                              wrt_queue_config *config, wrt_layout *layout_out)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    status = wrt__check_elements(operation, config->capacity, WRT_QUEUE_CAPACITY_MIN,
                                 config->element_size);
    if (status != WRT_OK) return status;
    return wrt__describe_buffer(operation, wrt__queue_bytes(0, 0), config->capacity,
                                cell_bytes(config->element_size), layout_out);
}

wrt_status wrt_queue_layout(const wrt_queue_config *config, wrt_layout *layout_out)
{
    wrt_queue_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    return read_config(__func__, config, &known, layout_out);
}

wrt_status wrt_queue_init(wrt_queue *queue, const wrt_queue_config *config)
{
    wrt_queue_config known;
    wrt_layout layout;
    wrt__queue parts;

    if (queue == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "queue is NULL");
    wrt_status status = read_config(__func__, config, &known, &layout);
    if (status != WRT_OK) return status;
    status = wrt__check_buffer(__func__, known.buffer, known.buffer_size, &layout);
    if (status != WRT_OK) return status;

    wrt__queue_init(&parts, known.buffer, known.capacity, cell_bytes(known.element_size));
    *queue = (wrt_queue){.put_position = parts.put_position,
                         .get_position = parts.get_position,
                         .cells = parts.cells,
                         .mask = parts.mask,
                         .element_size = known.element_size};
    return WRT_OK;
}

static wrt__queue parts_of(const wrt_queue *queue)
{
    return (wrt__queue){queue->put_position, queue->get_position, queue->cells, queue->mask};
}

static uint8_t *element_at(const wrt__queue *parts, uint32_t position, size_t cell_size)
{
    return (uint8_t *)wrt__queue_turn(parts, position, cell_size) + ELEMENT_OFFSET;
}

/* Moves what it can of `count` elements, and says how many. Always inlined into its callers: where
 * one of them knows size or count, the compiler leaves out the loop, the call of memcpy(), and the
 * registers that this would save on the stack. */
static inline __attribute__((always_inline)) wrt_status put_elements(const wrt_queue *queue,
                                                                     const uint8_t *elements,
                                                                     uint32_t size, uint32_t count,
                                                                     uint32_t *count_out)
{
    const wrt__queue parts = parts_of(queue);
    const size_t cell_size = cell_bytes(size);
    uint32_t position;
    const uint32_t claimed =
        wrt__queue_claim(&parts, parts.put_position, 0, cell_size, count, &position);

    for (uint32_t i = 0; i < claimed; i++, elements += size) {
        memcpy(element_at(&parts, position + i, cell_size), elements, size);
        wrt__queue_filled(&parts, position + i, cell_size);
    }
    *count_out = claimed;
    return claimed == 0 ? WRT_ERR_BUSY : WRT_OK;
}

static inline __attribute__((always_inline)) wrt_status get_elements(const wrt_queue *queue,
                                                                     uint8_t *elements_out,
                                                                     uint32_t size, uint32_t count,
                                                                     uint32_t *count_out)
{
    const wrt__queue parts = parts_of(queue);
    const size_t cell_size = cell_bytes(size);
    uint32_t position;
    const uint32_t claimed =
        wrt__queue_claim(&parts, parts.get_position, 1, cell_size, count, &position);

    for (uint32_t i = 0; i < claimed; i++, elements_out += size) {
        memcpy(elements_out, element_at(&parts, position + i, cell_size), size);
        wrt__queue_emptied(&parts, position + i, cell_size);
    }
    *count_out = claimed;
    return claimed == 0 ? WRT_ERR_BUSY : WRT_OK;
}

__attribute__((noinline)) static wrt_status put_any(const wrt_queue *queue, const void *elements,
                                                    uint32_t count, uint32_t *count_out)
{
    return put_elements(queue, elements, queue->element_size, count, count_out);
}

__attribute__((noinline)) static wrt_status get_any(const wrt_queue *queue, void *elements_out,
                                                    uint32_t count, uint32_t *count_out)
{
    return get_elements(queue, elements_out, queue->element_size, count, count_out);
}

wrt_status wrt_queue_put(wrt_queue *queue, const void *element)
{
    uint32_t count;

    if (queue == NULL || element == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    if (queue->cells == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (queue->element_size != FAST_SIZE) return put_any(queue, element, 1, &count);
    return put_elements(queue, element, FAST_SIZE, 1, &count);
}

wrt_status wrt_queue_get(wrt_queue *queue, void *element_out)
{
    uint32_t count;

    if (queue == NULL || element_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    if (queue->cells == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (queue->element_size != FAST_SIZE) return get_any(queue, element_out, 1, &count);
    return get_elements(queue, element_out, FAST_SIZE, 1, &count);
}

wrt_status wrt_queue_put_many(wrt_queue *queue, const void *elements, uint32_t count,
                              uint32_t *count_out)
{
    if (queue == NULL || elements == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *count_out = 0;
    if (queue->cells == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (count == 0) return WRT_OK;
    if (queue->element_size != FAST_SIZE) return put_any(queue, elements, count, count_out);
    return put_elements(queue, elements, FAST_SIZE, count, count_out);
}

wrt_status wrt_queue_get_many(wrt_queue *queue, void *elements_out, uint32_t count,
                              uint32_t *count_out)
{
    if (queue == NULL || elements_out == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *count_out = 0;
    if (queue->cells == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (count == 0) return WRT_OK;
    if (queue->element_size != FAST_SIZE) return get_any(queue, elements_out, count, count_out);
    return get_elements(queue, elements_out, FAST_SIZE, count, count_out);
}

wrt_status wrt_queue_count(const wrt_queue *queue, uint32_t *count_out)
{
    if (queue == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *count_out = 0;
    if (queue->cells == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    /* The consumers' first: it never passes what the producers have reached by then. */
    const uint32_t got = wrt__load_acquire(queue->get_position);
    const uint32_t count = wrt__load_acquire(queue->put_position) - got;
    *count_out = count <= queue->mask + 1 ? count : queue->mask + 1;
    return WRT_OK;
}

wrt_status wrt_queue_deinit(wrt_queue *queue)
{
    if (queue == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "queue is NULL");
    *queue = (wrt_queue){0};
    return WRT_OK;
}
