/* Static memory: one allocation at a time, in a caller's buffer.
 *
 *     buffer   | lost | canary | page | page |      canary      ...      | unused |
 *                              ^ base        ^ behind the accessible pages,
 *                                              moved by growth
 *
 * Canaries are there only if the verification level looks at them. The allocator keeps
 * the seal of the handle that is out, so that an older copy of it is noticed. */
#include "wrt_platform/static_memory.h"

#include "bits.h"
#include "config.h"
#include "fail.h"
#include "verification.h"
#include <string.h>

static const char NO_GUARD_HARDWARE[] =
    "no memory protection unit stands behind a caller's buffer here; verification FULL lays "
    "canaries instead, and the engine checks every access";

static bool config_is_valid(const wrt_static_allocator_config *config)
{
    return wrt__is_power_of_two((uint32_t)config->alignment) &&
           config->alignment >= WRT_STATIC_ALIGNMENT_MIN &&
           config->alignment <= WRT_STATIC_ALIGNMENT_MAX &&
           config->maximum_pages <= WRT_PAGE_COUNT_MAX &&
           config->guard_regions <= WRT_GUARD_REGIONS_REQUIRED;
}

/* Reads a caller's config of any age, with its defaults filled in. */
static wrt_status read_config(const char *operation, const wrt_static_allocator_config *given,
                              wrt_static_allocator_config *config, wrt_verifier *verifier)
{
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->alignment == 0) config->alignment = WRT_STATIC_ALIGNMENT_DEFAULT;
    if (!config_is_valid(config)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "alignment {0}, maximum_pages {1} or guard_regions breaks a rule of "
                               "wrt_static_allocator_config",
                               config->alignment, config->maximum_pages);
    }
    status = wrt__verifier_init(verifier, operation, config->verification_level,
                                config->sampling_interval);
    if (status != WRT_OK) return status;
    if (config->guard_regions == WRT_GUARD_REGIONS_REQUIRED) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, NO_GUARD_HARDWARE);
    }
    return WRT_OK;
}

static size_t canary_size(const wrt_verifier *verifier)
{
    return wrt__verifier_wants_canaries(verifier) ? WRT_STATIC_CANARY_SIZE : 0;
}

static size_t round_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

wrt_status wrt_static_allocator_layout(const wrt_static_allocator_config *config,
                                       wrt_layout *layout_out)
{
    wrt_static_allocator_config known;
    wrt_verifier verifier;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known, &verifier);
    if (status != WRT_OK) return status;
    if (known.maximum_pages == 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "maximum_pages is 0");
    }
    const size_t canary = canary_size(&verifier);
    const size_t extra = round_up(canary, known.alignment) + canary;
    if (known.maximum_pages > (SIZE_MAX - extra) / WRT_PAGE_SIZE) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "{0} pages are beyond this system's addresses", known.maximum_pages,
                               0);
    }
    *layout_out =
        (wrt_layout){extra + (size_t)known.maximum_pages * WRT_PAGE_SIZE, known.alignment};
    return WRT_OK;
}

/* Bytes of the buffer before the first one that can be a base. */
static size_t lost_bytes(const wrt_static_allocator_config *config, size_t canary)
{
    const uintptr_t start = (uintptr_t)config->buffer;

    return (
        size_t)(((start + canary + config->alignment - 1) & ~(uintptr_t)(config->alignment - 1)) -
                start);
}

static uint32_t pages_that_fit(size_t size, size_t lost, size_t canary)
{
    if (size < lost || size - lost < canary) return 0;
    const size_t pages = (size - lost - canary) / WRT_PAGE_SIZE;
    return pages < WRT_PAGE_COUNT_MAX ? (uint32_t)pages : WRT_PAGE_COUNT_MAX;
}

wrt_status wrt_static_allocator_init(wrt_static_allocator *allocator,
                                     const wrt_static_allocator_config *config)
{
    wrt_static_allocator_config known;
    wrt_verifier verifier;

    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    const wrt_status status = read_config(__func__, config, &known, &verifier);
    if (status != WRT_OK) return status;
    if (known.buffer == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "buffer is NULL");
    }
    const size_t canary = canary_size(&verifier);
    const size_t lost = lost_bytes(&known, canary);
    const uint32_t room = pages_that_fit(known.buffer_size, lost, canary);
    const uint32_t wanted = known.maximum_pages;
    if (room < (wanted != 0 ? wanted : 1)) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "buffer has {0} bytes and holds {1} pages of 65536 after alignment "
                               "and canaries, fewer than are asked for",
                               known.buffer_size, room);
    }
    *allocator = (wrt_static_allocator){.self = allocator,
                                        .base = (uint8_t *)known.buffer + lost,
                                        .verifier = verifier,
                                        .maximum_pages = wanted != 0 ? wanted : room,
                                        .guard_regions = known.guard_regions};
    return WRT_OK;
}

static wrt_status check_self(const char *operation, const wrt_static_allocator *allocator)
{
    if (allocator == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "allocator is NULL");
    }
    if (allocator->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "allocator is not initialised");
    }
    if (allocator->self != allocator && allocator->is_out != 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "allocator was moved while an allocation is out");
    }
    return WRT_OK;
}

static uint8_t *end_of_pages(const wrt_static_allocator *allocator)
{
    return allocator->base + (size_t)allocator->page_count * WRT_PAGE_SIZE;
}

/* Makes the first `page_count` pages accessible and zero; those that were before stay. */
static void set_page_count(wrt_static_allocator *allocator, wrt_pages *pages, uint32_t page_count)
{
    const size_t canary = canary_size(&allocator->verifier);
    uint8_t *fresh = end_of_pages(allocator);

    allocator->page_count = page_count;
    if (allocator->peak_pages < page_count) allocator->peak_pages = page_count;
    memset(fresh, 0, (size_t)(end_of_pages(allocator) - fresh));
    wrt__canary_lay(end_of_pages(allocator), canary);
    pages->page_count = page_count;
    wrt__pages_seal(pages);
    allocator->live_seal = pages->seal;
}

static wrt_status verify_handle(const char *operation, const wrt_static_allocator *allocator,
                                const wrt_pages *pages)
{
    const wrt_status status = wrt__pages_verify(operation, pages, allocator);
    if (status != WRT_OK) return status;
    if (allocator->is_out != 0 && pages->seal == allocator->live_seal) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "pages are an old copy of what is or was out");
}

/* Checks the allocator, and of the pages as much as the level asks. */
static wrt_status verify(const char *operation, wrt_static_allocator *allocator,
                         const wrt_pages *pages)
{
    wrt_status status = check_self(operation, allocator);
    if (status != WRT_OK) return status;

    const wrt__check check = wrt__verifier_next(&allocator->verifier);
    if (check != WRT__CHECK_NOTHING) status = verify_handle(operation, allocator, pages);
    if (status != WRT_OK || check != WRT__CHECK_ALL) return status;
    const size_t canary = canary_size(&allocator->verifier);
    status = wrt__canary_verify(operation, allocator->base - canary, canary);
    if (status != WRT_OK) return status;
    return wrt__canary_verify(operation, end_of_pages(allocator), canary);
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    static const char operation[] = "wrt_page_allocator_allocate";
    wrt_static_allocator *allocator = context;
    const wrt_status status = check_self(operation, allocator);

    if (status != WRT_OK) return status;
    if (maximum_pages > allocator->maximum_pages) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "maximum_pages is {0}, the static allocator has {1}", maximum_pages,
                               allocator->maximum_pages);
    }
    if (allocator->is_out != 0) {
        return wrt_fail(WRT_ERR_BUSY, operation,
                        "the static allocator serves one allocation at a time");
    }
    const size_t canary = canary_size(&allocator->verifier);
    wrt__canary_lay(allocator->base - canary, canary);
    *pages_out = (wrt_pages){.base = allocator->base,
                             .maximum_pages = maximum_pages,
                             .owner = allocator,
                             .reservation = allocator->base - canary,
                             .reserved_size = (size_t)maximum_pages * WRT_PAGE_SIZE + 2 * canary};
    allocator->self = allocator;
    allocator->is_out = 1;
    set_page_count(allocator, pages_out, initial_pages);
    return WRT_OK;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    static const char operation[] = "wrt_page_allocator_grow";
    wrt_status status = verify(operation, context, pages);

    if (status == WRT_OK) status = wrt__pages_check_growth(operation, pages, additional_pages);
    if (status == WRT_OK && additional_pages != 0) {
        set_page_count(context, pages, pages->page_count + additional_pages);
    }
    return status;
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    static const char operation[] = "wrt_page_allocator_protect";
    wrt_status status = verify(operation, context, pages);

    (void)protection;
    if (status == WRT_OK) status = wrt__pages_check_range(operation, pages, offset, size);
    if (status != WRT_OK) return status;
    return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                    "nothing enforces a protection on a caller's buffer here; use an allocator of "
                    "the operating system");
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    wrt_static_allocator *allocator = context;
    const wrt_status status = verify("wrt_page_allocator_deallocate", allocator, pages);

    if (status != WRT_OK) return status;
    allocator->is_out = 0;
    allocator->page_count = 0;
    allocator->live_seal = 0;
    *pages = (wrt_pages){0};
    return WRT_OK;
}

wrt_page_allocator wrt_static_allocator_interface(wrt_static_allocator *allocator)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, allocator};
}

static wrt_enforcement guard_regions(const wrt_static_allocator *allocator)
{
    if (allocator->guard_regions == WRT_GUARD_REGIONS_OFF) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED,
                                 .reason = "guard_regions is off"};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_ABSENT, .reason = NO_GUARD_HARDWARE};
}

wrt_status wrt_static_allocator_query(const wrt_static_allocator *allocator,
                                      wrt_static_allocator_report *report_out)
{
    if (report_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "report_out is NULL");
    }
    const wrt_status status = check_self(__func__, allocator);
    if (status != WRT_OK) return status;
    *report_out =
        (wrt_static_allocator_report){.maximum_pages = allocator->maximum_pages,
                                      .allocation_count = allocator->is_out,
                                      .page_count = allocator->page_count,
                                      .peak_pages = allocator->peak_pages,
                                      .guard_regions = guard_regions(allocator),
                                      .canaries = wrt__verifier_canaries(&allocator->verifier)};
    return WRT_OK;
}

wrt_status wrt_static_allocator_deinit(wrt_static_allocator *allocator)
{
    if (allocator == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "allocator is NULL");
    if (wrt__is_zero(allocator, sizeof *allocator)) return WRT_OK;
    const wrt_status status = check_self(__func__, allocator);
    if (status != WRT_OK) return status;
    if (allocator->is_out != 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "an allocation is still out");
    }
    *allocator = (wrt_static_allocator){0};
    return WRT_OK;
}
