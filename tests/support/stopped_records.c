/* Writers and readers that stop after each instruction, in a child that is single-stepped, while
 * the parent looks at the memory that they share. Prints what came of it. */
#define _GNU_SOURCE
#include "atomic_records.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 4096, SIZE_MAX_HERE = 256, WRITES_MAX = 64, READS_MAX = 5000, TORN = 1 };

typedef struct findings {
    unsigned long steps, wrong, unwritable;
} findings;

static void *shared(void)
{
    void *memory = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    must(memory != MAP_FAILED, "mmap");
    return memory;
}

static void stop(void)
{
    kill(getpid(), SIGSTOP);
}

static void be_traced(void)
{
    must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "PTRACE_TRACEME");
}

/* Waits for the child; true while it is stopped, false at its end, whose code is in *code_out. */
static bool is_stopped(pid_t child, int *signal_out, int *code_out)
{
    int ending;

    must(waitpid(child, &ending, 0) == child, "waitpid");
    *signal_out = WIFSTOPPED(ending) ? WSTOPSIG(ending) : 0;
    *code_out = WIFEXITED(ending) ? WEXITSTATUS(ending) : -1;
    return WIFSTOPPED(ending);
}

/* The number whose data the record holds, `expected` or the next; 0: neither. */
static uint64_t number_read(const wrt_atomic_memory *records, uint64_t expected, size_t size)
{
    uint8_t data[SIZE_MAX_HERE];

    if (wrt_atomic_memory_read(records, 0, data, size) != WRT_OK) return 0;
    if (is_data_of(expected, data, size)) return expected;
    return is_data_of(expected + 1, data, size) ? expected + 1 : 0;
}

/* Whether another writer can go on from here, in a copy of the memory. */
static bool can_go_on(const void *memory, bool keyed, size_t size)
{
    uint64_t copy[ROOM / 8];

    memcpy(copy, memory, sizeof copy);
    const wrt_atomic_memory records = records_in(copy, sizeof copy, keyed);
    write_number(&records, 1000, size);
    return number_read(&records, 1000, size) == 1000;
}

/* Makes the data first: what is stepped through is the library's own work alone. */
static void write_stepped(const wrt_atomic_memory *records, uint64_t writes, size_t size)
{
    static uint8_t data[WRITES_MAX][SIZE_MAX_HERE];

    for (uint64_t i = 0; i < writes; i++) make_data(i + 3, data[i], size);
    be_traced();
    stop();
    for (uint64_t i = 0; i < writes; i++) {
        must(wrt_atomic_memory_write(records, 0, data[i], size) == WRT_OK, "write");
    }
    stop();
    _exit(0);
}

/* A writer is stopped after each instruction of its writes. */
static findings step_writer(bool keyed, size_t size, uint64_t writes)
{
    void *memory = shared();
    const wrt_atomic_memory records = records_in(memory, ROOM, keyed);
    findings found = {0};
    uint64_t number = 2;
    int why, code;

    write_number(&records, 1, size);
    write_number(&records, 2, size);
    const pid_t child = fork();
    if (child == 0) write_stepped(&records, writes, size);
    must(child > 0 && is_stopped(child, &why, &code), "starting the writer");
    do {
        const uint64_t now = number_read(&records, number, size);
        found.wrong += now == 0;
        found.unwritable += !can_go_on(memory, keyed, size);
        found.steps++;
        if (now != 0) number = now;
        must(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0, "PTRACE_SINGLESTEP");
    } while (is_stopped(child, &why, &code) && why == SIGTRAP);
    found.wrong += number != writes + 2;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return found;
}

/* One read after the other; each must give data of one of the numbers 1 to `last`. */
static void read_stepped(const wrt_atomic_memory *records, uint64_t last, size_t size)
{
    uint8_t data[SIZE_MAX_HERE];
    bool good;

    be_traced();
    do {
        good = false;
        stop();
        const wrt_status status = wrt_atomic_memory_read(records, 0, data, size);
        stop();
        for (uint64_t number = 1; status == WRT_OK && !good && number <= last; number++) {
            good = is_data_of(number, data, size);
        }
    } while (good);
    _exit(TORN);
}

/* Lets the reader take `steps` instructions of a read; false if the read ended before. */
static bool step_reader(pid_t child, unsigned long steps)
{
    int why, code;

    for (unsigned long i = 0; i < steps; i++) {
        must(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0, "PTRACE_SINGLESTEP");
        if (!is_stopped(child, &why, &code) || why != SIGTRAP) return false;
    }
    return true;
}

static bool run_on(pid_t child)
{
    int why, code;

    must(ptrace(PTRACE_CONT, child, NULL, NULL) == 0, "PTRACE_CONT");
    return is_stopped(child, &why, &code);
}

/* Begins a write in a child that is killed after so many instructions; returns how many it took,
 * which are fewer if the write was over before. */
static unsigned long write_partly(const wrt_atomic_memory *records, uint64_t number, size_t size,
                                  unsigned long steps)
{
    static uint8_t data[SIZE_MAX_HERE];
    unsigned long taken = 0;
    int why, code;

    make_data(number, data, size);
    const pid_t child = fork();
    if (child == 0) {
        be_traced();
        stop();
        must(wrt_atomic_memory_write(records, 0, data, size) == WRT_OK, "write");
        stop();
    }
    must(child > 0 && is_stopped(child, &why, &code), "starting the writer");
    do {
        must(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0, "PTRACE_SINGLESTEP");
    } while (is_stopped(child, &why, &code) && why == SIGTRAP && ++taken < steps);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return taken;
}

/* What a reader meets while it stands still: `writes` whole ones, and one more that has come near
 * its end when the reader goes on. */
typedef struct encounter {
    uint64_t writes;
    unsigned long partly; /* instructions of the last one; 0: none */
} encounter;

/* A reader is stopped after an instruction of a read, and overtaken there; then after one that is
 * `stride` later, to the end of the read. The child stops twice a read: at its start and its end.
 */
static findings overtake_reader(bool keyed, size_t size, unsigned long first, unsigned long stride,
                                encounter meeting)
{
    const wrt_atomic_memory records = records_in(shared(), ROOM, keyed);
    findings found = {0};
    uint64_t number = 2;
    int why, code;
    bool inside = true, alive = true;

    write_number(&records, 1, size);
    write_number(&records, 2, size);
    const pid_t child = fork();
    if (child == 0) read_stepped(&records, READS_MAX, size);
    must(child > 0 && is_stopped(child, &why, &code), "starting the reader");
    for (unsigned long steps = first; inside && alive; steps += stride) {
        inside = step_reader(child, steps);
        for (uint64_t i = 0; i < meeting.writes; i++) write_number(&records, ++number, size);
        if (meeting.partly != 0) {
            write_partly(&records, ++number, size, meeting.partly - steps * 7 % 50);
        }
        found.steps++;
        alive = (inside ? run_on(child) : true) && run_on(child); /* to its end, and to the next */
        if (meeting.partly != 0) write_number(&records, number, size);
    }
    found.wrong = !alive;
    if (alive) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return found;
}

/* Instructions of a whole write. */
static unsigned long write_steps(bool keyed, size_t size)
{
    const wrt_atomic_memory records = records_in(shared(), ROOM, keyed);

    write_number(&records, 1, size);
    write_number(&records, 2, size);
    return write_partly(&records, 3, size, 1000000);
}

/* stopped_records writer <keyed> <size> <writes>
 * stopped_records reader <keyed> <size> <writes> <first> <stride>: overtaken by whole writes
 * stopped_records both   <keyed> <size> <writes> <first> <stride>: and by one that is not over */
int main(int argc, char **argv)
{
    must(argc >= 5, "reading the command line");
    const bool keyed = atoi(argv[2]) != 0;
    const size_t size = strtoul(argv[3], NULL, 10);
    const uint64_t writes = strtoul(argv[4], NULL, 10);
    must(size <= SIZE_MAX_HERE && writes <= WRITES_MAX, "reading the sizes");
    findings found;

    if (strcmp(argv[1], "writer") == 0) {
        found = step_writer(keyed, size, writes);
    } else {
        must(argc == 7, "reading the command line");
        const bool both = strcmp(argv[1], "both") == 0;
        const encounter meeting = {writes, both ? write_steps(keyed, size) : 0};
        found = overtake_reader(keyed, size, strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10),
                                meeting);
    }
    printf("steps %lu wrong %lu unwritable %lu\n", found.steps, found.wrong, found.unwritable);
    return 0;
}
