"""A semaphore of three, and what locks cost on this machine."""

from wrt_platform import LinuxFutexBuilder, LinuxSemaphore, benchmark_futex_strategies

adaptive = LinuxFutexBuilder().with_spin_count(1000).with_backoff_ns(100)
semaphore = LinuxSemaphore(adaptive.with_initial_value(3))
semaphore.acquire(timeout=1)
print("left:", semaphore.value)
semaphore.release()
for row in benchmark_futex_strategies():
    print(f"{row.name}: {row.ns_per_operation:.1f} ns")
