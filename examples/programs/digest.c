// SHA-256 of a text, and of digests of digests.
//
//     digest [TIMES [TEXT]]    1000 and "abc" if not given
//
// prints the digest of TEXT, then hashes the digest itself TIMES times: a chain that can't be taken
// shortcuts through. The standard's own examples are checked first.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 64, DIGEST_SIZE = 32, ROUND_COUNT = 64 };

typedef struct sha256 {
    uint32_t state[8];
    uint8_t block[BLOCK_SIZE];
    uint64_t size; // bytes so far
} sha256;

static const uint32_t round_constants[ROUND_COUNT] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

static uint32_t rotate(uint32_t value, int by)
{
    return value >> by | value << (32 - by);
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void expand(const uint8_t *block, uint32_t *words)
{
    for (int i = 0; i < 16; i++) words[i] = big_endian(block + 4 * i);
    for (int i = 16; i < ROUND_COUNT; i++) {
        uint32_t a = words[i - 15];
        uint32_t b = words[i - 2];
        uint32_t small_a = rotate(a, 7) ^ rotate(a, 18) ^ a >> 3;
        uint32_t small_b = rotate(b, 17) ^ rotate(b, 19) ^ b >> 10;
        words[i] = words[i - 16] + small_a + words[i - 7] + small_b;
    }
}

static void mix(uint32_t *state, const uint8_t *block)
{
    uint32_t words[ROUND_COUNT];
    uint32_t s[8];
    expand(block, words);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < ROUND_COUNT; i++) {
        uint32_t large_e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t first = s[7] + large_e + choice + round_constants[i] + words[i];
        uint32_t large_a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + large_a + majority;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void begin(sha256 *self)
{
    static const uint32_t start[8] = {
        0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
    };
    memcpy(self->state, start, sizeof start);
    self->size = 0;
}

static void add(sha256 *self, const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        self->block[self->size++ % BLOCK_SIZE] = text[i];
        if (self->size % BLOCK_SIZE == 0) mix(self->state, self->block);
    }
}

static void end(sha256 *self, uint8_t *digest_out)
{
    static const uint8_t padding[BLOCK_SIZE] = {0x80};
    uint8_t bits[8];
    for (int i = 0; i < 8; i++) bits[i] = (uint8_t)(self->size * 8 >> (56 - 8 * i));
    size_t used = self->size % BLOCK_SIZE;
    add(self, padding, used < 56 ? 56 - used : 120 - used);
    add(self, bits, sizeof bits);
    for (int i = 0; i < DIGEST_SIZE; i++)
        digest_out[i] = (uint8_t)(self->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void digest(const void *text, size_t size, uint8_t *digest_out)
{
    sha256 one;
    begin(&one);
    add(&one, text, size);
    end(&one, digest_out);
}

static void to_hex(const uint8_t *digest_in, char *hex_out)
{
    for (int i = 0; i < DIGEST_SIZE; i++) sprintf(hex_out + 2 * i, "%02x", digest_in[i]);
}

static int check(const char *text, const char *expected)
{
    uint8_t result[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];
    digest(text, strlen(text), result);
    to_hex(result, hex);
    if (strcmp(hex, expected) == 0) return 0;
    fprintf(stderr, "digest: \"%s\" gives %s, not %s\n", text, hex, expected);
    return 1;
}

int main(int argument_count, char **arguments)
{
    int wrong = check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    wrong += check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    wrong += check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    if (wrong > 0) return 1;
    long times = argument_count > 1 ? strtol(arguments[1], NULL, 10) : 1000;
    const char *text = argument_count > 2 ? arguments[2] : "abc";
    uint8_t result[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];
    digest(text, strlen(text), result);
    to_hex(result, hex);
    printf("digest of the text  %s\n", hex);
    for (long i = 0; i < times; i++) digest(result, sizeof result, result);
    to_hex(result, hex);
    printf("after %ld times     %s\n", times, hex);
    return 0;
}
