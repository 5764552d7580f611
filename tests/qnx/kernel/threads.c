/* Threads: attributes, ends, names, run masks, scheduling; channels that tell of ends. */
#include "concurrent.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/neutrino.h>
#include <unistd.h>

static void *give_back(void *argument)
{
    return argument;
}

static void *exit_early(void *argument)
{
    pthread_exit(argument);
}

static void join_gives_the_result(void)
{
    pthread_t thread;
    void *result = NULL;
    int value;

    CHECK_IS(pthread_create(&thread, NULL, give_back, &value), EOK);
    CHECK(thread != pthread_self());
    CHECK_IS(pthread_join(thread, &result), EOK);
    CHECK(result == &value);
    CHECK_IS(pthread_join(thread, NULL), ESRCH);
    CHECK_IS(pthread_create(&thread, NULL, exit_early, &result), EOK);
    CHECK_IS(pthread_join(thread, &result), EOK);
    CHECK(result == &result);
    CHECK_IS(pthread_join(pthread_self(), NULL), EDEADLK);
    CHECK_IS(pthread_join(500, NULL), ESRCH);
}

static void *sleep_five(void *unused)
{
    uint64_t time = 5 * TICK;

    (void)unused;
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    note(1);
    return NULL;
}

static void join_can_be_limited_and_tried_again(void)
{
    pthread_t thread = start(20, sleep_five, NULL);

    limit_next(_NTO_TIMEOUT_JOIN, 2);
    CHECK_IS(pthread_join(thread, NULL), ETIMEDOUT);
    CHECK_IS(now(), 2);
    CHECK_IS(pthread_join(thread, NULL), EOK);
    CHECK_IS(now(), 5);
}

static void detached_thread_is_not_joined(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    uint64_t time = 20 * TICK;

    CHECK_IS(pthread_attr_init(&attributes), EOK);
    CHECK_IS(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED), EOK);
    CHECK_IS(pthread_create(&thread, &attributes, sleep_five, NULL), EOK);
    CHECK_IS(pthread_join(thread, NULL), EINVAL);
    thread = start(20, sleep_five, NULL);
    CHECK_IS(pthread_detach(thread), EOK);
    CHECK_IS(pthread_detach(thread), EINVAL);
    CHECK_IS(TimerTimeout_r(CLOCK_MONOTONIC, _NTO_TIMEOUT_NANOSLEEP, NULL, &time, NULL), EOK);
    CHECK_IS(pthread_detach(thread), ESRCH);
    CHECK_NOTES(1, 1);
}

static void *note_scheduling(void *unused)
{
    struct sched_param param;
    int policy = 0;

    (void)unused;
    CHECK_IS(pthread_getschedparam(pthread_self(), &policy, &param), EOK);
    note(policy);
    note(param.sched_priority);
    return NULL;
}

static void scheduling_is_inherited_or_explicit(void)
{
    struct sched_param param = {.sched_priority = 15};
    pthread_attr_t attributes;
    pthread_t thread;

    CHECK_IS(pthread_setschedparam(pthread_self(), SCHED_FIFO, &param), EOK);
    CHECK_IS(pthread_attr_init(&attributes), EOK);
    param.sched_priority = 33;
    CHECK_IS(pthread_attr_setschedparam(&attributes, &param), EOK);
    CHECK_IS(pthread_attr_setschedpolicy(&attributes, SCHED_RR), EOK);
    CHECK_IS(pthread_create(&thread, &attributes, note_scheduling, NULL), EOK);
    finish(thread);
    CHECK_IS(pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED), EOK);
    CHECK_IS(pthread_create(&thread, &attributes, note_scheduling, NULL), EOK);
    finish(thread);
    CHECK_NOTES(SCHED_FIFO, 15, SCHED_RR, 33);
}

static void bad_attributes_are_refused(void)
{
    struct sched_param param = {.sched_priority = 0};
    pthread_attr_t attributes;
    size_t size = 0;
    void *address;
    int value = -1;

    CHECK_IS(pthread_attr_init(&attributes), EOK);
    CHECK_IS(pthread_attr_setschedparam(&attributes, &param), EINVAL);
    param.sched_priority = 256;
    CHECK_IS(pthread_attr_setschedparam(&attributes, &param), EINVAL);
    CHECK_IS(pthread_attr_setschedpolicy(&attributes, 99), EINVAL);
    CHECK_IS(pthread_attr_setinheritsched(&attributes, 99), EINVAL);
    CHECK_IS(pthread_attr_setdetachstate(&attributes, 99), EINVAL);
    CHECK_IS(pthread_attr_setscope(&attributes, PTHREAD_SCOPE_SYSTEM), EOK);
    CHECK_IS(pthread_attr_setscope(&attributes, PTHREAD_SCOPE_PROCESS), ENOTSUP);
    CHECK_IS(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN - 1), EINVAL);
    CHECK_IS(pthread_attr_setstacksize(&attributes, 131072), EOK);
    CHECK_IS(pthread_attr_setguardsize(&attributes, 8192), EOK);
    CHECK_IS(pthread_attr_getguardsize(&attributes, &size), EOK);
    CHECK_IS(size, 8192);
    CHECK_IS(pthread_attr_getstack(&attributes, &address, &size), EOK);
    CHECK(address == NULL);
    CHECK_IS(size, 131072);
    CHECK_IS(pthread_attr_getdetachstate(&attributes, &value), EOK);
    CHECK_IS(value, PTHREAD_CREATE_JOINABLE);
    CHECK_IS(pthread_attr_destroy(&attributes), EOK);
}

static uintptr_t inside;

static void *where_is_the_stack(void *unused)
{
    volatile char here = 1;

    inside = (uintptr_t)&here;
    return unused;
}

static void own_stack_is_used(void)
{
    static char stack[256 * 1024] __attribute__((aligned(4096)));
    pthread_attr_t attributes;
    const uintptr_t base = (uintptr_t)stack;
    pthread_t thread;

    CHECK_IS(pthread_attr_init(&attributes), EOK);
    CHECK_IS(pthread_attr_setstack(&attributes, stack, sizeof stack), EOK);
    for (int round = 0; round < 3; round++) { /* it is free again after each join */
        CHECK_IS(pthread_create(&thread, &attributes, where_is_the_stack, NULL), EOK);
        finish(thread);
        CHECK(inside >= base && inside < base + sizeof stack);
    }
}

static void names_are_kept(void)
{
    char name[_NTO_THREAD_NAME_MAX], longest[_NTO_THREAD_NAME_MAX + 1];
    union {
        struct _thread_name head;
        char room[sizeof(struct _thread_name) + _NTO_THREAD_NAME_MAX];
    } data = {.head = {.new_name_len = 6, .name_buf_len = _NTO_THREAD_NAME_MAX}};

    CHECK_IS(pthread_setname_np(pthread_self(), "worker-7"), EOK);
    CHECK_IS(pthread_getname_np(pthread_self(), name, sizeof name), EOK);
    CHECK_IS(memcmp(name, "worker-7", 9), 0);
    CHECK_IS(pthread_getname_np(pthread_self(), name, 8), E2BIG);
    memcpy(data.head.name_buf, "second", 6);
    CHECK_IS(ThreadCtl(_NTO_TCTL_NAME, &data), 0);
    CHECK_IS(memcmp(data.head.name_buf, "worker-7", 9), 0); /* the name before */
    CHECK_IS(pthread_getname_np(pthread_self(), name, sizeof name), EOK);
    CHECK_IS(memcmp(name, "second", 7), 0);
    memset(longest, 'x', sizeof longest);
    longest[_NTO_THREAD_NAME_MAX] = '\0';
    CHECK_IS(pthread_setname_np(pthread_self(), longest), E2BIG);
    CHECK_IS(pthread_setname_np(500, "nobody"), ESRCH);
}

struct masks {
    struct _thread_runmask head;
    unsigned int run;
    unsigned int inherit;
};

static void *note_masks(void *unused)
{
    struct masks masks = {{1}, 0, 0};

    (void)unused;
    CHECK_IS(ThreadCtl(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &masks), 0);
    note((int)masks.run);
    note((int)masks.inherit);
    return NULL;
}

static void run_masks_are_set_and_inherited(void)
{
    struct masks masks = {{1}, 1, 2};
    pthread_t thread;

    CHECK_IS(sysconf(_SC_NPROCESSORS_ONLN), 4);
    CHECK_IS(ThreadCtl(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &masks), 0);
    CHECK_IS(masks.run, 15); /* what it was before: get AND set */
    CHECK_IS(masks.inherit, 15);
    CHECK_IS(pthread_create(&thread, NULL, note_masks, NULL), EOK);
    finish(thread);
    note_masks(NULL);
    CHECK_NOTES(2, 2, 1, 2);
    masks.head.size = 2; /* words of one mask, exactly */
    CHECK_IS(ThreadCtl_r(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &masks), -EINVAL);
    masks = (struct masks){{1}, 0x10, 0}; /* no such processor */
    CHECK_IS(ThreadCtl_r(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, &masks), -EINVAL);
    CHECK_IS(ThreadCtl_r(_NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT, (void *)4), -EFAULT);
    CHECK_IS(ThreadCtl_r(_NTO_TCTL_RUNMASK, (void *)4), EOK);
    CHECK_IS(ThreadCtl_r(_NTO_TCTL_RUNMASK, (void *)0), -EINVAL);
    CHECK_IS(ThreadCtl_r(999, NULL), -EINVAL);
}

static void *note_ten(void *unused)
{
    (void)unused;
    note(10);
    return NULL;
}

static void higher_priority_runs_at_once_and_equals_in_turn(void)
{
    pthread_t equal, higher;

    equal = start(MAIN_PRIORITY, note_ten, NULL);
    note(1);
    higher = start(11, note_ten, NULL);
    note(2);
    CHECK_IS(SchedYield_r(), EOK);
    note(3);
    finish(equal);
    finish(higher);
    CHECK_NOTES(1, 10, 2, 10, 3);
}

static void scheduling_calls_check_what_they_get(void)
{
    struct sched_param param = {.sched_priority = 20};
    struct _sched_info info;

    CHECK_IS(sched_get_priority_min(SCHED_FIFO), 1);
    CHECK_IS(sched_get_priority_max(SCHED_RR), 255);
    CHECK_IS(sched_get_priority_max(99), -1);
    CHECK_IS(errno, EINVAL);
    CHECK_IS(SchedInfo_r(0, SCHED_FIFO, &info), EOK);
    CHECK_IS(info.priority_max, 255);
    CHECK_IS(SchedSet_r(0, 0, SCHED_FIFO, &param), EOK);
    CHECK_IS(SchedGet_r(getpid(), 0, &param), SCHED_FIFO);
    CHECK_IS(param.sched_priority, 20);
    CHECK_IS(SchedSet_r(0, 0, 99, &param), -EINVAL);
    param.sched_priority = 256;
    CHECK_IS(SchedSet_r(0, 0, SCHED_FIFO, &param), -EINVAL);
    CHECK_IS(SchedGet_r(0, 500, &param), -ESRCH);
    CHECK_IS(SchedGet_r(1, 0, &param), -ESRCH);
    CHECK_IS(SchedGet_r(0, 0, NULL), -EFAULT);
}

static void *work_twelve(void *unused)
{
    (void)unused;
    work(12);
    note(12);
    return NULL;
}

static void thread_clocks_count_their_own_work(void)
{
    struct timespec time;
    clockid_t id = -1;
    pthread_t thread;
    uint64_t all = 0;

    work(3);
    thread = start(9, work_twelve, NULL);
    CHECK_IS(pthread_getcpuclockid(thread, &id), EOK);
    CHECK_IS(clock_gettime(id, &time), 0);
    CHECK_IS(time.tv_nsec, 0);
    CHECK_IS(pthread_setschedprio(pthread_self(), 8), EOK); /* now it works */
    CHECK_IS(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time), 0);
    CHECK_IS(time.tv_nsec, 3 * TICK);
    finish(thread);
    CHECK_IS(ClockTime_r(CLOCK_PROCESS_CPUTIME_ID, NULL, &all), EOK);
    CHECK_IS(all, 15 * TICK);
    CHECK_IS(clock_gettime(id, &time), -1);
    CHECK_IS(errno, ESRCH);
    CHECK_IS(pthread_getcpuclockid(500, &id), ESRCH);
    CHECK_NOTES(12);
}

static void ends_are_told_by_pulses(void)
{
    struct _pulse pulse;
    int other = ChannelCreate(_NTO_CHF_COID_DISCONNECT | _NTO_CHF_FIXED_PRIORITY);
    int channel = ChannelCreate(_NTO_CHF_THREAD_DEATH | _NTO_CHF_DISCONNECT);
    int connection = ConnectAttach(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
    pthread_t thread = start(20, give_back, NULL);

    finish(thread);
    limit_next(_NTO_TIMEOUT_RECEIVE, 0);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    CHECK_IS(pulse.code, _PULSE_CODE_THREADDEATH);
    CHECK_IS(pulse.value.sival_int, thread);
    CHECK_IS(ConnectDetach_r(connection), EOK);
    CHECK_IS(MsgReceivePulse_r(channel, &pulse, sizeof pulse, NULL), EOK);
    CHECK_IS(pulse.code, _PULSE_CODE_DISCONNECT);
    connection = ConnectAttach(0, getpid(), channel, 0, 0);
    CHECK(connection >= 3 && connection < (int)_NTO_SIDE_CHANNEL);
    CHECK_IS(ChannelDestroy_r(channel), EOK);
    CHECK_IS(MsgReceivePulse_r(other, &pulse, sizeof pulse, NULL), EOK);
    CHECK_IS(pulse.code, _PULSE_CODE_COIDDEATH);
    CHECK_IS(pulse.value.sival_int, connection);
    CHECK_IS(ConnectDetach_r(connection), EOK);
    CHECK_IS(ChannelDestroy_r(other), EOK);
    CHECK_IS(ConnectAttach_r(0, 0, channel, 0, 0), -ESRCH);
    CHECK_IS(ConnectAttach_r(0, 1, other, 0, 0), -ESRCH);
}

const struct kernel_test kernel_tests[] = {
    {"join_gives_the_result", join_gives_the_result},
    {"join_can_be_limited_and_tried_again", join_can_be_limited_and_tried_again},
    {"detached_thread_is_not_joined", detached_thread_is_not_joined},
    {"scheduling_is_inherited_or_explicit", scheduling_is_inherited_or_explicit},
    {"bad_attributes_are_refused", bad_attributes_are_refused},
    {"own_stack_is_used", own_stack_is_used},
    {"names_are_kept", names_are_kept},
    {"run_masks_are_set_and_inherited", run_masks_are_set_and_inherited},
    {"higher_priority_runs_at_once_and_equals_in_turn",
     higher_priority_runs_at_once_and_equals_in_turn},
    {"scheduling_calls_check_what_they_get", scheduling_calls_check_what_they_get},
    {"thread_clocks_count_their_own_work", thread_clocks_count_their_own_work},
    {"ends_are_told_by_pulses", ends_are_told_by_pulses},
    {0},
};
