/* Pulses: order, priority, compression, flags, limits, errors. */
#include "concurrent.h"

#include <errno.h>
#include <sys/neutrino.h>

static int channel, connection;

static void open_channel(unsigned int flags)
{
    channel = ChannelCreate(flags);
    CHECK(channel > 0);
    connection = ConnectAttach(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    CHECK(connection >= (int)_NTO_SIDE_CHANNEL);
}

static void close_channel(void)
{
    CHECK_IS(ConnectDetach(connection), 0);
    CHECK_IS(ChannelDestroy(channel), 0);
}

static void send(int priority, int code)
{
    CHECK_IS(MsgSendPulse(connection, priority, code, code * 100), 0);
}

/* The code of the next pulse, -1 if there is none. */
static int next(void)
{
    struct _pulse pulse;

    limit_next(_NTO_TIMEOUT_RECEIVE, 0);
    if (MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL) != EOK) return -1;
    return pulse.code;
}

static void higher_pulse_comes_first(void)
{
    open_channel(_NTO_CHF_FIXED_PRIORITY);
    send(10, 1);
    send(30, 2);
    send(20, 3);
    CHECK_IS(next(), 2);
    CHECK_IS(next(), 3);
    CHECK_IS(next(), 1);
    CHECK_IS(next(), -1);
    close_channel();
}

static void equal_priority_keeps_the_order(void)
{
    open_channel(_NTO_CHF_FIXED_PRIORITY);
    for (int code = 1; code <= 5; code++) send(20, code);
    for (int code = 1; code <= 5; code++) CHECK_IS(next(), code);
    close_channel();
}

static void pulse_carries_code_value_and_connection(void)
{
    struct _pulse pulse = {.type = 77, .subtype = 77};
    int other;

    open_channel(_NTO_CHF_FIXED_PRIORITY);
    CHECK_IS(MsgSendPulse_r(connection, 20, _PULSE_CODE_MAXAVAIL, -5), EOK);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    CHECK_IS(pulse.type, _PULSE_TYPE);
    CHECK_IS(pulse.subtype, _PULSE_SUBTYPE);
    CHECK_IS(pulse.code, _PULSE_CODE_MAXAVAIL);
    CHECK_IS(pulse.value.sival_int, -5);
    CHECK_IS(MsgSendPulsePtr_r(connection, 20, 1, &other), EOK);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    CHECK(pulse.value.sival_ptr == &other);
    close_channel();
}

/* Pulses that are the same and neighbours in the queue share an entry of the pool. */
static void equal_neighbours_share_an_entry(void)
{
    struct nto_channel_config config = {.num_pulses = 2};

    channel = ChannelCreatePulsePool(_NTO_CHF_FIXED_PRIORITY | _NTO_CHF_PULSE_POOL, &config);
    CHECK(channel > 0);
    connection = ConnectAttach(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    for (int i = 0; i < 50; i++) CHECK_IS(MsgSendPulse_r(connection, 20, 1, 100), EOK);
    CHECK_IS(MsgSendPulse_r(connection, 20, 2, 200), EOK);
    CHECK_IS(MsgSendPulse_r(connection, 20, 3, 300), -EAGAIN);
    for (int i = 0; i < 50; i++) CHECK_IS(next(), 1);
    CHECK_IS(next(), 2);
    CHECK_IS(next(), -1);
    close_channel();
}

static void pool_has_an_end_and_is_used_again(void)
{
    struct nto_channel_config config = {.num_pulses = 3};

    channel = ChannelCreatePulsePool(_NTO_CHF_FIXED_PRIORITY | _NTO_CHF_PULSE_POOL, &config);
    connection = ConnectAttach(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    for (int round = 0; round < 3; round++) {
        for (int code = 1; code <= 3; code++) send(20, code);
        CHECK_IS(MsgSendPulse_r(connection, 20, 4, 400), -EAGAIN);
        for (int code = 1; code <= 3; code++) CHECK_IS(next(), code);
    }
    config.num_pulses = 0;
    CHECK_IS(ChannelCreatePulsePool(_NTO_CHF_PULSE_POOL, &config), -1);
    CHECK_IS(errno, EINVAL);
    close_channel();
}

static void replacing_pulse_has_the_last_value(void)
{
    struct _pulse pulse;

    open_channel(_NTO_CHF_FIXED_PRIORITY);
    for (int value = 1; value <= 3; value++) {
        CHECK_IS(MsgSendPulse_r(connection, 20 | _NTO_PULSE_REPLACE, 7, value), EOK);
    }
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    CHECK_IS(pulse.value.sival_int, 3);
    CHECK_IS(next(), -1);
    close_channel();
}

static void unique_pulse_is_queued_once(void)
{
    open_channel(_NTO_CHF_FIXED_PRIORITY);
    for (int i = 0; i < 3; i++) {
        CHECK_IS(MsgSendPulse_r(connection, 20 | _NTO_PULSE_IF_UNIQUE, 7, 700), EOK);
    }
    CHECK_IS(next(), 7);
    CHECK_IS(next(), -1);
    close_channel();
}

static void receiver_takes_over_the_priority(void)
{
    open_channel(0);
    send(30, 1);
    CHECK_IS(next(), 1);
    CHECK_IS(current_priority(), 30);
    send(5, 2); /* falls as well as rises */
    CHECK_IS(next(), 2);
    CHECK_IS(current_priority(), 5);
    close_channel();
}

static void *receive_one(void *unused)
{
    struct _pulse pulse;

    (void)unused;
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    note(current_priority());
    return NULL;
}

static void waiting_receiver_takes_over_the_priority(void)
{
    pthread_t thread;

    open_channel(0);
    thread = start(20, receive_one, NULL);
    send(40, 1);
    CHECK_NOTES(40); /* it ran at once, for it was raised above us */
    finish(thread);
    close_channel();
}

static void fixed_priority_stays(void)
{
    open_channel(_NTO_CHF_FIXED_PRIORITY);
    send(30, 1);
    CHECK_IS(next(), 1);
    CHECK_IS(current_priority(), MAIN_PRIORITY);
    close_channel();
}

static void negative_priority_is_the_senders(void)
{
    open_channel(0);
    CHECK_IS(pthread_setschedprio(pthread_self(), 17), EOK);
    send(-1, 1);
    CHECK_IS(pthread_setschedprio(pthread_self(), 12), EOK);
    CHECK_IS(next(), 1);
    CHECK_IS(current_priority(), 17);
    close_channel();
}

static void *serve(void *unused)
{
    struct _pulse pulse;

    (void)unused;
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK); /* at 12 */
    work(10);
    note(current_priority());
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    note(current_priority());
    return NULL;
}

static void *send_urgent(void *unused)
{
    uint64_t time = 3 * TICK;

    (void)unused;
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    send(50, 2);
    return NULL;
}

/* While an urgent pulse waits, the server that works for another client is raised to its priority.
 */
static void queued_pulse_raises_who_received_last(void)
{
    pthread_t server, client;

    open_channel(0);
    server = start(20, serve, NULL);
    client = start(60, send_urgent, NULL);
    send(12, 1);
    finish(server);
    finish(client);
    CHECK_NOTES(50, 50);
    close_channel();
}

static void bad_pulses_are_refused(void)
{
    open_channel(_NTO_CHF_FIXED_PRIORITY);
    CHECK_IS(MsgSendPulse_r(connection, 0, 1, 0), -EINVAL);
    CHECK_IS(MsgSendPulse_r(connection, 256, 1, 0), -EINVAL);
    CHECK_IS(MsgSendPulse_r(connection, 255, 1, 0), EOK);
    CHECK_IS(next(), 1);
    CHECK_IS(MsgSendPulse_r(connection + 1000, 10, 1, 0), -EBADF);
    errno = 0;
    CHECK_IS(MsgSendPulse(connection + 1000, 10, 1, 0), -1);
    CHECK_IS(errno, EBADF);
    close_channel();
}

static void bad_buffers_are_refused(void)
{
    struct _pulse pulse = {.code = 9};

    open_channel(_NTO_CHF_FIXED_PRIORITY);
    send(20, 1);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse - 1, NULL), -EFAULT);
    CHECK_IS(MsgReceivePulse_r(channel, NULL, sizeof pulse, NULL), -EFAULT);
    CHECK_IS(MsgReceivePulse_r(channel, (void *)16, sizeof pulse, NULL), -EFAULT);
    CHECK_IS(pulse.code, 9);
    CHECK_IS(next(), 1); /* nothing was lost */
    close_channel();
}

static void *receive_in_vain(void *unused)
{
    struct _pulse pulse;

    (void)unused;
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), -ESRCH);
    note(1);
    return NULL;
}

static void dead_channel_lets_receivers_go(void)
{
    struct _pulse pulse;
    pthread_t thread;

    open_channel(0);
    thread = start(20, receive_in_vain, NULL);
    CHECK_IS(ChannelDestroy_r(channel), EOK);
    finish(thread);
    CHECK_NOTES(1);
    CHECK_IS(MsgSendPulse_r(connection, 10, 1, 0), -EBADF);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), -ESRCH);
    CHECK_IS(ConnectDetach_r(connection), EOK);
    CHECK_IS(ConnectDetach_r(connection), -EINVAL);
    CHECK_IS(ChannelDestroy_r(channel), -EINVAL);
}

static void *receive_and_note(void *number)
{
    struct _pulse pulse;

    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    note(*(int *)number);
    return NULL;
}

static void receiver_of_highest_priority_is_served_first(void)
{
    static int numbers[3] = {21, 23, 22};
    pthread_t threads[3];

    open_channel(_NTO_CHF_FIXED_PRIORITY);
    for (int i = 0; i < 3; i++) threads[i] = start(numbers[i], receive_and_note, &numbers[i]);
    for (int i = 0; i < 3; i++) send(10, 1);
    for (int i = 0; i < 3; i++) finish(threads[i]);
    CHECK_NOTES(23, 22, 21);
    close_channel();
}

const struct kernel_test kernel_tests[] = {
    {"higher_pulse_comes_first", higher_pulse_comes_first},
    {"equal_priority_keeps_the_order", equal_priority_keeps_the_order},
    {"pulse_carries_code_value_and_connection", pulse_carries_code_value_and_connection},
    {"equal_neighbours_share_an_entry", equal_neighbours_share_an_entry},
    {"pool_has_an_end_and_is_used_again", pool_has_an_end_and_is_used_again},
    {"replacing_pulse_has_the_last_value", replacing_pulse_has_the_last_value},
    {"unique_pulse_is_queued_once", unique_pulse_is_queued_once},
    {"receiver_takes_over_the_priority", receiver_takes_over_the_priority},
    {"waiting_receiver_takes_over_the_priority", waiting_receiver_takes_over_the_priority},
    {"fixed_priority_stays", fixed_priority_stays},
    {"negative_priority_is_the_senders", negative_priority_is_the_senders},
    {"queued_pulse_raises_who_received_last", queued_pulse_raises_who_received_last},
    {"bad_pulses_are_refused", bad_pulses_are_refused},
    {"bad_buffers_are_refused", bad_buffers_are_refused},
    {"dead_channel_lets_receivers_go", dead_channel_lets_receivers_go},
    {"receiver_of_highest_priority_is_served_first", receiver_of_highest_priority_is_served_first},
    {0},
};
