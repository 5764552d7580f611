"""The simulated QNX kernel and the checks of its calls around memory, as one library of their own:
its world is not that of the extension module, and QNX's calls can be had by their symbols."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from common import ROOT, run
from simulated import guest_flags, is_guest

CHECKS = ROOT / "tests/qnx/kernel"
FILES = ["memory", "arena", "partition", "budget", "spawn"]
FLAGS = ["-std=c11", "-O1", "-g", "-fPIC", "-pthread"]
FLAGS += ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
# Else compilers know malloc by its name and leave pairs of calls out.
FLAGS += ["-fno-builtin"]


def sources() -> list[Path]:
    """The simulated kernel, and the few files of the library that it fails by."""
    kernel = [path for name in ("common", "qnx") for path in (ROOT / "c/sim" / name).glob("*.c")]
    library = [ROOT / f"c/src/core/{name}.c" for name in ("config", "status")]
    checks = [CHECKS / f"{name}.c" for name in FILES]
    return [*sorted(kernel), *library, ROOT / "c/src/linux/port.c", *checks, CHECKS / "runner.c"]


def build(folder: Path, *flags: str) -> Path:
    """Compiles all of it into one shared library."""
    guests: list[Path] = []
    hosts: list[Path] = []
    for source in sources():
        as_guest = is_guest(source) or (source.parent == CHECKS and source.name != "runner.c")
        (guests if as_guest else hosts).append(source)
    include = f"-I{ROOT}/c/include"
    for name, files, more in (("guest", guests, guest_flags("cc")), ("host", hosts, [])):
        objects = folder / name
        objects.mkdir()
        run("cc", *FLAGS, *flags, *more, include, "-c", *files, cwd=objects)
    library = folder / "libqnxchecks.so"
    objects_of_all = sorted(folder.glob("*/*.o"))
    run("cc", *FLAGS, *flags, "-shared", "-o", library, *objects_of_all)
    return library


class Kernel:
    """The library, loaded. QNX's calls are `kernel.call("mmap", ...)`."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.check_name.restype = ctypes.c_char_p
        self.library.check_report.restype = ctypes.c_char_p
        self.library.sim_qnx___get_errno_ptr.restype = ctypes.POINTER(ctypes.c_int)
        for name in ("mmap", "malloc", "calloc", "realloc", "memalign"):
            getattr(self.library, f"sim_qnx_{name}").restype = ctypes.c_size_t

    def control(self, name: str, *arguments: object) -> int:
        """A call of the library's own, wrt_sim_qnx_<name>; its status."""
        return int(getattr(self.library, f"wrt_sim_qnx_{name}")(*arguments))

    def must(self, name: str, *arguments: object) -> None:
        assert self.control(name, *arguments) == 0, name

    def call(self, name: str, *arguments: object) -> int:
        return int(getattr(self.library, f"sim_qnx_{name}")(*arguments))

    @property
    def errno(self) -> int:
        return int(self.library.sim_qnx___get_errno_ptr()[0])

    def start(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        partitions: bool = False,
        version: int = 710,
        broken: str | None = None,
    ) -> None:
        """A new world."""
        for name, value in (environment or {}).items():
            self.must("set_environment", name.encode(), value.encode())
        self.must("reset")
        self.must("set_version", version)
        self.must("install_memory_partitions", ctypes.c_bool(partitions))
        if broken is not None:
            self.must("break", broken.encode(), ctypes.c_bool(True))

    def checks(self, table: str) -> Iterator[tuple[str, Callable[[], str]]]:
        """The checks of a table, by name; each says what does not hold."""
        address = ctypes.byref(ctypes.c_byte.in_dll(self.library, table))
        index = 0
        while (name := self.library.check_name(address, index)) is not None:
            yield name.decode(), partial(self._run, address, index)
            index += 1

    def _run(self, address: object, index: int) -> str:
        self.library.check_run(address, index)
        return str(self.library.check_report().decode())
