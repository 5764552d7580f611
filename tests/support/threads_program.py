"""C programs over the parts of the library that threads need, with a sanitizer or without.

The sources of each folder are compiled here, as CMake does it: QNX's backend and the entries of
its simulated kernel with the headers of that system, the rest with those of this machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, run

FLAGS = ("-std=gnu11", "-g", "-O1", f"-I{ROOT}/c/include", "-fPIC")


def folder(name: str) -> list[Path]:
    return sorted((ROOT / name).glob("*.c"))


def guest_flags() -> list[str]:
    own = subprocess.run(
        ["cc", "-print-file-name=include"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return [
        *("-std=c11", "-g", "-O1", f"-I{ROOT}/c/include", "-fPIC", "-nostdinc", f"-isystem{own}"),
        *(
            "-U__linux__",
            "-U__linux",
            "-Ulinux",
            "-U__gnu_linux__",
            "-D__QNX__=1",
            "-D__QNXNTO__=1",
        ),
        f"-idirafter{ROOT}/c/sim/qnx/include",
    ]


def objects(folder_out: Path, sources: Sequence[Path], flags: Sequence[str]) -> list[Path]:
    folder_out.mkdir(parents=True)
    run("cc", *flags, "-c", *sources, cwd=folder_out)
    return sorted(folder_out.glob("*.o"))


def library(out: Path, flags: Sequence[str] = ()) -> Path:
    """Core, Linux's backend, QNX's with its kernel: an archive, of which a program takes what it
    uses, so that the engine is not needed."""
    host, guest = [*FLAGS, *flags], [*guest_flags(), *flags]
    kernel = folder("c/sim/qnx")
    entries = [path for path in kernel if path.name.startswith("entry_")]
    made = [
        *objects(out / "core", folder("c/src/core"), host),
        *objects(out / "linux", folder("c/src/linux"), host),
        *objects(out / "qnx", [p for p in folder("c/src/qnx") if p.name != "port.c"], guest),
        *objects(out / "entries", entries, guest),
        *objects(out / "kernel", [path for path in kernel if path not in entries], host),
        *objects(out / "common", folder("c/sim/common"), host),
    ]
    archive = out / "libthreads.a"
    run("ar", "rcs", archive, *made)
    return archive


def program(out: Path, sources: Sequence[Path], archive: Path, flags: Sequence[str] = ()) -> Path:
    path = out / "-".join(source.stem for source in sources)
    run("cc", *FLAGS, *flags, *sources, archive, "-o", path, "-pthread")
    return path
