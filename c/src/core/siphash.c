/* SipHash-2-4 as its authors define it (Aumasson and Bernstein, 2012): two rounds a word of the
 * message, four at the end, 64 bits of result. It takes the same steps whatever key and message
 * hold: additions, rotations, exclusive or. */
#include "siphash.h"

enum { ROUNDS_A_WORD = 2, ROUNDS_AT_THE_END = 4 };

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void mix(uint64_t v[4], int rounds)
{
    for (int i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v, ROUNDS_A_WORD);
    v[0] ^= word;
}

uint64_t wrt__siphash_read(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;

    for (size_t i = 0; i < size; i++) word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

/* The constants spell "somepseudorandomlygeneratedbytes". */
void wrt__siphash_begin(wrt__siphash *hash, const uint64_t key[2])
{
    hash->v[0] = key[0] ^ UINT64_C(0x736F6D6570736575);
    hash->v[1] = key[1] ^ UINT64_C(0x646F72616E646F6D);
    hash->v[2] = key[0] ^ UINT64_C(0x6C7967656E657261);
    hash->v[3] = key[1] ^ UINT64_C(0x7465646279746573);
    hash->size = 0;
}

void wrt__siphash_word(wrt__siphash *hash, uint64_t word)
{
    absorb(hash->v, word);
    hash->size += 8;
}

uint64_t wrt__siphash_end(wrt__siphash *hash, const uint8_t *bytes, size_t size)
{
    for (; size >= 8; size -= 8, bytes += 8) wrt__siphash_word(hash, wrt__siphash_read(bytes, 8));
    absorb(hash->v, wrt__siphash_read(bytes, size) | (hash->size + size) << 56);
    hash->v[2] ^= 0xFF;
    mix(hash->v, ROUNDS_AT_THE_END);
    return hash->v[0] ^ hash->v[1] ^ hash->v[2] ^ hash->v[3];
}
