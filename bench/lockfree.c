/* Times each lock-free structure in one thread: puts and gets, singly and in batches, and gets from
 * an empty one. Elements have 8 bytes; of some rounds, each short enough to find a quiet moment,
 * the shortest time counts. */
#define _GNU_SOURCE
#include "wrt_platform/lockfree.h"

#include "lockfree_mpmc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CAPACITY = 1024, ROUNDS = 20, OPERATIONS = 100000, BATCH = 16, BUFFER = 65536 };

typedef struct contestant {
    const char *name;
    void (*work)(void);
} contestant;

static _Alignas(WRT_LOCKFREE_ALIGNMENT_MAX) uint8_t buffers[6][BUFFER];
static wrt_ring ring;
static wrt_queue queue;
static wrt__queue pointers;
static wrt_index_stack stack;
static wrt_seqlock seqlock;
static wrt_triple_buffer triple;

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

/* What is behind the pointer may have changed, and is wanted. */
static void touch(void *value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

static void ring_one(void)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        uint64_t element = i;
        must(wrt_ring_put(&ring, &element) == WRT_OK, "put");
        must(wrt_ring_get(&ring, &element) == WRT_OK, "get");
        touch(&element);
    }
}

static void ring_batches(void)
{
    uint64_t elements[BATCH] = {0};
    uint32_t count;

    for (uint64_t i = 0; i < OPERATIONS; i += BATCH) {
        elements[0] = i;
        must(wrt_ring_put_many(&ring, elements, BATCH, &count) == WRT_OK, "put_many");
        must(wrt_ring_get_many(&ring, elements, BATCH, &count) == WRT_OK, "get_many");
        must(count == BATCH, "a whole batch");
        touch(elements);
    }
}

static void ring_empty(void)
{
    uint64_t element;

    for (uint64_t i = 0; i < OPERATIONS; i++) {
        must(wrt_ring_get(&ring, &element) == WRT_ERR_BUSY, "get");
    }
}

static void queue_one(void)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        uint64_t element = i;
        must(wrt_queue_put(&queue, &element) == WRT_OK, "put");
        must(wrt_queue_get(&queue, &element) == WRT_OK, "get");
        touch(&element);
    }
}

static void queue_batches(void)
{
    uint64_t elements[BATCH] = {0};
    uint32_t count;

    for (uint64_t i = 0; i < OPERATIONS; i += BATCH) {
        elements[0] = i;
        must(wrt_queue_put_many(&queue, elements, BATCH, &count) == WRT_OK, "put_many");
        must(wrt_queue_get_many(&queue, elements, BATCH, &count) == WRT_OK, "get_many");
        must(count == BATCH, "a whole batch");
        touch(elements);
    }
}

static void queue_empty(void)
{
    uint64_t element;

    for (uint64_t i = 0; i < OPERATIONS; i++) {
        must(wrt_queue_get(&queue, &element) == WRT_ERR_BUSY, "get");
    }
}

/* As the library's own threads have it: inlined, and for pointers alone. */
static void queue_inlined(void)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        void *element = &pointers;
        uint32_t position;
        must(wrt__queue_put(&pointers, element), "put");
        must(wrt__queue_get(&pointers, &element, &position), "get");
        touch(&element);
    }
}

static void stack_pair(void)
{
    for (uint64_t i = 0; i < OPERATIONS; i++) {
        uint32_t index;
        must(wrt_index_stack_pop(&stack, &index) == WRT_OK, "pop");
        must(wrt_index_stack_push(&stack, index) == WRT_OK, "push");
    }
}

static void seqlock_read(void)
{
    uint64_t value[4];

    for (uint64_t i = 0; i < OPERATIONS; i++) {
        must(wrt_seqlock_read(&seqlock, value) == WRT_OK, "read");
        touch(value);
    }
}

static void triple_pair(void)
{
    uint64_t value[4] = {0};
    bool is_new;

    for (uint64_t i = 0; i < OPERATIONS; i++) {
        must(wrt_triple_buffer_put(&triple, value) == WRT_OK, "put");
        must(wrt_triple_buffer_get(&triple, value, &is_new) == WRT_OK, "get");
        touch(value);
    }
}

/* What a put and a get can't do without: two calls that copy the element, and no check. */
__attribute__((noinline)) static wrt_status copy_element(void *to, const void *from)
{
    __asm__ volatile("" : : : "memory");
    memcpy(to, from, sizeof(uint64_t));
    return WRT_OK;
}

static void calls(void)
{
    uint64_t place;

    for (uint64_t i = 0; i < OPERATIONS; i++) {
        uint64_t element = i;
        must(copy_element(&place, &element) == WRT_OK, "put");
        must(copy_element(&element, &place) == WRT_OK, "get");
        touch(&element);
    }
}

/* And those of the queue not without two of these. */
static void exchanges(void)
{
    uint32_t put = 0;
    uint32_t got = 0;

    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t expected = i;
        must(wrt__compare_exchange(&put, &expected, i + 1), "put");
        must(wrt__compare_exchange(&got, &expected, i + 1), "get");
    }
}

static void prepare(void)
{
    const wrt_ring_config of_ring = {sizeof of_ring, CAPACITY, 8, {0}, buffers[0], BUFFER};
    const wrt_queue_config of_queue = {sizeof of_queue, CAPACITY, 8, {0}, buffers[1], BUFFER};
    const wrt_index_stack_config of_stack = {sizeof of_stack, CAPACITY, true, {0},
                                             buffers[2],      BUFFER};
    const wrt_seqlock_config of_seqlock = {sizeof of_seqlock, 32, 0, {0}, buffers[3], BUFFER};
    const wrt_triple_buffer_config of_triple = {sizeof of_triple, 32, buffers[4], BUFFER};

    must(wrt_ring_init(&ring, &of_ring) == WRT_OK, "init");
    must(wrt_queue_init(&queue, &of_queue) == WRT_OK, "init");
    must(wrt_index_stack_init(&stack, &of_stack) == WRT_OK, "init");
    must(wrt_seqlock_init(&seqlock, &of_seqlock) == WRT_OK, "init");
    must(wrt_triple_buffer_init(&triple, &of_triple) == WRT_OK, "init");
    wrt__queue_init(&pointers, buffers[5], CAPACITY, sizeof(wrt__queue_cell));
}

int main(void)
{
    static const contestant all[] = {
        {"ring_one", ring_one},
        {"ring_batches", ring_batches},
        {"ring_empty", ring_empty},
        {"queue_one", queue_one},
        {"queue_batches", queue_batches},
        {"queue_empty", queue_empty},
        {"queue_inlined", queue_inlined},
        {"stack", stack_pair},
        {"seqlock_read", seqlock_read},
        {"triple_buffer", triple_pair},
        {"calls", calls},
        {"exchanges", exchanges},
    };

    prepare();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        double best = 0;
        for (int round = 0; round < ROUNDS; round++) {
            const double start = now();
            all[i].work();
            const double taken = now() - start;
            if (round == 0 || taken < best) best = taken;
        }
        printf("%s %.3f\n", all[i].name, best / OPERATIONS);
    }
    return 0;
}
