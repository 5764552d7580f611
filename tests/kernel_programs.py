"""Builds the programs of tests/qnx/kernel, as QNX's own and linked to the library's objects, and
runs them on the simulated kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from common import ROOT, run
from simulated import guest_flags

SOURCES = ROOT / "tests/qnx/kernel"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]


def build(name: str, runner: str, shared: list[str], library: Path, folder: Path) -> Path:
    """The program of SOURCES/<name>.c. `runner` sees this machine's headers, all else QNX's."""
    program = folder / name
    flags = ["-O1", "-g", *WARNINGS]
    objects: list[Path] = []
    for source in [name, *shared]:
        objects.append(folder / f"{name}-{source}.o")
        guest: list[str] = [*flags, *guest_flags("cc"), f"-I{SOURCES}"]
        run("cc", *guest, "-c", SOURCES / f"{source}.c", "-o", objects[-1])
    host: list[str | Path] = [*flags, f"-I{ROOT}/c/include", SOURCES / f"{runner}.c"]
    run("cc", *host, *objects, library, "-lpthread", "-o", program)
    return program


def outcome(program: Path, *arguments: str, seconds: int = 60) -> dict[str, str]:
    """What each test came to: "" if it went well, else why not."""
    done = subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
    )
    results = {}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition("ok ")
        name, _, reason = rest.partition(": ")
        results[name] = reason if verdict == "not " else ""
    assert (done.returncode == 0) == (set(results.values()) == {""}), done.stdout
    return results
