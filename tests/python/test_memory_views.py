"""Views of linear memory: no copy, no move, and never the next owner's bytes."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy
import pytest
from support.guest import assemble as wasm
from wrt_platform.errors import BusyError, InvalidArgumentError, LimitError
from wrt_platform.instance import Instance
from wrt_platform.linux.memory import LinuxAllocatorBuilder
from wrt_platform.memory import Memory, MemoryBuilder
from wrt_platform.module import Module
from wrt_platform.static_memory import StaticAllocatorBuilder

PAGE = 65536
MODULE = Module(
    wasm("""(module (memory (export "memory") 1 4)
  (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1))))""")
)


def mapped(address: int) -> bool:
    """Whether the kernel has anything at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return True
    return False


def address_of(view: memoryview) -> int:
    return int(numpy.frombuffer(view, dtype=numpy.uint8).ctypes.data)


def test_view_and_guest_see_the_same_bytes() -> None:
    instance = Instance(MODULE)
    view = instance.memory.view()
    view[5] = 200
    assert instance.call("load", 5) == 200
    instance.call("store", 6, 201)
    assert view[6] == 201
    array = numpy.frombuffer(view, dtype="<u2")
    assert array.flags.writeable
    array[3] = 0x0102
    assert instance.call("load", 6) == 2
    assert len(view) == PAGE


def test_views_stay_valid_when_the_memory_grows() -> None:
    instance = Instance(MODULE)
    view = instance.memory.view()
    address = address_of(view)
    assert instance.call("grow") == 1
    instance.call("store", 7, 7)
    assert view[7] == 7
    assert len(view) == PAGE
    assert len(instance.memory.view()) == 2 * PAGE
    assert address_of(instance.memory.view()) == address


def test_read_write_and_text() -> None:
    memory = Instance(MODULE).memory
    memory.write(100, "grün\0".encode())
    assert memory.read_text(100) == "grün"
    assert memory.read_text(100, 2) == "gr"
    assert memory.read(100, 2) == b"gr"
    memory.write(PAGE - 2, numpy.array([1], dtype="<u2"))  # type: ignore[arg-type]
    assert memory.read(PAGE - 2, 2) == b"\1\0"
    for offset, size in [(PAGE, 1), (-1, 1), (0, PAGE + 1), (2**40, 0)]:
        with pytest.raises(InvalidArgumentError, match="reach beyond the memory"):
            memory.read(offset, size)
    with pytest.raises(InvalidArgumentError):
        memory.write(PAGE - 1, b"ab")
    assert memory.read(PAGE - 1, 1) == b"\0"  # nothing was written
    memory.view()[:] = b"x" * PAGE
    with pytest.raises(InvalidArgumentError, match="has no end"):
        memory.read_text(0)


def test_view_outlives_instance_and_close_and_goes_with_the_last_slice() -> None:
    instance = Instance(MODULE)
    instance.memory.write(0, b"mine")
    part = instance.memory.view()[:4]
    address = address_of(part)
    guest = weakref.ref(instance._open())
    instance.close()
    del instance
    gc.collect()
    assert bytes(part) == b"mine"
    assert guest() is not None
    del part
    gc.collect()
    assert guest() is None
    assert not mapped(address)


def test_next_owner_gets_the_memory_only_after_the_last_view() -> None:
    """One buffer, one owner at a time: the second instance must wait for the first one's view."""
    buffer = mmap.mmap(-1, 4 * PAGE)
    allocator = StaticAllocatorBuilder().with_buffer(buffer).build()
    first = Instance(MODULE, allocator=allocator)
    first.memory.write(0, b"secret")
    view = first.memory.view()[:6]
    first.close()
    del first
    with pytest.raises(BusyError):
        Instance(MODULE, allocator=allocator)
    assert bytes(view) == b"secret"
    del view
    second = Instance(MODULE, allocator=allocator)
    assert second.memory.read(0, 6) == bytes(6)


def test_memory_of_an_instance_is_given_back_inside_a_collection() -> None:
    """A cycle dies whenever Python likes, maybe while the allocator's lock is held."""
    allocator = LinuxAllocatorBuilder().with_maximum_pages(4).build()
    for _ in range(20):
        instance = Instance(MODULE, allocator=allocator)
        cycle: list[object] = [instance, instance.memory.view()]
        cycle.append(cycle)
        del cycle, instance
        with allocator._lock:
            gc.collect()
    gc.collect()
    Instance(MODULE, allocator=allocator).close()
    gc.collect()
    assert allocator.report.allocation_count == 0


def test_memory_stands_alone() -> None:
    memory = Memory(1, 3)
    view = memory.view()
    view[:3] = b"abc"
    assert memory.grow(2) == 1
    with pytest.raises(LimitError):
        memory.grow(1)
    assert (memory.pages, memory.peak_pages, memory.refused_growths) == (3, 3, 0)  # no guest asked
    address = address_of(view)
    del memory
    gc.collect()
    assert bytes(view[:3]) == b"abc"
    del view
    gc.collect()
    assert not mapped(address)


def test_memory_builder_takes_every_setting() -> None:
    allocator = LinuxAllocatorBuilder().with_maximum_pages(3).build()
    memory = (
        MemoryBuilder()
        .with_initial_pages(1)
        .with_declared_maximum(9)
        .with_maximum_pages(2)
        .with_allocator(allocator)
        .build()
    )
    assert allocator.report.page_count == 1
    assert memory.grow(1) == 1
    with pytest.raises(LimitError):
        memory.grow(1)
    with pytest.raises(InvalidArgumentError):
        MemoryBuilder().with_initial_pages(-1)
    with pytest.raises(TypeError, match="a builder needs build"):
        MemoryBuilder().with_allocator(LinuxAllocatorBuilder()).build()  # type: ignore[arg-type]


def test_guard_pages_stand_behind_the_default_memory() -> None:
    code = f"""
from wrt_platform import Instance
from wrt_platform._native import ffi
instance = Instance({wasm('(module (memory (export "m") 1 1))')!r})
base = ffi.cast("volatile uint8_t *", instance.memory._pointer.base)
print(base[65535], flush=True)
print(base[65536])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (-11, "0\n")


def test_interpreter_ends_cleanly_with_everything_alive() -> None:
    code = f"""
import wrt_platform as w
from wrt_platform import Instance, Memory, Table, Global, HostFunction, FunctionType
a = Instance({wasm('(module (memory (export "m") 1))')!r})
view = a.memory.view()
m, t, g = Memory(1), Table("funcref", 1), Global("i64", 1)
t[0] = HostFunction(lambda: None, FunctionType())
cycle = [a]; cycle.append(cycle)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
