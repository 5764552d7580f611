"""Threads: three of them on one object lose nothing, wait for nobody for ever, and can look on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.guest import assemble as wasm
from wrt_platform._native import lib
from wrt_platform.errors import InterruptedCallError, StateError
from wrt_platform.instance import Instance
from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.module import Module

MODULE = Module(
    wasm("""(module
  (import "env" "f" (func $f))
  (memory (export "memory") 1 8)
  (global $n (export "n") (mut i32) (i32.const 0))
  (func (export "add") (result i32) (call $f) (call $count))
  (func $count (export "count") (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    global.get $n)
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "spin") (loop $l (br $l)))
  (func (export "host") (call $f)))""")
)


def with_host(call: Callable[[], Any] = lambda: None) -> Instance:
    return Instance(MODULE, {"env": {"f": call}})


def in_threads(count: int, work: Callable[[], None]) -> list[BaseException]:
    """Does the work in so many threads; returns what they raised."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return failures


class OneCallAtATime:
    """Stands before `lib`, makes each call slow, and notices a second caller inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.overlaps = 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(lib, name)
        if not name.startswith("wrt_") or name == "wrt_instance_interrupt":
            return value

        def call(*arguments: Any) -> Any:
            self.inside += 1
            self.overlaps += self.inside > 1
            time.sleep(0.0002)
            try:
                return value(*arguments)
            finally:
                self.inside -= 1

        return call


def test_no_two_threads_are_inside_one_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = with_host()
    spy = OneCallAtATime()
    for module in ("execution", "guest", "instance", "store"):
        monkeypatch.setattr(f"wrt_platform.{module}.lib", spy)
    counted: list[int] = []

    def work() -> None:
        for _ in range(20):
            counted.append(instance.call("count"))
            assert instance.usage.fuel_used > 0
            assert instance.memory.pages >= 1

    assert in_threads(3, work) == []
    assert spy.overlaps == 0
    assert sorted(counted) == list(range(1, 61))
    assert int.from_bytes(instance.memory.read(0, 4), "little") == 60


@pytest.mark.parametrize("timeout", [None, 30])
def test_three_threads_on_one_instance_lose_nothing(timeout: float | None) -> None:
    instance = with_host(lambda: time.sleep(0))
    counted: list[int] = []

    def work() -> None:
        for _ in range(100):
            counted.append(instance.call("add", timeout=timeout))

    assert in_threads(3, work) == []
    assert sorted(counted) == list(range(1, 301))


def test_three_threads_on_linked_instances_lose_nothing() -> None:
    first = with_host()
    text = """(module (import "a" "add" (func $add (result i32)))
      (func (export "add") (result i32) (call $add)))"""
    instances = [first, *(Instance(wasm(text), {"a": first.exports}) for _ in range(2))]
    counted: list[int] = []

    def work() -> None:
        instance = instances.pop()
        for _ in range(200):
            counted.append(instance.call("add"))

    assert in_threads(3, work) == []
    assert sorted(counted) == list(range(1, 601))


def test_three_threads_on_one_allocator_lose_nothing() -> None:
    allocator = LinuxAllocatorBuilder().with_maximum_pages(8).with_guard_pages().build()

    def work() -> None:
        for _ in range(20):
            imports = {"env": {"f": lambda: None}}
            with Instance(MODULE, imports, allocator=allocator) as instance:
                assert [instance.call("grow") for _ in range(8)] == [*range(1, 8), -1]

    assert in_threads(3, work) == []
    assert allocator.report.allocation_count == 0


def test_no_two_threads_are_inside_instances_of_one_allocator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An allocator serves one caller at a time, and memory.grow calls it from inside a guest."""
    allocator = LinuxAllocatorBuilder().with_maximum_pages(8).build()
    imports = {"env": {"f": lambda: None}}
    instances = [Instance(MODULE, imports, allocator=allocator) for _ in range(3)]
    spy = OneCallAtATime()
    for module in ("execution", "guest", "instance"):
        monkeypatch.setattr(f"wrt_platform.{module}.lib", spy)

    def work() -> None:
        instance = instances.pop()
        assert [instance.call("grow") for _ in range(8)] == [*range(1, 8), -1]

    assert in_threads(3, work) == []
    assert spy.overlaps == 0


def test_instances_that_share_nothing_run_at_the_same_time() -> None:
    """Both are inside their host function together, or the barrier breaks."""
    barrier = threading.Barrier(2, timeout=5)
    failures = in_threads(2, lambda: with_host(barrier.wait).call("host"))
    assert all("returned" in str(error) for error in failures)  # Barrier.wait() gives a number
    assert not barrier.broken


def test_call_during_another_threads_long_run_is_refused_not_stuck() -> None:
    instance = with_host()
    runner = threading.Thread(target=lambda: in_spin(instance))
    runner.start()
    time.sleep(0.1)
    start = time.monotonic()
    with pytest.raises(StateError, match="another thread is running this instance"):
        instance.call("add")
    with pytest.raises(StateError):
        instance.close()
    assert time.monotonic() - start < 4
    instance.interrupt()
    runner.join(5)
    assert not runner.is_alive()
    assert instance.call("add") == 1


def in_spin(instance: Instance) -> None:
    with pytest.raises(InterruptedCallError):
        instance.call("spin")


def test_others_can_look_on_while_a_guest_runs() -> None:
    instance = with_host()
    runner = threading.Thread(target=lambda: in_spin(instance))
    runner.start()
    seen = []
    for _ in range(5):
        time.sleep(0.05)
        start = time.monotonic()
        seen.append(instance.usage.fuel_used)
        assert time.monotonic() - start < 0.5
    instance.interrupt()
    runner.join(5)
    assert sorted(set(seen)) == seen  # it grows


def test_others_can_look_on_while_a_host_function_waits() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        go_on.wait(10)

    instance = with_host(wait)
    runner = threading.Thread(target=instance.call, args=("host",))
    runner.start()
    assert reached.wait(5)
    assert instance.usage.memory_pages == 1
    instance.memory.write(8, b"seen")
    go_on.set()
    runner.join(5)
    assert instance.memory.read(8, 4) == b"seen"


def test_host_function_that_waits_for_a_thread_which_calls_is_not_a_deadlock() -> None:
    outcome: list[BaseException] = []
    holder: list[Instance] = []

    def wait_for_caller() -> None:
        outcome.extend(in_threads(1, lambda: holder[0].call("add")))

    holder.append(with_host(wait_for_caller))
    holder[0].call("host")
    assert [type(error) for error in outcome] == [StateError]


def test_linking_two_running_sets_is_refused() -> None:
    instance = with_host()
    runner = threading.Thread(target=lambda: in_spin(instance))
    runner.start()
    time.sleep(0.1)
    with pytest.raises(StateError):
        Instance(wasm('(module (import "a" "memory" (memory 1)))'), {"a": instance.exports})
    instance.interrupt()
    runner.join(5)
