# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Threads, limits and a watchdog, on two kernels
#
# The same module runs on Linux and on QNX. QNX is simulated here: a kernel inside of this process,
# with QNX's own calls, whose clock can be turned and whose tables can be looked at.
# `jupytext --to ipynb runtime.py` makes the notebook.

# %%
import html
import time

import matplotlib.pyplot as plt
from wrt_platform import (
    Instance,
    InterruptedCallError,
    LinuxAllocatorBuilder,
    LinuxThreadSystemBuilder,
    MemoryAccountBuilder,
    Module,
    QnxFutexBuilder,
    QnxIsolation,
    QnxMemoryPartitionBuilder,
    QnxThreadSystemBuilder,
    SoftwareWatchdog,
    ThreadingLimits,
    ThreadManagerConfig,
    ThreadPoolConfig,
    WasmModuleInfo,
    WasmRuntime,
    WasmTask,
)
from wrt_platform.qnx.sync import QnxWakeBuilder
from wrt_platform.sim import qnx, qnx_memory
from wrt_platform.watchdog import WatchdogConfig

MIB = 1 << 20


class Table:
    """Named tuples as a table."""

    def __init__(self, rows):
        self.rows = list(rows)

    def _repr_html_(self):
        def line(cells, tag):
            return "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

        names = self.rows[0]._fields if self.rows else ("nothing",)
        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return f"<table><tr>{line(names, 'th')}</tr>{body}</table>"


# %% [markdown]
# ## The module
#
# `work` takes a page of memory, computes for a while, and takes the next one, sixteen times. `spin`
# never ends.

# %%
module = Module("""
(module
  (memory 1 1000)
  (func $compute (param $rounds i32)
    (loop $again
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
  (func (export "work") (param $rounds i32) (result i32) (local $pages i32)
    (loop $again
      (drop (memory.grow (i32.const 1)))
      (call $compute (local.get $rounds))
      (br_if $again (i32.lt_u
        (local.tee $pages (i32.add (local.get $pages) (i32.const 1))) (i32.const 16))))
    memory.size)
  (func (export "spin") (loop $again (br $again))))
""")
WORK, SPIN = 1, 2
EXECUTOR = {WORK: (module, "work"), SPIN: (module, "spin")}

# %% [markdown]
# ## Two tenants on each kernel
#
# The red tenant may have 2 MiB, the blue one 512 KiB. On Linux an account counts their memory, on
# QNX a partition does.


# %%
def runtime_on(system, name, **memory):
    pool = ThreadPoolConfig(max_threads=1, name_prefix=name, system=system)
    if "allocator" in memory:
        pool.with_page_allocator(memory.pop("allocator"))
    limits = ThreadingLimits(cpu_quota_per_thread="5s")
    watchdog = WatchdogConfig(check_interval="20ms", auto_kill=True).with_system(system)
    threads = ThreadManagerConfig(pool, limits)
    runtime = WasmRuntime(threads, watchdog, executor=EXECUTOR, **memory)
    runtime.thread_manager.register_module(WasmModuleInfo(id=1, name=name))
    return runtime


def linux_tenant(name, maximum):
    system = LinuxThreadSystemBuilder().build()
    account = MemoryAccountBuilder().with_maximum(maximum).build()
    allocator = LinuxAllocatorBuilder().with_guard_pages().build()
    runtime = runtime_on(system, name, allocator=allocator, account=account)
    return runtime, lambda: account.usage.used


def qnx_tenant(name, maximum):
    system = QnxThreadSystemBuilder().build()
    builder = QnxMemoryPartitionBuilder().with_name(name).with_memory_size(0, maximum)
    partition = builder.build()
    return runtime_on(system, name, partition=partition), lambda: partition.report.used_bytes


def watch_them_work(make):
    """Both tenants at work: rows of (time, bytes, heartbeats) for each."""
    tenants = {"red": make("red", 2 * MIB), "blue": make("blue", MIB // 2)}
    threads, samples = {}, {name: [] for name in tenants}
    start = time.monotonic()
    for name, (runtime, _) in tenants.items():
        task = WasmTask(function_id=WORK, args=[1_000_000])
        threads[name] = runtime.thread_manager.spawn(1, task)
    while any(runtime.thread_manager.report.thread_count for runtime, _ in tenants.values()):
        for name, (runtime, used) in tenants.items():
            beats = [row.heartbeat for row in runtime.thread_manager.health_reports()]
            if beats:
                samples[name].append((time.monotonic() - start, used(), beats[0]))
        time.sleep(0.005)
    pages = {name: thread.result(10) for name, thread in threads.items()}
    for runtime, _ in tenants.values():
        runtime.close()
    return pages, samples


kernels = {"Linux": linux_tenant, "simulated QNX": qnx_tenant}
measured = {kernel: watch_them_work(make) for kernel, make in kernels.items()}
for kernel, (pages, _) in measured.items():
    print(f"{kernel}: red ended with {pages['red']} pages, blue with {pages['blue']}")

# %% [markdown]
# The blue tenant asks for as much as the red one. It does not get it, goes on with what it has, and
# nobody else is touched. The heartbeat is a counter that the engine moves while the guest runs; it
# is what says that a thread is alive.

# %%
figure, axes = plt.subplots(2, 2, figsize=(9, 5), sharex="col", sharey="row")
for column, (kernel, (_, samples)) in enumerate(measured.items()):
    axes[0][column].set_title(kernel)
    axes[1][column].set_xlabel("time (s)")
    for name, rows in samples.items():
        times = [row[0] for row in rows]
        used = [row[1] / 1024 for row in rows]
        axes[0][column].step(times, used, where="post", color=f"tab:{name}", label=name)
        axes[1][column].plot(times, [row[2] for row in rows], color=f"tab:{name}", label=name)
axes[0][0].set_ylabel("memory (KiB)")
axes[1][0].set_ylabel("heartbeats")
axes[0][0].legend()
figure.tight_layout()

# %% [markdown]
# ## A module that hangs
#
# It has to give a sign of life each 200 ms, and never does. The watchdog checks each 20 ms: so it
# has to notice after more than 10 and at most 11 check intervals, if its checks come on time, and
# then it stops the module. A busy machine can add to that, and never takes from it.


# %%
def hang_on(system):
    watchdog = SoftwareWatchdog(
        WatchdogConfig(check_interval="20ms", auto_kill=True).with_system(system)
    )
    instance = Instance(module)
    with watchdog:
        begin = time.monotonic()
        with watchdog.watch_wasm_execution("hung", "200ms", instance=instance):
            try:
                instance.call("spin", timeout=10)
            except InterruptedCallError as error:
                print("stopped:", error)
        noticed, killed = watchdog.events.next(5), watchdog.events.next(5)
    took = time.monotonic() - begin
    watchdog.close()
    print(f"{noticed.kind.name}, then {killed.kind.name}, within {took * 1000:.0f} ms")
    late = noticed.detail[0] / 1e6
    print(f"noticed after {late:.0f} ms; with checks on time it is at most 220 ms")


for kernel, builder in {
    "Linux": LinuxThreadSystemBuilder(),
    "simulated QNX": QnxThreadSystemBuilder(),
}.items():
    print(f"{kernel}:")
    hang_on(builder.build())

# %% [markdown]
# ## Turning the clock
#
# The simulated kernel has a virtual clock as well. A watchdog with a time-out of half a minute is
# seen at work in milliseconds, and to the tick: ten heartbeats, and then none.

# %%
with qnx.world(clock=qnx.Clock.VIRTUAL_CLOCK):
    system = QnxThreadSystemBuilder().build()
    config = WatchdogConfig(default_timeout="30s", check_interval="1s").with_system(system)
    watchdog = SoftwareWatchdog(config)
    watchdog.start()
    qnx.wait_blocked(1)
    work = watchdog.watch_wasm_execution("slow work")
    quiet = []
    while not work.is_hung:
        if len(quiet) < 10:
            work.heartbeat()
        qnx.step(1.0)
        qnx.wait_blocked(1)
        quiet.append(work.report.quiet_ns / 1e9)
    print(f"hung at second {qnx.now():.0f}: {watchdog.events.next(1).kind.name}")
    monitor_at_work = qnx.threads()
    work.end()
    watchdog.stop()
    watchdog.close()
    system.close()

figure, axis = plt.subplots(figsize=(7, 2.5))
axis.step(range(1, len(quiet) + 1), quiet, where="post")
axis.axhline(30, color="tab:red", linestyle=":")
axis.set_xlabel("virtual time (s)")
axis.set_ylabel("quiet for (s)")
figure.tight_layout()

# %% [markdown]
# ## Looking into the kernel
#
# Its threads at that moment: the monitor waits on a condition variable, until its next check.

# %%
Table(monitor_at_work)

# %% [markdown]
# Channels, and the pulses that wait in one: a futex of the QNX backend has a channel for each
# thread that may wait. Here nobody waits, so what is sent to the first connection stays in the
# queue, the most urgent pulse in front.

# %%
with qnx.world():
    futex = QnxFutexBuilder().with_maximum_waiters(2).build()
    for priority in (10, 63, 20, 20):
        wake = QnxWakeBuilder().with_connection(0x40000001).with_priority(priority)
        wake.with_code(3).with_value(7).build().call()
    channels = qnx.channels()
    pulses = qnx.pulses(channels[0].id)
    futex.close()
Table(channels)

# %%
Table(pulses)

# %% [markdown]
# Memory partitions of the kernel's own count processes. A partition of the level PROCESS is one; a
# program that is started in it is limited from its first instruction on.

# %%
with qnx.world():
    qnx_memory.install_memory_partitions()
    builder = QnxMemoryPartitionBuilder().with_name("tenant1").with_memory_size(4 * MIB, 64 * MIB)
    partition = builder.with_isolation(QnxIsolation.PROCESS).build()
    process = partition.spawn("/bin/sleep", ["sleep", "0.2"])
    partitions = qnx_memory.partitions()
    isolation = partition.report.isolation
    time.sleep(0.5)
    exit_code = partition.detach(process)
    partition.close()
print(f"isolation: {isolation}; exit code {exit_code}")
Table(partitions)
