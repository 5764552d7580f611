/* Explores depth first, by running the test again from the start for each new interleaving: the
 * choices that lead to the last branching are replayed, the next thread is taken there, and from
 * then on whoever can go on.
 *
 * Two steps of different threads are independent if neither writes what the other one touches:
 * their order makes no difference. A thread whose next step was explored at an earlier branching
 * sleeps until somebody does a step that depends on it (Godefroid's sleep sets); where all sleep,
 * what follows has been seen. So each class of equal interleavings is judged at least once.
 *
 * Threads are stacks in one process. makecontext() starts them, and from then on _setjmp() and
 * _longjmp() switch, which need no system call. */
#include "explorer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { STACK_BYTES = 65536 };

typedef struct step {
    const uint8_t *read;
    size_t read_size;
    const uint8_t *written;
    size_t written_size;
} step;

typedef struct choice {
    uint8_t thread;
    uint8_t ready;    /* bit t: thread t can be taken here */
    uint8_t sleeping; /* bit t: thread t need not be taken here */
    uint8_t explored; /* bit t: thread t has been taken here, with all that follows */
} choice;

typedef struct thread_state {
    jmp_buf place;
    ucontext_t start;
    step next;
    bool has_started;
    bool has_ended;
} thread_state;

static const explorer_test *test;
static thread_state threads[EXPLORER_THREADS];
static uint8_t stacks[EXPLORER_THREADS][STACK_BYTES];
static jmp_buf scheduler;
static int running;
static choice path[EXPLORER_STEPS];
static int fixed; /* choices of `path` that are replayed */
static int depth; /* choices made in this execution */
static uint8_t sleeping;
static const uint8_t *shared;
static size_t shared_size;

static bool overlap(const uint8_t *one, size_t one_size, const uint8_t *other, size_t other_size)
{
    return one_size != 0 && other_size != 0 && one < other + other_size && other < one + one_size;
}

static bool are_independent(const step *one, const step *other)
{
    return !overlap(one->written, one->written_size, other->written, other->written_size) &&
           !overlap(one->written, one->written_size, other->read, other->read_size) &&
           !overlap(one->read, one->read_size, other->written, other->written_size);
}

static uint8_t awake(void)
{
    uint8_t set = 0;

    for (int i = 0; i < test->thread_count; i++) {
        if (!threads[i].has_ended) set |= (uint8_t)(1 << i);
    }
    return set & (uint8_t)~sleeping;
}

static int lowest(uint8_t set)
{
    int i = 0;

    while ((set >> i & 1) == 0) i++;
    return i;
}

static void begin(void)
{
    test->thread(running);
    threads[running].has_ended = true;
    _longjmp(scheduler, 1);
}

/* Runs a thread up to its next access, or its end. */
static void go_on(int index)
{
    thread_state *thread = &threads[index];

    running = index;
    if (_setjmp(scheduler) != 0) return;
    if (thread->has_started) _longjmp(thread->place, 1);
    thread->has_started = true;
    getcontext(&thread->start);
    thread->start.uc_stack.ss_sp = stacks[index];
    thread->start.uc_stack.ss_size = STACK_BYTES;
    thread->start.uc_link = NULL;
    makecontext(&thread->start, begin, 0);
    setcontext(&thread->start);
}

void explorer_access(const void *read, size_t read_size, void *written, size_t written_size)
{
    thread_state *thread = &threads[running];

    if (depth < 0) return; /* the test prepares or judges */
    thread->next = (step){read, read_size, written, written_size};
    if (_setjmp(thread->place) == 0) _longjmp(scheduler, 1);
}

static bool is_shared(const void *bytes, size_t size)
{
    return overlap(bytes, size, shared, shared_size);
}

void *explorer_copy(void *restrict to, const void *restrict from, size_t size)
{
    const size_t half = size / 2;

    if (!is_shared(to, size) && !is_shared(from, size)) return memmove(to, from, size);
    explorer_access(from, half, to, half);
    memmove(to, from, half);
    explorer_access((const uint8_t *)from + half, size - half, (uint8_t *)to + half, size - half);
    memmove((uint8_t *)to + half, (const uint8_t *)from + half, size - half);
    return to;
}

void explorer_share(void *memory, size_t size)
{
    shared = memory;
    shared_size = size;
}

/* Takes the next step of this thread; others whose next step depends on it wake up. */
static void take(int index)
{
    const choice *here = &path[depth];
    uint8_t still = 0;

    for (int i = 0; i < test->thread_count; i++) {
        const bool can_wait = ((here->sleeping | here->explored) >> i & 1) != 0 && i != index;
        if (can_wait && are_independent(&threads[i].next, &threads[index].next)) {
            still |= (uint8_t)(1 << i);
        }
    }
    sleeping = still;
    depth++;
    go_on(index);
}

typedef enum outcome { ENDED, ABANDONED, ENDLESS } outcome;

static outcome execute(void)
{
    depth = -1;
    sleeping = 0;
    memset(threads, 0, sizeof threads);
    test->prepare();
    depth = 0;
    for (int i = 0; i < test->thread_count; i++) go_on(i); /* up to the first access */
    for (;;) {
        const uint8_t ready = awake();
        if (ready == 0) return sleeping == 0 ? ENDED : ABANDONED;
        if (depth == EXPLORER_STEPS) return ENDLESS;
        if (depth >= fixed) path[depth] = (choice){(uint8_t)lowest(ready), ready, sleeping, 0};
        take(path[depth].thread);
    }
}

/* Prepares the next interleaving; false if there is none. */
static bool advance(void)
{
    for (int i = depth - 1; i >= 0; i--) {
        choice *last = &path[i];
        last->explored |= (uint8_t)(1 << last->thread);
        const uint8_t left = last->ready & (uint8_t)~last->explored;
        if (left != 0) {
            last->thread = (uint8_t)lowest(left);
            fixed = i + 1;
            return true;
        }
    }
    return false;
}

explorer_result explorer_run(const explorer_test *given, uint64_t most_executions)
{
    explorer_result result = {0};

    test = given;
    fixed = 0;
    do {
        const outcome how = execute();
        result.executions++;
        result.abandoned += how == ABANDONED;
        const int steps = depth;
        depth = -1;
        result.is_wrong = how == ENDLESS || (how == ENDED && !test->judge());
        depth = steps;
        if (result.is_wrong) return result;
        if (result.executions == most_executions) return result;
    } while (advance());
    result.is_complete = true;
    return result;
}

int explorer_trace(const uint8_t **threads_out)
{
    static uint8_t trace[EXPLORER_STEPS];

    for (int i = 0; i < depth; i++) trace[i] = path[i].thread;
    *threads_out = trace;
    return depth;
}
