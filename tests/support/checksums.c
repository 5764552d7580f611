/* The checksums beside their published values, and all ways to compute a CRC beside the
 * definition: a division of polynomials, bit by bit. Prints a line a finding. */
#include "../../c/src/core/crc32c.h"
#include "../../c/src/core/siphash.h"
#include <stdio.h>
#include <string.h>

enum { LONGEST = 9000 };

static uint8_t input[LONGEST + 16];

static uint32_t by_definition(uint32_t state, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        state ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            state = (state >> 1) ^ ((state & 1) != 0 ? 0x82F63B78u : 0u);
        }
    }
    return state;
}

static uint32_t first_word(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* The first four bytes go in as the word. */
static uint32_t run(uint32_t method, uint32_t state, const uint8_t *bytes, size_t size)
{
    return wrt__crc32c(state, first_word(bytes), bytes + 4, size - 4, method);
}

static uint32_t crc(uint32_t method, const void *bytes, size_t size)
{
    return ~run(method, (uint32_t)WRT__CRC32C_START, bytes, size);
}

/* "123456789", and the four of RFC 3720 (iSCSI), section B.4. */
static void print_published_crcs(uint32_t method)
{
    uint8_t bytes[32];

    printf("crc %u %08X", method, crc(method, "123456789", 9));
    memset(bytes, 0, sizeof bytes);
    printf(" %08X", crc(method, bytes, sizeof bytes));
    memset(bytes, 0xFF, sizeof bytes);
    printf(" %08X", crc(method, bytes, sizeof bytes));
    for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
    printf(" %08X", crc(method, bytes, sizeof bytes));
    for (uint8_t i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    printf(" %08X\n", crc(method, bytes, sizeof bytes));
}

static unsigned differences(uint32_t method, size_t first, size_t last, size_t step)
{
    unsigned wrong = 0;

    for (size_t size = first; size <= last; size += step) {
        const uint8_t *start = input + size % 16;
        const uint32_t state = (uint32_t)(size * 2654435761u);
        wrong += run(method, state, start, size) != by_definition(state, start, size);
    }
    return wrong;
}

/* The first results of the authors' list: key 0 to 15, message nothing, 0, 0 1, ... */
static void print_published_siphashes(void)
{
    uint8_t bytes[16];
    wrt__siphash hash;

    for (uint8_t i = 0; i < 16; i++) bytes[i] = i;
    const uint64_t key[2] = {wrt__siphash_read(bytes, 8), wrt__siphash_read(bytes + 8, 8)};
    printf("siphash");
    for (size_t size = 0; size < 16; size++) {
        wrt__siphash_begin(&hash, key);
        printf(" %016llX", (unsigned long long)wrt__siphash_end(&hash, bytes, size));
    }
    printf("\n");
}

int main(void)
{
    const uint32_t best = wrt__port_crc32c();
    uint32_t state = 1;

    for (size_t i = 0; i < sizeof input; i++) {
        state = state * 1664525u + 1013904223u;
        input[i] = (uint8_t)(state >> 24);
    }
    printf("best %u\n", best);
    for (uint32_t method = WRT__CRC32C_NIBBLES; method <= best; method++) {
        print_published_crcs(method);
        printf("different %u %u\n", method,
               differences(method, 4, 700, 1) + differences(method, 701, LONGEST, 61));
    }
    print_published_siphashes();
    return 0;
}
