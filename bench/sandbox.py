"""Sealed sandboxes: a small program from start to end, beside a bare Python and bubblewrap; whether
that depends on the host's size; how fast a guest runs there; what a question to the parent costs.

The parties take turns, so that a busy moment of the machine hits each; the shortest time counts.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import wasmtime
from crates import ROOT
from wrt_platform import SandboxBuilder, SandboxPoolBuilder, WasiBuilder, run
from wrt_platform._native import ffi, lib

ROUNDS = 7
STARTS = 20  # of a sandbox, in a round
CALLS, BATCHES = 400, 1500  # questions to the parent; batches so short that one goes undisturbed
HOST_BYTES, SIZE_ROUNDS = 512 << 20, 20
WASI = "wasi_snapshot_preview1"
HELLO = f"""(module
  (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
ASK = f"""(module
  (import "{WASI}" "fd_fdstat_get" (func $ask (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "ask") (param $left i32)
    (loop $again
      (drop (call $ask (i32.const 1) (i32.const 64)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""


def rows() -> list[dict[str, Any]]:
    """Microseconds; seconds for the long run."""
    hello, ask = (bytes(wasmtime.wat2wasm(text)) for text in (HELLO, ASK))
    null = os.open(os.devnull, os.O_WRONLY)
    found = [*starts(hello, null), *sizes(hello, null), *speeds(), *questions(ask, null)]
    os.close(null)
    return found


def sealed(module: bytes, null: int) -> None:
    """From nothing to the end of the program, and until nothing is left of it."""
    wasi = WasiBuilder().with_standard_output(null).build()
    with SandboxBuilder().with_maximum_pages(1024).build() as sandbox:
        sandbox.load(module, wasi)
        sandbox.call("_start")


def command(*words: str) -> Callable[[], None]:
    path = shutil.which(words[0]) or words[0]

    def start() -> None:
        child = os.posix_spawn(path, words, os.environ)
        assert os.waitpid(child, 0)[1] == 0, words

    return start


def shortest(work: Callable[[], None], times: int = 1) -> float:
    """Microseconds."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter_ns()
        work()
        best = min(best, (time.perf_counter_ns() - start) / 1000)
    return best


def row(
    name: str, ours: float, peer: float | None, peer_name: str, goal: float | None
) -> dict[str, Any]:
    ratio = ours if peer is None else ours / peer
    values = (name, ours, peer, peer_name, ratio, goal)
    return dict(zip(("name", "ours", "peer", "peer_name", "ratio", "goal"), values))


def starts(hello: bytes, null: int) -> list[dict[str, Any]]:
    bare = command(os.path.realpath(sys.executable), "-I", "-S", "-c", "pass")
    wrapped = command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true")
    has_bwrap = shutil.which("bwrap") is not None
    ours = python = bubble = waiting = float("inf")
    with SandboxPoolBuilder().with_ready(STARTS).build() as pool:
        for _ in range(ROUNDS):
            ours = min(ours, shortest(lambda: sealed(hello, null), STARTS))
            python = min(python, shortest(bare, 3))
            if has_bwrap:
                bubble = min(bubble, shortest(wrapped, 3))
            pool.fill()
            waiting = min(waiting, *(taken(pool, hello, null) for _ in range(STARTS)))
    name = "sandbox: small program, start to end (us)"
    found = [row(name, ours, python, "python -I -S -c pass", 0.1)]
    if has_bwrap:
        found.append(row(name, ours, bubble, "bwrap --unshare-all true", 0.2))
    name = "sandbox that waits: module handed over to its end (us)"
    return [*found, row(name, waiting, None, "", None)]


def taken(pool: Any, module: bytes, null: int) -> float:
    """One of a pool, until its program has ended; by the C calls, without Python's own work."""
    wasi = WasiBuilder().with_standard_output(null).build()
    content, name = ffi.new("uint8_t[]", module), ffi.new("char[]", b"_start")
    guest = ffi.new("wrt_sandbox_guest *", {"struct_size": ffi.sizeof("wrt_sandbox_guest")})
    guest.bytes, guest.bytes_size = content, len(module)
    guest.imports, guest.import_count = wasi._imports, wasi._import_count
    call = ffi.new("wrt_sandbox_call *", {"struct_size": ffi.sizeof("wrt_sandbox_call")})
    call.name, call.name_size = name, 6
    sandbox, table = ffi.new("wrt_sandbox *"), pool._raw
    start = time.perf_counter_ns()
    statuses = [
        lib.wrt_sandbox_pool_take(table, sandbox),
        lib.wrt_sandbox_load(sandbox, guest, 0),
        lib.wrt_sandbox_run(sandbox, call),
    ]
    spent = (time.perf_counter_ns() - start) / 1000
    statuses.append(lib.wrt_sandbox_deinit(sandbox))
    assert statuses == [lib.WRT_OK] * 4
    return spent


def sizes(hello: bytes, null: int) -> list[dict[str, Any]]:
    """The same in two processes that take turns, of which one has touched 512 MiB."""
    small, large = Host(0, hello, null), Host(HOST_BYTES, hello, null)
    times = [(small.measure(), large.measure()) for _ in range(SIZE_ROUNDS)]
    for host in (small, large):
        host.end()
    best_small, best_large = (min(each) for each in zip(*times))
    return [row("sandbox: host of 512 MiB (us)", best_large, best_small, "small host", 1.1)]


class Host:
    """A process of that size, which starts sandboxes when it is asked to."""

    def __init__(self, size: int, module: bytes, null: int) -> None:
        asks, self._ask = os.pipe()
        self._answer, answers = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._ask)
            block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size else b""
            for offset in range(0, size, 4096):
                block[offset] = 1  # type: ignore[index]
            while os.read(asks, 1) == b"?":
                best = shortest(lambda: sealed(module, null), STARTS)
                os.write(answers, struct.pack("d", best))
            os._exit(0)
        os.close(asks)
        os.close(answers)

    def measure(self) -> float:
        os.write(self._ask, b"?")
        (best,) = struct.unpack("d", os.read(self._answer, 8))
        return float(best)

    def end(self) -> None:
        os.write(self._ask, b".")  # its end may still be open in the other host
        os.close(self._ask)
        os.close(self._answer)
        os.waitpid(self._process, 0)


def speeds() -> list[dict[str, Any]]:
    module = ROOT / "examples/programs/planets.wasm"
    times = {"none": float("inf"), "sealed": float("inf")}
    for _ in range(3):
        for profile in times:
            spent = run(module, ["400000"], sandbox=profile).wall_time
            times[profile] = min(times[profile], spent)
    name = "sandbox: planets, 400,000 steps (s)"
    return [row(name, times["sealed"], times["none"], "in this process", 1.05)]


def questions(ask: bytes, null: int) -> list[dict[str, Any]]:
    wasi = WasiBuilder().with_standard_output(null).build()
    few = many = float("inf")
    with SandboxBuilder().build() as sandbox:
        sandbox.load(ask, wasi)
        for _ in range(BATCHES):
            few = min(few, shortest(lambda: sandbox.call("ask", 1)))
            many = min(many, shortest(lambda: sandbox.call("ask", CALLS + 1)))
        assert sandbox.report.end == lib.WRT_SANDBOX_RUNS
    processors = len(os.sched_getaffinity(0))
    goal = 0.5 if processors > 1 else None  # on one, nobody can look while the other works
    return [row("sandbox: question to the parent (us)", (many - few) / CALLS, None, "", goal)]
