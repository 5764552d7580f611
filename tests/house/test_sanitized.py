"""The build with sanitizers is awake: it is the one that is tested, and it reports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common import run

OVERFLOW = """
from wrt_platform._native import ffi, lib
room = ffi.new("char[8]")
lib.wrt_error_format(lib.wrt_error_last(), room, 64)  # a lie: there are 8 bytes
"""


def sanitized_python(build: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = dict(
        os.environ,
        PYTHONPATH=str(build / "python"),
        LD_PRELOAD=run("gcc", "-print-file-name=libasan.so").strip(),
        ASAN_OPTIONS="detect_leaks=0",
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_python_finds_the_sanitized_module(sanitized_build: Path) -> None:
    done = sanitized_python(sanitized_build, "import wrt_platform as w; print(w.__file__)")
    assert done.stdout.startswith(str(sanitized_build)), done.stderr


def test_write_beyond_a_buffer_is_reported(sanitized_build: Path) -> None:
    done = sanitized_python(sanitized_build, OVERFLOW)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
    assert "wrt_error_format" in done.stderr
