/* Internal: square roots, correctly rounded: by the processor where the compiler can name its
 * instruction without a library, else by integer arithmetic (square_root.c). */
#ifndef WRT_ENGINE_SQUARE_ROOT_H
#define WRT_ENGINE_SQUARE_ROOT_H

/* In software, on every system, so that it can be tested anywhere. */
double wrt__software_square_root(double value);

#if defined(__SSE2__)
#include <emmintrin.h>

static inline double wrt__f64_sqrt(double value)
{
    const __m128d operand = _mm_set_sd(value);

    return _mm_cvtsd_f64(_mm_sqrt_sd(operand, operand));
}

static inline float wrt__f32_sqrt(float value)
{
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(value)));
}

#elif defined(__aarch64__)

static inline double wrt__f64_sqrt(double value)
{
    double root;

    __asm__("fsqrt %d0, %d1" : "=w"(root) : "w"(value));
    return root;
}

static inline float wrt__f32_sqrt(float value)
{
    float root;

    __asm__("fsqrt %s0, %s1" : "=w"(root) : "w"(value));
    return root;
}

#else

static inline double wrt__f64_sqrt(double value)
{
    return wrt__software_square_root(value);
}

/* Rounding twice is harmless: 53 bits are more than twice 24 and 2. */
static inline float wrt__f32_sqrt(float value)
{
    return (float)wrt__software_square_root(value);
}

#endif
#endif
