"""Linking, limits and refusals of instances."""

from __future__ import annotations

import pytest
from support.guest import Guest, last_error, new_config
from wrt_platform._native import ffi, lib

OK = lib.WRT_OK

ADDER = """(module (memory (export "memory") 1) (global (export "count") (mut i32) (i32.const 5))
  (table (export "table") 4 funcref)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "poke") (param i32) (i32.store8 (i32.const 0) (local.get 0)))
  (func (export "trap") (param i32 i32) (result i32) unreachable))"""

USER = """(module
  (import "a" "add" (func $add (param i32 i32) (result i32)))
  (import "a" "trap" (func $trap (param i32 i32) (result i32)))
  (import "a" "memory" (memory 1)) (import "a" "count" (global $count (mut i32)))
  (import "a" "table" (table 4 funcref))
  (elem (i32.const 1) $own)
  (func $own (result i32) (i32.const 77))
  (func (export "sum") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.add (call $add (i32.const 1) (i32.const 2)) (i32.load8_u (i32.const 0))))
  (func (export "fail") (result i32) (call $trap (i32.const 1) (i32.const 2))))"""


def everything_of(guest: Guest) -> dict[tuple[str, str], object]:
    names = ("add", "trap", "memory", "count", "table")
    return {("a", name): guest.export(name) for name in names}


def test_instances_share_functions_memory_globals_and_tables() -> None:
    adder = Guest(ADDER)
    user = Guest(USER, everything_of(adder))
    assert adder.call("poke", 40, results=0)[0] == OK
    assert user.call("sum") == (OK, 43)
    assert getattr(adder.export("count").of, "global").value.i32 == 6
    reference = ffi.new("uint64_t *")
    assert lib.wrt_table_get(adder.export("table").of.table, 1, reference) == OK
    function = ffi.cast("wrt_function *", reference[0])
    assert function.owner == user.raw
    assert user.usage.buffer_bytes == user.layout.bytes


def test_trap_in_another_instance_names_its_module() -> None:
    adder = Guest(ADDER)
    user = Guest(USER, everything_of(adder))
    assert user.call("fail") == (lib.WRT_ERR_TRAP, None)
    assert user.trap.module == adder.module.raw
    assert user.trap.depth == 2
    assert [function for function, _ in user.frames()] == [2, 4]
    assert user.call("sum") == (OK, 3)
    assert adder.call("add", 1, 1) == (OK, 2)


def test_all_unknown_imports_are_found() -> None:
    user = Guest(USER, {}, start=False)
    assert user.init_status == lib.WRT_ERR_LINK
    assert "number 0 is not there, 5 are missing" in last_error()
    found: list[int] = []
    missing = ffi.new("uint32_t *")
    while lib.wrt_instance_missing_import(user.config, len(found), missing) == OK:
        found.append(missing[0])
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "module",
    [
        '(module (import "a" "add" (func (param i32) (result i32))))',
        '(module (import "a" "add" (func (param i32 i32) (result i64))))',
        '(module (import "a" "add" (memory 1)))',
        '(module (import "a" "memory" (memory 2)))',
        '(module (import "a" "memory" (memory 1 5)))',
        '(module (import "a" "count" (global i32)))',
        '(module (import "a" "count" (global (mut i64))))',
        '(module (import "a" "table" (table 4 externref)))',
        '(module (import "a" "table" (table 5 funcref)))',
    ],
)
def test_import_of_another_type_is_refused(module: str) -> None:
    adder = Guest(ADDER)
    user = Guest(module, everything_of(adder), start=False)
    assert user.init_status == lib.WRT_ERR_LINK
    assert "incompatible import type" in last_error()


def test_memory_limit_holds_and_is_counted() -> None:
    text = """(module (memory 1 10) (func (export "grow") (param i32) (result i32)
      (memory.grow (local.get 0))))"""
    guest = Guest(text, maximum_pages=3)
    assert [guest.call("grow", pages)[1] for pages in (1, 2, 1, 1)] == [1, 2**32 - 1, 2, 2**32 - 1]
    usage = guest.usage
    assert (usage.memory_pages, usage.memory_peak_pages, usage.refused_growths) == (3, 3, 2)
    over = Guest("(module (memory 4))", start=False, maximum_pages=3)
    assert over.init_status == lib.WRT_ERR_LIMIT
    assert "starts with 4 pages of 64 KiB, the limit is 3" in last_error()


def test_no_more_is_reserved_than_the_module_may_have() -> None:
    for maximum_pages, reserved in [(0, 10), (3, 3), (100, 10)]:
        guest = Guest("(module (memory 1 10))", maximum_pages=maximum_pages)
        memory = ffi.new("wrt_memory **")
        assert lib.wrt_instance_memory(guest.raw, memory) == OK
        assert memory[0].pages.maximum_pages == reserved


def test_table_limit_holds() -> None:
    text = """(module (table 2 externref) (func (export "grow") (param i32) (result i32)
      (table.grow (ref.null extern) (local.get 0))))"""
    guest = Guest(text, maximum_table_elements=4)
    assert [guest.call("grow", count)[1] for count in (1, 2, 1, 1)] == [2, 2**32 - 1, 3, 2**32 - 1]
    config = new_config("wrt_instance_config", module=guest.module.raw, maximum_table_elements=1)
    assert lib.wrt_instance_layout(config, ffi.new("wrt_layout *")) == lib.WRT_ERR_LIMIT


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("stack_size", 511, "INVALID_ARGUMENT"),
        ("stack_size", 2**30 + 1, "INVALID_ARGUMENT"),
        ("maximum_pages", 65537, "INVALID_ARGUMENT"),
        ("fuel", 2**63, "INVALID_ARGUMENT"),
        ("module", ffi.NULL, "STATE"),
        ("import_count", 1, "INVALID_ARGUMENT"),
        ("struct_size", 0, "INVALID_ARGUMENT"),
        ("reserved", [1, 0, 0], "UNSUPPORTED"),
    ],
)
def test_bad_configs_are_refused(field: str, value: object, status: str) -> None:
    guest = Guest(ADDER)
    config = new_config("wrt_instance_config", module=guest.module.raw, has_fuel=True)
    setattr(config, field, value)
    layout = ffi.new("wrt_layout *", (1, 1))
    assert lib.wrt_instance_layout(config, layout) == getattr(lib, f"WRT_ERR_{status}")
    assert (layout.bytes, layout.alignment) == (0, 0)


def test_failed_init_leaves_the_instance_as_it_was() -> None:
    guest = Guest(ADDER)
    before = bytes(ffi.buffer(guest.raw))
    other = Guest(USER, {}, start=False)
    assert lib.wrt_instance_init(guest.raw, other.config) == lib.WRT_ERR_LINK
    other.config.buffer_size -= 1
    assert lib.wrt_instance_init(guest.raw, other.config) == lib.WRT_ERR_NO_MEMORY
    other.config.buffer = ffi.cast("uint8_t *", other.config.buffer) + 4
    assert lib.wrt_instance_init(guest.raw, other.config) == lib.WRT_ERR_INVALID_ARGUMENT
    assert bytes(ffi.buffer(guest.raw)) == before
    assert guest.call("add", 20, 22) == (OK, 42)


def test_segment_that_does_not_fit_traps_and_what_came_before_stays() -> None:
    adder = Guest(ADDER)
    text = """(module (import "a" "memory" (memory 1))
      (data (i32.const 3) "kept") (data (i32.const 65535) "xy"))"""
    user = Guest(text, everything_of(adder), start=False)
    assert user.init_status == lib.WRT_ERR_TRAP
    assert user.trap.code == lib.WRT_TRAP_MEMORY_OUT_OF_BOUNDS
    assert adder.memory(7)[3:] == b"kept"
    assert lib.wrt_instance_start(user.raw, 0) == lib.WRT_ERR_STATE
    user.close()
