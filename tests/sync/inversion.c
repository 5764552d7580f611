/* The classic inversion, on one processor: LOW holds a lock, HIGH wants it, MEDIUM has much to do.
 *
 *     inversion <protocol> <critical section, ns> <burst of MEDIUM, ns>
 *
 * prints how long HIGH waited, in nanoseconds. It ends with 77 where the system does not let this
 * process run by its realtime policy. */
#include "priorities.h"

#include <string.h>

enum { LOW = 10, MEDIUM = 20, HIGH = 30, DIRECTOR = 50 };

static wrt_lock lock;
static uint64_t critical_ns;
static uint64_t burst_ns;
static uint64_t waited_ns;
static uint32_t held; /* atomic */

static uint64_t now(void)
{
    uint64_t time = 0;
    const wrt_thread_system system = system_at(DIRECTOR);

    MUST(system.ops->now(system.self, &time));
    return time;
}

static void low(void *unused)
{
    const wrt_thread_system system = system_at(LOW);

    (void)unused;
    MUST(wrt_lock_lock(&lock, UINT64_MAX, NULL, NULL));
    __atomic_store_n(&held, 1, __ATOMIC_SEQ_CST);
    system.ops->wake(system_at(DIRECTOR).self, &held, 1);
    work(critical_ns);
    MUST(wrt_lock_unlock(&lock));
}

static void medium(void *unused)
{
    (void)unused;
    work(burst_ns);
}

static void high(void *unused)
{
    const uint64_t start = now();

    (void)unused;
    MUST(wrt_lock_lock(&lock, UINT64_MAX, NULL, NULL));
    waited_ns = now() - start;
    MUST(wrt_lock_unlock(&lock));
}

static void start(wrt_thread *thread, uint32_t priority, wrt_thread_entry_fn entry)
{
    const wrt_thread_system system = system_at(priority);
    const wrt_thread_config config = {.struct_size = sizeof config,
                                      .priority = WRT_THREAD_PRIORITY_REALTIME,
                                      .cpus = {{1, 0, 0, 0}},
                                      .entry = entry,
                                      .require_priority = true};

    MUST(system.ops->start(system.self, thread, &config));
}

static void join(wrt_thread *thread, uint32_t priority)
{
    const wrt_thread_system system = system_at(priority);

    MUST(system.ops->join(system.self, thread, UINT64_MAX));
}

static void direct(void)
{
    const wrt_thread_system system = system_at(DIRECTOR);
    wrt_thread threads[3];

    memset(threads, 0, sizeof threads);
    start(&threads[0], LOW, low);
    while (__atomic_load_n(&held, __ATOMIC_SEQ_CST) == 0) {
        MUST(system.ops->wait(system.self, &held, 0, UINT64_MAX));
    }
    start(&threads[2], HIGH, high);
    start(&threads[1], MEDIUM, medium);
    join(&threads[0], LOW);
    join(&threads[1], MEDIUM);
    join(&threads[2], HIGH);
}

int main(int count, char **arguments)
{
    EXPECT(count == 4);
    lock = lock_with((uint32_t)strtoul(arguments[1], NULL, 10), HIGH);
    critical_ns = strtoull(arguments[2], NULL, 10);
    burst_ns = strtoull(arguments[3], NULL, 10);
    if (!become_director(DIRECTOR)) return 77;
    direct();
    end_directing();
    (void)printf("%llu\n", (unsigned long long)waited_ns);
    return 0;
}
