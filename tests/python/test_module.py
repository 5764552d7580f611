"""Modules from Python: where their bytes come from, what they tell, how they are refused."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.guest import assemble as wasm
from wrt_platform import wat
from wrt_platform._native import ffi
from wrt_platform.errors import (
    InvalidModuleError,
    MalformedError,
    NotFoundError,
    OutOfMemoryError,
    PermissionDeniedError,
    SystemCallError,
    UnsupportedError,
)
from wrt_platform.instance import Instance
from wrt_platform.module import Module, ModuleBuilder
from wrt_platform.values import ExternKind, FunctionType, GlobalType, MemoryType, TableType

ADD = """(module
  (func $sum (export "add") (param i32 i32) (result i32)
    local.get 0 local.get 1 i32.add))"""

MANY = """(module
  (import "env" "log" (func (param i32 f64)))
  (import "env" "table" (table 1 9 externref))
  (memory (export "memory") 2 5)
  (global (export "counter") (mut i64) (i64.const 7))
  (func (export "pair") (result i32 i64) i32.const 1 i64.const 2)
  (func $extend (param i32) (result i32) local.get 0 i32.extend8_s)
  (func $begin (drop (call $extend (i32.const 1))))
  (start $begin))"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "add.wasm"
    path.write_bytes(wasm(ADD))
    return path


def add(module: Module) -> object:
    return Instance(module).exports.add(2, 3)


@pytest.mark.row("WE-1")
def test_bytes_of_all_kinds_are_modules(file: Path) -> None:
    assert add(Module(wasm(ADD))) == 5
    assert add(Module(bytearray(wasm(ADD)))) == 5
    assert add(Module(file)) == 5
    assert add(Module(str(file))) == 5
    with open(file, "rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    assert add(Module(mapped)) == 5


@pytest.mark.row("WE-1")
def test_bytes_are_executed_where_they_lie() -> None:
    data = wasm(ADD)
    module = Module(data)
    assert module._pointer.bytes == ffi.from_buffer("uint8_t[]", data)
    module.validate_in_place()


@pytest.mark.row("WE-1")
def test_file_is_mapped_and_not_read(file: Path) -> None:
    module = Module(file)
    maps = Path("/proc/self/maps").read_text()
    lines = [line for line in maps.splitlines() if line.endswith(str(file))]
    assert len(lines) == 1
    assert lines[0].split()[1] == "r--s"  # nobody here can write it
    del module
    gc.collect()
    assert str(file) not in Path("/proc/self/maps").read_text()


def test_borrowed_bytearray_cannot_be_resized_under_the_module() -> None:
    data = bytearray(wasm(ADD))
    module = Module(data)
    with pytest.raises(BufferError):
        data.append(0)
    del module
    data.append(0)


def test_view_is_refused_because_it_can_die_before_its_owner() -> None:
    with pytest.raises(TypeError, match="not a view"):
        Module(memoryview(wasm(ADD)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a module comes from bytes"):
        Module(7)  # type: ignore[arg-type]


def test_text_is_assembled_where_a_tool_is_installed(tmp_path: Path) -> None:
    if wat.find_tool() is None:
        pytest.skip("no assembler is installed")
    assert add(Module(ADD)) == 5
    assert add(Module(f";; a comment\n{ADD}".encode())) == 5
    path = tmp_path / "add.wat"
    path.write_text(ADD)
    assert add(Module(path)) == 5
    with pytest.raises(MalformedError, match=r"^(wasm-tools|wasmtime): "):
        Module("(module (fnc))")


def test_missing_tool_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"cargo install wasm-tools.*pip install wasmtime"):
        Module(ADD)


def test_missing_and_unreadable_files_say_which(tmp_path: Path, file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"can't read '.*nothing.wasm': No such file"):
        Module(tmp_path / "nothing.wasm")
    with pytest.raises(SystemCallError, match="Is a directory"):
        Module(tmp_path)
    empty = tmp_path / "empty.wasm"
    empty.touch()
    with pytest.raises(MalformedError, match="unexpected end"):
        Module(empty)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused")
def test_forbidden_file_is_a_permission_error(tmp_path: Path) -> None:
    """As root everything is readable, so the question is asked by somebody else."""
    secret = Path("/tmp") / f"wrt-secret-{os.getpid()}.wasm"
    secret.write_bytes(wasm(ADD))
    secret.chmod(0o600)
    code = f"""
import os
import wrt_platform.module as m, wrt_platform.wat
os.setuid(65534)
try:
    m.Module({str(secret)!r})
except PermissionError as error:
    print(type(error).__name__, error)
"""
    try:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    finally:
        secret.unlink()
    assert run.stdout == f"PermissionDeniedError can't read {str(secret)!r}: Permission denied\n"
    assert issubclass(PermissionDeniedError, PermissionError)


def whole_sections(data: bytes) -> set[int]:
    """Sizes at which a module of ADD's kind may end: after the header, types, and code."""
    sizes, position = {8}, 8
    while position < len(data):
        section, size = data[position], data[position + 1]  # all are shorter than 128 bytes
        position += 2 + size
        if section in (1, 10, 0):
            sizes.add(position)
    return sizes


@pytest.mark.parametrize("size", range(len(wasm(ADD))))
def test_truncated_module_is_refused(size: int) -> None:
    if size in whole_sections(wasm(ADD)):
        Module(wasm(ADD)[:size])
        return
    with pytest.raises(MalformedError, match="byte"):
        Module(wasm(ADD)[:size])


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"not a module at all", MalformedError, "magic header not detected at byte 0"),
        (b"\0asm\2\0\0\0", MalformedError, "version"),
        (b"\0asm\x0d\0\1\0", MalformedError, "version"),  # a component
        (b"\0asm\1\0\0\0" + b"\5\3\1\0\1" * 2, MalformedError, "byte 13"),  # a section twice
        (b"\0asm\1\0\0\0" + b"\5\xff\xff\xff\xff\x0f", MalformedError, "byte"),  # 4 GiB of it
        (b"\0asm\1\0\0\0" + b"\1\5\xff\xff\xff\xff\x0f", MalformedError, "byte"),  # 2^32 types
        (b"\0asm\1\0\0\0" + b"\5\6\1\1\2\x80\x80\x08", InvalidModuleError, "byte"),
    ],
)
def test_hostile_bytes_are_refused_with_the_place(
    data: bytes, kind: type[Exception], text: str
) -> None:
    with pytest.raises((kind, InvalidModuleError), match=text):
        Module(data)


def test_imports_and_exports_are_listed_with_their_types() -> None:
    module = Module(wasm(MANY))
    assert [(i.module, i.name, i.kind, i.type) for i in module.imports] == [
        ("env", "log", ExternKind.FUNCTION, FunctionType(["i32", "f64"])),
        ("env", "table", ExternKind.TABLE, TableType("externref", 1, 9)),
    ]
    assert {name: item.type for name, item in module.exports.items()} == {
        "memory": MemoryType(2, 5),
        "counter": GlobalType("i64", True),
        "pair": FunctionType([], ["i32", "i64"]),
    }
    assert module.memory_type == MemoryType(2, 5)
    assert not module.imports_memory
    assert [str(i.type) for i in module.imports] == [
        "(i32, f64) -> ()",
        "table of 1 to 9 externref",
    ]


def test_names_come_from_the_name_section() -> None:
    module = Module(wasm(MANY))
    assert [module.function_name(index) for index in range(4)] == [
        "env.log" if module.function_name(0) == "env.log" else "log",
        "pair",
        "extend",
        "begin",
    ]
    assert module.function_type(2) == FunctionType(["i32"], ["i32"])
    assert Module(wasm("(module (func))")).function_name(0) is None


def test_usage_counts_what_is_there() -> None:
    usage = Module(wasm(MANY)).usage
    assert (usage.import_count, usage.export_count, usage.function_count) == (2, 3, 4)
    assert (usage.imported_function_count, usage.memory_count, usage.table_count) == (1, 1, 1)
    assert usage.start_function == 3
    assert {"multi value", "sign extension", "reference types"} <= usage.features
    assert Module(wasm(ADD)).usage.start_function is None
    assert Module(wasm(ADD)).usage.features == frozenset()


@pytest.mark.row("WE-1")
def test_buffer_of_exactly_what_was_used_is_enough() -> None:
    builder = ModuleBuilder().with_bytes(wasm(MANY))
    usage = builder.build().usage
    assert usage.init_bytes <= builder.layout().bytes
    assert usage.buffer_bytes <= usage.init_bytes
    enough = bytearray(usage.init_bytes)
    assert builder.with_buffer(enough).build().usage == usage
    with pytest.raises(OutOfMemoryError):
        builder.with_buffer(bytearray(usage.buffer_bytes // 2)).build()


@pytest.mark.row("WE-1")
def test_what_only_validation_needed_goes_back_to_the_system() -> None:
    body = "i32.const 0 if end " * 40000
    module = Module(wasm(f"(module (func {body}))"))
    usage = module.usage
    assert usage.init_bytes > 2 * usage.buffer_bytes
    kept = -(-usage.buffer_bytes // mmap.PAGESIZE)
    assert resident_pages(module._buffer) == [True] * kept + [False] * (
        len(module._buffer) // mmap.PAGESIZE - kept
    )


def resident_pages(buffer: Any) -> list[bool]:
    """Which whole pages of a buffer are in RAM, as the kernel says."""
    count = len(buffer) // mmap.PAGESIZE
    seen = ctypes.create_string_buffer(count)
    address = ctypes.c_void_p(int(ffi.cast("uintptr_t", buffer)))
    size = ctypes.c_size_t(count * mmap.PAGESIZE)
    assert ctypes.CDLL(None, use_errno=True).mincore(address, size, seen) == 0
    return [bool(byte & 1) for byte in seen.raw]
