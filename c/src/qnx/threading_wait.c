/* The clock, waits on a word, and the locks of the library's portable parts. A waiter lies on its
 * own stack, in the list of its word's bucket, and is taken out by whoever wakes it or by itself,
 * both under the bucket's mutex. */
#include "threading.h"

#include "../core/atomic.h"
#include "../core/fail.h"
#include "error.h"
#include "mutex.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(wrt_system_lock), "a mutex fits its storage");
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((wrt_qnx_bucket *)0)->mutex),
               "a mutex fits its storage");

/* ---- Time ---- */

wrt_status wrt__qnx_now(const char *operation, uint64_t *nanoseconds_out)
{
    const int code = -ClockTime_r(CLOCK_MONOTONIC, NULL, nanoseconds_out);

    if (code == EOK) return WRT_OK;
    *nanoseconds_out = 0;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "ClockTime failed", code, 0, 0);
}

int wrt__qnx_arm(int states, uint64_t timeout_ns)
{
    if (timeout_ns == UINT64_MAX) return EOK;
    return -TimerTimeout_r(CLOCK_MONOTONIC, states, NULL, timeout_ns == 0 ? NULL : &timeout_ns,
                           NULL);
}

wrt_status wrt__qnx_thread_now(void *self, uint64_t *nanoseconds_out)
{
    static const char operation[] = "wrt_qnx_thread_now";

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (nanoseconds_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "nanoseconds_out is NULL");
    }
    return wrt__qnx_now(operation, nanoseconds_out);
}

/* ---- Buckets ---- */

typedef struct waiter {
    struct waiter *next;
    const uint32_t *word;
    sync_t condition;
    int priority;
    bool is_woken; /* and out of the list */
} waiter;

static pthread_mutex_t *mutex_of(wrt_qnx_bucket *bucket)
{
    return (pthread_mutex_t *)(void *)&bucket->mutex;
}

static wrt_qnx_bucket *bucket_of(wrt_qnx_thread_system *system, const uint32_t *word)
{
    const uintptr_t address = (uintptr_t)word >> 2;

    return &system->buckets[(address ^ address >> 3 ^ address >> 7) % WRT_QNX_BUCKET_COUNT];
}

wrt_status wrt__qnx_buckets_init(const char *operation, wrt_qnx_thread_system *system)
{
    const wrt__qnx_mutex_kind kind = {.protocol = PTHREAD_PRIO_INHERIT};

    for (; system->bucket_count < WRT_QNX_BUCKET_COUNT; system->bucket_count++) {
        wrt_qnx_bucket *bucket = &system->buckets[system->bucket_count];
        const wrt_status status = wrt__qnx_mutex_init(operation, mutex_of(bucket), &kind);
        if (status != WRT_OK) {
            while (system->bucket_count > 0) {
                system->bucket_count--;
                (void)pthread_mutex_destroy(mutex_of(&system->buckets[system->bucket_count]));
            }
            return status;
        }
    }
    return WRT_OK;
}

wrt_status wrt__qnx_buckets_deinit(const char *operation, wrt_qnx_thread_system *system)
{
    for (uint32_t i = 0; i < system->bucket_count; i++) {
        if (system->buckets[i].first != NULL) {
            return wrt_fail(WRT_ERR_STATE, operation, "a thread waits on a word");
        }
    }
    while (system->bucket_count > 0) {
        wrt_qnx_bucket *bucket = &system->buckets[system->bucket_count - 1];
        const int code = pthread_mutex_destroy(mutex_of(bucket));
        if (code != EOK) return wrt__qnx_mutex_fail(operation, code);
        system->bucket_count--;
    }
    return WRT_OK;
}

/* ---- Waits ---- */

static void put_in(wrt_qnx_bucket *bucket, waiter *one)
{
    waiter **end = (waiter **)&bucket->first;

    while (*end != NULL) end = &(*end)->next;
    *end = one;
}

static void take_out(wrt_qnx_bucket *bucket, const waiter *one)
{
    waiter **link = (waiter **)&bucket->first;

    while (*link != one) link = &(*link)->next;
    *link = one->next;
}

/* The most urgent waiter of the word, of equals the one that came first. */
static waiter *first_of(const wrt_qnx_bucket *bucket, const uint32_t *word)
{
    waiter *first = NULL;

    for (waiter *one = bucket->first; one != NULL; one = one->next) {
        if (one->word == word && (first == NULL || one->priority > first->priority)) first = one;
    }
    return first;
}

static int own_priority(void)
{
    struct sched_param param = {0};

    return SchedGet_r(0, 0, &param) < 0 ? 0 : param.sched_curpriority;
}

/* Under the bucket's mutex; an error number of QNX. */
static int wait_in(wrt_qnx_bucket *bucket, waiter *one, uint64_t timeout_ns)
{
    put_in(bucket, one);
    int code = wrt__qnx_arm(_NTO_TIMEOUT_CONDVAR, timeout_ns);
    if (code == EOK) code = -SyncCondvarWait_r(&one->condition, mutex_of(bucket));
    if (one->is_woken) return EOK;
    take_out(bucket, one);
    return code;
}

static int wait_on(wrt_qnx_bucket *bucket, const uint32_t *word, uint32_t expected,
                   uint64_t timeout_ns)
{
    waiter one = {.word = word, .priority = own_priority()};

    int code = -SyncTypeCreate_r(_NTO_SYNC_COND, &one.condition, NULL);
    if (code != EOK) return code;
    code = pthread_mutex_lock(mutex_of(bucket));
    if (code == EOK) {
        if (wrt__load_ordered(word) == expected) code = wait_in(bucket, &one, timeout_ns);
        (void)pthread_mutex_unlock(mutex_of(bucket));
    }
    (void)SyncDestroy_r(&one.condition);
    return code;
}

wrt_status wrt__qnx_thread_wait(void *self, const uint32_t *word, uint32_t expected,
                                uint64_t timeout_ns)
{
    static const char operation[] = "wrt_qnx_thread_wait";

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (word == NULL || (uintptr_t)word % sizeof *word != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "word is NULL or not aligned");
    }
    if (wrt__load_ordered(word) != expected) return WRT_OK;
    const int code =
        timeout_ns == 0 ? ETIMEDOUT : wait_on(bucket_of(self, word), word, expected, timeout_ns);
    if (code == EOK || code == EINTR) return WRT_OK;
    if (code == ETIMEDOUT) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "the word stayed {0}, and nobody woke it in {1} nanoseconds",
                               expected, timeout_ns);
    }
    return wrt_fail_system(wrt__qnx_status(code), operation, "waiting on a word failed", code, 0,
                           0);
}

void wrt__qnx_thread_wake(void *self, const uint32_t *word, uint32_t count)
{
    wrt_qnx_thread_system *system = self;

    if (system->process != getpid()) return;
    wrt_qnx_bucket *bucket = bucket_of(system, word);
    if (pthread_mutex_lock(mutex_of(bucket)) != EOK) return;
    waiter *one = first_of(bucket, word);
    for (; one != NULL && count > 0; count--) {
        take_out(bucket, one);
        one->is_woken = true;
        (void)SyncCondvarSignal_r(&one->condition, 0);
        one = first_of(bucket, word);
    }
    (void)pthread_mutex_unlock(mutex_of(bucket));
}

/* ---- Locks ---- */

wrt_status wrt__qnx_system_lock_init(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_qnx_system_lock_init";
    const wrt__qnx_mutex_kind kind = {.protocol = PTHREAD_PRIO_INHERIT};

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    if (lock == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lock is NULL");
    return wrt__qnx_mutex_init(operation, (pthread_mutex_t *)(void *)lock, &kind);
}

wrt_status wrt__qnx_system_lock(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_qnx_system_lock";

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = pthread_mutex_lock((pthread_mutex_t *)(void *)lock);
    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}

wrt_status wrt__qnx_system_unlock(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_qnx_system_unlock";

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = pthread_mutex_unlock((pthread_mutex_t *)(void *)lock);
    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}

wrt_status wrt__qnx_system_lock_deinit(void *self, wrt_system_lock *lock)
{
    static const char operation[] = "wrt_qnx_system_lock_deinit";

    const wrt_status status = wrt__qnx_threads_check(operation, self);
    if (status != WRT_OK) return status;
    const int code = pthread_mutex_destroy((pthread_mutex_t *)(void *)lock);
    return code == EOK ? WRT_OK : wrt__qnx_mutex_fail(operation, code);
}
