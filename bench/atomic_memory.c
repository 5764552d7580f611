/* Times CRC-32C by each method of the library beside the usual code with a table of 256 entries
 * and zlib's crc32, and a record's write beside a copy with its CRC. All take turns in each round,
 * and of all rounds the shortest time counts. Prints a line a figure: name, size, nanoseconds. */
#include "../c/src/core/crc32c.h"

#include "wrt_platform/atomic_memory.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 60, BYTES_A_ROUND = 1 << 18, LARGEST = 4096, RECORD = 64, WRITES = 4096 };
enum { PLACES = 16, ROOM = 256 }; /* records are written in turns */

typedef uint32_t (*work_fn)(uint32_t state, size_t size);
typedef unsigned long (*zlib_fn)(unsigned long crc, const void *bytes, unsigned size);

static const size_t sizes[] = {16, 64, 256, 4096};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static uint8_t input[LARGEST];
static uint32_t table[256];
static zlib_fn zlib_crc32;
static wrt_atomic_memory records;

static void must(bool is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static uint32_t by_table(uint32_t state, size_t size)
{
    for (size_t i = 0; i < size; i++) state = (state >> 8) ^ table[(state ^ input[i]) & 255];
    return state;
}

/* The library's own take a word of four bytes before that. */
static uint32_t by_nibbles(uint32_t state, size_t size)
{
    return wrt__crc32c(state, 0, input, size, WRT__CRC32C_NIBBLES);
}

static uint32_t by_slices(uint32_t state, size_t size)
{
    return wrt__crc32c(state, 0, input, size, WRT__CRC32C_SLICED);
}

static uint32_t by_best(uint32_t state, size_t size)
{
    return wrt__crc32c(state, 0, input, size, records.checksum);
}

static uint32_t by_zlib(uint32_t state, size_t size)
{
    return (uint32_t)zlib_crc32(state, input, (unsigned)size);
}

/* What a write can't do without: the data copied, their CRC behind them. */
static uint32_t copy_with_crc(uint32_t turn, size_t size)
{
    static uint8_t copies[PLACES][ROOM];
    uint8_t *copy = copies[turn % PLACES];

    memcpy(copy, input + turn % 2 * RECORD, size);
    const uint32_t crc = ~wrt__crc32c((uint32_t)WRT__CRC32C_START, 0, copy, size, records.checksum);
    memcpy(copy + size, &crc, sizeof crc);
    return turn + 1;
}

/* The same, by a writer who first makes sure that what it leaves behind is whole. */
static uint32_t check_and_copy(uint32_t turn, size_t size)
{
    static uint8_t other[PLACES][ROOM];
    const uint8_t *kept = other[turn % PLACES];

    must(wrt__crc32c(0, 0, kept, size, records.checksum) == 0, "being zero");
    return copy_with_crc(turn, size);
}

static uint32_t write_record(uint32_t turn, size_t size)
{
    const uint8_t *data = input + turn % 2 * RECORD;

    must(wrt_atomic_memory_write(&records, turn % PLACES * ROOM, data, size) == WRT_OK, "write");
    return turn + 1;
}

static uint32_t read_record(uint32_t turn, size_t size)
{
    uint8_t data[LARGEST];

    must(wrt_atomic_memory_read(&records, turn % PLACES * ROOM, data, size) == WRT_OK, "read");
    return turn + 1;
}

typedef struct contestant {
    const char *name;
    work_fn work;
    double best[SIZE_COUNT]; /* nanoseconds a call, so far */
} contestant;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void time_once(contestant *contestant, size_t index, size_t calls)
{
    static volatile uint32_t sink;
    uint32_t state = sink;
    const double begin = now();

    for (size_t i = 0; i < calls; i++) state = contestant->work(state, sizes[index]);
    const double each = (now() - begin) / (double)calls;
    sink = state;
    if (contestant->best[index] == 0 || each < contestant->best[index]) {
        contestant->best[index] = each;
    }
}

static void prepare(void)
{
    static uint32_t memory[PLACES * ROOM / 4];
    const wrt_atomic_memory_config config = {
        .struct_size = sizeof config, .memory = memory, .memory_size = sizeof memory};
    void *zlib = dlopen("libz.so.1", RTLD_NOW);

    must(zlib != NULL, "loading libz.so.1 (zlib)");
    void *symbol = dlsym(zlib, "crc32");
    memcpy(&zlib_crc32, &symbol, sizeof symbol);
    must(wrt_atomic_memory_init(&records, &config) == WRT_OK, "init");
    for (uint32_t byte = 0; byte < 256; byte++) {
        table[byte] = byte;
        for (int bit = 0; bit < 8; bit++) {
            table[byte] = (table[byte] >> 1) ^ ((table[byte] & 1) != 0 ? 0x82F63B78u : 0u);
        }
    }
    for (size_t i = 0; i < LARGEST; i++) input[i] = (uint8_t)(i * 2654435761u >> 13);
    must(by_table(0, LARGEST) == by_best(0, LARGEST), "agreeing with the table");
}

int main(void)
{
    contestant crcs[] = {{.name = "table", .work = by_table},
                         {.name = "nibbles", .work = by_nibbles},
                         {.name = "sliced", .work = by_slices},
                         {.name = "best", .work = by_best},
                         {.name = "zlib", .work = by_zlib}};
    contestant writers[] = {{.name = "copy", .work = copy_with_crc},
                            {.name = "checked", .work = check_and_copy},
                            {.name = "write", .work = write_record},
                            {.name = "read", .work = read_record}};
    enum { CRCS = sizeof crcs / sizeof *crcs, WRITERS = sizeof writers / sizeof *writers };
    enum { AT_64 = 1 };

    prepare();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t index = 0; index < SIZE_COUNT; index++) {
            for (size_t i = 0; i < CRCS; i++) {
                time_once(&crcs[i], index, BYTES_A_ROUND / 8 / (sizes[index] + 64));
            }
        }
        for (size_t i = 0; i < WRITERS; i++) time_once(&writers[i], AT_64, WRITES);
    }
    for (size_t i = 0; i < CRCS; i++) {
        for (size_t index = 0; index < SIZE_COUNT; index++) {
            printf("%s %zu %.3f\n", crcs[i].name, sizes[index], crcs[i].best[index]);
        }
    }
    for (size_t i = 0; i < WRITERS; i++) {
        printf("%s %d %.3f\n", writers[i].name, RECORD, writers[i].best[AT_64]);
    }
    return 0;
}
