/* CRC-32C for small processors, and the choice among the others. A checksum is the remainder of
 * a division of polynomials; half a byte at a time, 16 remainders of four bytes are all that has
 * to be kept. */
#include "crc32c.h"

typedef uint32_t (*method_fn)(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size);

/* Remainders of the 16 half bytes. */
static const uint32_t remainders[16] = {
    0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u, 0x417B1DBCu, 0x5125DAD3u,
    0x61C69362u, 0x7198540Du, 0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u,
    0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u,
};

static uint32_t divide(uint32_t state, uint32_t half_bytes)
{
    for (uint32_t i = 0; i < half_bytes; i++) state = (state >> 4) ^ remainders[state & 15];
    return state;
}

uint32_t wrt__crc32c_nibbles(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size)
{
    state = divide(state ^ word, 8);
    for (size_t i = 0; i < size; i++) {
        state = divide(state ^ bytes[i], 2);
    }
    return state;
}

#if WRT__CRC32C_IS_LARGE
#define LARGE_METHODS                                                                              \
    [WRT__CRC32C_SLICED] = wrt__crc32c_sliced, [WRT__CRC32C_INSTRUCTION] = wrt__crc32c_instruction,
#else
#define LARGE_METHODS
#endif

static const method_fn methods[] = {[WRT__CRC32C_NIBBLES] = wrt__crc32c_nibbles, LARGE_METHODS};

uint32_t wrt__crc32c(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size,
                     uint32_t method)
{
    return methods[method](state, word, bytes, size);
}
