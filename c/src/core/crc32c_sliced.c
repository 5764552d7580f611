/* CRC-32C, eight bytes at a time, for any processor of 64 bits. Table k holds the remainders of a
 * byte with k bytes behind it; as remainders add up (by exclusive or), that of a byte is the sum
 * of those of its bits: the compiler makes the 8 KiB out of 64 numbers. */
#include "crc32c.h"

#if WRT__CRC32C_IS_LARGE

#define BIT(byte, number, remainder) (((byte) >> (number)&1u) != 0 ? (remainder) : 0u)

#define BYTE(i, a, b, c, d, e, f, g, h)                                                            \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^     \
     BIT(i, 6, g) ^ BIT(i, 7, h))

#define FOUR(i, ...)                                                                               \
    BYTE(i, __VA_ARGS__), BYTE(i + 1, __VA_ARGS__), BYTE(i + 2, __VA_ARGS__),                      \
        BYTE(i + 3, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                            \
    FOUR(i, __VA_ARGS__), FOUR(i + 4, __VA_ARGS__), FOUR(i + 8, __VA_ARGS__),                      \
        FOUR(i + 12, __VA_ARGS__)
#define SIXTY_FOUR(i, ...)                                                                         \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN(i + 16, __VA_ARGS__), SIXTEEN(i + 32, __VA_ARGS__),           \
        SIXTEEN(i + 48, __VA_ARGS__)

/* The remainders of all bytes, from those of their eight bits. */
#define TABLE(...)                                                                                 \
    {                                                                                              \
        SIXTY_FOUR(0u, __VA_ARGS__), SIXTY_FOUR(64u, __VA_ARGS__), SIXTY_FOUR(128u, __VA_ARGS__),  \
            SIXTY_FOUR(192u, __VA_ARGS__)                                                          \
    }

/* clang-format off */
static const uint32_t tables[8][256] = {
    TABLE(0xF26B8303u, 0xE13B70F7u, 0xC79A971Fu, 0x8AD958CFu,
          0x105EC76Fu, 0x20BD8EDEu, 0x417B1DBCu, 0x82F63B78u),
    TABLE(0x13A29877u, 0x274530EEu, 0x4E8A61DCu, 0x9D14C3B8u,
          0x3FC5F181u, 0x7F8BE302u, 0xFF17C604u, 0xFBC3FAF9u),
    TABLE(0xA541927Eu, 0x4F6F520Du, 0x9EDEA41Au, 0x38513EC5u,
          0x70A27D8Au, 0xE144FB14u, 0xC76580D9u, 0x8B277743u),
    TABLE(0xDD45AAB8u, 0xBF672381u, 0x7B2231F3u, 0xF64463E6u,
          0xE964B13Du, 0xD725148Bu, 0xABA65FE7u, 0x52A0C93Fu),
    TABLE(0x38116FACu, 0x7022DF58u, 0xE045BEB0u, 0xC5670B91u,
          0x8F2261D3u, 0x1BA8B557u, 0x37516AAEu, 0x6EA2D55Cu),
    TABLE(0xEF306B19u, 0xDB8CA0C3u, 0xB2F53777u, 0x6006181Fu,
          0xC00C303Eu, 0x85F4168Du, 0x0E045BEBu, 0x1C08B7D6u),
    TABLE(0x68032CC8u, 0xD0065990u, 0xA5E0C5D1u, 0x4E2DFD53u,
          0x9C5BFAA6u, 0x3D5B83BDu, 0x7AB7077Au, 0xF56E0EF4u),
    TABLE(0x493C7D27u, 0x9278FA4Eu, 0x211D826Du, 0x423B04DAu,
          0x847609B4u, 0x0D006599u, 0x1A00CB32u, 0x34019664u),
};
/* clang-format on */

/* Four bytes with the first one lowest, whatever the processor's own order is. */
static uint32_t read_word(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Of four bytes with `behind` bytes of the same step behind them. */
static uint32_t fold(uint32_t word, size_t behind)
{
    return tables[behind + 3][word & 255] ^ tables[behind + 2][word >> 8 & 255] ^
           tables[behind + 1][word >> 16 & 255] ^ tables[behind][word >> 24];
}

uint32_t wrt__crc32c_sliced(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size)
{
    state = fold(state ^ word, 0);
    for (; size >= 8; size -= 8, bytes += 8) {
        state = fold(state ^ read_word(bytes), 4) ^ fold(read_word(bytes + 4), 0);
    }
    for (; size > 0; size--, bytes++) state = (state >> 8) ^ tables[0][(state ^ *bytes) & 255];
    return state;
}

#endif

/* Where no instruction is known here, there is nothing better than the tables. */
#if WRT__CRC32C_IS_LARGE && !defined(__x86_64__) && !defined(__aarch64__)

bool wrt__crc32c_instruction_works(uint64_t capabilities)
{
    (void)capabilities;
    return false;
}

uint32_t wrt__crc32c_instruction(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size)
{
    return wrt__crc32c_sliced(state, word, bytes, size);
}

#endif
