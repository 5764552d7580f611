/* The triple buffer: one writer, one reader, the latest value.
 *
 *     buffer   | writer's end | reader's end | value | value | value |
 *
 * Of the three values one is the writer's (back), one the reader's (front), and the one between
 * them (middle) belongs to whoever exchanges it for his own: the writer to publish, the reader if
 * what lies there is new. One word says which of the three is the middle, and whether it is new;
 * as it only ever changes hands by an exchange, no value has two owners. */
#include "wrt_platform/lockfree.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "lockfree_parts.h"

enum { VALUES = 3, PLACE = 3, NEW = 4 }; /* of the middle: which value, and a flag */

typedef struct triple_ends {
    uint32_t middle; /* both sides exchange it */
    uint32_t back;   /* the writer's alone */
    uint8_t apart[WRT__CACHE_LINE];
    uint32_t front;    /* the reader's alone */
    uint32_t has_read; /* 1: the front is a value that was put */
} triple_ends;

static const char NULL_ARGUMENT[] = "buffer or an out parameter is NULL";
static const char NOT_INITIALISED[] = "buffer is not initialised";

static size_t ends_bytes(void)
{
    return wrt__round_up(sizeof(triple_ends), WRT__CACHE_LINE);
}

static uint32_t stride_of(uint32_t value_size)
{
    return (uint32_t)wrt__round_up(value_size, WRT__CACHE_LINE);
}

/* Reads a caller's config of any age. */
static wrt_status read_config(const char *operation, const wrt_triple_buffer_config *given,
                              wrt_triple_buffer_config *config, wrt_layout *layout_out)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    status = wrt__check_value(operation, config->value_size);
    if (status != WRT_OK) return status;
    return wrt__describe_buffer(operation, ends_bytes(), VALUES, stride_of(config->value_size),
                                layout_out);
}

wrt_status wrt_triple_buffer_layout(const wrt_triple_buffer_config *config, wrt_layout *layout_out)
{
    wrt_triple_buffer_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    return read_config(__func__, config, &known, layout_out);
}

wrt_status wrt_triple_buffer_init(wrt_triple_buffer *buffer, const wrt_triple_buffer_config *config)
{
    wrt_triple_buffer_config known;
    wrt_layout layout;

    if (buffer == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    wrt_status status = read_config(__func__, config, &known, &layout);
    if (status != WRT_OK) return status;
    status = wrt__check_buffer(__func__, known.buffer, known.buffer_size, &layout);
    if (status != WRT_OK) return status;

    memset(known.buffer, 0, layout.bytes);
    triple_ends *ends = known.buffer;
    ends->back = 1;
    ends->front = 2;
    *buffer = (wrt_triple_buffer){.ends = ends,
                                  .values = (uint8_t *)known.buffer + ends_bytes(),
                                  .value_size = known.value_size,
                                  .stride = stride_of(known.value_size)};
    return WRT_OK;
}

static uint8_t *value_at(const wrt_triple_buffer *buffer, uint32_t place)
{
    return buffer->values + (size_t)place * buffer->stride;
}

/* The writer's value becomes the middle and is new; the old middle is the next back. */
static void publish(triple_ends *ends)
{
    ends->back = wrt__exchange(&ends->middle, ends->back | NEW) & PLACE;
}

/* Takes the middle if it is new; false if there never was one. */
static bool take_latest(triple_ends *ends, bool *is_new_out)
{
    *is_new_out = (wrt__load(&ends->middle) & NEW) != 0;
    if (*is_new_out) {
        ends->front = wrt__exchange(&ends->middle, ends->front) & PLACE;
        ends->has_read = 1;
    }
    return ends->has_read != 0;
}

wrt_status wrt_triple_buffer_back(wrt_triple_buffer *buffer, void **value_out)
{
    if (buffer == NULL || value_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *value_out = NULL;
    const triple_ends *ends = buffer->ends;
    if (ends == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    *value_out = value_at(buffer, ends->back);
    return WRT_OK;
}

wrt_status wrt_triple_buffer_publish(wrt_triple_buffer *buffer)
{
    if (buffer == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    if (buffer->ends == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    publish(buffer->ends);
    return WRT_OK;
}

wrt_status wrt_triple_buffer_front(wrt_triple_buffer *buffer, const void **value_out,
                                   bool *is_new_out)
{
    if (buffer == NULL || value_out == NULL || is_new_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *value_out = NULL;
    *is_new_out = false;
    triple_ends *ends = buffer->ends;
    if (ends == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (!take_latest(ends, is_new_out)) return WRT_ERR_BUSY;
    *value_out = value_at(buffer, ends->front);
    return WRT_OK;
}

wrt_status wrt_triple_buffer_put(wrt_triple_buffer *buffer, const void *value)
{
    if (buffer == NULL || value == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "buffer or value is NULL");
    }
    triple_ends *ends = buffer->ends;
    if (ends == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    memcpy(value_at(buffer, ends->back), value, buffer->value_size);
    publish(ends);
    return WRT_OK;
}

wrt_status wrt_triple_buffer_get(wrt_triple_buffer *buffer, void *value_out, bool *is_new_out)
{
    if (buffer == NULL || value_out == NULL || is_new_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    }
    *is_new_out = false;
    triple_ends *ends = buffer->ends;
    if (ends == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (!take_latest(ends, is_new_out)) return WRT_ERR_BUSY;
    memcpy(value_out, value_at(buffer, ends->front), buffer->value_size);
    return WRT_OK;
}

wrt_status wrt_triple_buffer_deinit(wrt_triple_buffer *buffer)
{
    if (buffer == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, NULL_ARGUMENT);
    *buffer = (wrt_triple_buffer){0};
    return WRT_OK;
}
