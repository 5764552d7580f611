"""Cargo, for tests: where it is missing or too old, they are left out with one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from common import ROOT, run

CRATES = ROOT / "rust"


def cargo(
    *arguments: str | Path, cwd: Path = CRATES, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs cargo, with everything that it builds below build/cargo."""
    require_cargo()
    environment = {"CARGO_TARGET_DIR": str(ROOT / "build/cargo"), **os.environ, **variables}
    return subprocess.run(
        ["cargo", *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def require_cargo() -> None:
    asked = subprocess.run(
        ["sh", str(ROOT / "tools/have_cargo.sh"), "tests of the Rust crates"],
        capture_output=True,
        text=True,
    )
    if asked.returncode != 0:
        pytest.skip(asked.stdout.strip())


def copy_of_tree(folder: Path) -> Path:
    """Copies the files that Git knows of crates and C tree; returns the crates' folder."""
    for name in run("git", "ls-files", "c", "rust", "LICENSE").splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    link = folder / "rust/wrt-platform-sys/c"
    link.symlink_to(os.readlink(CRATES / "wrt-platform-sys/c"))
    return folder / "rust"


def messages(done: subprocess.CompletedProcess[str], reason: str) -> list[dict[str, Any]]:
    """What cargo said about the crate wrt-platform-sys, of one kind."""
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [
        message
        for message in said
        if message["reason"] == reason and "wrt-platform-sys" in message["package_id"]
    ]
