"""Host functions: waiting, failing, and calling the guest that called them."""

from __future__ import annotations

from typing import Any

import pytest
from support.guest import FINISHED, PAUSED, Guest, last_error
from wrt_platform._native import ffi, lib

OK = lib.WRT_OK
I32 = lib.WRT_I32

CALLING = """(module (import "host" "f" (func $f (param i32 i32) (result i32)))
  (table funcref (elem $f))
  (type $binary (func (param i32 i32) (result i32)))
  (func (export "run") (result i32)
    (i32.add (i32.const 100) (call $f (i32.const 7) (i32.const 2))))
  (func (export "indirect") (result i32)
    (i32.add (i32.const 100)
      (call_indirect (type $binary) (i32.const 7) (i32.const 2) (i32.const 0))))
  (export "f" (func $f)))"""


class Waiting:
    """Not ready for the first few calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.seen: list[tuple[int, int]] = []

    def __call__(self, caller: Any, values: Any) -> int:
        self.seen.append((values[0].i32, values[1].i32))
        if self.left > 0:
            self.left -= 1
            return int(lib.WRT_ERR_PENDING)
        values[0].i32 = values[0].i32 - values[1].i32
        return int(lib.WRT_OK)


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("export", ["run", "indirect"])
@pytest.mark.parametrize("stepping", [True, False])
def test_host_function_that_waits_is_called_again(export: str, stepping: bool) -> None:
    wait = Waiting(3)
    guest = Guest(CALLING, {("host", "f"): (wait, [I32, I32], [I32])})
    assert guest.begin(export) == OK
    advance = guest.step if stepping else guest.run
    for calls in range(1, 4):
        assert advance(1000) == (OK, PAUSED)
        assert len(wait.seen) == calls
    assert advance(1000) == (OK, FINISHED)
    assert guest.result() == 105
    assert wait.seen == [(7, 2)] * 4
    assert guest.usage.fuel_used == (6 if export == "run" else 7)


def test_host_function_is_called_by_the_host_itself() -> None:
    guest = Guest(CALLING, {("host", "f"): (Waiting(2), [I32, I32], [I32])})
    assert guest.call("f", 10, 4) == (OK, 6)
    assert guest.call("run") == (OK, 105)


@pytest.mark.parametrize("status", ["HOST", "EXIT", "TRAP", "NO_MEMORY"])
def test_what_a_host_function_returns_ends_the_call(status: str) -> None:
    code = getattr(lib, f"WRT_ERR_{status}")
    guest = Guest(CALLING, {("host", "f"): (lambda caller, values: code, [I32, I32], [I32])})
    assert guest.call("run") == (code, None)
    assert "host function" in last_error()
    assert guest.trap.offset == bytes(guest.module.content).index(bytes([0x10, 0]))
    assert guest.call("run") == (code, None)


# run(n) is fed back: the host calls `inner` of the guest that calls it.
REENTRANT = """(module (import "host" "again" (func $again (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $outer (export "outer") (param i32) (result i32)
    (i32.add (i32.const 1) (call $again (local.get 0))))
  (func (export "inner") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (call $outer (i32.sub (local.get 0) (i32.const 1))))
  (func (export "trap") (param i32) (result i32) unreachable)
  (func (export "spin") (param i32) (result i32) (loop (br 0)) (i32.const 0)))"""


def reenter(name: str) -> Any:
    guests: list[Guest] = []
    statuses: list[int] = []

    def again(caller: Any, values: Any) -> int:
        assert caller == guests[0].raw
        status, result = guests[0].call(name, values[0].i32, timeout_ns=50_000_000)
        statuses.append(status)
        values[0].i32 = result if status == OK else 1000
        return OK

    guests.append(Guest(REENTRANT, {("host", "again"): (again, [I32], [I32])}))
    return guests[0], statuses


def test_host_function_calls_back_into_its_caller_at_any_depth() -> None:
    guest, statuses = reenter("inner")
    assert guest.call("outer", 20) == (OK, 21)
    assert statuses == [OK] * 21
    # outer: const, get, call, add, end; inner: get, eqz, if, (const, return) or (get, const, sub,
    # call, behind the end of `if`); the final end is run by both
    assert guest.usage.fuel_used == 21 * 5 + (3 + 2 + 1) + 20 * (3 + 1 + 3 + 1 + 1) - 20


@pytest.mark.parametrize(("name", "status"), [("trap", "TRAP"), ("spin", "TIMED_OUT")])
def test_inner_call_that_fails_leaves_the_outer_one_whole(name: str, status: str) -> None:
    guest, statuses = reenter(name)
    assert guest.call("outer", 5) == (OK, 1001)
    assert statuses == [getattr(lib, f"WRT_ERR_{status}")]


def test_inner_call_without_fuel_ends_and_the_outer_one_stops_where_it_is() -> None:
    guest, statuses = reenter("spin")
    assert lib.wrt_instance_set_fuel(guest.raw, True, 500) == OK
    assert guest.call("outer", 5) == (lib.WRT_ERR_OUT_OF_FUEL, None)
    assert statuses == [lib.WRT_ERR_OUT_OF_FUEL]
    assert guest.usage.fuel_used == 500
    assert lib.wrt_instance_set_fuel(guest.raw, True, 100) == OK
    assert guest.run(1000) == (OK, FINISHED)
    assert guest.result() == 1001


def test_nothing_but_a_call_is_accepted_from_inside() -> None:
    seen: list[int] = []
    guests: list[Guest] = []

    def busy(caller: Any, values: Any) -> int:
        seen.append(guests[0].begin("f", 1, 2))
        seen.append(guests[0].run(1)[0])
        seen.append(lib.wrt_instance_abort(caller))
        seen.append(lib.wrt_instance_deinit(caller))
        return OK

    guests.append(Guest(CALLING, {("host", "f"): (busy, [I32, I32], [I32])}))
    assert guests[0].call("run") == (OK, 107)
    assert seen == [lib.WRT_ERR_STATE] * 4


def test_host_function_sees_where_it_is_called_from() -> None:
    seen: list[tuple[int, int, int]] = []

    def look(caller: Any, values: Any) -> int:
        place = guests[0].trap
        seen.append((place.code, place.function, place.offset))
        return OK

    guests = [Guest(CALLING, {("host", "f"): (look, [I32, I32], [I32])})]
    assert guests[0].call("run") == (OK, 107)
    call = bytes(guests[0].module.content).index(bytes([0x10, 0]))
    assert seen == [(lib.WRT_TRAP_NONE, 1, call)]


def test_memory_grown_by_the_host_is_seen_by_the_guest() -> None:
    text = """(module (import "host" "grow" (func $grow)) (memory (export "memory") 1 4)
      (func (export "run") (result i32) (call $grow)
        (i32.store (i32.const 131068) (i32.const 42)) (i32.load (i32.const 131068))))"""

    def grow(caller: Any, values: Any) -> int:
        memory, old = ffi.new("wrt_memory **"), ffi.new("uint32_t *")
        assert lib.wrt_instance_memory(caller, memory) == OK
        return int(lib.wrt_memory_grow(memory[0], 1, old))

    guest = Guest(text, {("host", "grow"): (grow, [], [])})
    assert guest.call("run") == (OK, 42)
    assert guest.usage.memory_peak_pages == 2


# The host calls `inner` with what it was given; the two differ in their number of results.
INSIDE = """(module (import "host" "f" (func $f (param i32) (result i32)))
  (func (export "inner") (param i32) (result i32 i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 4) (i32.const 5))))
    (i32.const 6) (i32.const 7))
  (func (export "outer") (result i32) (i32.add (call $f (i32.const 0)) (i32.const 1)))
  (export "f" (func $f)))"""


def inside(waits: int = 0, **settings: Any) -> Guest:
    left = [waits]

    def call_inner(caller: Any, values: Any) -> int:
        assert guests[0].call("inner", values[0].i32, results=2) == (OK, (4, 5))
        if left[0] > 0:
            left[0] -= 1
            return int(lib.WRT_ERR_PENDING)
        values[0].i32 = 10
        return OK

    guests = [Guest(INSIDE, {("host", "f"): (call_inner, [I32], [I32])}, **settings)]
    return guests[0]


def test_results_are_those_of_the_outer_call() -> None:
    assert inside().call("outer") == (OK, 11)


def test_host_function_that_waits_after_an_inner_call_is_called_again() -> None:
    guest = inside(waits=2)
    assert guest.begin("f", 0) == OK
    assert [guest.run(1000) for _ in range(3)] == [(OK, PAUSED), (OK, PAUSED), (OK, FINISHED)]
    assert guest.result() == 10


@pytest.mark.row("WE-2")
def test_steps_of_the_outer_call_are_its_own() -> None:
    """The inner one is counted too, as its fuel is short; `outer` has five instructions."""
    needed = inside()
    assert needed.call("outer") == (OK, 11)
    guest = inside(has_fuel=True, fuel=needed.usage.fuel_used)
    assert guest.begin("outer") == OK
    assert [guest.step(1) for _ in range(5)] == [(OK, PAUSED)] * 4 + [(OK, FINISHED)]
    assert guest.usage.fuel_left == 0
