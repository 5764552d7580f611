"""How a Python of its own ends: never by hanging, and never with a word that it should not say."""

from __future__ import annotations

import subprocess
import sys


def expect_exit(program: str, code: int, raises: bool = False) -> None:
    """Runs the program, which leaves with `code`; `raises`: by an exception."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
    assert "Traceback" not in done.stderr or raises, done.stderr
