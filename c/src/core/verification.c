/* Verification of pages, the same for all backends: a seal, which is a checksum over
 * the handle's fields, and canaries, which are known words beside the memory. Both
 * find accidents; neither is a secret that withstands someone who can write there. */
#include "verification.h"

#include "fail.h"

wrt_status wrt__verifier_init(wrt_verifier *verifier, const char *operation, uint32_t level,
                              uint32_t interval)
{
    if (level > WRT_VERIFICATION_FULL) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "verification is {0}, not one of wrt_verification_level", level, 0);
    }
    *verifier = (wrt_verifier){
        .level = level != WRT_VERIFICATION_DEFAULT ? level : WRT_VERIFICATION_STANDARD,
        .interval = interval != 0 ? interval : WRT_PAGE_SAMPLING_INTERVAL_DEFAULT};
    return WRT_OK;
}

/* Counts up to the interval instead of dividing, which small cores cannot. */
static bool is_sampled(wrt_verifier *verifier)
{
    verifier->calls++;
    if (verifier->calls < verifier->interval) return false;
    verifier->calls = 0;
    return true;
}

wrt__check wrt__verifier_next(wrt_verifier *verifier)
{
    switch (verifier->level) {
    case WRT_VERIFICATION_OFF:
        return WRT__CHECK_NOTHING;
    case WRT_VERIFICATION_SAMPLING:
        return is_sampled(verifier) ? WRT__CHECK_ALL : WRT__CHECK_NOTHING;
    case WRT_VERIFICATION_FULL:
        return WRT__CHECK_ALL;
    default:
        return WRT__CHECK_HANDLE;
    }
}

bool wrt__verifier_wants_canaries(const wrt_verifier *verifier)
{
    return verifier->level == WRT_VERIFICATION_FULL || verifier->level == WRT_VERIFICATION_SAMPLING;
}

wrt_enforcement wrt__verifier_canaries(const wrt_verifier *verifier)
{
    if (verifier->level == WRT_VERIFICATION_FULL) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_ENFORCED,
                                 .reason = "checked by each call that is handed pages"};
    }
    if (verifier->level == WRT_VERIFICATION_SAMPLING) {
        return (wrt_enforcement){.state = WRT_ENFORCEMENT_PARTIAL,
                                 .reason = "checked by one call in each sampling interval"};
    }
    return (wrt_enforcement){.state = WRT_ENFORCEMENT_NOT_ASKED,
                             .reason = "the verification level has no canaries"};
}

uint64_t wrt__seal_mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return sum ^ (sum >> 32);
}

static uint64_t seal_of(const wrt_pages *pages)
{
    uint64_t sum = UINT64_C(0x7772745F70616765);

    sum = wrt__seal_mix(sum, (uintptr_t)pages->base);
    sum = wrt__seal_mix(sum, (uint64_t)pages->page_count << 32 | pages->maximum_pages);
    sum = wrt__seal_mix(sum, (uintptr_t)pages->owner);
    sum = wrt__seal_mix(sum, (uintptr_t)pages->reservation);
    return wrt__seal_mix(sum, pages->reserved_size);
}

void wrt__pages_seal(wrt_pages *pages)
{
    pages->seal = seal_of(pages);
}

wrt_status wrt__pages_verify(const char *operation, const wrt_pages *pages, const void *owner)
{
    if (pages->owner != owner) {
        return wrt_fail(WRT_ERR_STATE, operation, "pages are not of this allocator");
    }
    if (pages->seal != seal_of(pages)) {
        return wrt_fail(WRT_ERR_STATE, operation, "pages were changed: their seal is broken");
    }
    return WRT_OK;
}

static uint64_t canary_word(const uint64_t *place)
{
    return wrt__seal_mix(UINT64_C(0x63616E617279), (uintptr_t)place);
}

void wrt__canary_lay(uint8_t *canary, size_t size)
{
    uint64_t *words = (uint64_t *)(void *)canary;

    for (size_t i = 0; i < size / sizeof *words; i++) words[i] = canary_word(&words[i]);
}

wrt_status wrt__canary_verify(const char *operation, const uint8_t *canary, size_t size)
{
    const uint64_t *words = (const uint64_t *)(const void *)canary;

    for (size_t i = 0; i < size / sizeof *words; i++) {
        if (words[i] != canary_word(&words[i])) {
            return wrt_fail_detail(
                WRT_ERR_STATE, operation,
                "somebody wrote beside the pages: canary word {0} of {1} changed", i,
                size / sizeof *words);
        }
    }
    return WRT_OK;
}

wrt_status wrt__pages_check_growth(const char *operation, const wrt_pages *pages,
                                   uint32_t additional_pages)
{
    const uint32_t room = pages->maximum_pages - pages->page_count;

    if (additional_pages <= room) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                           "{0} more pages are asked for, {1} are left of those reserved",
                           additional_pages, room);
}

wrt_status wrt__pages_check_range(const char *operation, const wrt_pages *pages, size_t offset,
                                  size_t size)
{
    const size_t bytes = (size_t)pages->page_count * WRT_PAGE_SIZE;

    if (offset <= bytes && size <= bytes - offset) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "the range from offset {0} ends beyond the {1} accessible bytes", offset,
                           bytes);
}
