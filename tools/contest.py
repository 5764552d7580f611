"""What the modules of bench/ share: peers that Cargo builds, programs that take turns, and rows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crates import ROOT, FetchError, find_tool


def row(
    name: str,
    ours: float,
    peer: float | None = None,
    peer_name: str | None = None,
    goal: float | None = None,
) -> dict[str, Any]:
    """A line of the table. The ratio is ours by the peer's, less is better; None without a peer."""
    if peer is None:
        return dict(name=name, ours=ours, peer=None, peer_name=None, ratio=None, goal=goal)
    return dict(name=name, ours=ours, peer=peer, peer_name=peer_name, ratio=ours / peer, goal=goal)


def build_peer(name: str) -> Path:
    """The program that bench/peers/<name> is built into, for good: NAME-bench of its manifest.

    Raises FetchError where there is no cargo, or nothing to fetch the peer from.
    """
    target = ROOT / "build/peers"
    command = [find_tool("cargo"), "build", "--quiet", "--release", "--locked"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    folder = ROOT / "bench/peers" / name
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise FetchError(f"cargo could not build {name}: {done.stderr.strip()}")
    return target / "release" / f"{name.replace('_', '-')}-bench"


def shortest(rounds: int, *commands: Sequence[str | Path]) -> dict[str, float]:
    """The least of each time that the commands print, a line `NAME TIME` each.

    They take turns, so that a busy moment of the machine hits each.
    """
    best: dict[str, float] = {}
    for _ in range(rounds):
        for command in commands:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                name, time = line.split()
                best[name] = min(best.get(name, float(time)), float(time))
    return best
