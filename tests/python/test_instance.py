"""Instances from Python: calls, values, fuel, steps, traps."""

from __future__ import annotations

import math
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.guest import assemble as wasm
from wrt_platform.errors import (
    InvalidArgumentError,
    LimitError,
    NotFoundError,
    OutOfFuelError,
    OutOfMemoryError,
    StateError,
    TrapError,
)
from wrt_platform.function import Function
from wrt_platform.instance import Instance, InstanceBuilder, step_wasm_execution
from wrt_platform.limits import Limits
from wrt_platform.memory import Memory
from wrt_platform.module import Module
from wrt_platform.table import Global, Table
from wrt_platform.values import FunctionType

VALUES = Module(
    wasm("""(module
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "extern") (param externref) (result externref) local.get 0)
  (func (export "func") (param funcref) (result funcref) local.get 0)
  (func (export "none"))
  (func (export "swap") (param i32 f64) (result f64 i32) local.get 1 local.get 0)
  (func (export "below") (param i64 i64) (result i32) local.get 0 local.get 1 i64.lt_u))""")
)

LOOP = Module(
    wasm("""(module
  (memory (export "memory") 1 8)
  (global $count (export "count") (mut i32) (i32.const 0))
  (func (export "count_to") (param i32) (result i32)
    (loop $again
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (i32.store (i32.const 0) (global.get $count))
      (br_if $again (i32.lt_u (global.get $count) (local.get 0))))
    global.get $count)
  (func $fact (export "fact") (param i64) (result i64)
    (if (result i64) (i64.eqz (local.get 0)) (then i64.const 1)
      (else (i64.mul (local.get 0) (call $fact (i64.sub (local.get 0) (i64.const 1))))))))""")
)

TRAPS = Module(
    wasm("""(module
  (memory 1)
  (func $divide (param i32) (result i32) i32.const 1 local.get 0 i32.div_s)
  (func $middle (param i32) (result i32) (i32.add (i32.const 1) (call $divide (local.get 0))))
  (func (export "main") (param i32) (result i32) (call $middle (local.get 0)))
  (func (export "load") (param i32) (result i32) local.get 0 i32.load)
  (func $deep (export "deep") (call $deep)))""")
)


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


@given(st.integers(-(2**31), 2**32 - 1))
def test_i32_crosses_signed_or_unsigned_and_comes_back_signed(number: int) -> None:
    result = Instance(VALUES).exports.i32(number)
    assert -(2**31) <= result < 2**31
    assert (result - number) % 2**32 == 0


@given(st.integers(-(2**63), 2**64 - 1))
def test_i64_crosses_signed_or_unsigned_and_comes_back_signed(number: int) -> None:
    result = Instance(VALUES).exports.i64(number)
    assert -(2**63) <= result < 2**63
    assert (result - number) % 2**64 == 0


@given(st.floats(allow_nan=False))
def test_f64_crosses_unchanged(number: float) -> None:
    assert bits(Instance(VALUES).exports.f64(number)) == bits(number)


@given(st.floats(width=32, allow_nan=False))
def test_f32_crosses_unchanged(number: float) -> None:
    assert bits(Instance(VALUES).exports.f32(number)) == bits(number)


def test_nan_stays_nan_and_ints_are_floats_too() -> None:
    exports = Instance(VALUES).exports
    assert math.isnan(exports.f64(math.nan))
    assert math.isnan(exports.f32(math.nan))
    assert exports.f64(3) == 3.0
    assert exports.f32(1e300) == math.inf


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@settings(max_examples=50)
def test_guest_sees_the_number_that_was_meant(a: int, b: int) -> None:
    assert Instance(VALUES).exports.below(a, b) == int(a < b)


@pytest.mark.parametrize(
    ("name", "argument", "kind", "text"),
    [
        ("i32", 2**32, InvalidArgumentError, "does not fit an i32: -2147483648 to 4294967295"),
        ("i32", -(2**31) - 1, InvalidArgumentError, "-2147483649 does not fit an i32"),
        ("i64", 2**64, InvalidArgumentError, "does not fit an i64"),
        ("i32", 1.0, TypeError, "argument 1: an i32 is an int, not float"),
        ("i64", "1", TypeError, "an i64 is an int, not str"),
        ("f64", "1", TypeError, "a float is a number, not str"),
        ("f32", None, TypeError, "a float is a number, not NoneType"),
        ("f64", 10**400, InvalidArgumentError, "beyond the range"),
        ("func", print, TypeError, "a funcref is a Function or a HostFunction"),
    ],
)
def test_unfit_argument_is_refused_by_name(
    name: str, argument: Any, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Instance(VALUES).call(name, argument)


def test_wrong_number_of_arguments_is_refused() -> None:
    instance = Instance(VALUES)
    with pytest.raises(TypeError, match=r"swap\(i32, f64\) -> \(f64, i32\) takes 2 .* 1 were"):
        instance.call("swap", 1)
    with pytest.raises(TypeError, match="takes 0 arguments, 1 were given"):
        instance.exports.none(1)


def test_results_are_nothing_a_value_or_a_tuple() -> None:
    exports = Instance(VALUES).exports
    assert exports.none() is None
    assert exports.i32(True) == 1
    assert exports.swap(1, 2.5) == (2.5, 1)


def test_externref_is_the_same_object() -> None:
    exports = Instance(VALUES).exports
    thing = object()
    assert exports.extern(thing) is thing
    assert exports.extern(None) is None
    assert exports.extern([1, 2]) == [1, 2]  # nobody else keeps this list


def test_funcref_can_be_called() -> None:
    exports = Instance(VALUES).exports
    assert exports.func(None) is None
    function = exports.func(exports.swap)
    assert isinstance(function, Function)
    assert function == exports.swap
    assert function.type == FunctionType(["i32", "f64"], ["f64", "i32"])
    assert function(4, 0.5) == (0.5, 4)


def test_exports_are_found_by_name_attribute_and_iteration() -> None:
    instance = Instance(LOOP)
    assert set(instance.exports) == {"memory", "count", "count_to", "fact"}
    assert "fact" in instance.exports
    assert len(instance.exports) == 4
    assert isinstance(instance.exports.memory, Memory)
    assert isinstance(instance.exports["count"], Global)
    assert "fact" in dir(instance.exports)
    with pytest.raises(NotFoundError, match="no export 'factor'; did you mean fact"):
        instance.call("factor", 1)
    with pytest.raises(AttributeError, match="no export 'nothing'; there is"):
        _ = instance.exports.nothing
    with pytest.raises(TypeError, match="export 'count' is no function"):
        instance.call("count")


def test_globals_and_tables_are_read_and_written() -> None:
    instance = Instance(LOOP)
    instance.exports.count.value = 40
    assert instance.call("count_to", 42) == 42
    assert instance.exports.count.value == 42
    table = Table("externref", 2, 4)
    table[1] = "text"
    assert list(table) == [None, "text"]
    assert table.grow(2, "more") == 2
    assert table[3] == "more"
    with pytest.raises(LimitError):
        table.grow(1)
    with pytest.raises(IndexError, match="element 4 of a table of 4"):
        _ = table[4]
    with pytest.raises(StateError):
        Global("i32", 1).value = 2


# Fuel and steps


@pytest.mark.row("WE-2")
def test_fuel_is_exact_and_more_of_it_goes_on() -> None:
    whole = Instance(LOOP)
    assert whole.call("fact", 10) == math.factorial(10)
    needed = whole.usage.fuel_used
    instance = Instance(LOOP, limits=Limits(fuel=needed - 1))
    with pytest.raises(OutOfFuelError):
        instance.call("fact", 10)
    assert instance.usage.fuel_used == needed - 1
    assert instance.fuel == 0
    instance.fuel = 1
    assert instance.resume() == math.factorial(10)
    assert instance.usage.fuel_used == needed
    instance.fuel = None
    assert instance.fuel is None


@pytest.mark.row("WE-2")
def test_next_call_drops_the_one_that_ran_out_of_fuel() -> None:
    instance = Instance(LOOP, limits=Limits(fuel=5))
    with pytest.raises(OutOfFuelError):
        instance.call("count_to", 1000)
    instance.fuel = None
    assert instance.call("fact", 3) == 6
    with pytest.raises(StateError):
        instance.resume()


@pytest.mark.row("WE-2")
@given(steps=st.integers(1, 60))
@settings(max_examples=40)
def test_after_k_steps_no_later_store_is_visible(steps: int) -> None:
    """An instruction at a time in one instance, k at once in another: always the same."""
    one, other = Instance(LOOP), Instance(LOOP)
    one.begin("count_to", 4)
    other.begin("count_to", 4)
    done = False
    for _ in range(steps):
        done = done or one.step()
    assert other.step(steps) == done
    assert one.usage.fuel_used == other.usage.fuel_used
    assert one.usage.fuel_used == steps or done
    assert one.memory.read(0, 4) == other.memory.read(0, 4)
    assert one.exports.count.value == other.exports.count.value
    while not done:
        done = one.step()
    assert one.results() == 4


@pytest.mark.row("WE-2")
def test_begun_call_is_run_stepped_and_dropped() -> None:
    instance = Instance(LOOP)
    instance.begin("count_to", 100000)
    with pytest.raises(StateError, match="under way"):
        instance.begin("fact", 1)
    with pytest.raises(StateError, match="no call has ended"):
        instance.results()
    assert not instance.run(100)
    assert step_wasm_execution(instance, 10)
    assert instance.frames[0].function == "count_to"
    instance.abort()
    with pytest.raises(StateError):
        instance.abort()
    with pytest.raises(InvalidArgumentError):
        instance.step(-1)
    assert instance.call("fact", 5) == 120


@pytest.mark.row("WE-2")
def test_start_function_obeys_too() -> None:
    module = Module(
        wasm("""(module (global $n (export "n") (mut i32) (i32.const 0))
          (func $start (loop $l (global.set $n (i32.add (global.get $n) (i32.const 1))) br $l))
          (start $start))""")
    )
    with pytest.raises(OutOfFuelError):
        Instance(module, limits=Limits(fuel=1000))
    instance = Instance(module, start=False)
    assert instance.exports.n.value == 0
    assert not instance.step(6)
    assert instance.exports.n.value == 1
    with pytest.raises(TimeoutError):
        Instance(module, limits=Limits(timeout=0.05))


# Traps


@pytest.mark.row("WE-1")
def test_trap_names_function_offset_and_frames() -> None:
    data = wasm(
        "(module (func $divide (param i32) (result i32) i32.const 1 local.get 0 i32.div_s)"
        ' (func $middle (export "main") (param i32) (result i32) (call $divide (local.get 0))))'
    )
    instance = Instance(Module(data))
    with pytest.raises(TrapError) as info:
        instance.call("main", 0)
    error = info.value
    offset = data.index(b"\x41\x01\x20\x00\x6d") + 4  # i32.const 1, local.get 0, i32.div_s
    assert (error.reason, error.function, error.offset) == (
        "integer divide by zero",
        "divide",
        offset,
    )
    assert [frame.function for frame in error.frames] == ["divide", "middle"]
    lines = str(error).splitlines()
    assert lines[0] == f"integer divide by zero in divide (at byte 0x{offset:x})"
    assert lines[1].startswith("  called from middle (at byte 0x")
    trap = instance.trap
    assert trap is not None
    assert (trap.code, trap.frames) == (error.code, error.frames)


def test_trap_crosses_to_another_process_whole() -> None:
    with pytest.raises(TrapError) as info:
        Instance(TRAPS).call("main", 0)
    copy = pickle.loads(pickle.dumps(info.value))
    assert (str(copy), copy.frames, copy.reason) == (
        str(info.value),
        info.value.frames,
        "integer divide by zero",
    )


@pytest.mark.row("WE-1")
def test_instance_goes_on_after_a_trap() -> None:
    instance = Instance(TRAPS)
    assert instance.trap is None
    for _ in range(3):
        with pytest.raises(TrapError, match="out of bounds memory access"):
            instance.call("load", 65536)
    assert instance.call("load", 65532) == 0
    assert instance.trap is None


def test_endless_recursion_is_a_trap_and_lists_some_frames() -> None:
    instance = Instance(TRAPS)
    with pytest.raises(TrapError, match="call stack exhausted") as info:
        instance.call("deep")
    assert len(info.value.frames) == 64
    assert str(info.value).endswith("more")
    assert instance.call("load", 0) == 0


def test_trap_in_initialisation_is_raised() -> None:
    with pytest.raises(TrapError, match="out of bounds memory access"):
        Instance(wasm('(module (memory 1) (data (i32.const 65536) "x"))'))


# Settings


def test_limits_hold_memory() -> None:
    with pytest.raises(LimitError):
        Instance(wasm("(module (memory 3))"), limits=Limits(memory="128KiB"))
    instance = Instance(
        wasm('(module (memory (export "m") 1)'
             ' (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))'),
        limits=Limits(memory="192KiB"),
    )  # fmt: skip
    assert instance.call("grow", 2) == 1
    assert instance.call("grow", 1) == -1
    assert instance.usage.memory_peak_pages == 3
    assert instance.usage.refused_growths == 1
    with pytest.raises(LimitError):
        instance.memory.grow(1)


def test_builder_takes_every_setting() -> None:
    builder = (
        InstanceBuilder()
        .with_module(LOOP)
        .with_imports({})
        .with_maximum_pages(2)
        .with_maximum_table_elements(10)
        .with_stack_size(4096)
        .with_fuel(100)
        .with_timeout("2s")
    )
    layout = builder.layout()
    buffer = bytearray(layout.bytes)
    instance = builder.with_buffer(buffer).build()
    assert instance.fuel == 100
    assert instance.call("fact", 3) == 6
    assert instance.memory.grow(1) == 1
    with pytest.raises(LimitError):
        instance.memory.grow(1)
    with pytest.raises(OutOfMemoryError):
        builder.with_buffer(bytearray(layout.bytes - 8)).build()
    assert builder.with_has_fuel(False).build().fuel is None


def test_smaller_stack_traps_earlier() -> None:
    small = InstanceBuilder().with_module(LOOP).with_stack_size(1024).build()
    large = InstanceBuilder().with_module(LOOP).with_stack_size(1 << 20).build()
    with pytest.raises(TrapError, match="call stack exhausted"):
        small.call("fact", 200)
    assert large.call("fact", 200) == 0  # 200! has more than 64 factors of two
    assert 1024 < large.usage.stack_peak_bytes < 1 << 20


def test_closed_instance_refuses_but_its_functions_live() -> None:
    with Instance(LOOP) as instance:
        fact = instance.exports.fact
    with pytest.raises(StateError, match="the instance is closed"):
        instance.call("fact", 1)
    with pytest.raises(StateError, match="closed"):
        _ = instance.exports
    instance.close()
    assert fact(4) == 24
    assert repr(instance) == "<Instance, closed>"
