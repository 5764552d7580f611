"""wrt doctor: each line is an attempt, and says what to do where it fails."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wrt_platform.doctor import Finding, doctor_text

COMMAND = [sys.executable, "-m", "wrt_platform.cli", "doctor", "--json"]


def findings(**settings: Any) -> dict[str, dict[str, Any]]:
    run = subprocess.run(COMMAND, capture_output=True, text=True, timeout=100, **settings)
    assert (run.returncode, run.stderr) == (0, "")
    return {item["id"]: item for item in json.loads(run.stdout)["findings"]}


@pytest.mark.row("RT-2")
def test_each_line_is_available_or_says_why_not_and_the_remedy() -> None:
    found = findings()
    assert {"memory.reserve", "memory.guards", "clock.step", "tools.cargo"} <= set(found)
    for item in found.values():
        assert item["reason"]
        assert item["available"] == (item["state"] == "available") == (not item["remedy"])
        assert item["id"].startswith(item["topic"] + ".")
    assert found["memory.guards"]["available"]


@pytest.mark.row("RT-2")
def test_reservation_is_really_tried() -> None:
    """The same system, with an address space of 2 GiB."""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    item = findings(preexec_fn=little_room)["memory.reserve"]
    assert not item["available"]
    assert "ENOMEM" in item["reason"]
    assert "ulimit -v" in item["remedy"]


@pytest.mark.row("RT-2")
def test_tools_that_are_not_there_are_absent(tmp_path: Path) -> None:
    found = findings(env={**os.environ, "PATH": str(tmp_path)})
    for name in ("compiler", "wasi_compiler", "cortex_m_compiler", "cargo"):
        name = f"tools.{name}"
        assert not found[name]["available"]
        assert "not installed" in found[name]["reason"]
        assert found[name]["remedy"]


@pytest.mark.row("RT-2")
def test_tool_that_does_not_work_is_absent(tmp_path: Path) -> None:
    for name, answer in (("cc", "exit 3"), ("cargo", "echo cargo 1.20.0"), ("clang", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    found = findings(env={**os.environ, "PATH": f"{tmp_path}:/bin"})
    assert found["tools.compiler"]["reason"].endswith("cc ended with 3")
    assert found["tools.cargo"]["state"] == "absent"
    assert found["tools.cargo"]["reason"] == "cargo 1.20.0"
    assert found["tools.cargo"]["remedy"] == "install it with rustup; 1.85 or later"
    assert not found["tools.wasi_compiler"]["available"]


def test_text_puts_topics_above_and_the_remedy_below() -> None:
    text = doctor_text(
        [
            Finding("one.a", "a", "available", "seen", ""),
            Finding("one.b", "long name", "absent", "why", "do it"),
            Finding("two.c", "c", "partial", "in part", "more"),
        ]
    )
    assert text.splitlines() == [
        "one",
        "  a          available  seen",
        "  long name  absent     why",
        "                        -> do it",
        "",
        "two",
        "  c          partial    in part",
        "                        -> more",
    ]
