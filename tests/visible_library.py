"""The library's core and its Linux backend with internals visible: for the order that lets the n-th
system call fail (c/src/linux/sys.h)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common import ROOT, run


def compile_visible(folder: Path, names: Iterable[str]) -> Path:
    """A library of its own, which shows what has these names, internals among them."""
    path, exports = folder / "libvisible.so", folder / "exports.map"
    exports.write_text(f"{{ global: {' '.join(f'{name};' for name in names)} local: *; }};")
    sources = [*sorted(ROOT.glob("c/src/core/*.c")), *sorted(ROOT.glob("c/src/linux/*.c"))]
    flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", "-ffunction-sections", "-fdata-sections"]
    link = ["-Wl,--gc-sections", f"-Wl,--version-script={exports}", "-pthread"]
    run("cc", *flags, f"-I{ROOT}/c/include", *sources, *link, "-o", path)
    return path
