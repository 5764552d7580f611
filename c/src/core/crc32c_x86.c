/* CRC-32C by the instruction of x86-64 (SSE4.2). Its result comes three cycles later, but it can
 * begin anew in each: so long inputs are cut into three streams, computed in turns, and joined.
 *
 * Joining multiplies by a power of x, which says how many bytes lie behind: a multiplication
 * without carries (PCLMULQDQ), whose 64 bits the instruction itself reduces. It brings x^33 along
 * (32 by the instruction, one by the order of the bits), so the constants are x^(8 * bytes - 33).
 */
#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)

#define WITH_SSE42 __attribute__((target("sse4.2,pclmul")))

typedef long long pair __attribute__((vector_size(16)));

/* Bytes of one of the three streams, a multiple of 8: long inputs are taken in long steps, and
 * what is left of them in short ones. */
enum { LONG_STREAM = 680, SHORT_STREAM = 80 };

/* What joins three streams. */
typedef struct joint {
    uint32_t behind_one; /* x^(8 * stream - 33) */
    uint32_t behind_two; /* x^(16 * stream - 33) */
} joint;

static const joint long_joint = {0xE417F38Au, 0x3F70CC6Fu};
static const joint short_joint = {0x39D3B296u, 0x878A92A7u};

static inline uint64_t load(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;

    memcpy(&word, bytes, size);
    return word;
}

WITH_SSE42 static uint64_t multiply(uint64_t state, uint32_t power)
{
    const pair left = {(long long)state, 0}, right = {(long long)power, 0};

    return (uint64_t)__builtin_ia32_pclmulqdq128(left, right, 0)[0];
}

/* Three streams of `stream` bytes, one behind the other. */
WITH_SSE42 static uint64_t three_streams(uint64_t state, const uint8_t *bytes, size_t stream,
                                         const joint *join)
{
    uint64_t second = 0, third = 0;

    for (size_t i = 0; i < stream; i += 8) {
        state = __builtin_ia32_crc32di(state, load(bytes + i, 8));
        second = __builtin_ia32_crc32di(second, load(bytes + stream + i, 8));
        third = __builtin_ia32_crc32di(third, load(bytes + 2 * stream + i, 8));
    }
    const uint64_t both = multiply(state, join->behind_two) ^ multiply(second, join->behind_one);
    return __builtin_ia32_crc32di(0, both) ^ third;
}

WITH_SSE42 uint32_t wrt__crc32c_instruction(uint32_t state, uint32_t word, const uint8_t *bytes,
                                            size_t size)
{
    uint64_t wide = __builtin_ia32_crc32si(state, word);

    for (; size >= 3 * LONG_STREAM; size -= 3 * LONG_STREAM, bytes += 3 * LONG_STREAM) {
        wide = three_streams(wide, bytes, LONG_STREAM, &long_joint);
    }
    for (; size >= 3 * SHORT_STREAM; size -= 3 * SHORT_STREAM, bytes += 3 * SHORT_STREAM) {
        wide = three_streams(wide, bytes, SHORT_STREAM, &short_joint);
    }
    for (; size >= 32; size -= 32, bytes += 32) {
        wide = __builtin_ia32_crc32di(wide, load(bytes, 8));
        wide = __builtin_ia32_crc32di(wide, load(bytes + 8, 8));
        wide = __builtin_ia32_crc32di(wide, load(bytes + 16, 8));
        wide = __builtin_ia32_crc32di(wide, load(bytes + 24, 8));
    }
    for (; size >= 8; size -= 8, bytes += 8) wide = __builtin_ia32_crc32di(wide, load(bytes, 8));
    state = (uint32_t)wide;
    if (size >= 4) {
        state = __builtin_ia32_crc32si(state, (uint32_t)load(bytes, 4));
        size -= 4, bytes += 4;
    }
    for (; size > 0; size--, bytes++) state = __builtin_ia32_crc32qi(state, *bytes);
    return state;
}

/* The processor says by itself what it has: leaf 1 of CPUID, in ECX. */
bool wrt__crc32c_instruction_works(uint64_t capabilities)
{
    const uint32_t pclmul = UINT32_C(1) << 1, sse42 = UINT32_C(1) << 20;
    uint32_t eax = 1, ebx, ecx = 0, edx;

    (void)capabilities;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (ecx & (pclmul | sse42)) == (pclmul | sse42);
}

#endif
