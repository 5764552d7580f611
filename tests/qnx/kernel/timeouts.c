/* TimerTimeout: what it is meant for, how long it lasts; clocks and sleep. */
#include "concurrent.h"

#include <errno.h>
#include <signal.h>
#include <sys/neutrino.h>

static int channel;
static sync_t semaphore;

static int receive(void)
{
    struct _pulse pulse;

    return MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL);
}

static void open_channel(void)
{
    channel = ChannelCreate_r(0);
    CHECK(channel > 0);
}

static void close_channel(void)
{
    CHECK_IS(ChannelDestroy_r(channel), EOK);
}

static void wait_ends_when_time_is_up(void)
{
    open_channel();
    limit_next(_NTO_TIMEOUT_RECEIVE, 7);
    CHECK_IS(receive(), -ETIMEDOUT);
    CHECK_IS(now(), 7);
    close_channel();
}

static void no_time_means_at_once(void)
{
    open_channel();
    limit_next(_NTO_TIMEOUT_RECEIVE, 0);
    CHECK_IS(receive(), -ETIMEDOUT);
    CHECK_IS(now(), 0);
    close_channel();
}

/* It counts from the moment at which it is armed, and can be a point in time. */
static void time_counts_from_arming(void)
{
    uint64_t until = 20 * TICK;

    open_channel();
    limit_next(_NTO_TIMEOUT_RECEIVE, 7);
    work(5);
    CHECK_IS(receive(), -ETIMEDOUT);
    CHECK_IS(now(), 7);
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_RECEIVE | (int)TIMER_ABSTIME, NULL,
                            &until, NULL),
             EOK);
    CHECK_IS(receive(), -ETIMEDOUT);
    CHECK_IS(now(), 20);
    close_channel();
}

static void *send_at_nine(void *connection)
{
    uint64_t time = 9 * TICK;

    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    CHECK_IS(MsgSendPulse_r(*(int *)connection, 20, 1, 0), EOK);
    return NULL;
}

/* One call later it is gone, whether or not that call had to wait. */
static void only_the_next_call_is_limited(void)
{
    uint64_t time;
    int connection;
    pthread_t sender;

    open_channel();
    connection = ConnectAttach_r(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    sender = start(20, send_at_nine, &connection);
    limit_next(_NTO_TIMEOUT_RECEIVE, 2);
    CHECK_IS(ClockTime_r(CLOCK_MONOTONIC, NULL, &time), EOK);
    CHECK_IS(receive(), EOK);
    CHECK_IS(now(), 9);
    finish(sender);
    CHECK_IS(ConnectDetach_r(connection), EOK);
    close_channel();
}

static void *post_at_nine(void *unused)
{
    uint64_t time = 9 * TICK;

    (void)unused;
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    CHECK_IS(SyncSemPost_r(&semaphore), EOK);
    return NULL;
}

static void only_its_states_are_limited(void)
{
    pthread_t poster;

    CHECK_IS(SyncTypeCreate_r(_NTO_SYNC_SEM, &semaphore, NULL), EOK);
    poster = start(20, post_at_nine, NULL);
    limit_next(_NTO_TIMEOUT_RECEIVE | _NTO_TIMEOUT_MUTEX | _NTO_TIMEOUT_JOIN, 2);
    CHECK_IS(SyncSemWait_r(&semaphore, 0), EOK);
    CHECK_IS(now(), 9);
    limit_next(_NTO_TIMEOUT_RECEIVE | _NTO_TIMEOUT_SEM, 2);
    CHECK_IS(SyncSemWait_r(&semaphore, 0), -ETIMEDOUT);
    CHECK_IS(now(), 11);
    finish(poster);
    CHECK_IS(SyncDestroy_r(&semaphore), EOK);
}

static void bad_time_outs_are_refused(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_UNBLOCK};
    uint64_t time = TICK;

    open_channel();
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_RECEIVE, &event, &time, NULL), EOK);
    CHECK_IS(receive(), -ETIMEDOUT);
    CHECK_IS(TimerTimeout_r(77, _NTO_TIMEOUT_RECEIVE, NULL, &time, NULL), -EINVAL);
    CHECK_IS(TimerTimeout(77, _NTO_TIMEOUT_RECEIVE, NULL, &time, NULL), -1);
    CHECK_IS(errno, EINVAL);
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_RECEIVE, NULL, (void *)8, NULL), -EFAULT);
    close_channel();
}

static void clocks_agree(void)
{
    struct timespec day, monotonic, pause = {2, 500 * TICK};
    uint64_t time = 0, before, later = 86400ull * 1000 * TICK;

    CHECK_IS(ClockTime_r(CLOCK_REALTIME, NULL, &before), EOK);
    CHECK_IS(nanosleep(&pause, NULL), 0);
    CHECK_IS(now(), 2500);
    CHECK_IS(clock_gettime(CLOCK_MONOTONIC, &monotonic), 0);
    CHECK_IS(monotonic.tv_sec, 2);
    CHECK_IS(monotonic.tv_nsec, 500 * TICK);
    CHECK_IS(ClockTime_r(CLOCK_REALTIME, NULL, &time), EOK);
    CHECK_IS(time - before, 2500ull * TICK);
    CHECK_IS(ClockTime_r(CLOCK_REALTIME, &later, NULL), EOK); /* sets the time of day */
    CHECK_IS(clock_gettime(CLOCK_REALTIME, &day), 0);
    CHECK_IS(day.tv_sec, 86400);
    CHECK_IS(now(), 2500); /* and no other */
    CHECK_IS(ClockTime_r(CLOCK_MONOTONIC, &later, NULL), -EINVAL);
    CHECK_IS(ClockTime_r(77, NULL, &time), -EINVAL);
    pause.tv_nsec = -1;
    CHECK_IS(nanosleep(&pause, NULL), -1);
    CHECK_IS(errno, EINVAL);
    pause = (struct timespec){86405, 0};
    CHECK_IS(clock_nanosleep(CLOCK_REALTIME, (int)TIMER_ABSTIME, &pause, NULL), EOK);
    CHECK_IS(now(), 7500);
}

static void *sleep_then_note(void *ticks)
{
    uint64_t time = (uint64_t) * (int *)ticks * TICK;

    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    note(now());
    return NULL;
}

/* When everybody waits, the earliest deadline is next; a year costs nothing. */
static void sleepers_wake_in_the_order_of_time(void)
{
    static int ticks[4] = {40, 10, 31536000, 20};
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) threads[i] = start(20, sleep_then_note, &ticks[i]);
    for (int i = 0; i < 4; i++) finish(threads[i]);
    CHECK_NOTES(10, 20, 40, 31536000);
}

const struct kernel_test kernel_tests[] = {
    {"wait_ends_when_time_is_up", wait_ends_when_time_is_up},
    {"no_time_means_at_once", no_time_means_at_once},
    {"time_counts_from_arming", time_counts_from_arming},
    {"only_the_next_call_is_limited", only_the_next_call_is_limited},
    {"only_its_states_are_limited", only_its_states_are_limited},
    {"bad_time_outs_are_refused", bad_time_outs_are_refused},
    {"clocks_agree", clocks_agree},
    {"sleepers_wake_in_the_order_of_time", sleepers_wake_in_the_order_of_time},
    {0},
};
