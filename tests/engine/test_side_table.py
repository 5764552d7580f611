"""The side table against a slow model that knows the module only as wasm-tools prints it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from common import ROOT
from support.branches import Branch, Function, Model, Text
from support.guest import Module, assemble
from wrt_platform._native import ffi

PROGRAMS = sorted((ROOT / "examples/programs").glob("*.wasm"))
LONG = 15

FEATURES = (Path(__file__).parent / "features.wat").read_text()

DEAD_CODE = """(module (func (export "dead") (param i32) (result i32)
  (block (result i32)
    (br 0 (i32.const 1))
    (if (result i32) (local.get 0) (then (br 1 (i32.const 2))) (else (i32.const 3)))
    (drop)
    (loop (br_if 0 (local.get 0)) (br_table 1 2 (i32.const 4) (local.get 0)))
    (unreachable))
  (return)
  (br_if 0 (i32.const 5) (local.get 0))))"""

KEPT_AND_DROPPED = """(module (func (export "run") (param i32) (result i64)
  (i64.const 1)
  (block (result i32 i64)
    (i32.const 1) (i32.const 2) (i32.const 3) (i64.const 4)
    (br_if 0 (local.get 0))
    (br 0))
  (drop) (drop)
  (block (result i32)
    (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
    (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9)
    (br_if 0 (local.get 0))
    (drop)
    (br_if 0 (local.get 0))
    (br 0))
  (drop)
  (block
    (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
    (i32.const 5) (i32.const 6) (i32.const 7)
    (br_if 0 (local.get 0))
    (i32.const 8)
    (br_if 0 (local.get 0))
    (br 0))
  (loop (param i64) (result i64)
    (i32.const 9) (i32.const 10) (br_if 0 (i64.const 11) (local.get 0))
    (drop) (drop) (drop))))"""


OUT_OF_THE_FUNCTION = """(module (func (export "run") (param i32) (result i32)
  (i32.const 1) (i32.const 2)
  (br_if 0 (i32.const 3) (local.get 0))
  (block (br_if 1 (i32.const 4) (local.get 0)) (return))
  (drop) (drop) (br 0)))"""


def far(instructions: int, branches: int) -> str:
    """A branch over so many instructions of two bytes, and over so many branches."""
    return f"""(module (func (param i32)
      (block (loop (br_if 1 (local.get 0))
        {"(br_if 0 (i32.const 0))" * branches}
        {"(drop (i32.const 1))" * (instructions // 2)}
        (br_if 0 (local.get 0))))))"""


class Code(NamedTuple):
    """A wrt__code of parts.h."""

    start: int
    end: int
    entry: int
    instructions: int
    type: int
    cells: int
    parameter_count: int
    result_count: int
    local_count: int
    reserved: int


def codes(module: Any) -> list[Code]:
    count = module.usage.function_count - module.usage.imported_function_count
    content = ffi.buffer(module.functions, count * struct.calcsize("6I4H"))
    return [Code(*fields) for fields in struct.iter_unpack("6I4H", content)]


def long_branch(module: Any, index: int) -> Branch:
    content = bytes(ffi.buffer(module.long_branches + 5 * index, 20))
    return Branch(*struct.unpack("3i2I", content))


def entry(module: Any, index: int) -> tuple[Branch, bool]:
    """An entry of the side table, and whether it is a long one."""
    words = bytes(ffi.buffer(module.side_table + 3 * index, 6))
    distance, fuel, entries = struct.unpack("3h", words)
    shape = entries & 15
    if shape == LONG:
        low, high, _ = struct.unpack("3H", words)
        return long_branch(module, low | high << 16), True
    keep = int(shape > 7)
    return Branch(distance, fuel, entries >> 4, shape - 7 * keep, keep), False


def must_be_long(branch: Branch) -> bool:
    drop = branch.drop or 0
    return (
        not -(2**15) <= branch.distance < 2**15
        or not -(2**15) <= branch.fuel < 2**15
        or not -(2**11) <= branch.entries < 2**11
        or drop > 7
        or (drop > 0 and branch.keep > 1)
    )


def same_branch(found: Branch, expected: Branch) -> bool:
    """What is kept counts only if something below it is dropped."""
    if found[:3] != expected[:3]:
        return False
    if expected.drop is None:
        return True
    return found.drop == expected.drop and (expected.drop == 0 or found.keep == expected.keep)


def check_function(module: Any, code: Code, function: Function, model: Model) -> tuple[int, int]:
    """Compares one function; counts its branches and the long ones among them."""
    assert code.start == function.code[0].offset
    assert code.end == function.code[-1].offset
    assert code.instructions == len(function.code)
    assert (code.parameter_count, code.result_count) == (function.parameters, function.results)
    assert code.cells >= code.local_count + model.deepest
    long_ones = 0
    for number, expected in enumerate(model.branches):
        found, is_long = entry(module, code.entry + number)
        assert same_branch(found, expected), (hex(code.start), number, found, expected)
        if expected.drop is not None:
            assert is_long == must_be_long(expected)
        long_ones += is_long
    return len(model.branches), long_ones


def check(content: bytes) -> tuple[int, int]:
    """Compares a whole module; counts entries and long branches."""
    loaded = Module(content)
    module = loaded.raw
    text = Text(content)
    entries = long_ones = 0
    for code, function in zip(codes(module), text.functions, strict=True):
        assert code.entry == entries
        found = check_function(module, code, function, Model(text, function))
        entries, long_ones = entries + found[0], long_ones + found[1]
    padding = 2 if entries % 2 and long_ones else 0
    assert module.usage.side_table_bytes == 6 * entries + padding + 20 * long_ones
    return entries, long_ones


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_side_table_of_a_real_program_is_that_of_the_model(path: Path) -> None:
    entries, long_ones = check(path.read_bytes())
    assert entries > 500
    assert long_ones < entries // 50


@pytest.mark.row("WE-1")
def test_side_table_of_sqlite_is_that_of_the_model(sqlite: Path) -> None:
    content = sqlite.read_bytes()
    entries, long_ones = check(content)
    assert entries > 40_000
    assert 0 < long_ones < entries // 100
    module = Module(content)
    usage = module.raw.usage
    assert usage.buffer_bytes < usage.init_bytes < 0.45 * usage.code_bytes


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    ("text", "long_ones"),
    [(FEATURES, 1), (DEAD_CODE, 0), (KEPT_AND_DROPPED, 5), (OUT_OF_THE_FUNCTION, 0)],
    ids=["features", "dead code", "kept and dropped", "out of the function"],
)
def test_side_table_of_rare_branches_is_that_of_the_model(text: str, long_ones: int) -> None:
    assert check(assemble(text))[1] == long_ones


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    ("instructions", "branches", "long_ones"),
    [
        (100, 100, 0),
        (21_000, 0, 0),
        (22_000, 0, 2),  # 33,000 bytes, in twos and ones
        (100, 2_045, 0),
        (100, 2_046, 1),  # the one that goes forwards
        (100, 2_047, 1),
        (100, 2_048, 2),  # and the last that goes back
        (100, 2_060, 14),
    ],
)
def test_branch_is_long_only_where_it_must_be(
    instructions: int, branches: int, long_ones: int
) -> None:
    assert check(assemble(far(instructions, branches)))[1] == long_ones
