"""Thread managers through the face: reports, joins from two threads, Ctrl-C, and the exit of Python
with threads in every state."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from patience import wait_until
from wrt_platform import (
    BusyError,
    EventKind,
    EventsBuilder,
    HostError,
    Instance,
    InvalidArgumentError,
    NotFoundError,
    StateError,
    ThreadHealth,
    ThreadingLimits,
    ThreadManagerConfig,
    ThreadPoolConfig,
    TimedOutError,
    WasmModuleInfo,
    WasmTask,
    WasmThreadManager,
)
from wrt_platform.threading import LinuxThreadPool, TaskState

SQUARE, SPIN, STUCK, FAIL = range(1, 5)

GUEST = """(module
  (import "host" "stuck" (func $stuck))
  (import "host" "fail" (func $fail))
  (func (export "square") (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
  (func (export "spin") (loop (br 0)))
  (func (export "stuck") (call $stuck))
  (func (export "fail") (call $fail)))"""

NAMES = {SQUARE: "square", SPIN: "spin", STUCK: "stuck", FAIL: "fail"}


class Host:
    """A host function that hangs until it is let go, and one that raises."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def stuck(self) -> None:
        self.entered.set()
        self.let_go.wait(30)

    def fail(self) -> None:
        raise ValueError("no such file")


class Tenants:
    """A manager over two guests; function n of guest i is 100 * i + n."""

    def __init__(self, limits: ThreadingLimits | None = None, **settings: Any) -> None:
        self.host = Host()
        imports = {"host": {"stuck": self.host.stuck, "fail": self.host.fail}}
        self.instances = [Instance(GUEST, imports) for _ in range(2)]
        self.table = {
            100 * place + number: getattr(instance.exports, name)
            for place, instance in enumerate(self.instances)
            for number, name in NAMES.items()
        }
        self.events = EventsBuilder().build()
        pool = ThreadPoolConfig(max_threads=3, spare_threads=2)
        settings = {"kill_timeout": 0.2, "events": self.events, **settings}
        config = ThreadManagerConfig(pool, limits, **settings)
        self.manager = WasmThreadManager(config, executor=self.table)
        self.manager.register_module(WasmModuleInfo(id=1, name="one"))

    def spawn(self, function: int, *args: int) -> Any:
        task = WasmTask(id=function, function_id=function, args=args)
        return self.manager.spawn(1, task)

    def close(self) -> None:
        self.host.let_go.set()
        wait_until(lambda: not self.manager._raw.magic or self.manager.report.poisoned == 0)
        self.manager.close()


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Tenants] = []

    def build(*values: Any, **settings: Any) -> Tenants:
        made.append(Tenants(*values, **settings))
        return made[-1]

    yield build
    for tenants in made:
        tenants.close()


@pytest.mark.row("ST-2")
def test_health_report_measures_what_the_thread_does(make: Any) -> None:
    tenants = make()
    spinning, stuck = tenants.spawn(SPIN), tenants.spawn(100 + STUCK)
    assert tenants.host.entered.wait(10)
    first = {row.id: row for row in tenants.manager.health_reports()}
    time.sleep(0.2)
    second = {row.id: row for row in tenants.manager.health_reports()}
    assert set(second) == {SPIN, 100 + STUCK}
    assert all(row.module == 1 and row.state is TaskState.RUNNING for row in second.values())
    assert second[SPIN].heartbeat != first[SPIN].heartbeat
    assert second[100 + STUCK].heartbeat == first[100 + STUCK].heartbeat
    assert second[100 + STUCK].quiet_ns >= 180_000_000 > second[SPIN].quiet_ns
    used = {name: row.cpu_time_ns - first[name].cpu_time_ns for name, row in second.items()}
    assert used[SPIN] > 10 * used[100 + STUCK]
    assert tenants.manager.health_check() == [(row.id, row.health) for row in second.values()]
    assert spinning.kill()
    assert stuck.kill()
    tenants.host.let_go.set()
    for thread in (spinning, stuck):
        assert thread.join(10).error is not None
        assert not thread.kill()


@pytest.mark.row("ST-2")
def test_kills_are_counted_and_told(make: Any) -> None:
    tenants = make(ThreadingLimits(max_thread_lifetime="100ms"))
    assert tenants.manager.kill_unhealthy_threads() == 0
    spinning, stuck = tenants.spawn(SPIN), tenants.spawn(100 + STUCK)
    assert tenants.host.entered.wait(10)
    time.sleep(0.15)
    assert tenants.manager.kill_unhealthy_threads() == 2
    assert tenants.manager.kill_unhealthy_threads() == 0  # each once
    assert spinning.join(10).error is not None
    assert spinning.killed_for is ThreadHealth.LIFETIME_EXCEEDED
    assert tenants.manager.health_check() == [(100 + STUCK, ThreadHealth.POISONED)]
    with pytest.raises(StateError):
        stuck.join(5)
    seen = [tenants.events.next(1) for _ in range(4)]
    told = sorted((int(event.kind), event.source) for event in seen)
    unhealthy, killed = int(EventKind.THREAD_UNHEALTHY), int(EventKind.THREAD_KILLED)
    poisoned = int(EventKind.THREAD_POISONED)
    expected = [(unhealthy, SPIN), (unhealthy, 100 + STUCK), (killed, SPIN)]
    assert told == sorted([*expected, (poisoned, 100 + STUCK)])
    assert {tuple(event.detail) for event in seen} == {(int(ThreadHealth.LIFETIME_EXCEEDED), 1)}
    tenants.host.let_go.set()
    wait_until(lambda: tenants.manager.report.poisoned == 0)
    assert stuck.join(10).error is not None  # it has come back
    report = tenants.manager.report
    assert (report.killed, report.given_up, report.spawned) == (1, 1, 2)


@pytest.mark.row("ST-1")
@pytest.mark.parametrize("kind", ["manager", "pool"])
def test_every_thread_that_joins_gets_the_same_outcome(make: Any, kind: str) -> None:
    tenants = make()
    if kind == "pool":
        instance = Instance("""(module (func (export "n") (param i32) (result i32) local.get 0))""")
        pool = LinuxThreadPool(ThreadPoolConfig(max_threads=2), {1: instance.exports.n})
    for turn in range(100):
        if kind == "pool":
            task = pool.spawn_wasm_thread(WasmTask(function_id=1, args=[turn]))
        else:
            task = tenants.spawn(SQUARE, turn)
        got: list[Any] = []

        def join(task: Any = task, got: list[Any] = got) -> None:
            try:
                got.append(task.join(10))
            except BaseException as error:
                got.append(error)

        joiners = [threading.Thread(target=join) for _ in range(3)]
        for joiner in joiners:
            joiner.start()
        for joiner in joiners:
            joiner.join(20)
        assert got == [got[0]] * 3
        assert got[0].value == (turn if kind == "pool" else turn * turn)
    if kind == "pool":
        pool.close()


@pytest.mark.row("ST-1")
@pytest.mark.parametrize("wait", ["join", "result", "pool.join", "pool.map", "shutdown"])
def test_ctrl_c_lands_while_something_waits(make: Any, wait: str) -> None:
    tenants = make()
    call: Any
    if wait.startswith("pool."):
        instance = Instance("""(module (func (export "spin") (loop (br 0))))""")
        pool = LinuxThreadPool(ThreadPoolConfig(max_threads=1), {1: instance.exports.spin})
        if wait == "pool.map":
            call = functools.partial(pool.map, 1, [()] * 3)
        else:
            call = pool.spawn_wasm_thread(WasmTask(function_id=1)).join
    else:
        thread = tenants.spawn(SPIN)
        call = tenants.manager.shutdown if wait == "shutdown" else getattr(thread, wait)
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Timer(0.1, send).start()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert time.monotonic() - sent[0] < 0.2  # 0.1 s, and a busy machine
    if wait.startswith("pool."):
        pool.close()


@pytest.mark.row("ST-1")
def test_what_a_host_function_raised_comes_to_who_joins(make: Any) -> None:
    tenants = make()
    thread = tenants.spawn(FAIL)
    with pytest.raises(HostError) as caught:
        thread.result(10)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "no such file" in str(caught.value.__cause__)
    assert thread.killed_for is ThreadHealth.HEALTHY
    assert tenants.spawn(SQUARE, 3).result(10) == 9


@pytest.mark.row("ST-1")
def test_module_is_forgotten_when_its_threads_are_joined(make: Any) -> None:
    tenants = make()
    thread = tenants.spawn(SQUARE, 3)
    with pytest.raises(BusyError):
        tenants.manager.unregister_module(1)
    assert thread.result(timeout=20) == 9
    tenants.manager.unregister_module(1)
    with pytest.raises(NotFoundError):
        tenants.manager.unregister_module(1)
    with pytest.raises(NotFoundError):
        tenants.spawn(SQUARE, 3)


@pytest.mark.row("ST-1")
def test_use_after_close_is_refused_and_outcomes_are_kept(make: Any) -> None:
    tenants = make()
    manager = tenants.manager
    square, spinning = tenants.spawn(SQUARE, 4), tenants.spawn(100 + SPIN)
    with pytest.raises(TimedOutError):
        spinning.join("50ms")
    with pytest.raises(NotFoundError):
        manager.spawn(9, WasmTask(function_id=SQUARE, args=[1]))
    with pytest.raises(NotFoundError):
        tenants.spawn(77)
    with pytest.raises(InvalidArgumentError):
        tenants.spawn(SQUARE)
    manager.close()
    manager.close()
    assert square.result() == 16
    assert spinning.join().error is not None
    assert not spinning.kill()
    for use in (
        manager.health_check,
        manager.kill_unhealthy_threads,
        manager.start,
        lambda: manager.report,
        lambda: manager.register_module(WasmModuleInfo(id=2)),
        lambda: tenants.spawn(SQUARE, 1),
    ):
        with pytest.raises(StateError):
            use()


@pytest.mark.row("ST-1")
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"module_capacity": 0}, InvalidArgumentError),
        ({"module_capacity": 1025}, InvalidArgumentError),
        ({"module_capacity": 2**32}, ValueError),
        ({"response_timeout": -1}, ValueError),
        ({"kill_timeout": "soon"}, ValueError),
        ({"unknown": 1}, TypeError),
        ({"buffer": bytearray(64)}, (InvalidArgumentError, MemoryError)),
    ],
)
def test_config_out_of_range_is_refused(make: Any, settings: Any, error: Any) -> None:
    tenants = make()
    tenants.manager.close()  # so that the instances are free
    with pytest.raises(error):
        config = ThreadManagerConfig(ThreadPoolConfig(max_threads=1), **settings)
        WasmThreadManager(config, executor=tenants.table)
    assert tenants.instances[0].call("square", 3) == 9  # not lent for a manager that is not there


EXITS = {
    "running": "manager.spawn(1, WasmTask(function_id=SPIN))",
    "hung": """manager.spawn(1, WasmTask(function_id=STUCK)); entered.wait(10)""",
    "given up": """
manager.spawn(1, WasmTask(function_id=STUCK)); entered.wait(10)
time.sleep(0.1)
assert manager.kill_unhealthy_threads() == 1""",
    "monitored": """
manager.start()
manager.spawn(1, WasmTask(function_id=SPIN))""",
    "exception": """
manager.spawn(1, WasmTask(function_id=SPIN))
raise SystemExit(3)""",
}

CHILD = """
import threading, time
from wrt_platform import *
SPIN, STUCK = 1, 2
entered = threading.Event()
def stuck():
    entered.set()
    time.sleep(60)
guest = '''(module (import "host" "stuck" (func $stuck))
  (func (export "spin") (loop (br 0))) (func (export "stuck") (call $stuck)))'''
instance = Instance(guest, {"host": {"stuck": stuck}})
table = {SPIN: instance.exports.spin, STUCK: instance.exports.stuck}
config = ThreadManagerConfig(ThreadPoolConfig(max_threads=1, spare_threads=1),
    ThreadingLimits(max_thread_lifetime=0.05), kill_timeout=0.1, check_interval=5)
manager = WasmThreadManager(config, executor=table)
manager.register_module(WasmModuleInfo(id=1))
"""


@pytest.mark.row("ST-2")
@pytest.mark.parametrize("state", list(EXITS))
def test_python_ends_whatever_the_threads_do(state: str) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD + EXITS[state]], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == (3 if state == "exception" else 0)
    assert time.monotonic() - start < 15
