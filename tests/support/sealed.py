"""Hostile programs in the place of the sealed engine, and what a test needs to send them."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from common import ROOT, run
from wrt_platform import SandboxBuilder
from wrt_platform._native import ffi, lib

WORKER = ROOT / "c/src/worker"
PARTS = ("clock", "main", "memory", "prove", "seal", "start_aarch64", "start_x86_64", "talk")
FLAGS = (
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-pic", "-fno-stack-protector",
    "-ffunction-sections", "-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections",
)  # fmt: skip
SYSTEM_CALL, INTERRUPT_80, TOUCH_ALL, HANG, RUN_DATA = 1, 2, 3, 4, 5
LIE, RING, ASK_AND_CHANGE, ASK_TWICE, SLEEP = 6, 7, 8, 9, 10
DONE, ASK = 1, 2  # kinds of message


def attacker(folder: Path, without: str = "") -> Path:
    """Compiles the hostile program; `without`: a pattern that is taken out of its seal."""
    sources = [WORKER / f"{name}.c" for name in PARTS]
    if without:
        text = (WORKER / "seal.c").read_text()
        changed, count = re.subn(without, "", text)
        assert count == 1, "the seal is not what this test takes apart"
        weak = folder / "seal.c"
        weak.write_text(changed)
        sources = [weak if source.name == "seal.c" else source for source in sources]
    program = folder / ("weak" if without else "attacker")
    hostile = ROOT / "tests/support/sealed_attacker.c"
    include = [f"-I{ROOT}/c/include", f"-I{WORKER}", f"-I{ROOT}/c/src/core"]
    run("cc", *FLAGS, *include, *sources, hostile, "-lgcc", "-o", program)
    return program


class Attack:
    """A sandbox in other hands, on the raw C library."""

    def __init__(self, program: Path, imports: Any = None, count: int = 0, **settings: Any) -> None:
        path = ffi.new("char[]", str(program).encode())
        config = ffi.new("wrt_sandbox_config *", {"struct_size": ffi.sizeof("wrt_sandbox_config")})
        config.program_path, config.maximum_pages = path, 16
        for name, value in settings.items():
            setattr(config, name, value)
        self.raw = ffi.new("wrt_sandbox *")
        assert lib.wrt_sandbox_init(self.raw, config) == lib.WRT_OK
        guest = ffi.new("wrt_sandbox_guest *", {"struct_size": ffi.sizeof("wrt_sandbox_guest")})
        content = ffi.new("uint8_t[]", b"none")
        guest.bytes, guest.bytes_size = content, 4
        if imports is not None:
            guest.imports, guest.import_count = imports, count
        assert lib.wrt_sandbox_load(self.raw, guest, 0) == lib.WRT_OK

    def __enter__(self) -> Attack:
        return self

    def __exit__(self, *_: object) -> None:
        assert lib.wrt_sandbox_deinit(self.raw) == lib.WRT_OK

    def try_it(self, attack: int, *words: int, seconds: float = 5) -> int:
        """Sends a plan; the status of the call."""
        plan = struct.pack("=9Q", attack, *(w % 2**64 for w in words), *[0] * (8 - len(words)))
        values = ffi.new("wrt_value[9]")
        ffi.buffer(values)[:] = plan
        name = ffi.new("char[]", b"attack")
        call = ffi.new("wrt_sandbox_call *", {"struct_size": ffi.sizeof("wrt_sandbox_call")})
        call.name, call.name_size = name, 6
        call.arguments, call.argument_count = values, 9
        call.timeout_ns = int(seconds * 1e9)
        return int(lib.wrt_sandbox_run(self.raw, call))

    @property
    def report(self) -> Any:
        report = ffi.new("wrt_sandbox_report *")
        assert lib.wrt_sandbox_query(self.raw, report) == lib.WRT_OK
        return report

    @property
    def result(self) -> int:
        """Of the system call that came back."""
        frame = self.report.frames[0]
        return -int(frame.offset) if frame.function else int(frame.offset)

    def memory(self) -> Any:
        base, size = ffi.new("uint8_t **"), ffi.new("uint64_t *")
        assert lib.wrt_sandbox_memory(self.raw, base, size) == lib.WRT_OK
        return ffi.buffer(base[0], 16 * 65536)


def builder(program: Path) -> SandboxBuilder:
    return SandboxBuilder().with_program_path(program).with_maximum_pages(16)
