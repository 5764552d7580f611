"""Thread managers: limits that stop exactly the offender, and threads that don't come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from patience import wait_until
from support.guest import Guest, last_error, must, new_config
from wrt_platform._native import ffi, lib

OK = lib.WRT_OK
SECOND = 10**9
FOREVER = 2**64 - 1

QUICK, SPIN, WAIT, STUCK, TRAP, SLEEPY = range(1, 7)

GUEST = """(module
  (import "host" "wait" (func $wait))
  (import "host" "stuck" (func $stuck))
  (func (export "quick") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "spin") (loop (br 0)))
  (func (export "wait") (call $wait))
  (func (export "stuck") (call $stuck))
  (func (export "trap") unreachable))"""


class Threads:
    """A manager over eight instances of the guest, function n of instance i is 100 * i + n."""

    def __init__(self, instances: int = 4, workers: int = 4, **settings: Any) -> None:
        self.let_go = threading.Event()
        self.stuck = threading.Event()
        self.linux = ffi.new("wrt_linux_thread_system *")
        must(
            lib.wrt_linux_thread_system_init(
                self.linux, new_config("wrt_linux_thread_system_config")
            )
        )
        self.system = ffi.new(
            "wrt_thread_system *", lib.wrt_linux_thread_system_interface(self.linux)
        )
        waits: dict[tuple[str, str], Any] = {
            ("host", "wait"): (self._wait, [], []),
            ("host", "stuck"): (self._hang, [], []),
        }
        self.guests = [Guest(GUEST, waits) for _ in range(instances)]
        self._make_executor()
        self.events = self._make_events()
        pool = new_config("wrt_thread_pool_config", max_threads=workers, spare_threads=workers)
        pool.system, pool.executor = self.system[0], self.executor
        self.config = new_config("wrt_thread_manager_config", threads=pool, module_capacity=4)
        limits = settings.pop("limits", {})
        self.config.limits.struct_size = ffi.sizeof("wrt_threading_limits")
        for name, value in limits.items():
            setattr(self.config.limits, name, value)
        self.config.events = self.events
        self.config.kill_timeout_ns = SECOND // 5
        for name, value in settings.items():
            setattr(self.config, name, value)
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_thread_manager_layout(self.config, layout))
        self.buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        self.config.buffer, self.config.buffer_size = self.buffer, layout.bytes
        self.raw = ffi.new("wrt_thread_manager *")
        must(lib.wrt_thread_manager_init(self.raw, self.config))
        self._kept: list[Any] = [pool]

    def _wait(self, caller: Any, values: Any) -> int:
        token = lib.wrt_instance_cancel_token(caller)
        status = lib.wrt_cancel_wait(token, self.system, FOREVER)
        return int(lib.WRT_ERR_PENDING if status == lib.WRT_ERR_INTERRUPTED else status)

    def _hang(self, caller: Any, values: Any) -> int:
        self.stuck.set()
        self.let_go.wait(30)
        return int(OK)

    def _make_executor(self) -> None:
        names = ("quick", "spin", "wait", "stuck", "trap")
        rows = ffi.new("wrt_executor_function[]", len(self.guests) * len(names))
        for number, guest in enumerate(self.guests):
            for place, name in enumerate(names):
                row = rows[number * len(names) + place]
                row.function_id = 100 * number + place + 1
                row.instance, row.function = guest.raw, guest.export(name).of.function
        config = new_config(
            "wrt_instance_executor_config", functions=rows, function_count=len(rows)
        )
        config.system = self.system[0]
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_instance_executor_layout(config, layout))
        self.executor_buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        config.buffer, config.buffer_size = self.executor_buffer, layout.bytes
        self.executor_raw = ffi.new("wrt_instance_executor *")
        must(lib.wrt_instance_executor_init(self.executor_raw, config))
        self.executor = lib.wrt_instance_executor_interface(self.executor_raw)

    def _make_events(self) -> Any:
        config = new_config("wrt_events_config", capacity=64)
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_events_layout(config, layout))
        self.event_buffer = ffi.new("uint8_t[]", layout.bytes + layout.alignment)
        skip = -int(ffi.cast("uintptr_t", self.event_buffer)) % layout.alignment
        config.buffer, config.buffer_size = self.event_buffer + skip, layout.bytes
        events = ffi.new("wrt_events *")
        must(lib.wrt_events_init(events, config))
        return events

    def take_events(self) -> list[tuple[int, int, int]]:
        event = ffi.new("wrt_event *")
        seen = []
        while lib.wrt_events_next(self.events, event, 0, ffi.NULL) == OK:
            seen.append((event.kind, event.source, event.detail[0]))
        return seen

    def register(self, module: int, **settings: Any) -> int:
        info = new_config("wrt_wasm_module_info", id=module, **settings)
        return int(lib.wrt_thread_manager_register_module(self.raw, info))

    def spawn(self, function: int, module: int = 1, argument: int | None = None) -> Any:
        status, thread = self.try_spawn(function, module, argument)
        assert status == OK, last_error()
        return thread

    def try_spawn(
        self, function: int, module: int = 1, argument: int | None = None
    ) -> tuple[int, Any]:
        thread = ffi.new("wrt_managed_thread *")
        config = new_config("wrt_wasm_task_config", function_id=function, id=function)
        values = ffi.new("wrt_value[2]")
        if argument is not None:
            values[0].i32 = argument
            config.args, config.args_count = values, 1
            config.results, config.results_count = values + 1, 1
        self._kept += [thread, values]
        status = lib.wrt_thread_manager_spawn(self.raw, module, config, thread)
        return int(status), (thread, values)

    def join(self, thread: Any, timeout: float = 10) -> tuple[int, int]:
        """Outcome and health."""
        outcome, health = ffi.new("wrt_wasm_outcome *"), ffi.new("uint32_t *")
        status = lib.wrt_managed_thread_join(
            thread[0], int(timeout * SECOND), ffi.NULL, outcome, health
        )
        assert status == OK, last_error()
        return int(outcome.status), int(health[0])

    def health(self) -> dict[int, int]:
        rows, count = ffi.new("wrt_thread_health_report[64]"), ffi.new("uint32_t *")
        must(lib.wrt_thread_manager_health_check(self.raw, rows, 64, count))
        return {int(row.id): int(row.health) for row in rows[0 : count[0]]}

    def kill_unhealthy(self) -> int:
        stopped = ffi.new("uint32_t *")
        must(lib.wrt_thread_manager_kill_unhealthy(self.raw, stopped))
        return int(stopped[0])

    @property
    def report(self) -> Any:
        report = ffi.new("wrt_thread_manager_report *")
        must(lib.wrt_thread_manager_query(self.raw, report))
        return report

    def close(self) -> None:
        self.let_go.set()
        must(lib.wrt_thread_manager_shutdown(self.raw, lib.WRT_SHUTDOWN_CANCEL, 10 * SECOND))
        must(lib.wrt_thread_manager_deinit(self.raw))
        must(lib.wrt_instance_executor_deinit(self.executor_raw))
        for guest in self.guests:
            guest.close()
        must(lib.wrt_linux_thread_system_deinit(self.linux))


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Threads] = []

    def build(**settings: Any) -> Threads:
        made.append(Threads(**settings))
        assert made[-1].register(1) == OK
        return made[-1]

    yield build
    for threads in made:
        threads.close()


@pytest.mark.row("ST-1")
def test_threads_return_their_results(make: Any) -> None:
    threads = make()
    spawned = [threads.spawn(100 * number + QUICK, argument=number) for number in range(4)]
    for number, thread in enumerate(spawned):
        assert threads.join(thread) == (OK, lib.WRT_THREAD_HEALTHY)
        assert thread[1][1].i32 == 2 * number
    failing = threads.spawn(TRAP)
    assert threads.join(failing) == (lib.WRT_ERR_TRAP, lib.WRT_THREAD_HEALTHY)
    assert threads.health() == {}


@pytest.mark.row("ST-2")
def test_runaways_of_each_kind_are_told_apart_and_stopped_and_the_healthy_go_on(make: Any) -> None:
    threads = make(
        workers=5,
        instances=5,
        limits={"cpu_quota_per_thread_ns": SECOND // 5, "max_thread_lifetime_ns": 2 * SECOND},
        response_timeout_ns=SECOND // 2,
    )
    spinning = threads.spawn(SPIN)
    waiting = threads.spawn(100 + WAIT)
    hanging = threads.spawn(200 + STUCK)
    assert threads.stuck.wait(5)
    seen: dict[int, int] = {}
    for _ in range(400):
        seen = threads.health()
        assert set(seen) == {SPIN, 100 + WAIT, 200 + STUCK}
        if all(seen.values()):
            break
        time.sleep(0.01)
    assert seen == {
        SPIN: lib.WRT_THREAD_CPU_QUOTA_EXCEEDED,
        100 + WAIT: lib.WRT_THREAD_UNRESPONSIVE,
        200 + STUCK: lib.WRT_THREAD_UNRESPONSIVE,
    }
    healthy = threads.spawn(300 + SPIN)  # has just begun
    assert threads.kill_unhealthy() == 3
    assert threads.join(spinning) == (
        lib.WRT_ERR_INTERRUPTED,
        lib.WRT_THREAD_CPU_QUOTA_EXCEEDED,
    )
    assert threads.join(waiting) == (lib.WRT_ERR_INTERRUPTED, lib.WRT_THREAD_UNRESPONSIVE)
    assert threads.health()[200 + STUCK] == lib.WRT_THREAD_POISONED  # it did not come back
    assert (threads.report.killed, threads.report.given_up, threads.report.poisoned) == (2, 1, 1)
    assert threads.join(threads.spawn(400 + QUICK, argument=4))[0] == OK  # the pool is usable

    threads.let_go.set()  # the lost one comes back after all
    wait_until(lambda: threads.report.poisoned == 0)
    assert threads.join(hanging)[1] == lib.WRT_THREAD_UNRESPONSIVE
    assert lib.wrt_managed_thread_kill(healthy[0]) == OK
    assert threads.join(healthy)[0] == lib.WRT_ERR_INTERRUPTED
    told = [  # the healthy one has come to its own limit by now
        (kind, source) for kind, source, _ in threads.take_events() if source != 300 + SPIN
    ]
    assert sorted(told) == sorted(
        [
            (lib.WRT_EVENT_THREAD_UNHEALTHY, SPIN),
            (lib.WRT_EVENT_THREAD_UNHEALTHY, 100 + WAIT),
            (lib.WRT_EVENT_THREAD_UNHEALTHY, 200 + STUCK),
            (lib.WRT_EVENT_THREAD_KILLED, SPIN),
            (lib.WRT_EVENT_THREAD_KILLED, 100 + WAIT),
            (lib.WRT_EVENT_THREAD_POISONED, 200 + STUCK),
        ]
    )


@pytest.mark.row("ST-1")
@pytest.mark.parametrize("limit", ["cpu_quota_per_thread_ns", "max_thread_lifetime_ns"])
def test_each_limit_stops_exactly_the_offender(make: Any, limit: str) -> None:
    threads = make(limits={limit: SECOND // 5})
    offender = SPIN if limit == "cpu_quota_per_thread_ns" else WAIT
    other = 100 + (WAIT if limit == "cpu_quota_per_thread_ns" else QUICK)
    bad = threads.spawn(offender)
    good = threads.spawn(other, argument=None if offender == SPIN else 21)
    wait_until(lambda: threads.health().get(offender, 0) != 0)
    assert threads.kill_unhealthy() == 1
    expected = (
        lib.WRT_THREAD_CPU_QUOTA_EXCEEDED if offender == SPIN else lib.WRT_THREAD_LIFETIME_EXCEEDED
    )
    assert threads.join(bad) == (lib.WRT_ERR_INTERRUPTED, expected)
    if offender == SPIN:  # a thread that waits uses no CPU, however long it lives
        assert threads.health() == {other: lib.WRT_THREAD_HEALTHY}
        assert lib.wrt_managed_thread_kill(good[0]) == OK
    assert threads.join(good)[1] == lib.WRT_THREAD_HEALTHY


@pytest.mark.row("ST-1")
def test_quota_of_the_module_is_the_stricter_one(make: Any) -> None:
    threads = make(limits={"cpu_quota_per_thread_ns": 50 * SECOND})
    assert threads.register(2, cpu_quota_ns=SECOND // 10) == OK
    generous, strict = threads.spawn(SPIN), threads.spawn(100 + SPIN, module=2)
    wait_until(lambda: threads.health()[100 + SPIN] == lib.WRT_THREAD_CPU_QUOTA_EXCEEDED)
    assert threads.health()[SPIN] == lib.WRT_THREAD_HEALTHY
    assert threads.kill_unhealthy() == 1
    assert threads.join(strict)[0] == lib.WRT_ERR_INTERRUPTED
    assert lib.wrt_managed_thread_kill(generous[0]) == OK
    threads.join(generous)


@pytest.mark.row("ST-1")
def test_more_threads_than_allowed_are_refused_with_the_numbers(make: Any) -> None:
    threads = make(limits={"max_threads_per_module": 2, "max_total_threads": 3})
    assert threads.register(2, max_threads=1) == OK
    assert threads.register(3) == OK
    out = [threads.spawn(WAIT), threads.spawn(100 + WAIT)]
    assert threads.try_spawn(200 + WAIT)[0] == lib.WRT_ERR_LIMIT
    assert "2 threads, allowed are 2" in last_error()
    out.append(threads.spawn(200 + WAIT, module=2))
    assert threads.try_spawn(300 + WAIT, module=2)[0] == lib.WRT_ERR_LIMIT
    assert "1 threads, allowed are 1" in last_error()
    assert threads.try_spawn(300 + WAIT, module=3)[0] == lib.WRT_ERR_LIMIT
    assert "3 threads together, allowed are 3" in last_error()
    assert threads.report.refused == 3
    for thread in out:
        assert lib.wrt_managed_thread_kill(thread[0]) == OK
        assert threads.join(thread)[0] == lib.WRT_ERR_INTERRUPTED
    assert threads.join(threads.spawn(300 + QUICK, module=3, argument=1))[0] == OK


@pytest.mark.row("ST-2")
def test_monitor_kills_by_itself_and_leaves_the_others_alone(make: Any) -> None:
    threads = make(
        limits={"cpu_quota_per_thread_ns": SECOND // 10}, check_interval_ns=SECOND // 100
    )
    assert lib.wrt_thread_manager_start(threads.raw) == OK
    assert lib.wrt_thread_manager_start(threads.raw) == lib.WRT_ERR_STATE
    waiting, spinning = threads.spawn(WAIT), threads.spawn(100 + SPIN)
    assert threads.join(spinning) == (
        lib.WRT_ERR_INTERRUPTED,
        lib.WRT_THREAD_CPU_QUOTA_EXCEEDED,
    )
    assert threads.health() == {WAIT: lib.WRT_THREAD_HEALTHY}
    assert threads.report.is_running
    assert lib.wrt_thread_manager_stop(threads.raw, 10 * SECOND) == OK
    assert not threads.report.is_running
    assert lib.wrt_managed_thread_kill(waiting[0]) == OK
    threads.join(waiting)


@pytest.mark.row("ST-2")
def test_monitor_can_be_stopped_and_started_again(make: Any) -> None:
    threads = make(
        limits={"cpu_quota_per_thread_ns": SECOND // 20}, check_interval_ns=SECOND // 100
    )
    for turn in range(3):
        assert lib.wrt_thread_manager_start(threads.raw) == OK
        assert threads.join(threads.spawn(100 * turn + SPIN))[0] == lib.WRT_ERR_INTERRUPTED
        assert lib.wrt_thread_manager_stop(threads.raw, 10 * SECOND) == OK
        assert lib.wrt_thread_manager_stop(threads.raw, 0) == OK  # it does not run


@pytest.mark.row("ST-2")
def test_monitor_that_is_just_killing_is_not_taken_for_one_that_has_ended(make: Any) -> None:
    threads = make(
        limits={"max_thread_lifetime_ns": SECOND // 20},
        check_interval_ns=SECOND // 100,
        kill_timeout_ns=SECOND,
    )
    assert lib.wrt_thread_manager_start(threads.raw) == OK
    stuck = threads.spawn(STUCK)
    assert threads.stuck.wait(5)
    time.sleep(0.3)  # beyond its lifetime: the monitor waits for it
    assert lib.wrt_thread_manager_stop(threads.raw, SECOND // 100) == lib.WRT_ERR_TIMED_OUT
    assert threads.report.is_running
    assert lib.wrt_thread_manager_start(threads.raw) == lib.WRT_ERR_STATE
    assert lib.wrt_thread_manager_stop(threads.raw, 10 * SECOND) == OK
    assert not threads.report.is_running
    threads.let_go.set()
    wait_until(lambda: threads.report.poisoned == 0)
    threads.join(stuck)


@pytest.mark.row("ST-1")
def test_modules_are_known_once_and_forgotten_when_nothing_runs(make: Any) -> None:
    threads = make()
    assert threads.register(1) == lib.WRT_ERR_STATE
    assert [threads.register(number) for number in (2, 3, 4)] == [OK] * 3
    assert threads.register(5) == lib.WRT_ERR_LIMIT
    assert threads.register(6, default_priority=9) == lib.WRT_ERR_INVALID_ARGUMENT
    thread = threads.spawn(WAIT, module=2)
    forget = lib.wrt_thread_manager_unregister_module
    assert forget(threads.raw, 2) == lib.WRT_ERR_BUSY
    assert lib.wrt_managed_thread_kill(thread[0]) == OK
    threads.join(thread)
    assert forget(threads.raw, 2) == OK
    assert forget(threads.raw, 2) == lib.WRT_ERR_NOT_FOUND
    assert threads.try_spawn(QUICK, module=2, argument=1)[0] == lib.WRT_ERR_NOT_FOUND
    assert threads.register(5) == OK


@pytest.mark.row("ST-1")
def test_misuse_is_refused_and_loses_nothing(make: Any) -> None:
    threads = make()
    outcome = ffi.new("wrt_wasm_outcome *")
    join = lib.wrt_managed_thread_join
    assert threads.try_spawn(99)[0] == lib.WRT_ERR_NOT_FOUND  # no such function
    assert threads.try_spawn(QUICK)[0] == lib.WRT_ERR_INVALID_ARGUMENT  # it has an argument
    thread = threads.spawn(WAIT)
    config = new_config("wrt_wasm_task_config", function_id=100 + WAIT)
    again = lib.wrt_thread_manager_spawn(threads.raw, 1, config, thread[0])
    assert again == lib.WRT_ERR_STATE
    assert join(thread[0], 0, ffi.NULL, outcome, ffi.NULL) == lib.WRT_ERR_TIMED_OUT
    assert lib.wrt_managed_thread_kill(thread[0]) == OK
    assert threads.join(thread)[0] == lib.WRT_ERR_INTERRUPTED
    assert join(thread[0], 0, ffi.NULL, outcome, ffi.NULL) == lib.WRT_ERR_STATE
    assert lib.wrt_managed_thread_kill(thread[0]) == lib.WRT_ERR_STATE
    assert lib.wrt_thread_manager_deinit(threads.raw) == lib.WRT_ERR_STATE  # not shut down
    moved = ffi.new("wrt_thread_manager *", threads.raw[0])
    assert (
        lib.wrt_thread_manager_query(moved, ffi.new("wrt_thread_manager_report *"))
        == lib.WRT_ERR_STATE
    )
    nobody = ffi.new("wrt_thread_manager *")
    assert lib.wrt_thread_manager_deinit(nobody) == OK
    assert lib.wrt_thread_manager_start(nobody) == lib.WRT_ERR_STATE


@pytest.mark.row("ST-2")
def test_shutdown_gives_up_what_does_not_come_back(make: Any) -> None:
    threads = make()
    stuck = threads.spawn(STUCK)
    assert threads.stuck.wait(5)
    cancel = lib.WRT_SHUTDOWN_CANCEL
    assert lib.wrt_thread_manager_shutdown(threads.raw, cancel, SECOND // 5) == OK
    assert lib.wrt_thread_manager_deinit(threads.raw) == lib.WRT_ERR_STATE
    assert "lost" in last_error() or "given up" in last_error()
    assert threads.report.poisoned == 1
    threads.let_go.set()
    wait_until(lambda: threads.report.poisoned == 0)
    assert threads.join(stuck)[0] in (OK, lib.WRT_ERR_INTERRUPTED)
