/* Internal: atomic words. Public structs hold plain uint32_t (a header that C++ reads can't say
 * _Atomic), so these functions make the accesses atomic. 32 bits alone: small cores have no more.
 */
#ifndef WRT_CORE_ATOMIC_H
#define WRT_CORE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

static inline uint32_t wrt__load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint32_t wrt__load_acquire(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* In one total order with the stores and exchanges below that say so. */
static inline uint32_t wrt__load_ordered(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void wrt__store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void wrt__store_release(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void wrt__store_ordered(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* Keeps the stores behind it behind all that stands before it. */
static inline void wrt__fence_release(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Keeps the loads before it before all that stands behind it. */
static inline void wrt__fence_acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* The five below return what the word held before; all are ordered. */
static inline uint32_t wrt__exchange(uint32_t *word, uint32_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t wrt__add(uint32_t *word, uint32_t value)
{
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t wrt__subtract(uint32_t *word, uint32_t value)
{
    return __atomic_fetch_sub(word, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t wrt__set_bits(uint32_t *word, uint32_t bits)
{
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

static inline uint32_t wrt__clear_bits(uint32_t *word, uint32_t bits)
{
    return __atomic_fetch_and(word, ~bits, __ATOMIC_SEQ_CST);
}

/* Puts `value` in place of *expected and returns true; else reads what is there into it. */
static inline bool wrt__compare_exchange(uint32_t *word, uint32_t *expected, uint32_t value)
{
    return __atomic_compare_exchange_n(word, expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* A counter with one writer: no other thread may add to it. */
static inline void wrt__count(uint32_t *word)
{
    wrt__store(word, wrt__load(word) + 1u);
}

/* What tells the processor that this thread is spinning. */
#if defined(__x86_64__) || defined(__i386__)
#define WRT__SPIN_INSTRUCTION "pause"
#elif defined(__aarch64__) || defined(__arm__)
#define WRT__SPIN_INSTRUCTION "yield"
#else
#define WRT__SPIN_INSTRUCTION ""
#endif

static inline void wrt__spin_hint(void)
{
    __asm__ volatile(WRT__SPIN_INSTRUCTION ::: "memory");
}

#endif
