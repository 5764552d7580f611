"""How sources of a simulated system are compiled, told a second time: the builds by CMake and by
cargo are judged by it."""

from __future__ import annotations

from pathlib import Path

from common import ROOT, run

HEADERS = ROOT / "c/sim/qnx/include"


def is_guest(source: Path) -> bool:
    """Whether the file sees QNX's headers and not those of this machine."""
    return source.is_relative_to(ROOT / "c/src/qnx") or source.name.startswith("entry_")


def guest_flags(compiler: str, version: int = 710) -> list[str]:
    """What shows a compiler QNX's headers, of 7.1 or 8.0, and nothing of this machine's."""
    own = run(compiler, "-print-file-name=include").strip()
    flags = ["-nostdinc", f"-isystem{own}", f"-idirafter{HEADERS}", f"-D_NTO_VERSION={version}"]
    flags += [f"-U{name}" for name in ("__linux__", "__linux", "linux", "__gnu_linux__")]
    return [*flags, "-D__QNX__=1", "-D__QNXNTO__=1"]
