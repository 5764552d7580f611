"""The interrupt as a token that host functions wait on, and the heartbeat of a guest in motion."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from support.guest import FINISHED, PAUSED, Guest, new_config
from wrt_platform._native import ffi, lib

OK = lib.WRT_OK

LOOPING = """(module (func (export "run") (param i64)
  (loop (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
    (br_if 0 (i64.ne (local.get 0) (i64.const 0))))))"""

CALLING = """(module (import "host" "f" (func $f))
  (func (export "run") (call $f))
  (func (export "loop") (loop (br 0))))"""

THROUGH_ANOTHER = """(module (import "inner" "run" (func $run))
  (func (export "outer") (call $run)))"""


def beats(guest: Guest) -> int:
    return int(lib.wrt_instance_heartbeat(guest.raw))


@pytest.mark.row("WD-1")
def test_heartbeat_moves_with_instructions() -> None:
    guest = Guest(LOOPING)
    before = beats(guest)
    assert guest.begin("run", 10 * 2**20) == OK
    assert guest.run(2**62) == (OK, FINISHED)
    # eight instructions a turn, 2^20 a beat, and one at the end
    assert 79 <= beats(guest) - before <= 81
    assert beats(guest) == beats(guest)  # an idle guest has no pulse


@pytest.mark.row("WD-1")
def test_heartbeat_stands_still_while_a_host_function_waits() -> None:
    waits = [True, True, True, False]
    guest = Guest(
        CALLING,
        {("host", "f"): (lambda *_: lib.WRT_ERR_PENDING if waits.pop(0) else OK, [], [])},
    )
    assert guest.begin("run") == OK
    before = beats(guest)
    for _ in range(3):
        assert guest.run(1000) == (OK, PAUSED)
    assert beats(guest) == before
    assert guest.run(1000) == (OK, FINISHED)
    assert beats(guest) > before


@pytest.mark.row("ST-2")
def test_host_function_that_waits_on_the_token_is_woken_by_the_interrupt() -> None:
    system, owner = linux_threads()
    inside = threading.Event()

    def hang(caller: Any, values: Any) -> int:
        inside.set()
        status = lib.wrt_cancel_wait(lib.wrt_instance_cancel_token(caller), system, 2**64 - 1)
        return int(lib.WRT_ERR_PENDING if status == lib.WRT_ERR_INTERRUPTED else lib.WRT_ERR_HOST)

    guest = Guest(CALLING, {("host", "f"): (hang, [], [])})
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(guest.call("run", results=0)))
    thread.start()
    assert inside.wait(10)
    time.sleep(0.05)
    begun = time.monotonic()
    lib.wrt_instance_interrupt(guest.raw)
    thread.join(10)
    assert outcome == [(lib.WRT_ERR_INTERRUPTED, None)]
    assert time.monotonic() - begun < 1
    lib.wrt_linux_thread_system_deinit(owner)


@pytest.mark.row("ST-2")
@pytest.mark.parametrize("limit", [2**62, 1])
def test_interrupted_wait_is_the_calls_interrupt_and_is_tried_again(limit: int) -> None:
    calls: list[int] = []

    def wait(caller: Any, values: Any) -> int:
        calls.append(1)
        if len(calls) > 1:
            return int(OK)
        lib.wrt_instance_interrupt(caller)
        return int(lib.WRT_ERR_INTERRUPTED)

    guest = Guest(CALLING, {("host", "f"): (wait, [], [])})
    assert guest.begin("run") == OK
    status, done = OK, False
    while status == OK and not done:
        status, done = guest.run(limit)
    assert (status, len(calls)) == (lib.WRT_ERR_INTERRUPTED, 1)
    while not done:
        status, done = guest.run(limit)
        assert status == OK  # one interrupt stops once
    assert len(calls) == 2


@pytest.mark.row("ST-2")
def test_host_functions_own_interrupted_ends_the_call() -> None:
    guest = Guest(CALLING, {("host", "f"): (lambda *_: lib.WRT_ERR_INTERRUPTED, [], [])})
    assert guest.call("run", results=0)[0] == lib.WRT_ERR_INTERRUPTED
    assert guest.run(100)[0] == lib.WRT_ERR_STATE  # nothing is paused
    assert guest.begin("run") == OK


@pytest.mark.row("ST-2")
def test_token_is_that_of_the_call_not_of_the_instance_it_passes_through() -> None:
    tokens = []

    def note(caller: Any, values: Any) -> int:
        tokens.append(lib.wrt_instance_cancel_token(caller))
        return int(OK)

    inner = Guest(CALLING, {("host", "f"): (note, [], [])})
    outer = Guest(THROUGH_ANOTHER, {("inner", "run"): inner.export("run")})
    assert outer.call("outer", results=0) == (OK, ())
    assert inner.call("run", results=0) == (OK, ())
    assert tokens == [
        lib.wrt_instance_cancel_token(outer.raw),
        lib.wrt_instance_cancel_token(inner.raw),
    ]
    assert tokens[0] != tokens[1]


@pytest.mark.row("ST-2")
def test_interrupt_that_nobody_saw_can_be_taken_back() -> None:
    guest = Guest(LOOPING)
    lib.wrt_instance_interrupt(guest.raw)
    lib.wrt_instance_clear_interrupt(guest.raw)
    assert guest.call("run", 3, results=0) == (OK, ())
    lib.wrt_instance_interrupt(guest.raw)
    assert guest.call("run", 3, results=0)[0] == lib.WRT_ERR_INTERRUPTED


def test_no_instance_has_no_token_and_no_pulse() -> None:
    empty = ffi.new("wrt_instance *")
    for instance in (empty, ffi.NULL):
        assert lib.wrt_instance_cancel_token(instance) == ffi.NULL
        assert lib.wrt_instance_heartbeat(instance) == 0
        lib.wrt_instance_interrupt(instance)
        lib.wrt_instance_clear_interrupt(instance)


def linux_threads() -> tuple[Any, Any]:
    owner = ffi.new("wrt_linux_thread_system *")
    config = new_config("wrt_linux_thread_system_config")
    assert lib.wrt_linux_thread_system_init(owner, config) == OK
    return ffi.new("wrt_thread_system *", lib.wrt_linux_thread_system_interface(owner)), owner
