/* CRC-32C by the instruction of 64-bit Arm (ARMv8, the CRC extension). Its result comes some
 * cycles later, but it can begin anew in each: so long inputs are cut into three streams, computed
 * in turns, and joined. Joining multiplies by a power of x, which says how many bytes lie behind;
 * that is 32 steps, so it is done only where a stream is much longer. */
#include "crc32c.h"

#include <string.h>

#if defined(__aarch64__)

/* Bytes of one of the three streams, a multiple of 8, and what joins them. */
enum { STREAM = 1360 };
static const uint32_t behind_one = 0xD6A79573u; /* x^(8 * STREAM) */
static const uint32_t behind_two = 0x4672C7F2u; /* x^(16 * STREAM) */

/* The assembler is told of the extension here; the processor is asked before. */
static inline uint32_t take_eight(uint32_t state, const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(word));
    return state;
}

static inline uint32_t take_four(uint32_t state, uint32_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cw %w0, %w0, %w1" : "+r"(state) : "r"(word));
    return state;
}

static inline uint32_t take_one(uint32_t state, const uint8_t *byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"((uint32_t)*byte));
    return state;
}

/* The product of two polynomials, reduced; the highest bit is the power 0. */
static uint32_t multiply(uint32_t left, uint32_t right)
{
    uint32_t product = 0;

    for (int i = 0; i < 32; i++) {
        product ^= left & (0u - (right >> 31));
        left = (left >> 1) ^ (WRT__CRC32C_POLYNOMIAL & (0u - (left & 1u)));
        right <<= 1;
    }
    return product;
}

static uint32_t three_streams(uint32_t state, const uint8_t *bytes)
{
    uint32_t second = 0, third = 0;

    for (size_t i = 0; i < STREAM; i += 8) {
        state = take_eight(state, bytes + i);
        second = take_eight(second, bytes + STREAM + i);
        third = take_eight(third, bytes + 2 * STREAM + i);
    }
    return multiply(state, behind_two) ^ multiply(second, behind_one) ^ third;
}

uint32_t wrt__crc32c_instruction(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size)
{
    state = take_four(state, word);
    for (; size >= 3 * STREAM; size -= 3 * STREAM, bytes += 3 * STREAM) {
        state = three_streams(state, bytes);
    }
    for (; size >= 8; size -= 8, bytes += 8) state = take_eight(state, bytes);
    for (; size > 0; size--, bytes++) state = take_one(state, bytes);
    return state;
}

/* A program can't ask the processor; the system passes on what it found (HWCAP_CRC32). */
bool wrt__crc32c_instruction_works(uint64_t capabilities)
{
    return (capabilities >> 7 & 1) != 0;
}

#endif
