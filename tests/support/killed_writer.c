/* Writers that are killed at random moments, one after the other, with their record in a file that
 * they map. After each kill the file tells what they left. Prints how often it was wrong. */
#define _GNU_SOURCE
#include "atomic_records.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 256, ROOM = 4096 };

static void *map(const char *path)
{
    const int file = open(path, O_RDWR | O_CREAT, 0600);

    must(file >= 0 && ftruncate(file, ROOM) == 0, "opening the file");
    void *memory = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(memory != MAP_FAILED, "mmap");
    close(file);
    return memory;
}

/* Writes on and on; `finished` is the last number whose write has returned. */
static void write_until_killed(const wrt_atomic_memory *records, uint64_t number,
                               volatile uint64_t *finished)
{
    for (;;) {
        number++;
        write_number(records, number, SIZE);
        *finished = number;
    }
}

static void kill_after(pid_t child, uint64_t nanoseconds)
{
    const struct timespec pause = {0, (long)nanoseconds};

    nanosleep(&pause, NULL);
    kill(child, SIGKILL);
    must(waitpid(child, NULL, 0) == child, "waitpid");
}

/* The number of the record, which is the last one finished or the one that was being written.
 * *half_done_out: whether a copy is there that is not whole. */
static uint64_t number_left(const char *path, uint64_t finished, bool *half_done_out)
{
    void *memory = map(path);
    const wrt_atomic_memory records = records_in(memory, ROOM, false);
    uint8_t data[SIZE];
    wrt_atomic_record record;
    uint64_t number = 0;

    if (wrt_atomic_memory_read(&records, 0, data, SIZE) == WRT_OK) {
        number = is_data_of(finished, data, SIZE)       ? finished
                 : is_data_of(finished + 1, data, SIZE) ? finished + 1
                                                        : 0;
    }
    *half_done_out =
        wrt_atomic_memory_query(&records, 0, &record) == WRT_OK && record.whole_count == 1;
    munmap(memory, ROOM);
    return number;
}

/* killed_writer <path> <kills> */
int main(int argc, char **argv)
{
    must(argc == 3, "reading the command line");
    const wrt_atomic_memory records = records_in(map(argv[1]), ROOM, false);
    volatile uint64_t *finished =
        mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned long wrong = 0, half_done = 0;
    uint64_t number = 1, random = 1;

    write_number(&records, 1, SIZE);
    write_number(&records, 1, SIZE);
    for (int i = 0; i < atoi(argv[2]); i++) {
        *finished = number;
        const pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) write_until_killed(&records, number, finished);
        kill_after(child, 200000 + next_random(&random) % 1000000);
        bool is_half_done;
        const uint64_t left = number_left(argv[1], *finished, &is_half_done);
        wrong += left == 0;
        half_done += is_half_done;
        number = left != 0 ? left : *finished;
        if (left == 0) write_number(&records, number, SIZE);
    }
    printf("writes %llu half_done %lu wrong %lu\n", (unsigned long long)number, half_done, wrong);
    return 0;
}
