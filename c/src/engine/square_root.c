/* Square root digit by digit, as on paper but in binary: exact, and without division. */
#include "square_root.h"

#include "numeric.h"

enum { FRACTION_BITS = 52, EXPONENT_MASK = 0x7FF, BIAS = 1023, PAIRS = 27 };

#define FRACTION_MASK UINT64_C(0x000FFFFFFFFFFFFF)
#define HIDDEN_BIT    UINT64_C(0x0010000000000000)

/* floor(sqrt(radicand * 2^54)), and whether something was left over. The radicand has 54 bits:
 * 27 pairs of its digits are brought down first, then 27 pairs of zeros. */
static uint64_t integer_root(uint64_t radicand, uint64_t *remainder_out)
{
    uint64_t root = 0, remainder = 0;

    for (int pair = 2 * PAIRS - 1; pair >= 0; pair--) {
        const uint64_t digits = pair >= PAIRS ? radicand >> (2 * (pair - PAIRS)) & 3 : 0;
        const uint64_t trial = root << 2 | 1;

        remainder = remainder << 2 | digits;
        root <<= 1;
        if (remainder >= trial) {
            remainder -= trial;
            root |= 1;
        }
    }
    *remainder_out = remainder;
    return root;
}

double wrt__software_square_root(double value)
{
    const uint64_t bits = wrt__f64_bits(value);
    int32_t exponent = (int32_t)(bits >> FRACTION_BITS & EXPONENT_MASK);
    uint64_t fraction = bits & FRACTION_MASK;
    uint64_t remainder;

    if (value != value || value == 0) return value + value; /* NaN, and either zero */
    if (bits >> 63 != 0) return wrt__f64_from_bits(UINT64_C(0x7FF8000000000000));
    if (exponent == EXPONENT_MASK) return value; /* infinity */

    if (exponent == 0) {
        exponent = 1;
        while ((fraction & HIDDEN_BIT) == 0) {
            fraction <<= 1;
            exponent--;
        }
    }
    fraction |= HIDDEN_BIT;
    exponent -= BIAS;
    if ((exponent & 1) != 0) { /* an even exponent halves without a rest */
        fraction <<= 1;
        exponent--;
    }
    /* fraction is in [2^52, 2^54): its root, times 2^27, has 54 bits, the last for rounding. */
    const uint64_t root = integer_root(fraction, &remainder);
    const uint64_t rounded = (root + 1) >> 1;
    const uint64_t result = (root & 1) != 0 && remainder == 0 ? rounded & ~UINT64_C(1) : rounded;

    /* A carry out of the fraction runs into the exponent, as it should. */
    return wrt__f64_from_bits(((uint64_t)(exponent / 2 + BIAS) << FRACTION_BITS) +
                              (result - HIDDEN_BIT));
}
