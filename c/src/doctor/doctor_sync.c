/* Waiting for one another: futexes and what they are made into, and the threads that wait. */
#include "doctor.h"

#include "../core/fail.h"
#include "../linux/fork.h"
#include "../linux/sys_futex.h"
#include "../linux/times.h"

enum { OWNER_DIED = 0x40000000, LOWEST_PRIORITY = 1, LATE_MS = 10 };

static struct timespec in_one_second(clockid_t clock)
{
    struct timespec time = {0, 0};

    (void)clock_gettime(clock, &time);
    time.tv_sec++;
    return time;
}

static wrt_status try_futex(wrt_doctor_row *row)
{
    const struct timespec past = {0, 1};
    const uint32_t word = 5;

    if (wrt__sys_futex_wait_until(&word, 5, WRT__FUTEX_PRIVATE, &past) == 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "a wait until a time that is over was woken");
    }
    if (errno != ETIMEDOUT) return wrt__refused("futex(FUTEX_WAIT_BITSET)");
    if (wrt__sys_futex_wake_on(&word, 1, WRT__FUTEX_PRIVATE) < 0) {
        return wrt__refused("futex(FUTEX_WAKE)");
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "a wait ended at its deadline, a wake found nobody");
}

static wrt_status try_inheritance(wrt_doctor_row *row)
{
    const struct timespec deadline = in_one_second(CLOCK_REALTIME);
    uint32_t word = 0;

    if (wrt__sys_futex_lock(&word, WRT__FUTEX_PRIVATE, &deadline) != 0) {
        return wrt__refused("futex(FUTEX_LOCK_PI)");
    }
    const bool is_mine = (word & ~(uint32_t)0xC0000000) == wrt__thread_number();
    if (wrt__sys_futex_unlock(&word, WRT__FUTEX_PRIVATE) != 0) {
        return wrt__refused("futex(FUTEX_UNLOCK_PI)");
    }
    if (!is_mine || word != 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT, "the kernel did not note who holds the lock");
    }
    const struct timespec monotonic = in_one_second(CLOCK_MONOTONIC);
    if (wrt__sys_futex_lock_monotonic(&word, WRT__FUTEX_PRIVATE, &monotonic) != 0) {
        return wrt__found(row, WRT_DOCTOR_PARTIAL,
                          "the kernel locked and unlocked for us; deadlines follow the wall clock "
                          "(FUTEX_LOCK_PI2 is missing)");
    }
    (void)wrt__sys_futex_unlock(&word, WRT__FUTEX_PRIVATE);
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "the kernel locked and unlocked for us, by either clock");
}

/* ---- An owner that dies ---- */

/* As the kernel reads it when a thread ends. */
typedef struct robust_entry {
    struct robust_entry *next;
    long offset;
    struct robust_entry *pending;
} robust_entry;

typedef struct robust_word {
    robust_entry *next;
    uint32_t word;
    uint32_t reserved;
} robust_word;

typedef struct dying {
    robust_entry head;
    robust_word lock;
    int code; /* error number; 0 */
} dying;

static int die_with_lock(void *context)
{
    dying *const what = context;

    what->head.next = (robust_entry *)(void *)&what->lock;
    what->head.offset = (long)(offsetof(robust_word, word) - offsetof(robust_word, next));
    what->head.pending = NULL;
    what->lock.next = &what->head;
    if (wrt__doctor_call(SYS_set_robust_list, (uintptr_t)&what->head, sizeof what->head, 0, 0, 0,
                         0) != 0) {
        what->code = errno;
        return 1;
    }
    what->lock.word = (uint32_t)syscall(SYS_gettid);
    return 0;
}

static wrt_status try_robust(wrt_doctor_row *row)
{
    dying what = {0};
    wrt__child_end end;

    const wrt_status status = wrt__in_child(die_with_lock, &what, &end);
    if (status != WRT_OK) return status;
    if (what.code != 0) {
        errno = what.code;
        return wrt__refused("set_robust_list");
    }
    if ((what.lock.word & OWNER_DIED) == 0) {
        return wrt__found(row, WRT_DOCTOR_ABSENT,
                          "a child died with a lock, and the kernel did not mark it");
    }
    return wrt__found(row, WRT_DOCTOR_AVAILABLE,
                      "a child died with a lock, and the kernel marked it");
}

static wrt_status try_several(wrt_doctor_row *row)
{
    const uint32_t words[2] = {1, 2};
    wrt__futex_waiter waiters[2] = {
        {1, (uintptr_t)&words[0], WRT__WAITV_32_BITS | WRT__FUTEX_PRIVATE, 0},
        {2, (uintptr_t)&words[1], WRT__WAITV_32_BITS | WRT__FUTEX_PRIVATE, 0}};
    const struct timespec past = {0, 1};

    if (wrt__sys_futex_waitv(waiters, 2, CLOCK_MONOTONIC, &past) >= 0 || errno == ETIMEDOUT) {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a wait on two words ended at its deadline");
    }
    return wrt__refused("futex_waitv");
}

static uint32_t processors(void)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    return wrt__sys_getaffinity(0, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 0;
}

static wrt_status try_spinning(wrt_doctor_row *row)
{
    const uint32_t count = processors();

    if (count == 0) return wrt__refused("sched_getaffinity");
    if (count == 1) {
        return wrt__found(row, WRT_DOCTOR_PARTIAL,
                          "one CPU: who holds the lock can't run meanwhile, so nobody spins");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "{0} CPUs for this process", count, 0);
}

/* ---- Threads ---- */

typedef struct policy {
    int number;
    int code;
    int seen;
} policy;

static int take_policy(void *context)
{
    policy *const wanted = context;
    int priority = 0;

    if (wrt__sys_setscheduler(0, wanted->number, LOWEST_PRIORITY) != 0) wanted->code = errno;
    wanted->seen = wrt__sys_getscheduler(0, &priority);
    return 0;
}

static wrt_status try_policy(wrt_doctor_row *row, int number)
{
    policy wanted = {number, 0, -1};
    wrt__child_end end;
    struct rlimit limit = {0, 0};

    const wrt_status status = wrt__in_child(take_policy, &wanted, &end);
    if (status != WRT_OK) return status;
    (void)getrlimit(RLIMIT_RTPRIO, &limit);
    if (wanted.code == 0 && wanted.seen == number) {
        return wrt__found(row, WRT_DOCTOR_AVAILABLE, "a child ran with priority 1 of it");
    }
    if (wanted.code == EPERM && limit.rlim_cur >= LOWEST_PRIORITY) {
        wrt__remedy(row, "a control group (version 1, cpu.rt_runtime_us) has no share for it, or a "
                         "container's filter refuses it: --cap-add SYS_NICE, and "
                         "--cpu-rt-runtime");
    }
    errno = wanted.code;
    return wrt__refused("sched_setscheduler");
}

static wrt_status try_fifo(wrt_doctor_row *row)
{
    return try_policy(row, SCHED_FIFO);
}

static wrt_status try_round_robin(wrt_doctor_row *row)
{
    return try_policy(row, SCHED_RR);
}

static wrt_status try_priority_limit(wrt_doctor_row *row)
{
    struct rlimit limit = {0, 0};

    if (getrlimit(RLIMIT_RTPRIO, &limit) != 0) return wrt__refused("getrlimit");
    if (limit.rlim_cur == 0) {
        return wrt__found(row, WRT_DOCTOR_PARTIAL,
                          "RLIMIT_RTPRIO is 0: only CAP_SYS_NICE gives a real-time priority");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "RLIMIT_RTPRIO is {0}", limit.rlim_cur, 0);
}

typedef struct pinned {
    int processor;
    int code;
    uint32_t seen;
} pinned;

static int pin(void *context)
{
    pinned *const wanted = context;
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)wanted->processor, &one);
    if (wrt__sys_setaffinity(0, &one) != 0) wanted->code = errno;
    wanted->seen = processors();
    return 0;
}

static int first_processor(void)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    if (wrt__sys_getaffinity(0, &cpus) != 0) return -1;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET((size_t)i, &cpus)) return i;
    }
    return -1;
}

static wrt_status try_affinity(wrt_doctor_row *row)
{
    pinned wanted = {first_processor(), 0, 0};
    wrt__child_end end;

    if (wanted.processor < 0) return wrt__refused("sched_getaffinity");
    const wrt_status status = wrt__in_child(pin, &wanted, &end);
    if (status != WRT_OK) return status;
    if (wanted.code != 0 || wanted.seen != 1) {
        errno = wanted.code;
        return wrt__refused("sched_setaffinity");
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE, "a child was bound to CPU {0}",
                              (uint64_t)wanted.processor, 0);
}

/* ---- What a watchdog needs ---- */

static wrt_status try_watchdog(wrt_doctor_row *row)
{
    struct timespec before, after;
    uint64_t count = 0;
    const int descriptor = wrt__sys_eventfd();

    if (descriptor < 0) return wrt__refused("eventfd");
    const bool is_told = wrt__sys_eventfd_add(descriptor) == 0 &&
                         wrt__sys_eventfd_take(descriptor, &count) == 0 && count == 1;
    const int code = errno;
    close(descriptor);
    errno = code;
    if (!is_told) return wrt__refused("eventfd");
    clock_gettime(CLOCK_MONOTONIC, &before);
    wrt__doctor_sleep(LATE_MS);
    clock_gettime(CLOCK_MONOTONIC, &after);
    const uint64_t slept = wrt__nanoseconds(&after) - wrt__nanoseconds(&before);
    const uint64_t late_us = slept / 1000 > LATE_MS * 1000 ? slept / 1000 - LATE_MS * 1000 : 0;
    if (late_us > LATE_MS * 1000) {
        wrt__remedy(row, "less load on this machine, or a real-time priority for the watchdog's "
                         "thread (see threads.fifo); choose time-outs longer than that");
        return wrt__found_numbers(row, WRT_DOCTOR_PARTIAL, "a sleep of {0} ms woke {1} us too late",
                                  LATE_MS, late_us);
    }
    return wrt__found_numbers(row, WRT_DOCTOR_AVAILABLE,
                              "events are told; a sleep of {0} ms woke {1} us late", LATE_MS,
                              late_us);
}

static wrt_status try_clock(wrt_doctor_row *row)
{
    struct timespec last, next;
    uint64_t step = UINT64_MAX;

    for (uint32_t i = 0; i < 100; i++) {
        clock_gettime(CLOCK_MONOTONIC, &last);
        do clock_gettime(CLOCK_MONOTONIC, &next);
        while (wrt__nanoseconds(&next) == wrt__nanoseconds(&last));
        if (wrt__nanoseconds(&next) < wrt__nanoseconds(&last)) {
            return wrt__found(row, WRT_DOCTOR_ABSENT, "the clock went backwards");
        }
        const uint64_t seen = wrt__nanoseconds(&next) - wrt__nanoseconds(&last);
        if (seen < step) step = seen;
    }
    return wrt__found_numbers(row, step < 1000000 ? WRT_DOCTOR_AVAILABLE : WRT_DOCTOR_PARTIAL,
                              "steps of {0} ns were seen, none backwards", step, 0);
}

static const wrt__attempt attempts[] = {
    {"sync.futex", "wait and wake", "LS-1 LS-2", try_futex,
     "let the container's filter pass futex: nothing here works without it"},
    {"sync.priority_inheritance", "locks with priority inheritance", "LS-1", try_inheritance,
     "a kernel with CONFIG_FUTEX_PI; Linux 5.14 for deadlines that do not follow the wall clock"},
    {"sync.robust", "locks that survive their owner", "LS-1", try_robust,
     "let the container's filter pass set_robust_list"},
    {"sync.wait_any", "waiting on several words", "LS-2", try_several,
     "Linux 5.16, and a container's filter that lets futex_waitv pass; one thread a word does it "
     "until then"},
    {"sync.spinning", "spinning before sleeping", "LS-1", try_spinning,
     "give the process a second CPU: taskset, the cpuset of its control group, docker "
     "--cpuset-cpus"},
    {"threads.fifo", "real-time threads, SCHED_FIFO", "TH-1", try_fifo,
     "ulimit -r 99, LimitRTPRIO=99 in the service's unit, or CAP_SYS_NICE"},
    {"threads.round_robin", "real-time threads, SCHED_RR", "TH-1", try_round_robin,
     "ulimit -r 99, LimitRTPRIO=99 in the service's unit, or CAP_SYS_NICE"},
    {"threads.priority_limit", "limit of real-time priorities", "TH-1", try_priority_limit,
     "ulimit -r 99, LimitRTPRIO=99 in the service's unit, or a line `@group - rtprio 99` in "
     "/etc/security/limits.conf"},
    {"threads.affinity", "threads on chosen CPUs", "TH-1", try_affinity,
     "let the container's filter pass sched_setaffinity"},
    {"watchdog.wake_up", "what a watchdog needs", "WD-1", try_watchdog,
     "let the container's filter pass eventfd2 and clock_nanosleep"},
    {"clock.step", "clock", "WD-1", try_clock,
     "time limits are as coarse as that; look at "
     "/sys/devices/system/clocksource/clocksource0/available_clocksource"},
};

const wrt__topic wrt__topic_sync = {attempts, sizeof attempts / sizeof *attempts};
