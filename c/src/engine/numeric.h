/* Internal: what WebAssembly's numeric instructions compute, where C has no operator for it.
 * Plain C on bits: no library call and no builtin that becomes one on a small core. */
#ifndef WRT_ENGINE_NUMERIC_H
#define WRT_ENGINE_NUMERIC_H

#include <stdint.h>
#include <string.h>

#include "square_root.h"

static inline uint32_t wrt__i32_popcnt(uint32_t word)
{
    word -= (word >> 1) & 0x55555555u;
    word = (word & 0x33333333u) + ((word >> 2) & 0x33333333u);
    return (((word + (word >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

/* __builtin_clz is an instruction on every 32-bit Arm from version 5 on, and on x86. */
static inline uint32_t wrt__i32_clz(uint32_t word)
{
    return word == 0 ? 32 : (uint32_t)__builtin_clz(word);
}

static inline uint32_t wrt__i32_ctz(uint32_t word)
{
    return word == 0 ? 32 : 31 - wrt__i32_clz(word & (0 - word));
}

static inline uint32_t wrt__i32_rotl(uint32_t word, uint32_t count)
{
    return word << (count & 31) | word >> ((0 - count) & 31);
}

static inline uint64_t wrt__i64_popcnt(uint64_t word)
{
    return wrt__i32_popcnt((uint32_t)word) + wrt__i32_popcnt((uint32_t)(word >> 32));
}

static inline uint64_t wrt__i64_clz(uint64_t word)
{
    const uint32_t high = (uint32_t)(word >> 32);

    return high != 0 ? wrt__i32_clz(high) : 32 + wrt__i32_clz((uint32_t)word);
}

static inline uint64_t wrt__i64_ctz(uint64_t word)
{
    const uint32_t low = (uint32_t)word;

    return low != 0 ? wrt__i32_ctz(low) : 32 + wrt__i32_ctz((uint32_t)(word >> 32));
}

static inline uint64_t wrt__i64_rotl(uint64_t word, uint64_t count)
{
    return word << (count & 63) | word >> ((0 - count) & 63);
}

static inline uint32_t wrt__f32_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float wrt__f32_from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t wrt__f64_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double wrt__f64_from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Equal operands have equal bits, but for +0 and -0: their common bits are +0, either's are -0. */
static inline float wrt__f32_min(float a, float b)
{
    if (a != a || b != b) return a + b;
    if (a == b) return wrt__f32_from_bits(wrt__f32_bits(a) | wrt__f32_bits(b));
    return a < b ? a : b;
}

static inline float wrt__f32_max(float a, float b)
{
    if (a != a || b != b) return a + b;
    if (a == b) return wrt__f32_from_bits(wrt__f32_bits(a) & wrt__f32_bits(b));
    return a > b ? a : b;
}

static inline double wrt__f64_min(double a, double b)
{
    if (a != a || b != b) return a + b;
    if (a == b) return wrt__f64_from_bits(wrt__f64_bits(a) | wrt__f64_bits(b));
    return a < b ? a : b;
}

static inline double wrt__f64_max(double a, double b)
{
    if (a != a || b != b) return a + b;
    if (a == b) return wrt__f64_from_bits(wrt__f64_bits(a) & wrt__f64_bits(b));
    return a > b ? a : b;
}

/* Clears the fraction bits. From 2^23 on there are none, and NaN becomes a quiet one. */
static inline float wrt__f32_trunc(float value)
{
    const uint32_t bits = wrt__f32_bits(value);
    const int32_t exponent = (int32_t)(bits >> 23 & 0xFF) - 127;

    if (exponent >= 23) return value + 0.0f;
    if (exponent < 0) return wrt__f32_from_bits(bits & 0x80000000u);
    return wrt__f32_from_bits(bits & ~(0x007FFFFFu >> exponent));
}

static inline double wrt__f64_trunc(double value)
{
    const uint64_t bits = wrt__f64_bits(value);
    const int32_t exponent = (int32_t)(bits >> 52 & 0x7FF) - 1023;

    if (exponent >= 52) return value + 0.0;
    if (exponent < 0) return wrt__f64_from_bits(bits & UINT64_C(0x8000000000000000));
    return wrt__f64_from_bits(bits & ~(UINT64_C(0x000FFFFFFFFFFFFF) >> exponent));
}

static inline float wrt__f32_floor(float value)
{
    const float whole = wrt__f32_trunc(value);

    return whole > value ? whole - 1.0f : whole;
}

static inline double wrt__f64_floor(double value)
{
    const double whole = wrt__f64_trunc(value);

    return whole > value ? whole - 1.0 : whole;
}

static inline float wrt__f32_ceil(float value)
{
    const float whole = wrt__f32_trunc(value);

    return whole < value ? whole + 1.0f : whole;
}

static inline double wrt__f64_ceil(double value)
{
    const double whole = wrt__f64_trunc(value);

    return whole < value ? whole + 1.0 : whole;
}

/* Adding 2^23 rounds the fraction away, to even; the sign is put back for the sake of -0. */
static inline float wrt__f32_nearest(float value)
{
    const uint32_t sign = wrt__f32_bits(value) & 0x80000000u;
    const float size = wrt__f32_from_bits(wrt__f32_bits(value) ^ sign);

    if (!(size < 8388608.0f)) return value + 0.0f;
    return wrt__f32_from_bits(wrt__f32_bits((size + 8388608.0f) - 8388608.0f) | sign);
}

static inline double wrt__f64_nearest(double value)
{
    const uint64_t sign = wrt__f64_bits(value) & UINT64_C(0x8000000000000000);
    const double size = wrt__f64_from_bits(wrt__f64_bits(value) ^ sign);

    if (!(size < 4503599627370496.0)) return value + 0.0;
    return wrt__f64_from_bits(wrt__f64_bits((size + 4503599627370496.0) - 4503599627370496.0) |
                              sign);
}

#endif
