/* QNX's futexes. A waiter counts itself before it looks at the word, a waker changes the word
 * before it looks at the count, all in one order: so nobody who is not waited for makes a call.
 * Between the two that do meet, the mutex decides: the waiter looks at the word and takes a place
 * under it, the waker chooses one and sends the pulse under it. */
#include "sync_futex.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "error.h"
#include "threading.h"

wrt_status wrt__qnx_futex_check(const char *operation, const wrt_qnx_futex *futex)
{
    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "futex is NULL");
    if (futex->self == NULL) {
        return wrt_fail(WRT_ERR_STATE, operation, "the futex is not initialised");
    }
    if (futex->self != futex) return wrt_fail(WRT_ERR_STATE, operation, "the futex was moved");
    if (futex->process == getpid()) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation,
                    "the futex belongs to the process that forked this one; make a new one");
}

static wrt_status check_word(const char *operation, const wrt_qnx_futex *futex)
{
    const wrt_status status = wrt__qnx_futex_check(operation, futex);
    if (status != WRT_OK) return status;
    if (futex->priority_inheritance != 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation,
                        "this futex was made with priority inheritance: it is a lock, since nobody "
                        "owns a word that one could inherit from");
    }
    if (wrt__load_ordered(&futex->closing) == 0) return WRT_OK;
    return wrt_fail(WRT_ERR_STATE, operation, "the futex is being deinitialised");
}

/* ---- Places ---- */

static wrt_qnx_futex_place *free_place(wrt_qnx_futex *futex)
{
    for (uint32_t i = 0; i < futex->place_count; i++) {
        if (futex->places[i].state == WRT__PLACE_FREE) return &futex->places[i];
    }
    return NULL;
}

/* Of two waiters: whether the first goes first. */
static bool goes_first(const wrt_qnx_futex_place *one, const wrt_qnx_futex_place *other)
{
    if (one->priority != other->priority) return one->priority > other->priority;
    return (int32_t)(one->arrival - other->arrival) < 0;
}

static wrt_qnx_futex_place *first_waiter(wrt_qnx_futex *futex)
{
    wrt_qnx_futex_place *first = NULL;

    for (uint32_t i = 0; i < futex->place_count; i++) {
        wrt_qnx_futex_place *place = &futex->places[i];
        if (place->state != WRT__PLACE_WAITS) continue;
        if (first == NULL || goes_first(place, first)) first = place;
    }
    return first;
}

/* ---- Wait ---- */

/* The caller's policy and priority, to be put back after a pulse. */
typedef struct schedule {
    int policy;
    struct sched_param param;
} schedule;

static int read_schedule(schedule *schedule_out)
{
    const int policy = SchedGet_r(0, 0, &schedule_out->param);
    if (policy < 0) return -policy;
    schedule_out->policy = policy;
    return EOK;
}

/* A pulse gave the thread its priority; an error number of QNX. */
static int put_back(const wrt_qnx_futex *futex, const schedule *own)
{
    return futex->pulse_priority == 0 ? EOK : -SchedSet_r(0, 0, own->policy, &own->param);
}

/* Receives the pulse that has been sent already. */
static void take_late_pulse(const wrt_qnx_futex_place *place)
{
    struct _pulse pulse;

    if (wrt__qnx_arm(_NTO_TIMEOUT_RECEIVE, 0) == EOK) {
        (void)MsgReceivePulse_r(place->channel, &pulse, sizeof pulse, NULL);
    }
}

/* Waits for the place's pulse; the mutex is free meanwhile. */
static int receive(wrt_qnx_futex *futex, wrt_qnx_futex_place *place, uint64_t timeout_ns)
{
    struct _pulse pulse;

    (void)pthread_mutex_unlock(wrt__qnx_futex_mutex(futex));
    (void)wrt__add(&futex->wait_calls, 1);
    int code = wrt__qnx_arm(_NTO_TIMEOUT_RECEIVE, timeout_ns);
    if (code == EOK) code = -MsgReceivePulse_r(place->channel, &pulse, sizeof pulse, NULL);
    (void)pthread_mutex_lock(wrt__qnx_futex_mutex(futex));
    if (place->state != WRT__PLACE_WOKEN) return code;
    if (code != EOK) take_late_pulse(place);
    return EOK;
}

/* Under the mutex; an error number of QNX. */
static int wait_at(wrt_qnx_futex *futex, wrt_qnx_futex_place *place, uint64_t timeout_ns)
{
    schedule own = {0};

    int code = read_schedule(&own);
    if (code != EOK) return code;
    place->priority = own.param.sched_curpriority;
    place->arrival = futex->arrivals++;
    place->state = WRT__PLACE_WAITS;
    code = receive(futex, place, timeout_ns);
    const int put_back_code = put_back(futex, &own);
    place->state = WRT__PLACE_FREE;
    return code != EOK ? code : put_back_code;
}

static wrt_status wait_locked(const char *operation, wrt_qnx_futex *futex, uint32_t expected,
                              uint64_t timeout_ns)
{
    if (wrt__load_ordered(&futex->closing) != 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "the futex is being deinitialised");
    }
    if (wrt__load_ordered(&futex->word) != expected) return WRT_OK;
    wrt_qnx_futex_place *place = free_place(futex);
    if (place == NULL) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                               "{0} threads wait already, as many as maximum_waiters says",
                               futex->place_count, 0);
    }
    const int code = wait_at(futex, place, timeout_ns);
    if (wrt__load_ordered(&futex->closing) != 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "the futex was deinitialised meanwhile");
    }
    if (code == EOK || code == EINTR) return WRT_OK;
    if (code == ETIMEDOUT) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation,
                               "the word stayed {0}, and nobody woke it in {1} nanoseconds",
                               expected, timeout_ns);
    }
    return wrt_fail_system(wrt__qnx_status(code), operation, "waiting for a pulse failed", code, 0,
                           0);
}

static wrt_status lock_places(const char *operation, wrt_qnx_futex *futex)
{
    const int code = pthread_mutex_lock(wrt__qnx_futex_mutex(futex));

    if (code == EOK) return WRT_OK;
    return wrt_fail_system(WRT_ERR_SYSTEM, operation, "pthread_mutex_lock failed", code, 0, 0);
}

/* The last to leave tells deinit; the futex may be gone when this returns. */
static void leave(wrt_qnx_futex *futex)
{
    const bool is_last = wrt__subtract(&futex->waiting, 1) == 1;

    if (is_last && wrt__load_ordered(&futex->closing) != 0) {
        (void)pthread_cond_signal(wrt__qnx_futex_left(futex));
    }
    (void)pthread_mutex_unlock(wrt__qnx_futex_mutex(futex));
}

static wrt_status futex_wait(void *self, uint32_t expected, uint64_t timeout_ns)
{
    static const char operation[] = "wrt_qnx_futex_wait";
    wrt_qnx_futex *futex = self;

    wrt_status status = check_word(operation, futex);
    if (status != WRT_OK || wrt__load_ordered(&futex->word) != expected) return status;
    if (timeout_ns == 0) {
        return wrt_fail_detail(WRT_ERR_TIMED_OUT, operation, "the word is {0}", expected, 0);
    }
    (void)wrt__add(&futex->waiting, 1);
    status = lock_places(operation, futex);
    if (status != WRT_OK) {
        (void)wrt__subtract(&futex->waiting, 1);
        return status;
    }
    status = wait_locked(operation, futex, expected, timeout_ns);
    leave(futex);
    return status;
}

/* ---- Wake ---- */

int wrt__qnx_futex_kick(wrt_qnx_futex *futex)
{
    wrt_qnx_futex_place *place = first_waiter(futex);
    if (place == NULL) return WRT__NOBODY_WAITS;

    const int priority =
        futex->pulse_priority == 0 ? SIGEV_PULSE_PRIO_INHERIT : (int)futex->pulse_priority;
    (void)wrt__add(&futex->wake_calls, 1);
    place->state = WRT__PLACE_WOKEN;
    const int code = -MsgSendPulse_r(place->connection, priority, _PULSE_CODE_MINAVAIL, 0);
    if (code != EOK) place->state = WRT__PLACE_WAITS; /* it has not been woken */
    return code;
}

static wrt_status futex_wake(void *self, uint32_t count, uint32_t *woken_out)
{
    static const char operation[] = "wrt_qnx_futex_wake";
    wrt_qnx_futex *futex = self;
    int code = EOK;

    wrt_status status = check_word(operation, futex);
    if (status != WRT_OK || wrt__load_ordered(&futex->waiting) == 0) return status;
    status = lock_places(operation, futex);
    if (status != WRT_OK) return status;
    while (*woken_out < count && code == EOK) {
        code = wrt__qnx_futex_kick(futex);
        if (code == EOK) (*woken_out)++;
    }
    (void)pthread_mutex_unlock(wrt__qnx_futex_mutex(futex));
    if (code == EOK || code == WRT__NOBODY_WAITS) return WRT_OK;
    return wrt_fail_system(wrt__qnx_status(code), operation, "MsgSendPulse failed", code, 0, 0);
}

/* ---- The rest of the interface ---- */

static uint32_t *futex_word(void *self)
{
    wrt_qnx_futex *futex = self;

    return check_word("wrt_qnx_futex_word", futex) == WRT_OK ? &futex->word : NULL;
}

static wrt_status futex_now(void *self, uint64_t *nanoseconds_out)
{
    (void)self;
    return wrt__qnx_now("wrt_qnx_futex_now", nanoseconds_out);
}

wrt_futex wrt_qnx_futex_interface(wrt_qnx_futex *futex)
{
    static const wrt_futex_ops ops = {futex_wait, futex_wake, futex_word, futex_now};

    return (wrt_futex){&ops, futex};
}

wrt_lock wrt_qnx_futex_lock_interface(wrt_qnx_futex *futex)
{
    return wrt_qnx_lock_interface(futex == NULL ? NULL : &futex->lock);
}

wrt_status wrt_qnx_futex_query(const wrt_qnx_futex *futex, wrt_qnx_futex_usage *usage_out)
{
    const wrt_status status = wrt__qnx_futex_check(__func__, futex);
    if (status != WRT_OK) return status;
    if (usage_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    *usage_out = (wrt_qnx_futex_usage){.waiting = wrt__load(&futex->waiting),
                                       .wait_calls = wrt__load(&futex->wait_calls),
                                       .wake_calls = wrt__load(&futex->wake_calls)};
    return WRT_OK;
}
