"""What this system can really do for a guest's limits: each line is an attempt, not a look-up.

The system's own part is tried by the C library (linux/doctor.h); here the tools are that this
package can use.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Finding", "as_json", "doctor_text", "examine"]

_CARGO = (1, 85)  # edition 2024
_STATES = ("available", "partial", "absent")


class Finding(NamedTuple):
    """What one attempt came to."""

    id: str  # topic first: "tools.cargo"
    name: str
    state: str  # "available", "partial" or "absent"
    reason: str  # what was seen, or why not
    remedy: str  # empty if nothing is to be done
    promises: tuple[str, ...] = ()  # rows of the feature table that need it

    @property
    def topic(self) -> str:
        """The first part of the id."""
        return self.id.partition(".")[0]

    @property
    def available(self) -> bool:
        """It was done, without an exception to it."""
        return self.state == "available"


def examine() -> list[Finding]:
    """Makes all attempts; takes about a second."""
    return [*_system(), *(attempt() for attempt in _ATTEMPTS)]


def doctor_text(findings: list[Finding]) -> str:
    """A table by topics: one line a finding, and one for its remedy."""
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for topic in dict.fromkeys(finding.topic for finding in findings):
        lines += ["", topic] if lines else [topic]
        for finding in findings:
            if finding.topic == topic:
                lines += _lines(finding, width)
    return "\n".join(lines)


def _lines(finding: Finding, width: int) -> Iterable[str]:
    state = max(map(len, _STATES))
    yield f"  {finding.name:<{width}}  {finding.state:<{state}}  {finding.reason}"
    if finding.remedy:
        yield f"  {'':<{width}}  {'':<{state}}  -> {finding.remedy}"


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "findings": [
            {**finding._asdict(), "topic": finding.topic, "available": finding.available}
            for finding in findings
        ]
    }


def _system() -> Iterable[Finding]:
    from wrt_platform.linux.doctor import examine as examine_linux

    for row in examine_linux():
        state = row.state.name.lower()
        yield Finding(row.id, row.name, state, row.reason, row.remedy, row.promises)


# ---- Tools ----


def _found(name: str, title: str, available: bool, reason: str, remedy: str) -> Finding:
    state = "available" if available else "absent"
    return Finding(f"tools.{name}", title, state, reason, "" if available else remedy)


def _text_tool() -> Finding:
    from wrt_platform.wat import REMEDY, assemble, find_tool

    name, title = "text", "WebAssembly text"
    tool = find_tool()
    if tool is None:
        return _found(name, title, False, "no assembler is installed", REMEDY)
    try:
        made = assemble("(module)")
    except Exception as error:
        return _found(name, title, False, f"{tool[0]}: {error}", REMEDY)
    is_module = made == b"\0asm\1\0\0\0"
    return _found(name, title, is_module, f"{tool[0]} assembled a module", REMEDY)


def _compiler(name: str, title: str, command: str, remedy: str) -> Callable[[], Finding]:
    def attempt() -> Finding:
        path = shutil.which(command)
        if path is None:
            return _found(name, title, False, f"{command} is not installed", remedy)
        return _compiles(name, title, [path, "-c", "-xc", "-", "-o"], path, remedy)

    return attempt


def _wasi_compiler() -> Finding:
    name, title = "wasi_compiler", "compile C to WASI"
    remedy = "apt install clang lld wasi-libc libclang-rt-dev-wasm32"
    path = shutil.which("clang") or shutil.which("clang-14")
    if path is None:
        return _found(name, title, False, "clang is not installed", remedy)
    command = [path, "--target=wasm32-wasi", "-O1", "-xc", "-", "-o"]
    return _compiles(name, title, command, path, remedy)


def _compiles(name: str, title: str, command: list[str], path: str, remedy: str) -> Finding:
    source = "int main(void) { return 0; }\n"
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [*command, str(Path(folder, "out"))], input=source, capture_output=True, text=True
        )
    if run.returncode == 0:
        return _found(name, title, True, f"{path} compiled a program", remedy)
    lines = run.stderr.strip().splitlines() or [f"{path} ended with {run.returncode}"]
    return _found(name, title, False, lines[0], remedy)


def _cargo() -> Finding:
    name, title, remedy = "cargo", "Rust", "install it with rustup; 1.85 or later"
    path = shutil.which("cargo")
    if path is None:
        return _found(name, title, False, "cargo is not installed", remedy)
    run = subprocess.run([path, "--version"], capture_output=True, text=True)
    words = run.stdout.split()
    if run.returncode != 0 or len(words) < 2:
        reason = f"{path} --version ended with {run.returncode}"
        return _found(name, title, False, reason, remedy)
    version = tuple(int(part) for part in words[1].split(".")[:2])
    return _found(name, title, version >= _CARGO, run.stdout.strip(), remedy)


_ATTEMPTS: tuple[Callable[[], Finding], ...] = (
    _text_tool,
    _compiler("compiler", "C compiler", "cc", "apt install gcc"),
    _wasi_compiler,
    _compiler(
        "cortex_m_compiler",
        "Cortex-M compiler",
        "arm-none-eabi-gcc",
        "apt install gcc-arm-none-eabi",
    ),
    _cargo,
)
