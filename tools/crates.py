"""Sources that come in Rust crates, and the tools that are looked for by name.

A registry keeps what it once published, byte for byte: so test data and other people's C sources
are taken from there, at one fixed version, and never checked in.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class FetchError(Exception):
    """Something could not be fetched, found or made; the text says what to do."""


def find_tool(name: str) -> str:
    """The project's own copy of a tool, else the one on PATH or in Cargo's folder.
    Raises FetchError."""
    places = [ROOT / "build/tools/bin", *map(Path, os.get_exec_path()), Path.home() / ".cargo/bin"]
    for place in places:
        if os.access(place / name, os.X_OK) and (place / name).is_file():
            return str(place / name)
    raise FetchError(f"{name} is not installed, and `make setup` could not install it either")


def fetch_crate(name: str, version: str) -> Path:
    """Where Cargo keeps the sources of a crate, fetched if they are not there yet.

    A package that depends on the crate is all that Cargo needs; nothing of it is compiled.
    Raises FetchError.
    """
    package = ROOT / "build/crates" / name
    (package / "src").mkdir(parents=True, exist_ok=True)
    (package / "src/lib.rs").touch()
    (package / "Cargo.toml").write_text(
        f'[package]\nname = "fetch-{name}"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n'
        f'[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n'
    )
    command = [find_tool("cargo"), "metadata", "--format-version", "1"]
    own = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer
    answer = subprocess.run(command, cwd=package, env=own, capture_output=True, text=True)
    if answer.returncode != 0:
        raise FetchError(f"cargo could not fetch {name} {version}: {answer.stderr.strip()}")
    packages = json.loads(answer.stdout)["packages"]
    manifest = next(one["manifest_path"] for one in packages if one["name"] == name)
    return Path(manifest).parent
