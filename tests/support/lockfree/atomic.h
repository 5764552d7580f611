/* Stands in for c/src/core/atomic.h where the explorer runs the library's own sources: before each
 * access to shared memory the explorer may let another thread go on. So it explores interleavings,
 * one access after the other (sequential consistency). What a processor may reorder beyond that is
 * not modelled, and the orders that the functions are named after make no difference here. */
#ifndef WRT_CORE_ATOMIC_H
#define WRT_CORE_ATOMIC_H

#include "explorer.h"
#include <stdbool.h>
#include <stdint.h>

static inline uint32_t wrt__load(const uint32_t *word)
{
    explorer_access(word, sizeof *word, NULL, 0);
    return *word;
}

static inline void wrt__store(uint32_t *word, uint32_t value)
{
    explorer_access(NULL, 0, word, sizeof *word);
    *word = value;
}

static inline uint32_t wrt__exchange(uint32_t *word, uint32_t value)
{
    explorer_access(word, sizeof *word, word, sizeof *word);
    const uint32_t before = *word;
    *word = value;
    return before;
}

static inline bool wrt__compare_exchange(uint32_t *word, uint32_t *expected, uint32_t value)
{
    explorer_access(word, sizeof *word, word, sizeof *word);
    const bool is_same = *word == *expected;
    *(is_same ? word : expected) = is_same ? value : *word;
    return is_same;
}

static inline uint32_t wrt__load_acquire(const uint32_t *word)
{
    return wrt__load(word);
}

static inline void wrt__store_release(uint32_t *word, uint32_t value)
{
    wrt__store(word, value);
}

static inline void wrt__fence_acquire(void) {}

static inline void wrt__fence_release(void) {}

static inline void wrt__spin_hint(void) {}

#endif
