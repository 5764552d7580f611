/* What locks and hand-overs cost on this machine: each by the library's own calls, and by those of
 * the C library beside them. */
#include "sys.h"
#include "wrt_platform/linux/sync_objects.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "../core/port.h"

enum { OPERATIONS_MAX = 10000000, HAND_OVER_PART = 100, SPIN = 2000, BACKOFF_NS = 100 };

/* ---- Locks that nobody else wants ---- */

static wrt_status run_mutex(uint32_t operations, bool inherits, wrt_linux_futex_strategy *row)
{
    const wrt_linux_futex_config config = {.struct_size = sizeof config,
                                           .priority_inheritance = inherits};
    wrt_linux_mutex mutex;
    uint64_t start = 0;
    uint64_t end = 0;

    wrt_status status = wrt_linux_mutex_init(&mutex, &config);
    if (status != WRT_OK) return status;
    status = wrt__port_now(&start);
    for (uint32_t i = 0; i < operations && status == WRT_OK; i++) {
        status = wrt_linux_mutex_lock(&mutex, UINT64_MAX, NULL);
        if (status == WRT_OK) status = wrt_linux_mutex_unlock(&mutex);
    }
    if (status == WRT_OK) status = wrt__port_now(&end);
    const wrt_status ended = wrt_linux_mutex_deinit(&mutex);
    row->operations = operations;
    row->nanoseconds = end - start;
    return status == WRT_OK ? ended : status;
}

static wrt_status mutex_plain(uint32_t operations, wrt_linux_futex_strategy *row)
{
    return run_mutex(operations, false, row);
}

static wrt_status mutex_inheriting(uint32_t operations, wrt_linux_futex_strategy *row)
{
    return run_mutex(operations, true, row);
}

static wrt_status lock_robust(uint32_t operations, wrt_linux_futex_strategy *row)
{
    const wrt_linux_lock_config config = {
        .struct_size = sizeof config, .protocol = WRT_LOCK_PROTOCOL_NONE, .robust = true};
    wrt_linux_lock lock;
    uint64_t start = 0;
    uint64_t end = 0;

    wrt_status status = wrt_linux_lock_init(&lock, &config);
    if (status != WRT_OK) return status;
    const wrt_lock interface = wrt_linux_lock_interface(&lock);
    status = wrt__port_now(&start);
    for (uint32_t i = 0; i < operations && status == WRT_OK; i++) {
        status = wrt_lock_lock(&interface, UINT64_MAX, NULL, NULL);
        if (status == WRT_OK) status = wrt_lock_unlock(&interface);
    }
    if (status == WRT_OK) status = wrt__port_now(&end);
    const wrt_status ended = wrt_linux_lock_deinit(&lock);
    row->operations = operations;
    row->nanoseconds = end - start;
    row->wait_calls = UINT64_MAX;
    return status == WRT_OK ? ended : status;
}

static wrt_status run_pthread(uint32_t operations, int protocol, wrt_linux_futex_strategy *row)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t mutex;
    uint64_t start = 0;
    uint64_t end = 0;

    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_setprotocol(&attributes, protocol);
    const int code = wrt__sys_mutex_init(&mutex, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    if (code != 0) {
        return wrt_fail_system(WRT_ERR_UNSUPPORTED, "wrt_linux_benchmark_futex_strategies",
                               "pthread_mutex_init failed", code, 0, 0);
    }
    wrt_status status = wrt__port_now(&start);
    for (uint32_t i = 0; i < operations; i++) {
        (void)pthread_mutex_lock(&mutex);
        (void)pthread_mutex_unlock(&mutex);
    }
    if (status == WRT_OK) status = wrt__port_now(&end);
    (void)pthread_mutex_destroy(&mutex);
    row->operations = operations;
    row->nanoseconds = end - start;
    row->wait_calls = UINT64_MAX;
    return status;
}

static wrt_status pthread_plain(uint32_t operations, wrt_linux_futex_strategy *row)
{
    return run_pthread(operations, PTHREAD_PRIO_NONE, row);
}

static wrt_status pthread_inheriting(uint32_t operations, wrt_linux_futex_strategy *row)
{
    return run_pthread(operations, PTHREAD_PRIO_INHERIT, row);
}

/* ---- Two threads that hand a word to and fro ---- */

typedef struct game {
    wrt_linux_futex futex;
    pthread_mutex_t mutex; /* of the C library, for its condition */
    pthread_cond_t condition;
    uint32_t turns;
    wrt_status status; /* of the second player */
} game;

/* Waits until it is the turn of `player`, and gives it to the other one. */
static wrt_status play(game *played, uint32_t player)
{
    const wrt_futex futex = wrt_linux_futex_interface(&played->futex);
    wrt_status status = WRT_OK;
    uint32_t seen = 0;

    for (uint32_t turn = 0; turn < played->turns && status == WRT_OK; turn++) {
        status = wrt_futex_load(&futex, &seen);
        while (status == WRT_OK && seen % 2 != player) {
            status = wrt_futex_wait(&futex, seen, UINT64_MAX, NULL);
            if (status == WRT_OK) status = wrt_futex_load(&futex, &seen);
        }
        if (status == WRT_OK) status = wrt_futex_fetch_add(&futex, 1, NULL);
        if (status == WRT_OK) status = wrt_futex_wake(&futex, 1, NULL);
    }
    return status;
}

static wrt_status play_by_condition(game *played, uint32_t player)
{
    for (uint32_t turn = 0; turn < played->turns; turn++) {
        (void)pthread_mutex_lock(&played->mutex);
        while (played->futex.own.word % 2 != player) {
            (void)pthread_cond_wait(&played->condition, &played->mutex);
        }
        played->futex.own.word++;
        (void)pthread_cond_signal(&played->condition);
        (void)pthread_mutex_unlock(&played->mutex);
    }
    return WRT_OK;
}

static void *second_by_word(void *context)
{
    game *played = context;

    played->status = play(played, 1);
    return NULL;
}

static void *second_by_condition(void *context)
{
    game *played = context;

    played->status = play_by_condition(played, 1);
    return NULL;
}

static wrt_status run_game(game *played, bool by_condition, wrt_linux_futex_strategy *row)
{
    pthread_t second;
    uint64_t start = 0;
    uint64_t end = 0;

    wrt_status status = wrt__port_now(&start);
    const int code = wrt__sys_thread_create(
        &second, NULL, by_condition ? second_by_condition : second_by_word, played);
    if (code != 0) {
        return wrt_fail_system(WRT_ERR_NO_MEMORY, "wrt_linux_benchmark_futex_strategies",
                               "pthread_create failed", code, 0, 0);
    }
    const wrt_status first = by_condition ? play_by_condition(played, 0) : play(played, 0);
    (void)pthread_join(second, NULL);
    if (status == WRT_OK) status = wrt__port_now(&end);
    if (status == WRT_OK) status = first;
    row->operations = played->turns;
    row->nanoseconds = end - start;
    return status == WRT_OK ? played->status : status;
}

static wrt_status hand_over(uint32_t operations, const wrt_linux_futex_config *config,
                            wrt_linux_futex_strategy *row)
{
    wrt_linux_futex_usage usage = {0};
    game played = {.turns = operations / HAND_OVER_PART + 1};

    wrt_status status = wrt_linux_futex_init(&played.futex, config);
    if (status != WRT_OK) return status;
    status = run_game(&played, false, row);
    if (status == WRT_OK) status = wrt_linux_futex_query(&played.futex, &usage);
    row->wait_calls = usage.wait_calls;
    const wrt_status ended = wrt_linux_futex_deinit(&played.futex);
    return status == WRT_OK ? ended : status;
}

static wrt_status word_private(uint32_t operations, wrt_linux_futex_strategy *row)
{
    const wrt_linux_futex_config config = {.struct_size = sizeof config};

    return hand_over(operations, &config, row);
}

static wrt_status word_shared(uint32_t operations, wrt_linux_futex_strategy *row)
{
    const wrt_linux_futex_config config = {.struct_size = sizeof config, .shared = true};

    return hand_over(operations, &config, row);
}

static wrt_status word_spin(uint32_t operations, wrt_linux_futex_strategy *row)
{
    const wrt_linux_futex_config config = {.struct_size = sizeof config, .spin = SPIN};

    return hand_over(operations, &config, row);
}

static wrt_status word_backoff(uint32_t operations, wrt_linux_futex_strategy *row)
{
    const wrt_linux_futex_config config = {
        .struct_size = sizeof config, .spin = SPIN, .backoff_ns = BACKOFF_NS};

    return hand_over(operations, &config, row);
}

static wrt_status condition(uint32_t operations, wrt_linux_futex_strategy *row)
{
    game played = {.turns = operations / HAND_OVER_PART + 1};

    (void)pthread_mutex_init(&played.mutex, NULL);
    (void)pthread_cond_init(&played.condition, NULL);
    const wrt_status status = run_game(&played, true, row);
    (void)pthread_cond_destroy(&played.condition);
    (void)pthread_mutex_destroy(&played.mutex);
    row->wait_calls = UINT64_MAX;
    return status;
}

/* ---- All of them ---- */

typedef struct contestant {
    const char *name;
    wrt_status (*run)(uint32_t operations, wrt_linux_futex_strategy *row);
} contestant;

static const contestant contestants[WRT_LINUX_STRATEGY_COUNT] = {
    {"mutex", mutex_plain},
    {"mutex with inheritance", mutex_inheriting},
    {"robust lock", lock_robust},
    {"pthread mutex", pthread_plain},
    {"pthread mutex with inheritance", pthread_inheriting},
    {"hand-over, wait at once", word_private},
    {"hand-over, shared word", word_shared},
    {"hand-over, spin then wait", word_spin},
    {"hand-over, spin with backoff", word_backoff},
    {"hand-over, pthread condition", condition},
};

wrt_status wrt_linux_benchmark_futex_strategies(uint32_t operations,
                                                wrt_linux_futex_strategy *rows_out,
                                                uint32_t capacity, uint32_t *count_out)
{
    if (rows_out == NULL || count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "rows_out or count_out is NULL");
    }
    if (operations == 0 || operations > OPERATIONS_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "operations is {0}, not 1 to {1}", operations, OPERATIONS_MAX);
    }
    *count_out = 0;
    for (uint32_t i = 0; i < WRT_LINUX_STRATEGY_COUNT && i < capacity; i++) {
        rows_out[i] = (wrt_linux_futex_strategy){.name = contestants[i].name};
        const wrt_status status = contestants[i].run(operations, &rows_out[i]);
        if (status != WRT_OK) return status;
        *count_out = i + 1;
    }
    return WRT_OK;
}
