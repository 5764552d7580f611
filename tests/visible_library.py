"""The library's core and its Linux backend with internals visible: for the order that lets the n-th
system call fail (c/src/linux/sys.h). What is compiled is kept in the build folder, since many
modules of tests link it, each with what it wants to see."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from common import ROOT, run

KEPT = ROOT / "build/visible"
FLOORS = ("core", "linux")
FLAGS = ("-std=gnu11", "-O1", "-fPIC", "-ffunction-sections", "-fdata-sections")


def compile_visible(folder: Path, names: Iterable[str]) -> Path:
    """A library of its own, which shows what has these names, internals among them."""
    return link_visible(folder, names, visible_objects())


def link_visible(folder: Path, names: Iterable[str], parts: Iterable[str | Path]) -> Path:
    """The same, of other sources and objects, and flags for them."""
    path, exports = folder / "libvisible.so", folder / "exports.map"
    exports.write_text(f"{{ global: {' '.join(f'{name};' for name in names)} local: *; }};")
    link = ["-shared", "-Wl,--gc-sections", f"-Wl,--version-script={exports}", "-pthread"]
    run("cc", *FLAGS, f"-I{ROOT}/c/include", *parts, *link, "-o", path)
    return path


def visible_objects() -> list[Path]:
    """Core and Linux backend, compiled; by the first who asks, of all processes."""
    digest = hashlib.sha256()
    for path in [*_sources(".[ch]"), *_sources(".inc"), *sorted(ROOT.glob("c/include/**/*.h"))]:
        digest.update(path.read_bytes())
    folder = KEPT / digest.hexdigest()[:16]
    with _one_at_a_time():
        if not folder.exists():
            _compile_into(folder)
    return sorted(folder.glob("*.o"))


def _sources(ending: str) -> list[Path]:
    return [path for floor in FLOORS for path in sorted(ROOT.glob(f"c/src/{floor}/*{ending}"))]


def _compile_into(folder: Path) -> None:
    """Those of earlier states go."""
    unfinished = KEPT / "unfinished"
    for earlier in KEPT.glob("*/"):
        shutil.rmtree(earlier)
    unfinished.mkdir()

    def compile_one(source: Path) -> None:
        made = unfinished / f"{source.parent.name}_{source.stem}.o"
        run("cc", *FLAGS, f"-I{ROOT}/c/include", "-c", source, "-o", made)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(compile_one, _sources(".c")))
    unfinished.rename(folder)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield
