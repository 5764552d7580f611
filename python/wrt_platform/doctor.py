"""What this system can really do for a guest's limits: each line is an attempt, not a look-up.

What may end a process, or change it, is tried in a child.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Finding", "doctor_text", "examine"]

_CHILD_SECONDS = 20
_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_BENEATH = 0x08
_CARGO = (1, 85)  # edition 2024


class Finding(NamedTuple):
    """What one attempt came to."""

    name: str
    available: bool
    reason: str  # what was seen, or why not
    remedy: str  # empty if nothing is to be done


def examine() -> list[Finding]:
    """Makes all attempts; takes about a second."""
    return [attempt() for attempt in _ATTEMPTS]


def doctor_text(findings: list[Finding]) -> str:
    """One line a finding, and one for its remedy."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        word = "available" if finding.available else "absent   "
        lines.append(f"{finding.name:<{width}}  {word}  {finding.reason}")
        if finding.remedy:
            lines.append(f"{'':<{width}}             {finding.remedy}")
    return "\n".join(lines)


def _reservation() -> Finding:
    code = """
from wrt_platform.linux.memory import LinuxAllocatorBuilder
pages = LinuxAllocatorBuilder().with_guard_pages().build().allocate(1, 65536)
pages.memory[65535] = 1
print(pages.maximum_pages * 65536)
"""
    child = _child(code)
    remedy = "raise or remove the address-space limit: ulimit -v unlimited"
    return _finding(
        "reserve 4 GiB", child, f"{child.stdout.strip()} bytes, one page in use", remedy
    )


def _guard_page() -> Finding:
    code = """
from wrt_platform._native import ffi
from wrt_platform.linux.memory import LinuxAllocatorBuilder
pages = LinuxAllocatorBuilder().with_guard_pages().build().allocate(1, 1)
base = ffi.cast("volatile uint8_t *", ffi.from_buffer(pages.memory))
inside = base[65535]
print("read inside", flush=True)
base[65536] = inside
"""
    child = _child(code)
    faulted = child.returncode == -signal.SIGSEGV and child.stdout == "read inside\n"
    if faulted:
        return Finding(
            "guard pages", True, "a write behind the memory ended a child by SIGSEGV", ""
        )
    reason = f"a child that wrote behind the memory ended with {child.returncode}"
    return Finding(
        "guard pages", False, reason, "look at `dmesg`; report it with the kernel's version"
    )


def _openat2() -> Finding:
    """A link that leads out of the folder must not be followed; one inside must be."""
    name = "files stay below a folder"
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "folder")
        folder.mkdir()
        (folder / "inside").write_text("")
        Path(top, "outside").write_text("")
        (folder / "link").symlink_to("../outside")
        answers = {path: _open_beneath(folder, path) for path in ("inside", "link", "../outside")}
    refused = all(answers[path] != 0 for path in ("link", "../outside"))
    if answers["inside"] == 0 and refused:
        return Finding(name, True, "openat2 with RESOLVE_BENEATH refused `..` and a link out", "")
    reason = f"openat2 answered {os.strerror(answers['inside'])}"
    return Finding(
        name, False, reason, "Linux 5.6 or later, and a container that lets openat2 pass"
    )


def _open_beneath(folder: Path, path: str) -> int:
    """0 if openat2 opens the path, else its errno."""
    import ctypes
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    how = struct.pack("QQQ", os.O_RDONLY, 0, _RESOLVE_BENEATH)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        opened = libc.syscall(_OPENAT2, descriptor, path.encode(), how, len(how))
        if opened < 0:
            return ctypes.get_errno()
        os.close(opened)
        return 0
    finally:
        os.close(descriptor)


def _locking() -> Finding:
    code = """
import resource
from wrt_platform.linux.memory import LinuxAllocatorBuilder
limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
LinuxAllocatorBuilder().with_mlock().build().allocate(16, 16)
print("without limit" if limit < 0 else f"limit {limit} bytes")
"""
    child = _child(code)
    remedy = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit"
    return _finding("lock 1 MiB in RAM", child, child.stdout.strip(), remedy)


def _clock() -> Finding:
    """The step that is really seen, not the one that the system claims."""
    steps = []
    for _ in range(100):
        start = now = time.monotonic_ns()
        while now == start:
            now = time.monotonic_ns()
        steps.append(now - start)
    step = min(steps)
    fine = step < 1_000_000
    remedy = "" if fine else "time limits are as coarse as that; look at the clock source"
    return Finding("clock", fine, f"steps of {step} ns, never backwards", remedy)


def _text_tool() -> Finding:
    from wrt_platform.wat import REMEDY, assemble, find_tool

    name = "WebAssembly text"
    tool = find_tool()
    if tool is None:
        return Finding(name, False, "no assembler is installed", REMEDY)
    try:
        made = assemble("(module)")
    except Exception as error:
        return Finding(name, False, f"{tool[0]}: {error}", REMEDY)
    return Finding(name, made == b"\0asm\1\0\0\0", f"{tool[0]} assembled a module", "")


def _compiler(name: str, command: str, remedy: str) -> Callable[[], Finding]:
    def attempt() -> Finding:
        path = shutil.which(command)
        if path is None:
            return Finding(name, False, f"{command} is not installed", remedy)
        return _compiles(name, [path, "-c", "-xc", "-", "-o"], path, remedy)

    return attempt


def _wasi_compiler() -> Finding:
    name = "compile C to WASI"
    remedy = "apt install clang lld wasi-libc libclang-rt-dev-wasm32"
    path = shutil.which("clang") or shutil.which("clang-14")
    if path is None:
        return Finding(name, False, "clang is not installed", remedy)
    return _compiles(name, [path, "--target=wasm32-wasi", "-O1", "-xc", "-", "-o"], path, remedy)


def _compiles(name: str, command: list[str], path: str, remedy: str) -> Finding:
    source = "int main(void) { return 0; }\n"
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [*command, str(Path(folder, "out"))], input=source, capture_output=True, text=True
        )
    if run.returncode == 0:
        return Finding(name, True, f"{path} compiled a program", "")
    lines = run.stderr.strip().splitlines() or [f"{path} ended with {run.returncode}"]
    return Finding(name, False, lines[0], remedy)


def _cargo() -> Finding:
    name, remedy = "Rust", "install it with rustup; 1.85 or later"
    path = shutil.which("cargo")
    if path is None:
        return Finding(name, False, "cargo is not installed", remedy)
    run = subprocess.run([path, "--version"], capture_output=True, text=True)
    words = run.stdout.split()
    if run.returncode != 0 or len(words) < 2:
        return Finding(name, False, f"{path} --version ended with {run.returncode}", remedy)
    version = tuple(int(part) for part in words[1].split(".")[:2])
    fine = version >= _CARGO
    return Finding(name, fine, run.stdout.strip(), "" if fine else remedy)


def _child(code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own, with this package."""
    package = str(Path(__file__).resolve().parent.parent)
    start = (
        f"import resource, sys; sys.path.insert(0, {package!r})\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"  # a fault on purpose leaves no file
    )
    return subprocess.run(
        [sys.executable, "-c", f"{start}\n{code}"],
        capture_output=True,
        text=True,
        timeout=_CHILD_SECONDS,
    )


def _finding(name: str, child: subprocess.CompletedProcess[str], seen: str, remedy: str) -> Finding:
    if child.returncode == 0:
        return Finding(name, True, seen, "")
    lines = child.stderr.strip().splitlines() or [f"the child ended with {child.returncode}"]
    return Finding(name, False, lines[-1], remedy)


_ATTEMPTS: tuple[Callable[[], Finding], ...] = (
    _reservation,
    _guard_page,
    _locking,
    _openat2,
    _clock,
    _text_tool,
    _compiler("C compiler", "cc", "apt install gcc"),
    _wasi_compiler,
    _compiler("Cortex-M compiler", "arm-none-eabi-gcc", "apt install gcc-arm-none-eabi"),
    _cargo,
)
