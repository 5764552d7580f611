/* Waiters of random priorities, beside a model: a list that is sorted by priority and, among
 * equals, by arrival. The same for everything that threads can wait for. */
#include "concurrent.h"

#include <errno.h>
#include <sys/neutrino.h>

enum { MOST = 8, ROUNDS = 25 };

enum kind { SEMAPHORE, CONDITION, MUTEX, CHANNEL };

static enum kind kind;
static sync_t semaphore;
static pthread_cond_t condition;
static pthread_mutex_t mutex;
static int channel;
static int order[MOST];
static int woken;

static void wait_for_it(void)
{
    struct _pulse pulse;

    if (kind == SEMAPHORE) CHECK_IS(SyncSemWait_r(&semaphore, 0), EOK);
    if (kind == CHANNEL) CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    if (kind == SEMAPHORE || kind == CHANNEL) return;
    CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    if (kind == CONDITION) CHECK_IS(pthread_cond_wait(&condition, &mutex), EOK);
}

static void *wait_and_tell(void *number)
{
    wait_for_it();
    order[woken++] = *(int *)number;
    if (kind == CONDITION || kind == MUTEX) CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
    return NULL;
}

static unsigned int dice(unsigned int *state, unsigned int sides)
{
    *state = *state * 1103515245u + 12345u;
    return (*state >> 16) % sides;
}

/* The model: which of the waiters is due. */
static int due(const int *priorities, const bool *gone, int count)
{
    int best = -1;

    for (int i = 0; i < count; i++) {
        if (!gone[i] && (best < 0 || priorities[i] > priorities[best])) best = i;
    }
    return best;
}

static void wake_all(int connection, int count)
{
    for (int i = 0; i < count; i++) {
        if (kind == SEMAPHORE) CHECK_IS(SyncSemPost_r(&semaphore), EOK);
        if (kind == CONDITION) CHECK_IS(pthread_cond_signal(&condition), EOK);
        if (kind == CHANNEL) CHECK_IS(MsgSendPulse_r(connection, 5, 1, i), EOK);
    }
    if (kind == MUTEX) CHECK_IS(pthread_mutex_unlock(&mutex), EOK);
}

static void play(int connection, unsigned int *state)
{
    static int numbers[MOST] = {0, 1, 2, 3, 4, 5, 6, 7};
    pthread_t threads[MOST];
    int priorities[MOST];
    bool gone[MOST] = {false};
    int count = 1 + (int)dice(state, MOST);

    woken = 0;
    if (kind == MUTEX) CHECK_IS(pthread_mutex_lock(&mutex), EOK);
    for (int i = 0; i < count; i++) {
        priorities[i] = 20 + (int)dice(state, 4);
        threads[i] = start(priorities[i], wait_and_tell, &numbers[i]);
    }
    wake_all(connection, count);
    for (int i = 0; i < count; i++) finish(threads[i]);
    CHECK_IS(woken, count);
    for (int i = 0; i < count; i++) {
        int expected = due(priorities, gone, count);
        CHECK_IS(order[i], expected);
        gone[expected] = true;
    }
}

static void play_all(enum kind of)
{
    pthread_mutexattr_t attributes;
    unsigned int state = 4711;
    int connection;

    kind = of;
    CHECK_IS(pthread_mutexattr_init(&attributes), EOK);
    CHECK_IS(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_NONE), EOK);
    CHECK_IS(pthread_mutex_init(&mutex, &attributes), EOK);
    CHECK_IS(pthread_cond_init(&condition, NULL), EOK);
    CHECK_IS(SyncTypeCreate_r(_NTO_SYNC_SEM, &semaphore, NULL), EOK);
    channel = ChannelCreate_r(_NTO_CHF_FIXED_PRIORITY);
    connection = ConnectAttach_r(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    for (int round = 0; round < ROUNDS; round++) play(connection, &state);
    CHECK_IS(ConnectDetach_r(connection), EOK);
    CHECK_IS(ChannelDestroy_r(channel), EOK);
    CHECK_IS(SyncDestroy_r(&semaphore), EOK);
    CHECK_IS(pthread_cond_destroy(&condition), EOK);
    CHECK_IS(pthread_mutex_destroy(&mutex), EOK);
}

static void semaphores_wake_as_the_model_says(void)
{
    play_all(SEMAPHORE);
}

static void conditions_wake_as_the_model_says(void)
{
    play_all(CONDITION);
}

static void mutexes_pass_as_the_model_says(void)
{
    play_all(MUTEX);
}

static void channels_serve_as_the_model_says(void)
{
    play_all(CHANNEL);
}

const struct kernel_test kernel_tests[] = {
    {"semaphores_wake_as_the_model_says", semaphores_wake_as_the_model_says},
    {"conditions_wake_as_the_model_says", conditions_wake_as_the_model_says},
    {"mutexes_pass_as_the_model_says", mutexes_pass_as_the_model_says},
    {"channels_serve_as_the_model_says", channels_serve_as_the_model_says},
    {0},
};
