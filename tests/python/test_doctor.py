"""wrt doctor: each line is an attempt, and says what to do where it fails."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wrt_platform import doctor
from wrt_platform.doctor import Finding, doctor_text

COMMAND = [sys.executable, "-m", "wrt_platform.cli", "doctor", "--report", "json"]


def findings(**settings: Any) -> dict[str, dict[str, Any]]:
    run = subprocess.run(COMMAND, capture_output=True, text=True, timeout=100, **settings)
    assert (run.returncode, run.stderr) == (0, "")
    return {item["name"]: item for item in json.loads(run.stdout)["findings"]}


@pytest.mark.row("RT-2")
def test_each_line_is_available_or_says_why_not_and_the_remedy() -> None:
    found = findings()
    assert {"reserve 4 GiB", "guard pages", "lock 1 MiB in RAM", "clock", "Rust"} <= set(found)
    for item in found.values():
        assert item["reason"]
        assert item["available"] or item["remedy"]
    assert found["guard pages"]["available"]


@pytest.mark.row("RT-2")
def test_reservation_is_really_tried() -> None:
    """The same system, with an address space of 2 GiB."""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    item = findings(preexec_fn=little_room)["reserve 4 GiB"]
    assert not item["available"]
    assert "ENOMEM" in item["reason"]
    assert "ulimit -v" in item["remedy"]


@pytest.mark.row("RT-2")
@pytest.mark.skipif(os.geteuid() == 0, reason="the limit does not bind root")
def test_locking_is_really_tried() -> None:
    def no_lock() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))

    assert not findings(preexec_fn=no_lock)["lock 1 MiB in RAM"]["available"]


@pytest.mark.row("RT-2")
def test_tools_that_are_not_there_are_absent(tmp_path: Path) -> None:
    found = findings(env={**os.environ, "PATH": str(tmp_path)})
    for name in ("C compiler", "compile C to WASI", "Cortex-M compiler", "Rust"):
        assert not found[name]["available"]
        assert "not installed" in found[name]["reason"]
        assert found[name]["remedy"]


@pytest.mark.row("RT-2")
def test_tool_that_does_not_work_is_absent(tmp_path: Path) -> None:
    for name, answer in (("cc", "exit 3"), ("cargo", "echo cargo 1.20.0"), ("clang", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    found = findings(env={**os.environ, "PATH": f"{tmp_path}:/bin"})
    assert found["C compiler"]["reason"].endswith("cc ended with 3")
    assert found["Rust"] == {
        "name": "Rust",
        "available": False,
        "reason": "cargo 1.20.0",
        "remedy": "install it with rustup; 1.85 or later",
    }
    assert not found["compile C to WASI"]["available"]


@pytest.mark.row("RT-2")
def test_guard_that_does_not_hold_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempt on an allocator whose guard is memory like any other."""
    child = doctor._child

    def without_guard(code: str) -> subprocess.CompletedProcess[str]:
        return child(code.replace("base[65536] = inside", "base[0] = inside"))

    monkeypatch.setattr(doctor, "_child", without_guard)
    found = doctor._guard_page()
    assert not found.available
    assert found.reason == "a child that wrote behind the memory ended with 0"


@pytest.mark.row("RT-2")
def test_folder_that_can_be_left_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RESOLVE_BENEATH", 0)
    assert not doctor._openat2().available
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_OPENAT2", 99999)
    found = doctor._openat2()
    assert (found.available, found.reason) == (
        False,
        f"openat2 answered {os.strerror(errno.ENOSYS)}",
    )


def test_text_puts_the_remedy_below() -> None:
    text = doctor_text(
        [Finding("a", True, "seen", ""), Finding("long name", False, "why", "do it")]
    )
    assert text.splitlines() == [
        "a          available  seen",
        "long name  absent     why",
        "                      do it",
    ]
