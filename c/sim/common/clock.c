/* The real kind counts from the kernel's start; the virtual one is a number. */
#include "host.h"

#include "baton.h"
#include "clock.h"

enum { NANOSECONDS = 1000000000 };

static bool is_virtual;
static uint64_t virtual_now;
static uint64_t host_start; /* what this machine's clock showed at time 0 */
static uint64_t day_offset = 1700000000ull * NANOSECONDS;

static uint64_t host_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

uint64_t sim_now(void)
{
    return is_virtual ? virtual_now : host_now() - host_start;
}

uint64_t sim_clock_day_offset(void)
{
    return day_offset;
}

void sim_clock_set_day_offset(uint64_t nanoseconds)
{
    day_offset = nanoseconds;
}

bool sim_clock_is_virtual(void)
{
    return is_virtual;
}

void sim_clock_use(bool use_virtual)
{
    bool fresh = use_virtual && sim_first_thread() == NULL;
    uint64_t now = fresh ? 0 : sim_now();

    is_virtual = use_virtual;
    virtual_now = now;
    host_start = host_now() - now;
    sim_clock_changed();
}

void sim_clock_set_virtual_now(uint64_t nanoseconds)
{
    if (nanoseconds > virtual_now) virtual_now = nanoseconds;
}

struct timespec sim_clock_host_time(uint64_t now)
{
    uint64_t host = host_start + now;

    return (struct timespec){(time_t)(host / NANOSECONDS), (long)(host % NANOSECONDS)};
}

void sim_clock_reset(void)
{
    is_virtual = false;
    virtual_now = 0;
    host_start = host_now();
    day_offset = 1700000000ull * NANOSECONDS;
}
