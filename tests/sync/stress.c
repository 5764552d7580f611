/* Threads that work against each other on futexes, locks, tokens and thread systems:
 *
 *     stress <what> <rounds>
 *
 * It ends with 0 if nothing was lost. A wake that is lost makes it hang, and the time-outs of the
 * waits, far beyond what a machine under load needs, end that with a message. `race` does what
 * nobody should: it is for the sanitizer to report. */
#include "backend.h"

#include <string.h>

enum { THREADS = 4, FOREVER_NS = 2000000000 };

static wrt_thread_system below;
static wrt_futex futex;
static wrt_lock lock;
static uint32_t rounds;

/* Runs `entry` in that many threads, with their number as context, and waits for them. */
static void run_threads(wrt_thread_entry_fn entry, uintptr_t count)
{
    wrt_thread threads[THREADS];

    memset(threads, 0, sizeof threads);
    for (uintptr_t i = 0; i < count; i++) {
        wrt_thread_config config = {.struct_size = sizeof config,
                                    .entry = entry,
                                    .context = (void *)i,
                                    .name = "stress",
                                    .stack_size = 262144};
        MUST(below.ops->start(below.self, &threads[i], &config));
    }
    for (uintptr_t i = 0; i < count; i++) {
        MUST(below.ops->join(below.self, &threads[i], UINT64_MAX));
    }
}

/* ---- Two threads hand a word to each other, each waiting for the other's turn ---- */

static void wait_for_turn(uint32_t turn)
{
    uint32_t seen = 0;

    for (;;) {
        MUST(wrt_futex_load(&futex, &seen));
        if (seen % 2 == turn) return;
        MUST(wrt_futex_wait(&futex, seen, FOREVER_NS, NULL));
    }
}

static void hand_over(void *number)
{
    const uint32_t turn = (uint32_t)(uintptr_t)number;

    for (uint32_t i = 0; i < rounds; i++) {
        wait_for_turn(turn);
        MUST(wrt_futex_fetch_add(&futex, 1, NULL));
        MUST(wrt_futex_wake(&futex, 1, NULL));
    }
}

static void test_futex(void)
{
    uint32_t end = 0;

    run_threads(hand_over, 2);
    MUST(wrt_futex_load(&futex, &end));
    EXPECT(end == 2 * rounds);
}

/* ---- The same on a word of the caller's, by the thread system ---- */

static uint32_t word;

static void hand_over_word(void *number)
{
    const uint32_t turn = (uint32_t)(uintptr_t)number;

    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t seen = __atomic_load_n(&word, __ATOMIC_SEQ_CST);
        for (; seen % 2 != turn; seen = __atomic_load_n(&word, __ATOMIC_SEQ_CST)) {
            MUST(below.ops->wait(below.self, &word, seen, FOREVER_NS));
        }
        (void)__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
        below.ops->wake(below.self, &word, 1);
    }
}

static void test_word(void)
{
    run_threads(hand_over_word, 2);
    EXPECT(word == 2 * rounds);
}

/* ---- A counter that only the lock guards ---- */

static uint64_t guarded;

static void count_up(void *number)
{
    (void)number;
    for (uint32_t i = 0; i < rounds; i++) {
        /* Without limit: gcc's ThreadSanitizer does not know locks with a monotonic deadline. */
        MUST(wrt_lock_lock(&lock, UINT64_MAX, NULL, NULL));
        guarded++;
        MUST(wrt_lock_unlock(&lock));
    }
}

static void test_lock(void)
{
    run_threads(count_up, THREADS);
    EXPECT(guarded == (uint64_t)THREADS * rounds);
}

/* The lock of the library's own portable parts. */
static wrt_system_lock inner;

static void count_up_inside(void *number)
{
    (void)number;
    for (uint32_t i = 0; i < rounds; i++) {
        MUST(below.ops->lock(below.self, &inner));
        guarded++;
        MUST(below.ops->unlock(below.self, &inner));
    }
}

static void test_system_lock(void)
{
    MUST(below.ops->lock_init(below.self, &inner));
    run_threads(count_up_inside, THREADS);
    EXPECT(guarded == (uint64_t)THREADS * rounds);
    MUST(below.ops->lock_deinit(below.self, &inner));
}

/* Not under ThreadSanitizer, which reports the misuse itself. */
static void test_misuse(void)
{
    MUST(below.ops->lock_init(below.self, &inner));
    EXPECT(below.ops->unlock(below.self, &inner) == WRT_ERR_STATE);
    MUST(below.ops->lock(below.self, &inner));
    EXPECT(below.ops->lock(below.self, &inner) == WRT_ERR_STATE);
    EXPECT(below.ops->lock_deinit(below.self, &inner) == WRT_ERR_STATE);
    MUST(below.ops->unlock(below.self, &inner));
    MUST(below.ops->lock_deinit(below.self, &inner));
}

/* ---- A sleeper that is cancelled in each round, and tells so ---- */

static wrt_cancel_token token;
static uint32_t answers;

static void be_cancelled(void *number)
{
    if (number != NULL) { /* two request, and sometimes both wake */
        for (uint32_t i = 0; i < rounds; i++) {
            while (__atomic_load_n(&answers, __ATOMIC_SEQ_CST) < i) wrt_cancel_request(&token);
            wrt_cancel_request(&token);
        }
        return;
    }
    for (uint32_t i = 0; i < rounds; i++) {
        EXPECT(wrt_cancel_wait(&token, &below, FOREVER_NS) == WRT_ERR_INTERRUPTED);
        wrt_cancel_clear(&token);
        (void)__atomic_fetch_add(&answers, 1, __ATOMIC_SEQ_CST);
    }
    wrt_cancel_request(&token);
}

static void test_cancel(void)
{
    wrt_cancel_clear(&token);
    run_threads(be_cancelled, 3);
    EXPECT(answers == rounds);
    EXPECT(token.waiting == 0);
}

/* ---- Waits that end by time-out, wake and cancel all at once ---- */

static uint32_t ends[3]; /* woken, timed out, cancelled: atomic */

static void wait_somehow(void *number)
{
    if (number == NULL) {
        for (uint32_t i = 0; i < rounds; i++) {
            MUST(wrt_futex_fetch_add(&futex, 1, NULL));
            MUST(wrt_futex_wake(&futex, 2, NULL));
            if (i % 3 == 0) wrt_cancel_request(&token);
            if (i % 3 == 2) wrt_cancel_clear(&token);
        }
        return;
    }
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t seen = 0;
        MUST(wrt_futex_load(&futex, &seen));
        const wrt_status status = wrt_futex_wait(&futex, seen, 20000, &token);
        if (status == WRT_OK) {
            (void)__atomic_fetch_add(&ends[0], 1, __ATOMIC_RELAXED);
        } else if (status == WRT_ERR_TIMED_OUT) {
            (void)__atomic_fetch_add(&ends[1], 1, __ATOMIC_RELAXED);
        } else {
            EXPECT(status == WRT_ERR_INTERRUPTED);
            (void)__atomic_fetch_add(&ends[2], 1, __ATOMIC_RELAXED);
        }
    }
}

static void test_ends(void)
{
    run_threads(wait_somehow, THREADS);
    EXPECT(ends[0] + ends[1] + ends[2] == (THREADS - 1) * rounds);
}

/* ---- Threads that come and go ---- */

static void come_and_go(void *number)
{
    (void)__atomic_fetch_add(&answers, (uint32_t)(uintptr_t)number, __ATOMIC_RELAXED);
}

static void test_threads(void)
{
    for (uint32_t i = 0; i < rounds; i++) run_threads(come_and_go, THREADS);
    EXPECT(answers == rounds * (0 + 1 + 2 + 3));
}

static void race(void *number)
{
    volatile uint64_t *unguarded = &guarded;

    (void)number;
    for (uint32_t i = 0; i < rounds; i++) *unguarded = *unguarded + 1;
}

static void test_race(void)
{
    run_threads(race, 2);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        {"futex", test_futex},   {"word", test_word},       {"lock", test_lock},
        {"cancel", test_cancel}, {"ends", test_ends},       {"system_lock", test_system_lock},
        {"race", test_race},     {"threads", test_threads}, {"misuse", test_misuse},
    };

    EXPECT(count == 3);
    rounds = (uint32_t)strtoul(arguments[2], NULL, 10);
    below = backend_system();
    futex = backend_futex();
    lock = backend_lock();
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (strcmp(tests[i].name, arguments[1]) == 0) {
            tests[i].test();
            backend_end();
            return 0;
        }
    }
    return 2;
}
