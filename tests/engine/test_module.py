"""Modules: what they tell of themselves, the buffer they ask for, the calls that are refused."""

from __future__ import annotations

import mmap
import random
import struct
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from common import ROOT
from support.guest import Module, assemble, last_error, must, new_config
from wrt_platform._native import ffi, lib

FEATURES = (Path(__file__).parent / "features.wat").read_text()
PROGRAMS = sorted((ROOT / "examples/programs").glob("*.wasm"))

I32, I64, F64 = lib.WRT_I32, lib.WRT_I64, lib.WRT_F64
FUNCREF, EXTERNREF = lib.WRT_FUNCREF, lib.WRT_EXTERNREF
NONE = 2**32 - 1


BORROWED: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def config_of(content: bytes) -> Any:
    """A config without a buffer. What it borrows lives as long as it does."""
    borrowed = ffi.new("uint8_t[]", len(content))
    ffi.buffer(borrowed)[:] = content
    config = new_config("wrt_module_config", bytes=borrowed, bytes_size=len(content))
    BORROWED[config] = borrowed
    return config


def usage_of(module: Module) -> Any:
    usage = ffi.new("wrt_module_usage *")
    must(lib.wrt_module_query(module.raw, usage))
    return usage


def text_of(name: Any) -> str:
    return bytes(ffi.buffer(name.text, name.size)).decode()


def describe(kind: Any) -> tuple[Any, ...]:
    """A wrt_extern_type as a tuple, the parts first that every kind has."""
    if kind.kind == lib.WRT_EXTERN_FUNCTION:
        function = kind.function
        parameters = bytes(ffi.buffer(function.parameters, function.parameter_count))
        results = bytes(ffi.buffer(function.results, function.result_count))
        return "function", kind.index, list(parameters), list(results)
    if kind.kind == lib.WRT_EXTERN_GLOBAL:
        return "global", kind.index, kind.value_type, kind.is_mutable
    name = "table" if kind.kind == lib.WRT_EXTERN_TABLE else "memory"
    return name, kind.index, kind.value_type, kind.minimum, kind.maximum


def imports_of(module: Module) -> list[tuple[Any, ...]]:
    found = []
    names, kind = ffi.new("wrt_name[2]"), ffi.new("wrt_extern_type *")
    for index in range(usage_of(module).import_count):
        must(lib.wrt_module_import(module.raw, index, names, names + 1, kind))
        found.append((text_of(names[0]), text_of(names[1]), *describe(kind)))
    return found


def exports_of(module: Module) -> list[tuple[Any, ...]]:
    found = []
    name, kind = ffi.new("wrt_name *"), ffi.new("wrt_extern_type *")
    for index in range(usage_of(module).export_count):
        must(lib.wrt_module_export(module.raw, index, name, kind))
        found.append((text_of(name), *describe(kind)))
    return found


def function_name(module: Module, index: int) -> str | None:
    name = ffi.new("wrt_name *")
    status = lib.wrt_module_function_name(module.raw, index, name)
    assert status in (lib.WRT_OK, lib.WRT_ERR_NOT_FOUND)
    assert status == lib.WRT_OK or name.size == 0
    return text_of(name) if status == lib.WRT_OK else None


@pytest.mark.row("WE-1")
def test_imports_are_those_of_the_text() -> None:
    assert imports_of(Module(assemble(FEATURES))) == [
        ("host", "log", "function", 0, [I32], []),
        ("host", "table", "table", 0, FUNCREF, 2, 8),
        ("host", "base", "global", 0, I32, 0),
        ("host", "memory", "memory", 0, 0, 1, 4),
    ]


@pytest.mark.row("WE-1")
def test_exports_are_those_of_the_text() -> None:
    assert exports_of(Module(assemble(FEATURES))) == [
        ("memory", "memory", 0, 0, 1, 4),
        ("functions", "table", 1, FUNCREF, 6, NONE),
        ("counter", "global", 1, I32, 1),
        ("count", "function", 5, [I32], [I32]),
        ("choose", "function", 6, [I32], [I32]),
        ("several", "function", 7, [I32], [I64, I32]),
        ("far", "function", 8, [I32], [I32]),
        ("bulk", "function", 9, [I32], []),
        ("references", "function", 10, [I32], [I32]),
        ("numbers", "function", 11, [I32], [F64]),
    ]


@pytest.mark.row("WE-1")
def test_usage_counts_what_the_text_has() -> None:
    usage = usage_of(Module(assemble(FEATURES)))
    counts = ("import", "export", "function", "imported_function", "table", "memory", "global",
              "element", "data")  # fmt: skip
    assert [getattr(usage, f"{name}_count") for name in counts] == [4, 10, 12, 1, 3, 1, 5, 4, 2]
    assert usage.start_function == 1
    assert usage.features == 31


@pytest.mark.row("WE-1")
@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("(func (param i32) (result i32) (i32.clz (local.get 0)))", 0),
        ("(memory 1) (data (i32.const 0) \"a\") (table 1 funcref) (elem (i32.const 0) func)", 0),
        ("(func (drop (i32.extend16_s (i32.const 0))))", lib.WRT_FEATURE_SIGN_EXTENSION),
        ("(func (drop (i32.trunc_sat_f32_s (f32.const 0))))",
         lib.WRT_FEATURE_SATURATING_CONVERSION),
        ("(func (result i32 i32) (i32.const 0) (i32.const 0))", lib.WRT_FEATURE_MULTI_VALUE),
        ("(func (i32.const 0) (block (param i32) (drop)))", lib.WRT_FEATURE_MULTI_VALUE),
        ("(memory 1) (data \"a\")", lib.WRT_FEATURE_BULK_MEMORY),
        ("(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
         lib.WRT_FEATURE_BULK_MEMORY),
        ("(table 1 externref)", lib.WRT_FEATURE_REFERENCE_TYPES),
        ("(table 1 funcref) (table 1 funcref)", lib.WRT_FEATURE_REFERENCE_TYPES),
        ("(func (drop (ref.null func)))", lib.WRT_FEATURE_REFERENCE_TYPES),
    ],
)  # fmt: skip
def test_features_are_those_beyond_the_first_version(text: str, flag: int) -> None:
    assert usage_of(Module(assemble(f"(module {text})"))).features == flag


def test_function_types_are_those_of_imports_and_definitions_alike() -> None:
    module = Module(assemble(FEATURES))
    kind = ffi.new("wrt_function_type *")
    found = []
    for index in (0, 4):
        must(lib.wrt_module_function_type(module.raw, index, kind))
        parameters = bytes(ffi.buffer(kind.parameters, kind.parameter_count))
        results = bytes(ffi.buffer(kind.results, kind.result_count))
        found.append((list(parameters), list(results)))
    assert found == [([I32], []), ([I32, I64], [I64, I32])]


NAMES = """(module
  (import "env" "seen from outside" (func))
  (func $inner (export "outer"))
  (func (export "only exported"))
  (func))"""


def test_name_is_that_of_the_name_section_else_of_an_export_else_of_the_import() -> None:
    named = Module(assemble(NAMES))
    assert [function_name(named, index) for index in range(4)] == [
        "seen from outside", "inner", "only exported", None]  # fmt: skip


def test_damaged_name_section_is_as_good_as_none() -> None:
    content = assemble(NAMES)
    at = content.index(b"inner")
    assert function_name(Module(content), 1) == "inner"
    for place, byte in ((at, 0xFF), (at - 1, 60), (at - 1, 4), (at - 3, 0), (at - 3, 9)):
        damaged = content[:place] + bytes([byte]) + content[place + 1 :]
        assert function_name(Module(damaged), 1) == "outer", (place - at, byte)


def test_names_followed_by_what_does_not_belong_to_them_are_none() -> None:
    """The two bytes more, read as a subsection, would be an empty one."""
    content = assemble('(module (func (export "outer")))')
    names = b"\1\0\5inner"
    for more, expected in ((b"", "inner"), (b"\7\0", "outer")):
        subsection = b"\1" + bytes([len(names + more)]) + names + more
        section = b"\4name" + subsection
        named = content + b"\0" + bytes([len(section)]) + section
        assert function_name(Module(named), 0) == expected


@pytest.mark.row("WE-1")
def test_equal_types_are_known_by_the_first_of_them() -> None:
    """So call_indirect compares two numbers. Read from the array of types, as parts.h has it."""
    choice = random.Random(3)
    kinds = [bytes(choice.choices((I32, I64), k=choice.randrange(3))) for _ in range(300)]
    pairs = [(kinds[i], kinds[i + 1]) for i in range(0, 300, 2)]
    words = {I32: "i32", I64: "i64"}

    def listed(name: str, kind: bytes) -> str:
        return f"({name} {' '.join(words[value] for value in kind)})"

    text = "".join(
        f"(type (func {listed('param', given)} {listed('result', taken)}))"
        for given, taken in pairs
    )
    module = Module(assemble(f"(module {text})"))
    content = ffi.buffer(module.raw.types, 16 * len(pairs))
    canonical = [fields[4] for fields in struct.iter_unpack("2I2HI", content)]
    assert canonical == [pairs.index(pair) for pair in pairs]
    assert len(set(canonical)) < len(pairs) / 2


# The buffer


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_buffer_of_init_bytes_is_enough_and_a_word_less_is_not(path: Path) -> None:
    first = Module(path.read_bytes())
    usage = usage_of(first)
    config = config_of(path.read_bytes())
    size = usage.init_bytes
    buffer = ffi.new("uint64_t[]", size // 8 + 2)
    behind = ffi.cast("uint8_t *", buffer) + size
    ffi.buffer(behind, 8)[:] = b"untouched"[:8]
    config.buffer, config.buffer_size = buffer, size
    module = ffi.new("wrt_module *")
    must(lib.wrt_module_init(module, config))
    assert bytes(ffi.buffer(behind, 8)) == b"untouche"
    kept = usage.buffer_bytes
    assert kept < size
    assert ffi.buffer(buffer, kept)[:] == ffi.buffer(first.buffer, kept)[:]

    config.buffer_size = size - 4
    assert lib.wrt_module_init(module, config) == lib.WRT_ERR_NO_MEMORY
    assert f"buffer has {size - 4} bytes, the module needs" in last_error()


@pytest.mark.row("WE-1")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_beside_the_code_little_is_kept(path: Path) -> None:
    usage = usage_of(Module(path.read_bytes()))
    assert usage.buffer_bytes < 0.45 * usage.code_bytes + 32 * usage.function_count


@pytest.mark.row("WE-1")
def test_bytes_may_lie_where_nobody_can_write() -> None:
    """A store into them would end this process."""
    path = PROGRAMS[0]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content = ffi.from_buffer("uint8_t[]", mapped)
        config = new_config("wrt_module_config", bytes=content, bytes_size=len(content))
        layout = ffi.new("wrt_layout *")
        must(lib.wrt_module_layout(config, layout))
        buffer = ffi.new("uint64_t[]", layout.bytes // 8 + 1)
        config.buffer, config.buffer_size = buffer, layout.bytes
        module = ffi.new("wrt_module *")
        must(lib.wrt_module_init(module, config))
        assert module.bytes == ffi.cast("uint8_t *", content)
        must(lib.wrt_module_deinit(module))
        ffi.release(content)


def test_empty_module_needs_no_buffer() -> None:
    config = config_of(b"\0asm\1\0\0\0")
    layout, module = ffi.new("wrt_layout *"), ffi.new("wrt_module *")
    must(lib.wrt_module_layout(config, layout))
    assert (layout.bytes, layout.alignment) == (0, 8)
    must(lib.wrt_module_init(module, config))
    assert module.usage.init_bytes == 0


def test_failed_init_leaves_the_module_as_it_was() -> None:
    content = assemble("(module (func (drop)))")
    config = config_of(content)
    buffer = ffi.new("uint64_t[]", 100)
    config.buffer, config.buffer_size = buffer, 800
    module = ffi.new("wrt_module *")
    ffi.buffer(module)[:] = b"\x5a" * ffi.sizeof("wrt_module")
    assert lib.wrt_module_init(module, config) == lib.WRT_ERR_INVALID_MODULE
    config.buffer_size = 8
    assert lib.wrt_module_init(module, config) == lib.WRT_ERR_NO_MEMORY
    assert bytes(ffi.buffer(module)) == b"\x5a" * ffi.sizeof("wrt_module")
    assert bytes(BORROWED[config]) == content


# Calls that are refused


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"struct_size": 0}, "INVALID_ARGUMENT", "struct_size is 0"),
        ({"struct_size": 5000}, "INVALID_ARGUMENT", "struct_size is 5000"),
        ({"reserved": [1, 0, 0, 0]}, "UNSUPPORTED", "reserved bytes of the config are not 0"),
        ({"bytes": ffi.NULL}, "INVALID_ARGUMENT", "bytes is NULL"),
        ({"bytes_size": 2**32}, "INVALID_ARGUMENT", "bytes_size is 4294967296"),
        ({"buffer": ffi.NULL}, "INVALID_ARGUMENT", "buffer is NULL or not 8-byte aligned"),
        ({"buffer": ffi.cast("void *", 4)}, "INVALID_ARGUMENT", "buffer is NULL or not 8-byte"),
        ({"buffer_size": 12}, "NO_MEMORY", "buffer has 12 bytes, the module needs"),
    ],
)
def test_config_that_breaks_a_rule_is_refused(
    change: dict[str, Any], status: str, words: str
) -> None:
    config = config_of(assemble("(module (func))"))
    buffer = ffi.new("uint64_t[]", 100)
    config.buffer, config.buffer_size = buffer, 800
    module = ffi.new("wrt_module *")
    must(lib.wrt_module_init(module, config))
    for name, value in change.items():
        setattr(config, name, value)
    assert lib.wrt_module_init(module, config) == getattr(lib, f"WRT_ERR_{status}")
    assert last_error().startswith(f"wrt_module_init: {words}")


def test_nothing_is_told_of_a_module_that_is_not_initialised() -> None:
    raw, name = ffi.new("wrt_module *"), ffi.new("wrt_name[2]")
    kind = ffi.new("wrt_extern_type *")
    answers = [
        lib.wrt_module_query(raw, ffi.new("wrt_module_usage *")),
        lib.wrt_module_import(raw, 0, name, name + 1, kind),
        lib.wrt_module_export(raw, 0, name, kind),
        lib.wrt_module_function_type(raw, 0, ffi.new("wrt_function_type *")),
        lib.wrt_module_function_name(raw, 0, name),
    ]
    assert answers == [lib.WRT_ERR_STATE] * 5
    assert last_error() == "wrt_module_function_name: module is not initialised"
    must(lib.wrt_module_deinit(raw))
    must(lib.wrt_module_deinit(raw))


def test_index_beyond_the_last_is_refused() -> None:
    module = Module(assemble(FEATURES))
    name, kind = ffi.new("wrt_name[2]"), ffi.new("wrt_extern_type *")
    answers = [
        lib.wrt_module_import(module.raw, 4, name, name + 1, kind),
        lib.wrt_module_export(module.raw, 10, name, kind),
        lib.wrt_module_function_type(module.raw, 12, ffi.new("wrt_function_type *")),
        lib.wrt_module_function_name(module.raw, 12, name),
    ]
    assert answers == [lib.WRT_ERR_INVALID_ARGUMENT] * 4
    assert last_error() == "wrt_module_function_name: index is 12, there are 12"


def test_deinit_ends_a_module() -> None:
    module = Module(assemble(FEATURES))
    must(lib.wrt_module_deinit(module.raw))
    usage = ffi.new("wrt_module_usage *")
    assert lib.wrt_module_query(module.raw, usage) == lib.WRT_ERR_STATE
