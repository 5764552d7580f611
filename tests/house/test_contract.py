"""Rules that hold for every object of the library: three faces, one truth."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from wrt_platform._native import ffi

TYPEDEFS, STRUCT_TAGS, _ = ffi.list_types()
STRUCTS = [name for name in TYPEDEFS if ffi.typeof(name).kind == "struct"]
CONFIGS = [name for name in STRUCTS if name.endswith("_config")]
SIZES = Path(__file__).with_name("object_sizes.txt")

# Builders that are not called after their config, as the documents have them.
BUILDERS = {
    "wrt_linux_cgroup_config": "CgroupBuilder",
    "wrt_linux_lazy_memory_config": "LazyMemoryBuilder",
    "wrt_linux_mte_allocator_config": "LinuxArm64MteAllocatorBuilder",
    "wrt_linux_write_tracker_config": "WriteTrackerBuilder",
    "wrt_thread_pool_config": "ThreadPoolConfig",
    "wrt_wasm_task_config": "WasmTask",
    "wrt_atomic_memory_config": "CustomProvider",
    "wrt_pool_config": "PoolAllocatorBuilder",
    "wrt_qnx_partition_config": "QnxMemoryPartitionBuilder",
    "wrt_thread_manager_config": "ThreadManagerConfig",
    "wrt_watchdog_config": "WatchdogConfig",
}

# Methods that are not called after their field, as the documents have them.
ALIASES = {
    ("wrt_task_config", "context"): "with_run",
    ("wrt_wasm_task_config", "results"): "with_args",
    ("wrt_wasm_task_config", "type"): "with_args",
    ("wrt_wasm_task_config", "timeout_ns"): "with_timeout",
    ("wrt_pool_config", "classes"): "add_pool",
    ("wrt_qnx_partition_config", "minimum_bytes"): "with_memory_size",
    ("wrt_qnx_partition_config", "maximum_bytes"): "with_memory_size",
    ("wrt_qnx_partition_config", "reserved_bytes"): "with_memory_size",
    ("wrt_events_config", "wake_context"): "with_wake",
    ("wrt_thread_config", "context"): "with_entry",
    ("wrt_thread_manager_config", "response_timeout_ns"): "with_response_timeout",
    ("wrt_thread_manager_config", "kill_timeout_ns"): "with_kill_timeout",
    ("wrt_thread_manager_config", "check_interval_ns"): "with_check_interval",
    ("wrt_watchdog_config", "default_timeout_ns"): "with_default_timeout",
    ("wrt_watchdog_config", "check_interval_ns"): "with_check_interval",
    ("wrt_watch_config", "timeout_ns"): "with_timeout",
    ("wrt_linux_lazy_memory_config", "context"): "with_load",
    ("wrt_linux_lazy_memory_config", "timeout_ns"): "with_timeout",
    ("wrt_linux_pressure_config", "window_ns"): "with_window",
    ("wrt_io_uring_config", "sq_idle_ns"): "with_sq_idle",
}


def fields(struct: str) -> list[tuple[str, Any]]:
    return list(ffi.typeof(struct).fields)


def builder_name(config: str) -> str:
    topic = config.removeprefix("wrt_").removesuffix("_config")
    return BUILDERS.get(config, topic.title().replace("_", "") + "Builder")


def builder_methods(config: str) -> set[str]:
    """One for each field that a caller sets; sizes and counts come with what they count, and what
    says that a field is set with that field."""
    names = [name for name, _ in fields(config) if name not in ("struct_size", "reserved")]
    names = [name for name in names if name.removeprefix("has_") not in {*names} - {name}]
    names = [name for name in names if not name.endswith(("_count", "_size")) or alone(name)]
    return {ALIASES.get((config, name), f"with_{name}") for name in names}


def alone(name: str) -> bool:
    """A size that is a setting of its own, and not the length of a buffer beside it."""
    return name in ("arena_cache_max_size", "arena_size", "stack_size")


def python_methods(builder: str) -> set[str]:
    """What the class offers, read from the source so that no import can hide it."""
    for path in sorted((ROOT / "python/wrt_platform").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name == builder:
                return {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    return set()


def rust_methods(builder: str) -> set[str]:
    """Public functions of all `impl` blocks of the type."""
    methods = set()
    for path in sorted((ROOT / "rust/wrt-platform/src").rglob("*.rs")):
        for block in re.findall(
            rf"^impl\b[^{{]*\b{builder}\b[^{{]*\{{.*?^\}}", path.read_text(), re.M | re.S
        ):
            methods |= set(re.findall(r"^    pub (?:const |unsafe )*fn (\w+)", block, re.M))
    return methods


def test_there_are_configs() -> None:
    assert {"wrt_instance_config", "wrt_linux_allocator_config", "wrt_pool_config"} <= set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_field_has_its_builder_method_in_python(config: str) -> None:
    assert builder_methods(config) - python_methods(builder_name(config)) == set()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_field_has_its_builder_method_in_rust(config: str) -> None:
    assert builder_methods(config) - rust_methods(builder_name(config)) == set()


@pytest.mark.parametrize("config", CONFIGS)
def test_struct_size_comes_first(config: str) -> None:
    assert fields(config)[0][0] == "struct_size"


@pytest.mark.parametrize("struct", STRUCTS)
def test_struct_has_no_implicit_padding(struct: str) -> None:
    """What the compiler puts between fields holds a caller's garbage, and no test for zero."""
    end = 0
    for name, field in fields(struct):
        assert field.offset == end, f"padding before {name}"
        assert field.bitsize == -1, f"{name} is a bit field"
        end += ffi.sizeof(field.type)
    assert ffi.sizeof(struct) == end
    assert ffi.alignof(struct) <= 8


def test_sizes_are_those_of_the_table() -> None:
    """A change breaks every program that was compiled before: then the SONAME moves, too."""
    lines = [line.split() for line in SIZES.read_text().splitlines() if not line.startswith("#")]
    table = {name: int(size) for name, size in lines}
    assert {name: ffi.sizeof(name) for name in STRUCTS} == table
