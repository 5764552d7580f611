/* Internal: what every page allocator checks of the pages it is handed back. */
#ifndef WRT_CORE_VERIFICATION_H
#define WRT_CORE_VERIFICATION_H

#include "wrt_platform/enforcement.h"
#include "wrt_platform/page_allocator.h"

/* What the level asks of one call. */
typedef enum wrt__check {
    WRT__CHECK_NOTHING,
    WRT__CHECK_HANDLE,
    WRT__CHECK_ALL /* the handle and the canaries */
} wrt__check;

/* Reads level and interval of a config. Errors: INVALID_ARGUMENT (unknown level). */
wrt_status wrt__verifier_init(wrt_verifier *verifier, const char *operation, uint32_t level,
                              uint32_t interval);

/* Counts a call and says what it has to check. */
wrt__check wrt__verifier_next(wrt_verifier *verifier);

/* Whether some call may look at canaries, so that they have to be laid. */
bool wrt__verifier_wants_canaries(const wrt_verifier *verifier);

/* What canaries in memory that can be written are worth at this level. */
wrt_enforcement wrt__verifier_canaries(const wrt_verifier *verifier);

/* One step of a checksum in which each bit of `word` reaches the high half. */
uint64_t wrt__seal_mix(uint64_t sum, uint64_t word);

/* Sets the seal to fit the other fields. */
void wrt__pages_seal(wrt_pages *pages);

/* Errors: STATE (not of `owner`, or a field was changed). */
wrt_status wrt__pages_verify(const char *operation, const wrt_pages *pages, const void *owner);

/* Fills `size` bytes, a multiple of 8 and 8-byte aligned, with words that tell their place. */
void wrt__canary_lay(uint8_t *canary, size_t size);

/* Errors: STATE (a word was changed). */
wrt_status wrt__canary_verify(const char *operation, const uint8_t *canary, size_t size);

/* Errors: LIMIT (beyond what is reserved). */
wrt_status wrt__pages_check_growth(const char *operation, const wrt_pages *pages,
                                   uint32_t additional_pages);

/* Errors: INVALID_ARGUMENT (beyond what is accessible). */
wrt_status wrt__pages_check_range(const char *operation, const wrt_pages *pages, size_t offset,
                                  size_t size);

#endif
