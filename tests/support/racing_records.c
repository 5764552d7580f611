/* One writer and two readers on threads of their own. Prints what the readers saw: data of one
 * write each, never older than what they saw before. */
#define _GNU_SOURCE
#include "atomic_records.h"
#include <pthread.h>
#include <time.h>

enum { SIZE = 512, ROOM = 4096, READERS = 2 };

static wrt_atomic_memory records;
static uint32_t is_over;

typedef struct reader {
    pthread_t thread;
    unsigned long reads, changes, wrong;
} reader;

/* The data begin with their number. */
static void write_marked(uint32_t number)
{
    uint8_t data[SIZE];

    make_data(number, data, SIZE);
    memcpy(data, &number, sizeof number);
    must(wrt_atomic_memory_write(&records, 0, data, SIZE) == WRT_OK, "write");
}

static bool is_marked(const uint8_t *data, uint32_t *number_out)
{
    uint8_t expected[SIZE];

    memcpy(number_out, data, sizeof *number_out);
    make_data(*number_out, expected, SIZE);
    return memcmp(data + sizeof *number_out, expected + sizeof *number_out,
                  SIZE - sizeof *number_out) == 0;
}

static void *read_on(void *context)
{
    reader *self = context;
    uint8_t data[SIZE];
    uint32_t number, last = 0;

    while (__atomic_load_n(&is_over, __ATOMIC_ACQUIRE) == 0) {
        const wrt_status status = wrt_atomic_memory_read(&records, 0, data, SIZE);
        self->reads++;
        if (status != WRT_OK || !is_marked(data, &number) || number < last) {
            self->wrong++;
            continue;
        }
        self->changes += number != last;
        last = number;
    }
    return NULL;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* racing_records <seconds> */
int main(int argc, char **argv)
{
    static uint32_t memory[ROOM / 4];
    reader readers[READERS] = {0};
    uint32_t number = 1;

    must(argc == 2, "reading the command line");
    records = records_in(memory, sizeof memory, false);
    write_marked(number);
    for (int i = 0; i < READERS; i++) {
        must(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) == 0, "pthread_create");
    }
    for (const double end = seconds() + atof(argv[1]); seconds() < end;) write_marked(++number);
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i].thread, NULL);
    printf("writes %u reads %lu changes %lu wrong %lu\n", number,
           readers[0].reads + readers[1].reads, readers[0].changes + readers[1].changes,
           readers[0].wrong + readers[1].wrong);
    return 0;
}
