/* Images of memory that nobody would want to have: with any subset of the words of a write, and
 * with one or two bits flipped. Each is read; what comes out is counted and printed. */
#include "atomic_records.h"

enum { WORDS_MAX = 64, SUBSET_DATA = 32, FIRST_SEQUENCE = 1, MARK = 1 };

typedef struct tally {
    unsigned long images, old, new, nothing, wrong;
} tally;

static uint32_t memory[WORDS_MAX];

/* Reads `memory` and says what it held; data of `number` are new, those of the number before old.
 */
static void judge(const wrt_atomic_memory *records, uint64_t number, size_t size, tally *counts)
{
    uint8_t data[256];

    counts->images++;
    if (wrt_atomic_memory_read(records, 0, data, size) != WRT_OK) {
        counts->nothing++;
    } else if (is_data_of(number, data, size)) {
        counts->new ++;
    } else if (is_data_of(number - 1, data, size)) {
        counts->old++;
    } else {
        counts->wrong++;
    }
}

/* All subsets of the words in which `before` and `after` differ. A sequence that has not arrived
 * may have left its mark. */
static void judge_subsets(const wrt_atomic_memory *records, const uint32_t *before,
                          const uint32_t *after, size_t words, uint64_t number, tally *counts)
{
    const size_t second_sequence = FIRST_SEQUENCE + (words - 1) / 2;
    size_t changed[WORDS_MAX], count = 0;

    for (size_t i = 0; i < words; i++) {
        if (before[i] != after[i]) changed[count++] = i;
    }
    for (uint32_t subset = 0; subset < UINT32_C(1) << count; subset++) {
        memcpy(memory, before, words * 4);
        size_t sequence = 0;
        for (size_t i = 0; i < count; i++) {
            const size_t word = changed[i];
            if ((subset >> i & 1) != 0) {
                memory[word] = after[word];
            } else if (word == FIRST_SEQUENCE || word == second_sequence) {
                sequence = word;
            }
        }
        judge(records, number, SUBSET_DATA, counts);
        if (sequence == 0) continue;
        memory[sequence] = after[sequence] | MARK;
        judge(records, number, SUBSET_DATA, counts);
    }
}

/* Every later write is torn, from `first` on; what lay there before the record is random. */
static tally subsets(bool keyed, uint64_t first, uint64_t last)
{
    const wrt_atomic_memory records = records_in(memory, sizeof memory, keyed);
    const size_t words =
        ((keyed ? WRT_ATOMIC_KEYED_OVERHEAD : WRT_ATOMIC_OVERHEAD) + 2 * SUBSET_DATA) / 4;
    uint32_t before[WORDS_MAX], after[WORDS_MAX];
    tally counts = {0};

    make_data(0, (uint8_t *)memory, sizeof memory);
    for (uint64_t number = 1; number <= last; number++) {
        memcpy(before, memory, sizeof before);
        write_number(&records, number, SUBSET_DATA);
        memcpy(after, memory, sizeof after);
        if (number < first) continue;
        judge_subsets(&records, before, after, words, number, &counts);
        memcpy(memory, after, sizeof memory);
    }
    return counts;
}

static void flip(size_t bit)
{
    memory[bit / 32] ^= UINT32_C(1) << bit % 32;
}

/* All records with one bit flipped, and all with two. */
static tally flips(bool keyed, size_t size)
{
    const wrt_atomic_memory records = records_in(memory, sizeof memory, keyed);
    wrt_atomic_memory_config config = {.struct_size = sizeof config,
                                       .key = keyed ? test_key : NULL,
                                       .key_size = keyed ? sizeof test_key : 0};
    wrt_layout layout;
    tally counts = {0};

    memset(memory, 0, sizeof memory);
    write_number(&records, 1, size);
    write_number(&records, 2, size);
    must(wrt_atomic_memory_layout(&config, size, &layout) == WRT_OK, "layout");
    for (size_t first = 0; first < layout.bytes * 8; first++) {
        flip(first);
        judge(&records, 2, size, &counts);
        for (size_t second = first + 1; second < layout.bytes * 8; second++) {
            flip(second);
            judge(&records, 2, size, &counts);
            flip(second);
        }
        flip(first);
    }
    return counts;
}

/* torn_records subsets <keyed> <first> <last>, torn_records flips <keyed> <size> */
int main(int argc, char **argv)
{
    must(argc >= 4, "reading the command line");
    const bool keyed = atoi(argv[2]) != 0;
    const uint64_t number = strtoul(argv[3], NULL, 10);
    const tally found = strcmp(argv[1], "flips") == 0
                            ? flips(keyed, number)
                            : subsets(keyed, number, strtoul(argv[4], NULL, 10));

    printf("images %lu old %lu new %lu nothing %lu wrong %lu\n", found.images, found.old, found.new,
           found.nothing, found.wrong);
    return 0;
}
