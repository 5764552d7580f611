/* What the programs that test records share: data that tell which write they come from. */
#ifndef ATOMIC_RECORDS_H
#define ATOMIC_RECORDS_H

#include "wrt_platform/atomic_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t test_key[WRT_ATOMIC_KEY_SIZE] = "sixteen letters.";

static inline void must(bool is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s failed: %s: %s\n", what, wrt_error_last()->operation,
            wrt_error_last()->reason);
    exit(2);
}

static inline wrt_atomic_memory records_in(void *memory, size_t size, bool keyed)
{
    wrt_atomic_memory_config config = {.struct_size = sizeof config,
                                       .memory = memory,
                                       .memory_size = size,
                                       .key = keyed ? test_key : NULL,
                                       .key_size = keyed ? sizeof test_key : 0};
    wrt_atomic_memory records;

    must(wrt_atomic_memory_init(&records, &config) == WRT_OK, "init");
    return records;
}

/* A generator of numbers that look random: xorshift64*, the same on every run. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* The data of the `number`-th write: no two numbers share a word of it. */
static inline void make_data(uint64_t number, uint8_t *data_out, size_t size)
{
    uint64_t state = number * UINT64_C(0x9E3779B97F4A7C15) + 1;

    for (size_t i = 0; i < size; i++) {
        if (i % 4 == 0) next_random(&state);
        data_out[i] = (uint8_t)(state >> (8 * (i % 4)));
    }
}

static inline bool is_data_of(uint64_t number, const uint8_t *data, size_t size)
{
    uint8_t expected[8192];

    make_data(number, expected, size);
    return memcmp(data, expected, size) == 0;
}

static inline void write_number(const wrt_atomic_memory *records, uint64_t number, size_t size)
{
    uint8_t data[8192];

    make_data(number, data, size);
    must(wrt_atomic_memory_write(records, 0, data, size) == WRT_OK, "write");
}

#endif
