/* Clocks, waiting, randomness, and how many forks there were: Linux. */
#include "sys.h"

enum { SECOND = 1000000000 }; /* nanoseconds */

_Static_assert(sizeof(struct pollfd) <= WASI_WAIT_SCRATCH_SIZE, "a pollfd fits in the scratch");

static clockid_t clock_of(uint32_t clock)
{
    static const clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                                    CLOCK_THREAD_CPUTIME_ID};

    return ids[clock];
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return time->tv_sec < 0 ? 0 : (uint64_t)time->tv_sec * SECOND + (uint64_t)time->tv_nsec;
}

wasi_result wrt__wasi_port_time(uint32_t clock, uint64_t *time_out)
{
    struct timespec now;

    if (clock > WASI_CLOCK_THREAD_CPU) return WASI_INVAL;
    if (clock_gettime(clock_of(clock), &now) != 0) return wrt__wasi_linux_failed();
    *time_out = nanoseconds(&now);
    return WASI_SUCCESS;
}

wasi_result wrt__wasi_port_resolution(uint32_t clock, uint64_t *time_out)
{
    struct timespec resolution;

    if (clock > WASI_CLOCK_THREAD_CPU) return WASI_INVAL;
    if (clock_getres(clock_of(clock), &resolution) != 0) return wrt__wasi_linux_failed();
    *time_out = nanoseconds(&resolution);
    return WASI_SUCCESS;
}

wasi_result wrt__wasi_port_random(uint8_t *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        const ssize_t taken = getrandom(bytes + done, size - done, 0);
        if (taken < 0 && errno != EINTR) return wrt__wasi_linux_failed();
        if (taken > 0) done += (size_t)taken;
    }
    return WASI_SUCCESS;
}

void wrt__wasi_port_yield(void)
{
    (void)sched_yield();
}

static short events_of(uint32_t wanted)
{
    return (short)(((wanted & WASI_READY_READ) != 0 ? POLLIN : 0) |
                   ((wanted & WASI_READY_WRITE) != 0 ? POLLOUT : 0));
}

/* An error counts as ready for all: the transfer that follows tells it. */
static uint32_t ready_of(short events)
{
    uint32_t ready = 0;

    if ((events & POLLIN) != 0) ready |= WASI_READY_READ;
    if ((events & POLLOUT) != 0) ready |= WASI_READY_WRITE;
    if ((events & (POLLHUP | POLLERR | POLLNVAL)) != 0) ready |= WASI_READY_HANGUP;
    return ready;
}

wasi_result wrt__wasi_port_wait(wasi_wait *waits, uint32_t count, void *scratch, uint64_t timeout)
{
    struct pollfd *polls = scratch;
    const struct timespec limit = {.tv_sec = (time_t)(timeout / SECOND),
                                   .tv_nsec = (long)(timeout % SECOND)};

    for (uint32_t i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = waits[i].handle, .events = events_of(waits[i].wanted)};
    }
    if (ppoll(polls, count, &limit, NULL) < 0) return wrt__wasi_linux_failed();
    for (uint32_t i = 0; i < count; i++) waits[i].ready = ready_of(polls[i].revents);
    return WASI_SUCCESS;
}

/* A child has the same numbers for its descriptors, but shares what stands behind them with its
 * parent: objects note the generation that they were made in. */
static uint32_t generation;
static pthread_once_t is_counting = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    generation++;
}

static void start_counting(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork);
}

uint32_t wrt__wasi_port_generation(void)
{
    (void)pthread_once(&is_counting, start_counting);
    return generation;
}
