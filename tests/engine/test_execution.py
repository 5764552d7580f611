"""Calls that stop at any instruction and go on, and what they cost: row WE-2.

What is right is worked out here, by hand or by a model, never by another call of the engine.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from support.guest import FINISHED, PAUSED, Guest, last_error
from wrt_platform._native import ffi, lib

OK = lib.WRT_OK

# Ten instructions: a store is the third, the sixth and the ninth, `end` the tenth.
STORES = """(module (memory (export "memory") 1) (func (export "run")
  (i32.store8 (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 1) (i32.const 2))
  (i32.store8 (i32.const 2) (i32.const 3))))"""


def bytes_after(steps: int) -> bytes:
    done = min(steps // 3, 3)
    return bytes([1, 2, 3][:done]) + bytes(3 - done)


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("steps", range(11))
def test_after_k_steps_exactly_k_instructions_have_run(steps: int) -> None:
    guest = Guest(STORES)
    assert guest.begin("run") == OK
    assert guest.step(steps) == (OK, FINISHED if steps == 10 else PAUSED)
    assert guest.memory(3) == bytes_after(steps)
    assert guest.usage.fuel_used == steps


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("fuel", range(11))
def test_fuel_stops_after_exactly_as_many_instructions(fuel: int) -> None:
    guest = Guest(STORES, has_fuel=True, fuel=fuel)
    status, _ = guest.call("run", results=0)
    assert status == (OK if fuel == 10 else lib.WRT_ERR_OUT_OF_FUEL)
    assert guest.memory(3) == bytes_after(fuel)
    assert (guest.usage.fuel_used, guest.usage.fuel_left) == (fuel, 0)


# Counts down. By hand: entry `loop`, exit `end`, `end`; a round is eight instructions.
COUNTDOWN = """(module (func (export "run") (param i32) (result i32) (local i32)
  (loop
    (local.set 1 (i32.add (local.get 1) (i32.const 1)))
    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
  (local.get 1)))"""


def countdown_cost(rounds: int) -> int:
    return 1 + 9 * rounds + 3


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("rounds", [1, 2, 7, 1000])
def test_a_loop_costs_what_the_instructions_say(rounds: int) -> None:
    guest = Guest(COUNTDOWN)
    assert guest.call("run", rounds) == (OK, rounds)
    assert guest.usage.fuel_used == countdown_cost(rounds)


@pytest.mark.row("WE-2")
def test_fuel_given_bit_by_bit_is_as_good_as_all_at_once() -> None:
    guest = Guest(COUNTDOWN, has_fuel=True, fuel=0)
    assert guest.begin("run", 20) == OK
    used = 0
    while (outcome := guest.run(10**9))[0] == lib.WRT_ERR_OUT_OF_FUEL:
        assert guest.usage.fuel_used == used
        used += 7
        assert lib.wrt_instance_set_fuel(guest.raw, True, 7) == OK
    assert outcome == (OK, FINISHED)
    assert guest.result() == 20
    assert guest.usage.fuel_used == countdown_cost(20)


FIBONACCI = """(module (func $fib (export "run") (param i32) (result i32)
  (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
    (then (local.get 0))
    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                   (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"""


def fibonacci(number: int) -> tuple[int, int]:
    """The result, and the instructions: 4 to `if`, then 2 (`else` is the jump to behind `end`)
    or 9 and `end` of the if, and `end` of the function."""
    if number < 2:
        return number, 4 + 2 + 1
    one, two = fibonacci(number - 1), fibonacci(number - 2)
    return one[0] + two[0], 4 + 9 + 1 + 1 + one[1] + two[1]


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("slice_size", [1, 2, 3, 10, 1000, 10**9])
@pytest.mark.parametrize("stepping", [True, False])
def test_slices_of_any_size_come_to_the_same_end(slice_size: int, stepping: bool) -> None:
    guest = Guest(FIBONACCI)
    assert guest.begin("run", 12) == OK
    advance = guest.step if stepping else guest.run
    while (outcome := advance(slice_size)) == (OK, PAUSED):
        pass
    assert outcome == (OK, FINISHED)
    assert (guest.result(), guest.usage.fuel_used) == fibonacci(12)


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("shortfall", [1, 2, 5, 1000])
def test_deep_recursion_gets_all_of_its_fuel(shortfall: int) -> None:
    """Functions are paid ahead, so the account is long empty when the fuel is not."""
    needed = fibonacci(15)[1]
    guest = Guest(FIBONACCI, has_fuel=True, fuel=needed)
    assert guest.call("run", 15) == (OK, fibonacci(15)[0])
    assert guest.usage.fuel_left == 0
    guest = Guest(FIBONACCI, has_fuel=True, fuel=needed - shortfall)
    assert guest.call("run", 15) == (lib.WRT_ERR_OUT_OF_FUEL, None)
    assert guest.usage.fuel_used == needed - shortfall
    assert lib.wrt_instance_set_fuel(guest.raw, True, shortfall) == OK
    assert guest.run(10**9) == (OK, FINISHED)
    assert guest.result() == fibonacci(15)[0]


@pytest.mark.row("WE-2")
def test_run_stops_soon_after_its_slice() -> None:
    guest = Guest(COUNTDOWN)
    assert guest.begin("run", 1_000_000) == OK
    assert guest.run(10_000) == (OK, PAUSED)
    assert 10_000 - 20 <= guest.usage.fuel_used <= 10_000 + 20


ENDLESS = '(module (func (export "run") (loop (br 0))))'


def after(seconds: float, work: Any) -> threading.Thread:
    def wait_and_work() -> None:
        time.sleep(seconds)
        work()

    thread = threading.Thread(target=wait_and_work)
    thread.start()
    return thread


@pytest.mark.row("WE-2")
def test_interrupt_from_another_thread_stops_a_busy_loop() -> None:
    guest = Guest(ENDLESS)
    begun = time.monotonic()
    thread = after(0.05, lambda: lib.wrt_instance_interrupt(guest.raw))
    assert guest.call("run", results=0) == (lib.WRT_ERR_INTERRUPTED, None)
    assert 0.05 <= time.monotonic() - begun < 5
    thread.join()
    assert guest.run(1000) == (OK, PAUSED)  # it can be run on
    lib.wrt_instance_interrupt(guest.raw)  # none runs: the next one stops
    assert guest.run(1000) == (lib.WRT_ERR_INTERRUPTED, PAUSED)
    assert lib.wrt_instance_abort(guest.raw) == OK


@pytest.mark.row("WE-2")
def test_interrupt_stops_a_long_fill_which_then_goes_on() -> None:
    size = 200 * 2**20
    guest = Guest(
        f"""(module (memory (export "memory") {size // 65536})
        (func (export "run") (loop
          (memory.fill (i32.const 0) (i32.const 7) (i32.const {size}))
          (br 0))))"""
    )
    thread = after(0.05, lambda: lib.wrt_instance_interrupt(guest.raw))
    assert guest.call("run", results=0) == (lib.WRT_ERR_INTERRUPTED, None)
    thread.join()
    place = guest.trap.offset
    assert bytes(guest.module.content[place : place + 2]) == b"\xfc\x0b"  # in the fill itself
    assert 0 < guest.memory(size).count(7) < size or guest.usage.fuel_used > 8
    assert guest.run(100) == (OK, PAUSED)
    assert guest.memory(size).count(7) == size


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(("to", "source"), [(0, 70_001), (70_001, 0), (5, 5), (0, 3_500_000)])
def test_long_copy_of_ranges_that_overlap(to: int, source: int) -> None:
    """Longer than the pieces that it is done in."""
    size = 3_300_000
    guest = Guest(
        """(module (memory (export "memory") 120)
        (func (export "run") (param i32 i32 i32)
          (memory.copy (local.get 0) (local.get 1) (local.get 2))))"""
    )
    memory = ffi.new("wrt_memory **")
    assert lib.wrt_instance_memory(guest.raw, memory) == OK
    expected = bytearray(random.Random(1).randbytes(120 * 65536))
    ffi.memmove(memory[0].base, expected, len(expected))
    assert guest.call("run", to, source, size, results=0)[0] == OK
    expected[to : to + size] = bytes(expected[source : source + size])
    assert guest.memory(len(expected)) == expected


@pytest.mark.row("WE-2")
def test_time_limit_pauses_the_call() -> None:
    guest = Guest(ENDLESS)
    begun = time.monotonic()
    assert guest.call("run", results=0, timeout_ns=50_000_000) == (lib.WRT_ERR_TIMED_OUT, None)
    assert 0.05 <= time.monotonic() - begun < 5
    assert guest.run(1000) == (OK, PAUSED)


STARTING = """(module (memory (export "memory") 1)
  (func $start (i32.store8 (i32.const 0) (i32.const 9)))
  (func (export "run") (result i32) (i32.load8_u (i32.const 0)))
  (start $start))"""


@pytest.mark.row("WE-2")
def test_start_function_waits_and_obeys_fuel() -> None:
    guest = Guest(STARTING, start=False, has_fuel=True, fuel=2)
    assert guest.memory(1) == b"\0"
    assert guest.call("run") == (lib.WRT_ERR_STATE, None)
    assert lib.wrt_instance_start(guest.raw, 0) == lib.WRT_ERR_OUT_OF_FUEL
    assert guest.memory(1) == b"\0"
    assert lib.wrt_instance_set_fuel(guest.raw, False, 0) == OK
    assert guest.step(1) == (OK, PAUSED)
    assert guest.memory(1) == b"\x09"
    assert lib.wrt_instance_start(guest.raw, 0) == OK
    assert lib.wrt_instance_start(guest.raw, 0) == OK  # again does nothing
    assert guest.call("run") == (OK, 9)


@pytest.mark.row("WE-2")
def test_endless_start_function_can_be_stopped_and_dropped() -> None:
    guest = Guest("(module (func $f (loop (br 0))) (start $f))", start=False)
    assert lib.wrt_instance_start(guest.raw, 20_000_000) == lib.WRT_ERR_TIMED_OUT
    assert lib.wrt_instance_abort(guest.raw) == OK
    assert lib.wrt_instance_start(guest.raw, 0) == lib.WRT_ERR_STATE
    guest.close()


TRAPPING = """(module
  (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func $middle (param i32) (result i32) (call $divide (i32.const 1) (local.get 0)))
  (func (export "run") (param i32) (result i32) (call $middle (local.get 0))))"""


def test_trap_says_why_and_where_and_the_instance_stays_callable() -> None:
    guest = Guest(TRAPPING)
    assert guest.call("run", 0) == (lib.WRT_ERR_TRAP, None)
    assert last_error().endswith("integer divide by zero")
    trap = guest.trap
    assert trap.code == lib.WRT_TRAP_INTEGER_DIVIDE_BY_ZERO
    assert (trap.function, trap.depth, trap.module) == (0, 3, guest.module.raw)
    assert guest.module.content[trap.offset] == 0x6D  # i32.div_s
    frames = guest.frames()
    assert [function for function, _ in frames] == [0, 1, 2]
    for function, offset in frames[1:]:  # the call to the function above it
        assert bytes(guest.module.content[offset - 1 : offset + 1]) == bytes([0x10, function - 1])
    assert guest.call("run", 1) == (OK, 1)
    assert guest.trap.code == lib.WRT_TRAP_NONE


@pytest.mark.row("WE-2")
def test_fuel_used_is_exact_after_a_trap() -> None:
    guest = Guest(TRAPPING)
    guest.call("run", 0)
    assert guest.usage.fuel_used == 2 + 3 + 3  # up to the division, which has run


def test_runaway_recursion_ends_at_the_guest_stack() -> None:
    text = '(module (func $f (export "run") (param i64) (call $f (local.get 0))))'
    shallow = Guest(text, stack_size=4096)
    assert shallow.call("run", 1, results=0) == (lib.WRT_ERR_TRAP, None)
    assert shallow.trap.code == lib.WRT_TRAP_STACK_EXHAUSTED
    deep = Guest(text, stack_size=1 << 20)
    assert deep.call("run", 1, results=0) == (lib.WRT_ERR_TRAP, None)
    assert deep.trap.depth > 200 * shallow.trap.depth
    assert 4096 - 64 <= shallow.usage.stack_peak_bytes <= 4096
    assert len(shallow.frames()) == shallow.trap.depth


def test_call_and_its_results_are_asked_for_in_order() -> None:
    guest = Guest(COUNTDOWN)
    done, value = ffi.new("bool *"), ffi.new("wrt_value *")
    assert lib.wrt_instance_run(guest.raw, 1, done) == lib.WRT_ERR_STATE
    assert lib.wrt_instance_results(guest.raw, value, 1) == lib.WRT_ERR_STATE
    assert lib.wrt_instance_abort(guest.raw) == lib.WRT_ERR_STATE
    assert guest.begin("run") == lib.WRT_ERR_INVALID_ARGUMENT
    assert guest.begin("run", 3) == OK
    assert guest.begin("run", 3) == lib.WRT_ERR_STATE
    assert guest.call("run", 3) == (lib.WRT_ERR_STATE, None)
    assert guest.run(10**6) == (OK, FINISHED)
    assert lib.wrt_instance_results(guest.raw, value, 2) == lib.WRT_ERR_INVALID_ARGUMENT
    assert guest.result() == 3
    assert guest.call("run", 3, results=0) == (lib.WRT_ERR_INVALID_ARGUMENT, None)


def test_moved_instance_is_refused() -> None:
    guest = Guest(COUNTDOWN)
    moved = ffi.new("wrt_instance *", guest.raw[0])
    done = ffi.new("bool *")
    for status in (
        lib.wrt_instance_run(moved, 1, done),
        lib.wrt_instance_start(moved, 0),
        lib.wrt_instance_query(moved, ffi.new("wrt_instance_usage *")),
        lib.wrt_instance_deinit(moved),
    ):
        assert status == lib.WRT_ERR_STATE
    guest.close()
    guest.close = lambda: None  # type: ignore[method-assign]
    assert lib.wrt_instance_deinit(guest.raw) == OK  # twice is harmless
    lib.wrt_instance_interrupt(guest.raw)
