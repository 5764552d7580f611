/* The stack of indexes, after R. Kent Treiber.
 *
 *     buffer   | top: tag, index + 1 | below[0] | below[1] | ...
 *
 * An index that is on the stack has the one below it, plus 1, in its word; 0 is the bottom. So the
 * stack needs no storage but a word an index, and an index that is off the stack says so in its
 * word: pushing it twice is noticed instead of making a circle.
 *
 * Index and tag share one word, because small processors exchange no more than 32 bits at once.
 * Each push counts the tag up: a pop that was stopped between reading its top and exchanging it
 * sees that the stack has changed even if the same index is on top again, up to 65,536 pushes. */
#include "wrt_platform/lockfree.h"

#include "atomic.h"
#include "config.h"
#include "fail.h"
#include "lockfree_parts.h"

enum { INDEX_BITS = 16, OFF_STACK = 0x10000 };

static const uint32_t INDEX_MASK = 0xFFFF;
static const uint32_t ONE_TAG = UINT32_C(1) << INDEX_BITS;

_Static_assert((uint32_t)WRT_INDEX_STACK_CAPACITY_MAX < OFF_STACK, "index + 1 fits its bits");

static const char NOT_INITIALISED[] = "stack is not initialised";

/* Reads a caller's config of any age. */
static wrt_status read_config(const char *operation, const wrt_index_stack_config *given,
                              wrt_index_stack_config *config, wrt_layout *layout_out)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->capacity < 1 || config->capacity > WRT_INDEX_STACK_CAPACITY_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "capacity is {0}, not 1 to {1}",
                               config->capacity, WRT_INDEX_STACK_CAPACITY_MAX);
    }
    return wrt__describe_buffer(operation, WRT__CACHE_LINE, config->capacity, sizeof(uint32_t),
                                layout_out);
}

wrt_status wrt_index_stack_layout(const wrt_index_stack_config *config, wrt_layout *layout_out)
{
    wrt_index_stack_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    return read_config(__func__, config, &known, layout_out);
}

/* All indexes on the stack, 0 on top. */
static void fill(wrt_index_stack *stack)
{
    for (uint32_t i = 0; i + 1 < stack->capacity; i++) wrt__store(&stack->below[i], i + 2);
    wrt__store(&stack->below[stack->capacity - 1], 0);
    wrt__store_release(stack->top, 1);
}

wrt_status wrt_index_stack_init(wrt_index_stack *stack, const wrt_index_stack_config *config)
{
    wrt_index_stack_config known;
    wrt_layout layout;

    if (stack == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stack is NULL");
    wrt_status status = read_config(__func__, config, &known, &layout);
    if (status != WRT_OK) return status;
    status = wrt__check_buffer(__func__, known.buffer, known.buffer_size, &layout);
    if (status != WRT_OK) return status;

    *stack =
        (wrt_index_stack){.top = known.buffer,
                          .below = (uint32_t *)(void *)((uint8_t *)known.buffer + WRT__CACHE_LINE),
                          .capacity = known.capacity};
    wrt__store(stack->top, 0);
    for (uint32_t i = 0; i < known.capacity; i++) wrt__store(&stack->below[i], OFF_STACK);
    if (known.filled) fill(stack);
    return WRT_OK;
}

wrt_status wrt_index_stack_push(wrt_index_stack *stack, uint32_t index)
{
    if (stack == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stack is NULL");
    if (stack->top == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);
    if (index >= stack->capacity) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "index is {0}, the capacity is {1}", index, stack->capacity);
    }
    uint32_t off = OFF_STACK;
    if (!wrt__compare_exchange(&stack->below[index], &off, 0)) {
        return wrt_fail_detail(WRT_ERR_STATE, __func__, "index {0} is on the stack already", index,
                               0);
    }
    uint32_t top = wrt__load(stack->top);
    uint32_t pushed;
    do {
        wrt__store(&stack->below[index], top & INDEX_MASK);
        pushed = ((top & ~INDEX_MASK) + ONE_TAG) | (index + 1);
    } while (!wrt__compare_exchange(stack->top, &top, pushed));
    return WRT_OK;
}

wrt_status wrt_index_stack_pop(wrt_index_stack *stack, uint32_t *index_out)
{
    if (stack == NULL || index_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stack or index_out is NULL");
    }
    if (stack->top == NULL) return wrt_fail(WRT_ERR_STATE, __func__, NOT_INITIALISED);

    uint32_t top;
    uint32_t below;
    do {
        top = wrt__load_acquire(stack->top);
        if ((top & INDEX_MASK) == 0) return WRT_ERR_BUSY;
        below = wrt__load(&stack->below[(top & INDEX_MASK) - 1]);
    } while (!wrt__compare_exchange(stack->top, &top, (top & ~INDEX_MASK) | (below & INDEX_MASK)));
    *index_out = (top & INDEX_MASK) - 1;
    wrt__store_release(&stack->below[*index_out], OFF_STACK);
    return WRT_OK;
}

wrt_status wrt_index_stack_deinit(wrt_index_stack *stack)
{
    if (stack == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "stack is NULL");
    *stack = (wrt_index_stack){0};
    return WRT_OK;
}
