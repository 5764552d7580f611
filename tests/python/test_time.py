"""Time-outs, interrupts and Ctrl-C: in a busy loop, in a host call, in a wait."""

from __future__ import annotations

import contextvars
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.guest import assemble as wasm
from support.lateness import again_if_late, in_time, within
from wrt_platform.cancel import CancelToken
from wrt_platform.errors import (
    HostError,
    InterruptedCallError,
    OutOfFuelError,
    StateError,
    TimedOutError,
)
from wrt_platform.instance import Instance
from wrt_platform.limits import Limits
from wrt_platform.module import Module
from wrt_platform.wasi import WasiBuilder

LATE = 0.2  # seconds: the promise
MODULE = Module(
    wasm("""(module
  (import "env" "f" (func $f))
  (global $n (export "n") (mut i64) (i64.const 0))
  (func (export "spin") (loop $l
    (global.set $n (i64.add (global.get $n) (i64.const 1))) (br $l)))
  (func (export "host") (call $f))
  (func (export "hosts") (loop $l (call $f) (br $l)))
  (func (export "count") (param i64) (result i64)
    (loop $l (global.set $n (i64.add (global.get $n) (i64.const 1)))
      (br_if $l (i64.lt_u (global.get $n) (local.get 0)))) global.get $n)
  (func (export "quick") (result i32) i32.const 7))""")
)

# Waits for a minute of the monotonic clock, by poll_oneoff.
SLEEPER = wasm(r"""(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\01")
  (data (i32.const 24) "\00\58\47\f8\0d\00\00\00")
  (func (export "_start") (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1)
    (i32.const 128)))))""")

# Opens no file, but makes a system call as fast as it can.
CALLER = wasm(r"""(module
  (import "wasi_snapshot_preview1" "fd_sync" (func $sync (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (loop $l (drop (call $sync (i32.const 1))) (br $l))))""")


def with_host(call: Callable[[], Any] = lambda: None) -> Instance:
    return Instance(MODULE, {"env": {"f": call}})


def sleep() -> None:
    time.sleep(0.7)


def busy() -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass


@contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    """SIGINT for this process, from outside of Python's control."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
        in_time(time.monotonic() - sent[0], 0, LATE)
    finally:
        timer.join()


# Time-outs


@pytest.mark.row("WE-2")
@pytest.mark.parametrize(
    ("name", "call"),
    [("spin", lambda: None), ("hosts", lambda: None), ("host", sleep), ("host", busy)],
)
@again_if_late
def test_timeout_lands_in_time(name: str, call: Callable[[], Any]) -> None:
    instance = with_host(call)
    with within(0.2, 0.2 + LATE), pytest.raises(TimedOutError, match=r"did not end within 0\.2 s"):
        instance.call(name, timeout=0.2)


@pytest.mark.row("WE-2")
@again_if_late
def test_timeout_lands_in_a_wait_of_wasi() -> None:
    instance = Instance(SLEEPER, WasiBuilder().build())
    with within(0.2, 0.2 + LATE), pytest.raises(TimeoutError):
        instance.call("_start", timeout="200ms")


@again_if_late
def test_timeout_of_the_limits_counts_for_each_call_and_can_be_overridden() -> None:
    instance = Instance(MODULE, {"env": {"f": lambda: None}}, limits=Limits(timeout=0.1))
    for _ in range(2):
        with within(0.1, 0.1 + LATE), pytest.raises(TimedOutError):
            instance.call("spin")
    with within(0.3, 0.3 + LATE), pytest.raises(TimedOutError):
        instance.exports.spin(timeout=0.3)
    assert instance.call("quick") == 7


@pytest.mark.row("WE-2")
def test_call_that_timed_out_can_be_resumed() -> None:
    instance = with_host()
    with pytest.raises(TimedOutError):
        instance.call("count", 30_000_000_000, timeout=0.05)
    so_far = instance.exports.n.value
    assert so_far > 0
    with pytest.raises(TimedOutError):
        instance.resume(timeout=0.05)
    assert instance.exports.n.value > so_far
    instance.exports.n.value = 30_000_000_000 - 1
    assert instance.resume(timeout=5) == 30_000_000_000


@again_if_late
def test_instance_refuses_until_an_abandoned_function_is_back_and_then_works() -> None:
    returned = threading.Event()

    def late() -> None:
        try:
            time.sleep(0.6)
        finally:
            returned.set()

    instance = with_host(late)
    with within(0.1, 0.1 + LATE), pytest.raises(TimedOutError):
        instance.call("hosts", timeout=0.1)
    with within(0, 0.1), pytest.raises(StateError, match="ran out of time, has not returned yet"):
        instance.call("quick")
    assert returned.wait(5)
    time.sleep(0.1)
    assert instance.call("quick") == 7  # and it was not called a second time:
    returned.clear()
    assert not returned.wait(0.8)


def test_busy_python_function_is_stopped_so_that_the_instance_is_free_at_once() -> None:
    stopped = threading.Event()

    def endless() -> None:
        try:
            busy()
        finally:
            stopped.set()

    instance = with_host(endless)
    with pytest.raises(TimedOutError):
        instance.call("host", timeout=0.1)
    assert stopped.wait(0.5)
    assert instance.call("quick") == 7


def test_no_interrupt_is_left_over_for_the_next_call() -> None:
    instance = with_host(sleep)
    for _ in range(3):
        with pytest.raises(TimedOutError):
            instance.call("host", timeout=0.05)
        time.sleep(0.8)
        assert instance.call("count", 3_000_000, timeout=5) >= 3_000_000
        instance.exports.n.value = 0


def test_host_function_sees_the_callers_context_variables() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []
    instance = with_host(lambda: seen.append(variable.get()))
    variable.set("set")
    instance.call("host", timeout=5)
    instance.call("host")
    assert seen == ["set", "set"]


def test_without_a_timeout_host_functions_stay_on_the_callers_thread() -> None:
    """Some things, like a connection of sqlite3, may not be used by another thread."""
    database = sqlite3.connect(":memory:")
    with_host(lambda: database.execute("create table t (a)") and None).call("host")
    assert database.execute("select count(*) from t").fetchone() == (0,)


@again_if_late
def test_inner_call_ends_with_its_own_timeout() -> None:
    holder: list[Instance] = []

    def again() -> None:
        with within(0.1, 0.1 + LATE), pytest.raises(TimedOutError):
            holder[0].call("spin", timeout=0.1)

    holder.append(with_host(again))
    holder[0].call("host")
    holder[0].call("host", timeout=5)
    assert holder[0].call("quick") == 7


@again_if_late
def test_outer_timeout_ends_an_inner_call_without_one() -> None:
    holder: list[Instance] = []
    holder.append(with_host(lambda: holder[0].call("spin")))
    with within(0.1, 0.1 + LATE), pytest.raises(TimedOutError):
        holder[0].call("host", timeout=0.1)
    time.sleep(0.2)
    assert holder[0].call("quick") == 7


# Interrupts


@pytest.mark.row("WE-2")
@again_if_late
def test_interrupt_from_another_thread_waits_for_nothing() -> None:
    instance = with_host()
    threading.Timer(0.1, instance.interrupt).start()
    with within(0.05, 0.1 + LATE), pytest.raises(InterruptedCallError):
        instance.call("spin")
    instance.exports.n.value = 2**62
    threading.Timer(0.1, instance.interrupt).start()
    with pytest.raises(InterruptedError):
        instance.resume()


@pytest.mark.row("WE-2")
@again_if_late
def test_interrupt_with_no_call_under_way_stops_the_next_one() -> None:
    instance = with_host()
    instance.interrupt()
    with within(0, LATE), pytest.raises(InterruptedCallError):
        instance.call("spin")
    with pytest.raises(TimedOutError):
        instance.call("spin", timeout=0.05)


@pytest.mark.row("WE-2")
def test_interrupt_that_nobody_saw_is_taken_back() -> None:
    instance = with_host()
    instance.interrupt()
    instance.clear_interrupt()
    assert instance.call("quick") == 7


@pytest.mark.row("ST-2")
@pytest.mark.parametrize("timeout", [None, 60])
def test_wait_with_the_calls_token_ends_by_its_interrupt_and_is_tried_again(
    timeout: float | None,
) -> None:
    """With a time-out the guest runs on a thread of its own."""
    waits: list[float | None] = [60, 0]
    instance = with_host(lambda: instance.cancel_token.sleep(waits.pop(0)))
    threading.Timer(0.1, instance.interrupt).start()
    with within(0.05, 0.1 + LATE), pytest.raises(InterruptedCallError):
        instance.call("host", timeout=timeout)
    instance.resume(timeout=timeout)
    assert waits == []


@pytest.mark.row("ST-2")
def test_token_is_of_the_call_wherever_the_host_function_is_called() -> None:
    held: list[Instance] = []
    inner = with_host(lambda: held[0].cancel_token.sleep(60))
    held.append(inner)
    outer = Instance(
        wasm('(module (import "in" "host" (func $f)) (func (export "run") (call $f)))'),
        {"in": {"host": inner.exports.host}},
    )
    threading.Timer(0.1, outer.interrupt).start()
    with pytest.raises(InterruptedCallError):
        outer.call("run")
    outer.abort()
    token = inner.cancel_token  # nobody runs: its own
    token.request()
    with pytest.raises(InterruptedCallError):
        inner.call("quick")
    assert not token.is_requested
    inner.close()
    held.clear()
    token.request()  # the token keeps its place


@pytest.mark.row("ST-2")
def test_other_token_that_ends_a_wait_is_the_host_functions_failure() -> None:
    other = CancelToken()
    other.request()
    instance = with_host(lambda: other.sleep(60))
    with pytest.raises(HostError) as caught:
        instance.call("host")
    assert isinstance(caught.value.__cause__, InterruptedCallError)
    assert instance.call("quick") == 7


@pytest.mark.row("WD-1")
def test_heartbeat_moves_with_the_guest_and_stands_still_with_it() -> None:
    instance = with_host()
    assert instance.heartbeat == instance.heartbeat
    before = instance.heartbeat
    instance.call("count", 2**19)
    assert 2 <= instance.heartbeat - before <= 6  # at least seven instructions a turn
    instance.close()
    with pytest.raises(StateError):
        instance.heartbeat  # noqa: B018


# Ctrl-C


@pytest.mark.row("WE-2")
@pytest.mark.parametrize(
    ("name", "call", "timeout"),
    [
        ("spin", lambda: None, None),
        ("hosts", lambda: None, None),
        ("host", sleep, None),
        ("host", busy, None),
        ("spin", lambda: None, 30),
        ("hosts", lambda: None, 30),
        ("host", sleep, 30),
        ("host", busy, 30),
    ],
)
@again_if_late
def test_ctrl_c_lands_in_time(name: str, call: Callable[[], Any], timeout: float | None) -> None:
    instance = with_host(call)
    with ctrl_c(0.2):
        instance.call(name, timeout=timeout)


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("module", [SLEEPER, CALLER])
@again_if_late
def test_ctrl_c_lands_in_wasi(module: bytes) -> None:
    read, write = os.pipe()
    instance = Instance(module, WasiBuilder().with_standard_output(write).build())
    with ctrl_c(0.2):
        instance.call("_start")
    os.close(read)
    os.close(write)


@again_if_late
def test_ctrl_c_lands_in_an_inner_call() -> None:
    holder: list[Instance] = []
    holder.append(with_host(lambda: holder[0].call("spin")))
    with ctrl_c(0.2):
        holder[0].call("host")
    assert holder[0].call("quick") == 7


@again_if_late
def test_call_can_go_on_after_ctrl_c() -> None:
    instance = with_host()
    with ctrl_c(0.1):
        instance.call("count", 30_000_000_000)
    instance.exports.n.value = 30_000_000_000 - 1
    assert instance.resume() == 30_000_000_000


def test_interpreter_ends_while_an_abandoned_function_still_sleeps() -> None:
    code = f"""
import time
from wrt_platform import Instance
instance = Instance({wasm('(module (import "e" "f" (func $f)) (func (export "g") (call $f)))')!r},
                    {{"e": {{"f": lambda: time.sleep(30)}}}})
try:
    instance.call("g", timeout=0.1)
except TimeoutError as error:
    print(error)
"""
    with within(0, 10):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "the call did not end within 0.1 s\n")
    assert run.stderr == ""


def test_fuel_runs_out_inside_a_watched_call() -> None:
    instance = Instance(MODULE, {"env": {"f": lambda: None}}, limits=Limits(fuel=10_000))
    with pytest.raises(OutOfFuelError):
        instance.call("hosts", timeout=20)
    assert instance.usage.fuel_used == 10_000


def test_failure_of_a_watched_function_is_the_cause() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(HostError) as info:
        with_host(fail).call("host", timeout=5)
    assert isinstance(info.value.__cause__, KeyError)
