"""SQLite as a guest: the amalgamation from the crate libsqlite3-sys, compiled to WASI by clang.

1.1 MB of code that was not written with us in mind: the tests let it answer queries, the
benchmarks measure it. It is made once, below build/sqlite/, which takes clang half a minute.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from crates import ROOT, FetchError, fetch_crate

CRATE = "libsqlite3-sys"
CRATE_VERSION = "0.39.1"
SHELL = ROOT / "tests/programs/sqlite/shell.c"

TARGET = ["--target=wasm32-wasi", "-std=c11", "-O2"]
# WASI preview 1 has no threads, no dynamic libraries and no memory shared between processes.
OPTIONS = [
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-DSQLITE_OMIT_WAL",
    "-DSQLITE_OMIT_SHARED_CACHE",
]
LINK = ["-Wl,--strip-debug", "-Wl,--stack-first", "-Wl,-z,stack-size=1048576"]


def find_clang() -> str:
    """A clang that can build for WASI. Raises FetchError."""
    for name in ("clang-14", "clang"):
        found = shutil.which(name)
        if found and Path("/usr/lib/wasm32-wasi/libc.a").exists():
            return found
    raise FetchError("clang with wasi-libc is not installed; `make setup` installs both")


def compile_guest(clang: str, output: Path) -> None:
    sources = fetch_crate(CRATE, CRATE_VERSION) / "sqlite3"
    # SQLite's own warnings are its authors' business; our shell has none.
    library = output.with_suffix(".o")
    build = [clang, *TARGET, *OPTIONS]
    steps = [
        [*build, "-w", "-c", str(sources / "sqlite3.c"), "-o", str(library)],
        [*build, "-Wall", "-Wextra", "-Werror", f"-I{sources}", *LINK, str(SHELL), str(library)],
    ]
    steps[1] += ["-o", str(output)]
    for step in steps:
        answer = subprocess.run(step, capture_output=True, text=True)
        if answer.returncode != 0:
            raise FetchError(f"clang could not build SQLite: {answer.stderr.strip()}")
    library.unlink()


def sqlite_module() -> Path:
    """The path of the module, made if it is not there for this shell and these options.
    Two processes may ask at once. Raises FetchError."""
    recipe = repr((CRATE_VERSION, TARGET, OPTIONS, LINK)).encode() + SHELL.read_bytes()
    target = ROOT / "build/sqlite" / f"sqlite-{hashlib.sha256(recipe).hexdigest()[:12]}.wasm"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and finds it made
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            compile_guest(find_clang(), unfinished)
            unfinished.rename(target)
    return target
