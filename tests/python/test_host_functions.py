"""Host functions from Python callables: types, values, failures, calls back into the guest."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.guest import assemble as wasm
from wrt_platform.errors import HostError, InvalidArgumentError, LinkError, StateError, TrapError
from wrt_platform.host_function import PENDING, HostFunction, HostFunctionBuilder
from wrt_platform.instance import Instance
from wrt_platform.memory import Memory
from wrt_platform.module import Module
from wrt_platform.table import Global, Table
from wrt_platform.values import FunctionType, externref, f32, f64, i32, i64

CALLS = Module(
    wasm("""(module
  (import "env" "f" (func $f (param i32 i64) (result f64)))
  (func (export "main") (param i32 i64) (result f64) (call $f (local.get 0) (local.get 1))))""")
)

PLAIN = Module(
    wasm("""(module
  (import "env" "f" (func $f))
  (func (export "main") (call $f)))""")
)

TABLE = Module(
    wasm("""(module
  (type $unary (func (param i64) (result i64)))
  (table (export "table") 2 10 funcref)
  (func (export "call") (param i32 i64) (result i64)
    (call_indirect (type $unary) (local.get 1) (local.get 0)))
  (func (export "double") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 2))))""")
)


def instance_with(call: Any, module: Module = CALLS) -> Instance:
    return Instance(module, {"env": {"f": call}})


def annotated(a: i32, b: i64) -> f64:
    return a + b / 2


def half_annotated(a: int, b: int) -> float:
    return a + b / 2


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: a + b / 2,
        annotated,
        half_annotated,
        (FunctionType(["i32", "i64"], ["f64"]), lambda *both: both[0] + both[1] / 2),
        HostFunction(annotated),
        HostFunctionBuilder()
        .with_parameters(["i32", "i64"])
        .with_results(["f64"])
        .with_call(lambda two, a, b: a + b / two)
        .with_context(2)
        .with_name("halves")
        .build(),
    ],
)
def test_callables_of_all_kinds_are_called_with_the_guests_values(call: Any) -> None:
    assert instance_with(call).call("main", -3, 2**63 - 2) == -3 + (2**63 - 2) / 2


def wrong_width(a: i64, b: i64) -> f64:
    return 0.0


@pytest.mark.parametrize(
    "call",
    [
        wrong_width,
        (FunctionType(["i64", "i64"], ["f64"]), print),
        HostFunction(lambda: None, FunctionType(["i64", "i64"], ["f64"])),
    ],
)
def test_another_type_is_refused_with_both_named(call: Any) -> None:
    with pytest.raises(
        LinkError, match=r"env\.f is \(i64, i64\) -> \(f64\), not \(i32, i64\) -> \(f64\)"
    ):
        instance_with(call)


def test_callable_that_cannot_take_the_arguments_is_refused() -> None:
    with pytest.raises(LinkError, match=r"env\.f \(i32, i64\) -> \(f64\): .* can't take that"):
        instance_with(lambda a: 1.0)
    with pytest.raises(TypeError, match=r"import env\.f can't be 7"):
        instance_with(7)


@pytest.mark.parametrize(
    "given",
    [Memory(1), Table("funcref", 1), Global("i32", 1)],
)
def test_thing_of_another_kind_is_refused(given: Any) -> None:
    with pytest.raises(LinkError, match=r"import env\.f is (memory|table|constant global)"):
        instance_with(given)
    with pytest.raises(LinkError, match=r"env\.m is a function, not memory of 1 pages and more"):
        Instance(wasm('(module (import "env" "m" (memory 1)))'), {"env": {"m": lambda: None}})


def test_every_unknown_import_is_named_in_one_message() -> None:
    module = Module(
        wasm("""(module (import "a" "x" (func)) (import "env" "f" (func (param i32)))
          (import "b" "memory" (memory 1)) (import "b" "g" (global i64)))""")
    )
    with pytest.raises(LinkError) as info:
        Instance(module, {"env": {"f": lambda a: None}})
    assert str(info.value) == (
        "3 imports are unknown: a.x () -> (), b.memory memory of 1 pages and more, "
        "b.g constant global i64"
    )
    with pytest.raises(TypeError, match="imports are a dictionary of dictionaries"):
        Instance(module, 5)


# Annotations


def many(a: i32, b: i64, c: f32, d: f64, e: externref) -> tuple[i32, f32]:
    return a, c


def test_annotations_make_the_type_of_a_function_that_stands_alone() -> None:
    assert HostFunction(many).type == FunctionType(
        ["i32", "i64", "f32", "f64", "externref"], ["i32", "f32"]
    )
    assert HostFunction(half_annotated).type == FunctionType(["i64", "i64"], ["f64"])
    assert HostFunction(many).name == "many"
    assert HostFunction(many)(1, 2, 3.0, 4.0, None) == (1, 3.0)
    with pytest.raises(TypeError, match="parameter a has no annotation"):
        HostFunction(lambda a: None)
    with pytest.raises(InvalidArgumentError, match="with_call"):
        HostFunctionBuilder().build()

    def wrong(a: str) -> None: ...

    with pytest.raises(TypeError, match="is no value type"):
        HostFunction(wrong)


# Failures


def fails(*_: Any) -> float:
    raise KeyError("missing")


def test_exception_ends_the_call_and_is_the_cause() -> None:
    instance = instance_with(fails)
    with pytest.raises(
        HostError, match=r"host function env\.f failed: KeyError: 'missing'"
    ) as info:
        instance.call("main", 1, 2)
    assert isinstance(info.value.__cause__, KeyError)
    with pytest.raises(HostError):
        instance.call("main", 1, 2)  # it goes on after a failure
    with pytest.raises(StateError):
        instance.resume()  # but the failed call does not


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_nobodys_failure_passes_through(kind: type[BaseException]) -> None:
    def leave(*_: Any) -> float:
        raise kind(3)

    with pytest.raises(kind) as info:
        instance_with(leave).call("main", 1, 2)
    assert info.value.args == (3,)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("text", "result 1: a float is a number, not str"),
        (None, "returned None"),
        ((1.0, 2.0), "result 1: a float is a number, not tuple"),
    ],
)
def test_wrong_result_says_whose_and_why(result: Any, text: str) -> None:
    with pytest.raises(HostError, match=text):
        instance_with(lambda a, b: result).call("main", 1, 2)


def test_void_function_must_return_nothing() -> None:
    with pytest.raises(HostError, match=r"env\.f\(\) -> \(\) returned 5"):
        instance_with(lambda: 5, PLAIN).call("main")
    assert instance_with(lambda: None, PLAIN).call("main") is None


# Back into the guest


def test_host_function_calls_its_guest_again() -> None:
    module = Module(
        wasm("""(module
          (import "env" "f" (func $f (param i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "main") (param i32) (result i32) (call $f (local.get 0)))
          (func (export "square") (param i32) (result i32)
            (i32.mul (local.get 0) (local.get 0)))
          (func (export "trap") unreachable))""")
    )
    holder: list[Instance] = []

    def down(number: int) -> int:
        holder[0].memory.write(number, b"x")
        below = holder[0].call("main", number - 1) if number > 0 else 0
        return int(below + holder[0].call("square", number))

    holder.append(Instance(module, {"env": {"f": down}}))
    assert holder[0].call("main", 6) == sum(n * n for n in range(7))
    assert holder[0].memory.read(0, 8) == b"xxxxxxx\0"

    holder.append(Instance(module, {"env": {"f": lambda _: holder[1].call("trap")}}))
    with pytest.raises(HostError, match="unreachable") as info:
        holder[1].call("main", 1)
    assert isinstance(info.value.__cause__, TrapError)
    assert holder[1].call("square", 3) == 9


def test_pending_function_is_called_again_until_it_is_ready() -> None:
    answers = [PENDING, PENDING, 2.5]
    seen: list[tuple[int, int]] = []

    def wait(a: int, b: int) -> Any:
        seen.append((a, b))
        return answers.pop(0)

    instance = instance_with(wait)
    assert instance.call("main", 1, 2) == 2.5
    assert seen == [(1, 2)] * 3
    answers += [PENDING, 0.5]
    instance.begin("main", 3, 4)
    assert not instance.run(1000)
    assert instance.run(1000)
    assert instance.results() == 0.5


# References and lifetimes


def test_host_function_in_a_table_is_called_by_the_guest() -> None:
    instance = Instance(TABLE)
    table = instance.exports.table
    table[0] = HostFunction(lambda n: n + 1, FunctionType(["i64"], ["i64"]))
    table[1] = instance.exports.double
    gc.collect()
    assert instance.call("call", 0, 41) == 42
    assert instance.call("call", 1, 41) == 82
    assert table[1](4) == 8
    assert table[0](4) == 5
    table[0] = HostFunction(lambda n: None, FunctionType(["i32"], []))
    with pytest.raises(TrapError, match="indirect call type mismatch"):
        instance.call("call", 0, 1)
    table[0] = None
    with pytest.raises(TrapError, match="uninitialized element"):
        instance.call("call", 0, 1)


def test_function_of_another_instance_in_a_table_keeps_that_instance() -> None:
    instance, other = Instance(TABLE), Instance(TABLE)
    instance.exports.table[0] = other.exports.double
    alive = weakref.ref(other._open())
    other.close()
    del other
    gc.collect()
    assert alive() is not None
    assert instance.call("call", 0, 21) == 42
    del instance
    gc.collect()
    assert alive() is None


def test_callable_lives_as_long_as_its_instance_and_no_longer() -> None:
    class Call:
        def __call__(self) -> None: ...

    call = Call()
    alive = weakref.ref(call)
    instance = instance_with(call, PLAIN)
    main: Callable[[], None] = instance.exports.main
    del call, instance
    gc.collect()
    assert alive() is not None
    main()
    del main
    gc.collect()
    assert alive() is None


# Linking


def test_instances_share_memory_functions_globals_and_tables() -> None:
    library = Instance(
        wasm("""(module (memory (export "memory") 1 2) (global (export "g") (mut i32) (i32.const 5))
          (table (export "table") 3 funcref)
          (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))""")
    )
    user = Instance(
        wasm("""(module (import "lib" "memory" (memory 1 2))
          (import "lib" "g" (global $g (mut i32)))
          (import "lib" "table" (table 3 funcref))
          (import "lib" "load" (func $load (param i32) (result i32)))
          (elem (i32.const 1) $mine)
          (func $mine (result i32) i32.const 77)
          (func (export "main") (result i32)
            (i32.store8 (i32.const 9) (i32.const 33))
            (global.set $g (i32.const 6))
            (call $load (i32.const 9))))"""),
        {"lib": library.exports},
    )
    assert user.call("main") == 33
    assert library.exports.g.value == 6
    assert library.memory.read(9, 1) == b"!"
    user.close()
    del user
    gc.collect()
    assert library.exports.table[1]() == 77  # the instance that it belongs to is still there


def test_imported_memory_of_our_own() -> None:
    memory = Memory(1, 4)
    module = wasm("""(module (import "env" "memory" (memory 1 8))
      (func (export "grow") (result i32) (memory.grow (i32.const 1)))
      (func (export "size") (result i32) memory.size))""")
    with pytest.raises(LinkError, match="memory of 1 to 4 pages, not memory of 2 pages and more"):
        Instance(wasm('(module (import "env" "memory" (memory 2)))'), {"env": {"memory": memory}})
    first = Instance(module, {"env": {"memory": memory}})
    second = Instance(module, [{"env": {"memory": memory}}])
    assert first.call("grow") == 1
    assert second.call("size") == 2
    assert memory.pages == 2
    assert [memory.grow(1), memory.grow(1)] == [2, 3]
    assert second.call("grow") == -1
