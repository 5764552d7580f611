/* Times reads of 4 KiB at random places of a cached file: through a ring of ours, through a bare
 * loop over liburing, and by pread. All take turns in each round; the shortest time of each counts.
 */
#define _GNU_SOURCE
#include "wrt_platform/linux/io_uring.h"
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 400, SLOW_ROUNDS = 40, READS = 2048, BLOCK = 4096, FILE_BLOCKS = 256, MOST = 256 };

static uint8_t *buffers; /* one for each read under way */
static uint64_t places[READS];
static int file;
static uint32_t depth;
static wrt_io_uring ours, ours_fixed, ours_threads;
static struct io_uring theirs, theirs_fixed;

static void must(bool is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s failed: %s\n", what, wrt_error_last()->reason);
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void by_pread(void)
{
    for (uint32_t i = 0; i < READS; i++) {
        uint8_t *buffer = buffers + (size_t)(i % depth) * BLOCK;
        must(pread(file, buffer, BLOCK, (off_t)places[i]) == BLOCK, "pread");
    }
}

static void by_ours(wrt_io_uring *ring, uint32_t operation)
{
    wrt_io_uring_request requests[MOST];
    wrt_io_uring_completion done[MOST];
    uint32_t count;

    memset(requests, 0, sizeof requests);
    for (uint32_t first = 0; first < READS; first += depth) {
        for (uint32_t i = 0; i < depth; i++) {
            requests[i].buffer = buffers + (size_t)i * BLOCK;
            requests[i].size = BLOCK;
            requests[i].offset = places[first + i];
            requests[i].user_data = i;
            requests[i].descriptor = file;
            requests[i].operation = operation;
        }
        must(wrt_io_uring_submit(ring, requests, depth, &count) == WRT_OK && count == depth,
             "submit");
        for (uint32_t taken = 0; taken < depth; taken += count) {
            must(wrt_io_uring_wait(ring, done, depth - taken, depth - taken, UINT64_MAX, &count) ==
                     WRT_OK,
                 "wait");
            for (uint32_t i = 0; i < count; i++) must(done[i].result == BLOCK, "read");
        }
    }
}

static void by_theirs(struct io_uring *ring, bool is_fixed)
{
    struct io_uring_cqe *done;
    unsigned head;

    for (uint32_t first = 0; first < READS; first += depth) {
        for (uint32_t i = 0; i < depth; i++) {
            struct io_uring_sqe *entry = io_uring_get_sqe(ring);
            uint8_t *buffer = buffers + (size_t)i * BLOCK;
            if (is_fixed) {
                io_uring_prep_read_fixed(entry, file, buffer, BLOCK, places[first + i], 0);
            } else {
                io_uring_prep_read(entry, file, buffer, BLOCK, places[first + i]);
            }
            io_uring_sqe_set_data64(entry, i);
        }
        must(io_uring_submit_and_wait(ring, depth) == (int)depth, "io_uring_submit_and_wait");
        uint32_t count = 0;
        io_uring_for_each_cqe(ring, head, done)
        {
            must(done->res == BLOCK, "their read");
            count++;
        }
        io_uring_cq_advance(ring, count);
        must(count == depth, "their completions");
    }
}

static void ours_plain_turn(void)
{
    by_ours(&ours, WRT_IO_URING_READ);
}

static void ours_fixed_turn(void)
{
    by_ours(&ours_fixed, WRT_IO_URING_READ_FIXED);
}

static void ours_threads_turn(void)
{
    by_ours(&ours_threads, WRT_IO_URING_READ);
}

static void theirs_plain_turn(void)
{
    by_theirs(&theirs, false);
}

static void theirs_fixed_turn(void)
{
    by_theirs(&theirs_fixed, true);
}

static void make_ours(wrt_io_uring *ring, uint32_t backend, bool is_fixed)
{
    const wrt_io_uring_config config = {
        .struct_size = sizeof config, .entries = MOST, .backend = backend};
    const wrt_io_uring_buffer all = {buffers, (uint64_t)MOST * BLOCK};

    must(wrt_io_uring_init(ring, &config) == WRT_OK, "init");
    if (is_fixed) must(wrt_io_uring_register_buffers(ring, &all, 1) == WRT_OK, "register");
}

static void make_theirs(struct io_uring *ring, bool is_fixed)
{
    const struct iovec all = {buffers, (size_t)MOST * BLOCK};

    must(io_uring_queue_init(MOST, ring, 0) == 0, "io_uring_queue_init");
    if (is_fixed) must(io_uring_register_buffers(ring, &all, 1) == 0, "io_uring_register_buffers");
}

/* The file is new, so all of it is cached. */
static void make_file(const char *path)
{
    uint32_t state = 1;

    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(file >= 0, "open");
    for (uint32_t i = 0; i < FILE_BLOCKS; i++) {
        memset(buffers, (int)i, BLOCK);
        must(write(file, buffers, BLOCK) == BLOCK, "write");
    }
    for (uint32_t i = 0; i < READS; i++) {
        state = state * 1664525u + 1013904223u;
        places[i] = (uint64_t)((state >> 8) % FILE_BLOCKS) * BLOCK;
    }
}

static void compare(uint32_t at_once)
{
    struct {
        const char *name;
        void (*turn)(void);
        int rounds;
        double best;
    } all[] = {
        {"pread", by_pread, ROUNDS, 0},
        {"ours", ours_plain_turn, ROUNDS, 0},
        {"liburing", theirs_plain_turn, ROUNDS, 0},
        {"ours_fixed", ours_fixed_turn, ROUNDS, 0},
        {"liburing_fixed", theirs_fixed_turn, ROUNDS, 0},
        {"threads", ours_threads_turn, SLOW_ROUNDS, 0},
    };

    depth = at_once;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            if (round >= all[i].rounds) continue;
            const double begin = now();
            all[i].turn();
            const double time = (now() - begin) / READS;
            if (all[i].best == 0 || time < all[i].best) all[i].best = time;
        }
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        printf("%s_%u %.1f\n", all[i].name, at_once, all[i].best);
    }
}

int main(int count, char **arguments)
{
    must(count == 2, "the file's name is missing:");
    must(posix_memalign((void **)&buffers, BLOCK, (size_t)MOST * BLOCK) == 0, "posix_memalign");
    make_file(arguments[1]);
    make_ours(&ours, WRT_IO_URING_KERNEL, false);
    make_ours(&ours_fixed, WRT_IO_URING_KERNEL, true);
    make_ours(&ours_threads, WRT_IO_URING_THREADS, false);
    make_theirs(&theirs, false);
    make_theirs(&theirs_fixed, true);
    compare(32);
    compare(128);
    return 0;
}
