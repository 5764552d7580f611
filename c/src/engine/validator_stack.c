/* The validator's stack of types. */
#include "validator.h"

void wrt__invalid_here(wrt__validator *validator, const char *reason, uint32_t index)
{
    wrt__invalid(validator->loader, reason, validator->position, index);
}

static void mismatch(wrt__validator *validator)
{
    wrt__invalid_here(validator, "type mismatch at byte {0}", 0);
}

/* Either the function goes beyond what the engine takes, or the buffer is too small for its types.
 */
static void refuse_push(wrt__validator *validator)
{
    wrt__loader *loader = validator->loader;

    if (validator->height - validator->code->local_count >= WRT_MODULE_STACK_MAX) {
        wrt__reader_fail(
            validator->reader, WRT_ERR_UNSUPPORTED,
            "operand stack at byte {0} is deeper than the {1} values this engine takes",
            validator->position, WRT_MODULE_STACK_MAX);
        return;
    }
    (void)wrt__reserve(loader, (uint64_t)loader->buffer_size + 1);
}

void wrt__push(wrt__validator *validator, uint8_t type)
{
    if (validator->height >= validator->height_limit) {
        refuse_push(validator);
        return;
    }
    *wrt__value(validator, validator->height++) = type;
    if (validator->height_peak < validator->height) validator->height_peak = validator->height;
}

uint8_t wrt__pop(wrt__validator *validator, uint8_t expected)
{
    if (validator->height == validator->frame->height) {
        if (!validator->frame->is_unreachable) mismatch(validator);
        return WRT__UNKNOWN_TYPE;
    }
    const uint8_t type = *wrt__value(validator, --validator->height);
    if (type != expected && type != WRT__UNKNOWN_TYPE && expected != WRT__UNKNOWN_TYPE) {
        mismatch(validator);
    }
    return type;
}

void wrt__push_types(wrt__validator *validator, uint32_t types, uint32_t count)
{
    const uint8_t *bytes = validator->reader->bytes;

    for (uint32_t i = 0; i < count; i++) wrt__push(validator, bytes[types + i]);
}

void wrt__pop_types(wrt__validator *validator, uint32_t types, uint32_t count)
{
    const uint8_t *bytes = validator->reader->bytes;

    for (uint32_t i = count; i > 0; i--) (void)wrt__pop(validator, bytes[types + i - 1]);
}

void wrt__check_types(wrt__validator *validator, uint32_t types, uint32_t count)
{
    const uint8_t *expected = validator->reader->bytes + types;
    const uint32_t there = validator->height - validator->frame->height;

    if (there < count && !validator->frame->is_unreachable) {
        mismatch(validator);
        return;
    }
    for (uint32_t i = 1; i <= count && i <= there; i++) {
        const uint8_t type = *wrt__value(validator, validator->height - i);
        if (type != expected[count - i] && type != WRT__UNKNOWN_TYPE) mismatch(validator);
    }
}

void wrt__set_unreachable(wrt__validator *validator)
{
    validator->height = validator->frame->height;
    validator->frame->is_unreachable = true;
}
