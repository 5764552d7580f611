"""What tests of thread pools run: a guest of many types, a gate that holds its worker, and a system
whose threads can be looked at in a worker's last moment."""

from __future__ import annotations

import threading
from typing import Any

from patience import PATIENCE
from support.guest import assemble
from wrt_platform import Instance
from wrt_platform._native import ffi
from wrt_platform.system_below import system_interface
from wrt_platform.threading import WasmTask

GUEST = """(module
  (import "host" "call" (func $call (param i32) (result i32)))
  (func (export "i32") (param i32 i32) (result i32) (i32.sub (local.get 0) (local.get 1)))
  (func (export "i64") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 3)))
  (func (export "f32") (param f32) (result f32) (f32.neg (local.get 0)))
  (func (export "f64") (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
  (func (export "none") (param i32))
  (func (export "two") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func (export "reference") (param externref) (result externref) (local.get 0))
  (func (export "constant") (result f64) (f64.const 0.5))
  (func (export "host") (param i32) (result i32) (call $call (local.get 0)))
  (func (export "trap") (param i32) (result i32) (i32.div_s (local.get 0) (i32.const 0)))
  (func (export "spin") (loop (br 0))))"""
NAMES = [
    *("i32", "i64", "f32", "f64", "none", "two"),
    *("reference", "constant", "host", "trap", "spin"),
]
I32, I64, F32, F64, NONE, TWO, REFERENCE, CONSTANT, HOST, TRAP, SPIN = range(len(NAMES))


def instance_with(host: Any = abs) -> Instance:
    return Instance(assemble(GUEST), {"host": {"call": lambda value: host(value)}})


def functions_of(instance: Instance, first: int = 0) -> dict[int, Any]:
    return {first + place: instance.exports[name] for place, name in enumerate(NAMES)}


class Gate:
    """A host function that holds its worker until it is opened, and notes who came by."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.seen: list[int] = []

    def __call__(self, number: int) -> int:
        self.seen.append(number)
        if number == 0:
            self.entered.release()
            assert self.opened.wait(PATIENCE)
        return number

    def wait_until_held(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)


class LateSystem:
    """The system's threads; each time that a worker reads its CPU clock, `at_clock` is told."""

    def __init__(self) -> None:
        self.reads = 0
        self.at_clock: Any = None
        self._inner = system_interface()
        self._ops = ffi.new("wrt_thread_system_ops *", self._inner.ops[0])
        self._callback = ffi.callback("wrt_thread_cpu_time_fn", self._cpu_time)
        self._ops.cpu_time = self._callback
        self._interface = ffi.new("wrt_thread_system *", {"ops": self._ops})[0]
        self._interface.self = self._inner.self

    def _cpu_time(self, inner: Any, thread: Any, time_out: Any) -> int:
        self.reads += 1
        self.at_clock(self.reads)
        return int(self._inner.ops.cpu_time(inner, thread, time_out))


def call(function_id: int, *args: Any, **settings: Any) -> WasmTask:
    return WasmTask(function_id=function_id, args=args, **settings)
