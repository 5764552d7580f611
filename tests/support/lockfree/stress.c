/* Real threads on each structure, for ThreadSanitizer: elements, values, and what an index or a
 * pointer stands for are plain memory, so an order that is missing between the threads is a data
 * race, and is reported. The threads check what they get, too. */
#include "wrt_platform/lockfree.h"

#include "lockfree_mpmc.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, SLOTS = 8, WORDS = 3 };

typedef struct job {
    const char *name;
    int threads;
    void (*prepare)(void);
    void (*thread)(int index);
} job;

static _Alignas(WRT_LOCKFREE_ALIGNMENT_MAX) uint8_t buffer[8192];
static uint32_t rounds;
static const job *current;
static wrt_ring ring;
static wrt_queue queue;
static wrt__queue pointers;
static wrt_index_stack stack;
static wrt_seqlock seqlock;
static wrt_triple_buffer triple;
static uint32_t owned[SLOTS];
static uint64_t totals[THREADS];
static pthread_barrier_t start;

static void must(bool is_true, const char *what)
{
    if (is_true) return;
    printf("%s: %s\n", what, wrt_error_last()->reason);
    exit(1);
}

/* False: again, after somebody else had his turn. */
static bool went_through(wrt_status status)
{
    must(status == WRT_OK || status == WRT_ERR_BUSY, "status");
    if (status == WRT_ERR_BUSY) sched_yield();
    return status == WRT_OK;
}

static void fill(uint32_t *words, uint32_t value)
{
    for (uint32_t i = 0; i < WORDS; i++) words[i] = value + i;
}

static uint32_t checked(const uint32_t *words)
{
    for (uint32_t i = 1; i < WORDS; i++) must(words[i] == words[0] + i, "a torn element");
    return words[0];
}

static void prepare_ring(void)
{
    const wrt_ring_config config = {.struct_size = sizeof config,
                                    .capacity = 4,
                                    .element_size = WORDS * sizeof(uint32_t),
                                    .buffer = buffer,
                                    .buffer_size = sizeof buffer};
    must(wrt_ring_init(&ring, &config) == WRT_OK, "init");
}

static void use_ring(int index)
{
    uint32_t words[2 * WORDS];
    uint32_t count;

    for (uint32_t i = 0; i < rounds; i++) {
        if (index == 0) {
            fill(words, i);
            while (!went_through(wrt_ring_put(&ring, words))) continue;
        } else if (i % 3 != 0 || i + 1 == rounds) {
            while (!went_through(wrt_ring_get(&ring, words))) continue;
            must(checked(words) == i, "order");
        } else {
            while (!went_through(wrt_ring_get_many(&ring, words, 2, &count))) continue;
            for (uint32_t j = 0; j < count; j++) must(checked(words + j * WORDS) == i + j, "order");
            i += count - 1;
        }
    }
}

static void prepare_queue(void)
{
    const wrt_queue_config config = {.struct_size = sizeof config,
                                     .capacity = 4,
                                     .element_size = WORDS * sizeof(uint32_t),
                                     .buffer = buffer,
                                     .buffer_size = sizeof buffer};
    must(wrt_queue_init(&queue, &config) == WRT_OK, "init");
}

/* Two producers, two consumers; what went in comes out once. */
static void use_queue(int index)
{
    uint32_t words[WORDS];

    for (uint32_t i = 0; i < rounds; i++) {
        if (index < 2) {
            fill(words, i);
            while (!went_through(wrt_queue_put(&queue, words))) continue;
        } else {
            while (!went_through(wrt_queue_get(&queue, words))) continue;
            totals[index] += checked(words);
        }
    }
}

static void prepare_pointers(void)
{
    wrt__queue_init(&pointers, buffer, SLOTS, sizeof(wrt__queue_cell));
    for (uint32_t i = 0; i < SLOTS / 2; i++) wrt__queue_put(&pointers, &owned[i]);
}

/* Whoever got a pointer may write behind it. */
static void use_pointers(int index)
{
    void *element;
    uint32_t position;

    for (uint32_t i = 0; i < rounds; i++) {
        while (!wrt__queue_get(&pointers, &element, &position)) sched_yield();
        *(uint32_t *)element += 1;
        while (!wrt__queue_put(&pointers, element)) sched_yield();
    }
    totals[index] = rounds;
}

static void prepare_stack(void)
{
    const wrt_index_stack_config config = {.struct_size = sizeof config,
                                           .capacity = 2,
                                           .filled = true,
                                           .buffer = buffer,
                                           .buffer_size = sizeof buffer};
    must(wrt_index_stack_init(&stack, &config) == WRT_OK, "init");
}

/* Whoever has an index may write what it stands for. */
static void use_stack(int index)
{
    uint32_t slot;

    for (uint32_t i = 0; i < rounds; i++) {
        while (!went_through(wrt_index_stack_pop(&stack, &slot))) continue;
        owned[slot]++;
        must(wrt_index_stack_push(&stack, slot) == WRT_OK, "push");
    }
    totals[index] = rounds;
}

static void prepare_seqlock(void)
{
    const wrt_seqlock_config config = {.struct_size = sizeof config,
                                       .value_size = WORDS * sizeof(uint32_t),
                                       .buffer = buffer,
                                       .buffer_size = sizeof buffer};
    uint32_t words[WORDS];

    must(wrt_seqlock_init(&seqlock, &config) == WRT_OK, "init");
    fill(words, 0);
    must(wrt_seqlock_write(&seqlock, words) == WRT_OK, "write");
}

static void use_seqlock(int index)
{
    uint32_t words[WORDS];
    uint32_t last = 0;

    for (uint32_t i = 0; i < rounds; i++) {
        if (index == 0) {
            fill(words, i);
            must(wrt_seqlock_write(&seqlock, words) == WRT_OK, "write");
        } else {
            while (!went_through(wrt_seqlock_read(&seqlock, words))) continue;
            must(checked(words) >= last, "an older value");
            last = words[0];
        }
    }
}

static void prepare_triple(void)
{
    const wrt_triple_buffer_config config = {.struct_size = sizeof config,
                                             .value_size = WORDS * sizeof(uint32_t),
                                             .buffer = buffer,
                                             .buffer_size = sizeof buffer};
    must(wrt_triple_buffer_init(&triple, &config) == WRT_OK, "init");
}

static void use_triple(int index)
{
    uint32_t words[WORDS] = {0};
    uint32_t last = 0;
    bool is_new;

    for (uint32_t i = 0; index == 0 && i < rounds; i++) {
        fill(words, i);
        must(wrt_triple_buffer_put(&triple, words) == WRT_OK, "put");
    }
    while (index == 1 && last + 1 < rounds) {
        if (!went_through(wrt_triple_buffer_get(&triple, words, &is_new))) continue;
        must(is_new ? checked(words) >= last : checked(words) == last, "an older value");
        last = words[0];
    }
}

static const job jobs[] = {
    {"ring", 2, prepare_ring, use_ring},
    {"queue", 4, prepare_queue, use_queue},
    {"pointers", 3, prepare_pointers, use_pointers},
    {"stack", 3, prepare_stack, use_stack},
    {"seqlock", 3, prepare_seqlock, use_seqlock},
    {"triple_buffer", 2, prepare_triple, use_triple},
};

/* All begin together: a thread that ends before the next begins meets nobody. */
static void *run_thread(void *index)
{
    pthread_barrier_wait(&start);
    current->thread((int)(intptr_t)index);
    return NULL;
}

static uint64_t sum(const uint64_t *values)
{
    return values[0] + values[1] + values[2] + values[3];
}

static void check_totals(void)
{
    uint64_t marks = 0;

    for (int i = 0; i < SLOTS; i++) marks += owned[i];
    if (marks != 0) must(marks == sum(totals), "an index or a pointer had two owners");
    if (strcmp(current->name, "queue") == 0) {
        must(sum(totals) == (uint64_t)rounds * (rounds - 1), "elements were lost or doubled");
    }
}

int main(int count, char **words)
{
    pthread_t threads[THREADS];

    rounds = count > 2 ? (uint32_t)strtoul(words[2], NULL, 10) : 20000;
    for (size_t i = 0; count > 1 && i < sizeof jobs / sizeof jobs[0]; i++) {
        if (strcmp(words[1], jobs[i].name) == 0) current = &jobs[i];
    }
    if (current == NULL) return 2;
    current->prepare();
    pthread_barrier_init(&start, NULL, (unsigned)current->threads);
    for (int i = 0; i < current->threads; i++) {
        must(pthread_create(&threads[i], NULL, run_thread, (void *)(intptr_t)i) == 0, "create");
    }
    for (int i = 0; i < current->threads; i++) pthread_join(threads[i], NULL);
    check_totals();
    printf("%s: %u rounds\n", current->name, rounds);
    return 0;
}
