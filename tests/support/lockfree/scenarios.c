/* Small programs of a few threads on each structure, for the explorer: what they were answered
 * must be what the structure could have answered to one call after the other. All are written on
 * the public header; the sources behind it are the library's own. */
#include "wrt_platform/lockfree.h"

#include "explorer.h"
#include "history.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scenario {
    const char *name;
    explorer_test test;
} scenario;

static _Alignas(WRT_LOCKFREE_ALIGNMENT_MAX) uint8_t buffer[4096];
static wrt_ring ring;
static wrt_queue queue;
static wrt_index_stack stack;
static wrt_seqlock seqlock;
static wrt_triple_buffer triple;

static void must(wrt_status status)
{
    if (status == WRT_OK) return;
    printf("%s: %s\n", wrt_error_last()->operation, wrt_error_last()->reason);
    exit(2);
}

static void start(void)
{
    memset(buffer, 0, sizeof buffer);
    explorer_share(buffer, sizeof buffer);
    history_clear();
}

/* Calls that are recorded. */

static void record(history_call *call, wrt_status status, const uint32_t *words)
{
    if (status != WRT_ERR_BUSY) must(status);
    call->is_busy = status == WRT_ERR_BUSY;
    for (uint32_t i = 0; i < call->count; i++) call->values[i] = history_decode(words + 2 * i);
    history_end(call);
}

static void put(int thread, uint32_t value, wrt_status (*function)(void *, const void *), void *to)
{
    uint32_t words[2];

    history_encode(value, words);
    history_call *call = history_begin(thread, PUT);
    const wrt_status status = function(to, words);
    call->wanted = 1;
    call->count = status == WRT_OK;
    call->values[0] = value;
    record(call, status, words);
}

static void get(int thread, wrt_status (*function)(void *, void *), void *from)
{
    uint32_t words[2];
    history_call *call = history_begin(thread, GET);
    const wrt_status status = function(from, words);

    call->wanted = 1;
    call->count = status == WRT_OK;
    record(call, status, words);
}

static wrt_status put_in_ring(void *to, const void *element)
{
    return wrt_ring_put(to, element);
}

static wrt_status get_from_ring(void *from, void *element_out)
{
    return wrt_ring_get(from, element_out);
}

static wrt_status put_in_queue(void *to, const void *element)
{
    return wrt_queue_put(to, element);
}

static wrt_status get_from_queue(void *from, void *element_out)
{
    return wrt_queue_get(from, element_out);
}

static wrt_status put_in_seqlock(void *to, const void *value)
{
    return wrt_seqlock_write(to, value);
}

static wrt_status get_from_seqlock(void *from, void *value_out)
{
    return wrt_seqlock_read(from, value_out);
}

static wrt_status put_in_triple(void *to, const void *value)
{
    return wrt_triple_buffer_put(to, value);
}

static void put_ring(int thread, uint32_t value)
{
    put(thread, value, put_in_ring, &ring);
}

static void get_ring(int thread)
{
    get(thread, get_from_ring, &ring);
}

static void put_queue(int thread, uint32_t value)
{
    put(thread, value, put_in_queue, &queue);
}

static void get_queue(int thread)
{
    get(thread, get_from_queue, &queue);
}

static void put_two(int thread, uint32_t value, bool in_ring)
{
    uint32_t words[4];

    history_encode(value, words);
    history_encode(value + 1, words + 2);
    history_call *call = history_begin(thread, PUT);
    const wrt_status status = in_ring ? wrt_ring_put_many(&ring, words, 2, &call->count)
                                      : wrt_queue_put_many(&queue, words, 2, &call->count);
    call->wanted = 2;
    record(call, status, words);
}

static void get_two(int thread, bool from_ring)
{
    uint32_t words[4];
    history_call *call = history_begin(thread, GET);
    const wrt_status status = from_ring ? wrt_ring_get_many(&ring, words, 2, &call->count)
                                        : wrt_queue_get_many(&queue, words, 2, &call->count);

    call->wanted = 2;
    record(call, status, words);
}

/* The index is the value. */
static uint32_t pop(int thread)
{
    uint32_t index = UINT32_MAX;
    history_call *call = history_begin(thread, GET);
    const wrt_status status = wrt_index_stack_pop(&stack, &index);

    call->is_busy = status == WRT_ERR_BUSY;
    call->wanted = 1;
    call->count = status == WRT_OK;
    call->values[0] = index;
    history_end(call);
    return index;
}

static void push(int thread, uint32_t index)
{
    if (index == UINT32_MAX) return;
    history_call *call = history_begin(thread, PUT);
    const wrt_status status = wrt_index_stack_push(&stack, index);
    call->wanted = 1;
    call->count = 1;
    call->values[0] = status == WRT_OK ? index : HISTORY_TORN; /* ours: it can't be on it */
    history_end(call);
}

static void get_latest(int thread)
{
    uint32_t words[2];
    history_call *call = history_begin(thread, GET);
    const wrt_status status = wrt_triple_buffer_get(&triple, words, &call->is_new);

    call->wanted = 1;
    call->count = status == WRT_OK;
    record(call, status, words);
}

/* What the structures are. */

static bool enter(history_state *state, const history_call *call)
{
    if (call->count > state->capacity - state->count) return false;
    for (uint32_t i = 0; i < call->count; i++) state->values[state->count++] = call->values[i];
    return call->count == call->wanted || state->count == state->capacity || call->had_company;
}

static bool leave(history_state *state, const history_call *call)
{
    if (call->count > state->count) return false;
    for (uint32_t i = 0; i < call->count; i++) {
        if (call->values[i] != state->values[i]) return false;
    }
    state->count -= call->count;
    memmove(state->values, state->values + call->count, state->count * sizeof state->values[0]);
    return call->count == call->wanted || state->count == 0 || call->had_company;
}

/* First in, first out; less than was wanted only if it is full or empty, or, as lockfree.h says of
 * the queue, if another thread was inside a call. */
static bool is_queue(history_state *state, const history_call *call)
{
    return call->kind == PUT ? enter(state, call) : leave(state, call);
}

/* The same without that excuse. */
static bool is_ring(history_state *state, const history_call *call)
{
    history_call strict = *call;

    strict.had_company = false;
    return is_queue(state, &strict);
}

static bool is_stack(history_state *state, const history_call *call)
{
    if (call->kind == PUT) {
        state->values[state->count++] = call->values[0];
        return call->values[0] != HISTORY_TORN;
    }
    if (call->is_busy) return state->count == 0;
    return state->count != 0 && state->values[--state->count] == call->values[0];
}

/* The latest value, which is there from the start; a read in company may give up. */
static bool is_register(history_state *state, const history_call *call)
{
    if (call->kind == PUT) state->values[0] = call->values[0];
    return call->is_busy ? call->had_company && call->kind == GET
                         : call->values[0] == state->values[0];
}

/* The latest value, and whether it is read for the first time. */
static bool is_latest(history_state *state, const history_call *call)
{
    if (call->kind == PUT) {
        state->values[0] = call->values[0];
        state->count = 1;
        state->was_read = false;
        return true;
    }
    if (call->is_busy) return state->count == 0;
    const bool is_new = !state->was_read;
    state->was_read = true;
    return state->count == 1 && call->values[0] == state->values[0] && call->is_new == is_new;
}

/* The scenarios. */

static void prepare_ring(void)
{
    const wrt_ring_config config = {.struct_size = sizeof config,
                                    .capacity = 2,
                                    .element_size = 8,
                                    .buffer = buffer,
                                    .buffer_size = sizeof buffer};
    start();
    must(wrt_ring_init(&ring, &config));
}

static bool judge_ring(void)
{
    return history_is_explained((history_state){.capacity = 2}, is_ring);
}

static void ring_singly(int thread)
{
    for (uint32_t i = 1; i <= 3; i++) {
        if (thread == 0) put_ring(thread, i);
        if (thread == 1) get_ring(thread);
    }
}

static void ring_in_pairs(int thread)
{
    for (uint32_t i = 1; i <= 5; i += 2) {
        if (thread == 0) put_two(thread, i, true);
        if (thread == 1) get_two(thread, true);
    }
}

static void prepare_queue(void)
{
    const wrt_queue_config config = {.struct_size = sizeof config,
                                     .capacity = 2,
                                     .element_size = 8,
                                     .buffer = buffer,
                                     .buffer_size = sizeof buffer};
    start();
    must(wrt_queue_init(&queue, &config));
}

static bool judge_queue(void)
{
    return history_is_explained((history_state){.capacity = 2}, is_queue);
}

static void queue_of_two_producers(int thread)
{
    if (thread == 0) put_queue(thread, 1);
    if (thread == 1) put_queue(thread, 2);
    if (thread == 2) get_queue(thread);
    if (thread == 2) get_queue(thread);
}

static void queue_of_two_consumers(int thread)
{
    if (thread == 0) put_queue(thread, 1);
    if (thread == 0) put_queue(thread, 2);
    if (thread == 1) get_queue(thread);
    if (thread == 2) get_queue(thread);
}

/* Round and round, so that cells are used again. */
static void queue_of_both(int thread)
{
    const uint32_t rounds = thread == 0 ? 2 : 1;

    for (uint32_t i = 1; i <= rounds; i++) {
        put_queue(thread, 10 * (uint32_t)thread + i);
        get_queue(thread);
    }
}

static void queue_in_pairs(int thread)
{
    if (thread == 0) put_two(thread, 1, false);
    if (thread == 0) put_queue(thread, 3);
    if (thread == 1) put_queue(thread, 4);
    if (thread == 1) get_two(thread, false);
}

static void prepare_stack(void)
{
    const wrt_index_stack_config config = {.struct_size = sizeof config,
                                           .capacity = 2,
                                           .filled = true,
                                           .buffer = buffer,
                                           .buffer_size = sizeof buffer};
    start();
    must(wrt_index_stack_init(&stack, &config));
}

static bool judge_stack(void)
{
    return history_is_explained((history_state){.count = 2, .values = {1, 0}}, is_stack);
}

/* The first pops while the second takes two, gives the first of them back, and takes again: the
 * same index is on top, with another one below it. */
static void stack_there_and_back(int thread)
{
    if (thread == 0) {
        (void)pop(thread);
        (void)pop(thread);
    } else {
        const uint32_t first = pop(thread);
        (void)pop(thread);
        push(thread, first);
    }
}

static void stack_of_three(int thread)
{
    (void)pop(thread);
}

/* The first looks in the end for what is left. */
static void stack_taken_and_given(int thread)
{
    push(thread, pop(thread));
    if (thread == 0) (void)pop(thread);
    if (thread == 0) (void)pop(thread);
}

static void prepare_seqlock(void)
{
    const wrt_seqlock_config config = {.struct_size = sizeof config,
                                       .value_size = 8,
                                       .attempts = 2,
                                       .buffer = buffer,
                                       .buffer_size = sizeof buffer};
    uint32_t words[2];

    start();
    must(wrt_seqlock_init(&seqlock, &config));
    history_encode(7, words);
    must(wrt_seqlock_write(&seqlock, words));
}

static bool judge_seqlock(void)
{
    return history_is_explained((history_state){.values = {7}}, is_register);
}

static void seqlock_of_two_readers(int thread)
{
    if (thread == 0) put(thread, 1, put_in_seqlock, &seqlock);
    if (thread != 0) get(thread, get_from_seqlock, &seqlock);
}

static void seqlock_read_twice(int thread)
{
    for (uint32_t i = 1; i <= 2; i++) {
        if (thread == 0) put(thread, i, put_in_seqlock, &seqlock);
        if (thread != 0) get(thread, get_from_seqlock, &seqlock);
    }
}

static void prepare_triple(void)
{
    const wrt_triple_buffer_config config = {.struct_size = sizeof config,
                                             .value_size = 8,
                                             .buffer = buffer,
                                             .buffer_size = sizeof buffer};
    start();
    must(wrt_triple_buffer_init(&triple, &config));
}

static bool judge_triple(void)
{
    return history_is_explained((history_state){0}, is_latest);
}

static void triple_three_times(int thread)
{
    for (uint32_t i = 1; i <= 3; i++) {
        if (thread == 0) put(thread, i, put_in_triple, &triple);
        if (thread == 1) get_latest(thread);
    }
}

/* Two threads, two steps each: six orders if all steps depend on one another, else one. */
static void two_steps(int thread, bool on_one_word)
{
    uint32_t *word = (uint32_t *)(void *)buffer + (on_one_word ? 0 : thread);

    for (int i = 0; i < 2; i++) {
        explorer_access(NULL, 0, word, sizeof *word);
        (*word)++;
    }
}

static void on_one_word(int thread)
{
    two_steps(thread, true);
}

static void on_two_words(int thread)
{
    two_steps(thread, false);
}

static bool judge_nothing(void)
{
    return true;
}

static const scenario scenarios[] = {
    {"six_orders", {2, start, on_one_word, judge_nothing}},
    {"one_order", {2, start, on_two_words, judge_nothing}},

    {"ring", {2, prepare_ring, ring_singly, judge_ring}},
    {"ring_in_pairs", {2, prepare_ring, ring_in_pairs, judge_ring}},
    {"queue_of_two_producers", {3, prepare_queue, queue_of_two_producers, judge_queue}},
    {"queue_of_two_consumers", {3, prepare_queue, queue_of_two_consumers, judge_queue}},
    {"queue_of_both", {2, prepare_queue, queue_of_both, judge_queue}},
    {"queue_in_pairs", {2, prepare_queue, queue_in_pairs, judge_queue}},
    {"stack_there_and_back", {2, prepare_stack, stack_there_and_back, judge_stack}},
    {"stack_of_three", {3, prepare_stack, stack_of_three, judge_stack}},
    {"stack_taken_and_given", {2, prepare_stack, stack_taken_and_given, judge_stack}},
    {"seqlock_of_two_readers", {3, prepare_seqlock, seqlock_of_two_readers, judge_seqlock}},
    {"seqlock_read_twice", {2, prepare_seqlock, seqlock_read_twice, judge_seqlock}},
    {"triple_buffer", {2, prepare_triple, triple_three_times, judge_triple}},
};

/* Exit status: 0 all were right, 1 one was wrong and is printed, 2 not all could be run. */
int main(int count, char **words)
{
    const uint64_t most = count > 2 ? strtoull(words[2], NULL, 10) : UINT64_MAX;

    for (size_t i = 0; count > 1 && i < sizeof scenarios / sizeof scenarios[0]; i++) {
        if (strcmp(words[1], scenarios[i].name) != 0) continue;
        const explorer_result result = explorer_run(&scenarios[i].test, most);
        printf("%llu executions, %llu of them abandoned\n", (unsigned long long)result.executions,
               (unsigned long long)result.abandoned);
        if (result.is_wrong) history_print();
        return result.is_wrong ? 1 : result.is_complete ? 0 : 2;
    }
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) puts(scenarios[i].name);
    return 2;
}
