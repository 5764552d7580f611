"""What the kernel says of a process's memory, and what becomes of one that touches it."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import NamedTuple

_HEADER = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$")

# Where the address sanitizer, if there is one, keeps its own heap, which grows as it likes.
SANITIZERS_HEAP = range(0x6000_0000_0000, 0x6400_0000_0000)


class Mapping(NamedTuple):
    """One entry of /proc/<pid>/smaps."""

    start: int
    end: int
    access: str  # "rw-p", "---p", ...
    name: str
    kib: dict[str, int]  # Rss, Locked, ...
    flags: frozenset[str]  # of the line VmFlags


def mappings(process: int | str = "self") -> list[Mapping]:
    found: list[Mapping] = []
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        header = _HEADER.match(line)
        if header:
            start, end, access, name = header.groups()
            found.append(Mapping(int(start, 16), int(end, 16), access, name, {}, frozenset()))
            continue
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[-1].kib[key] = int(value.split()[0])
        elif key == "VmFlags":
            found[-1] = found[-1]._replace(flags=frozenset(value.split()))
    return found


def between(start: int, end: int) -> list[Mapping]:
    """The mappings of this process that lie in a range, at least in part."""
    return [mapping for mapping in mappings() if mapping.start < end and mapping.end > start]


def mapping_at(address: int) -> Mapping:
    (found,) = between(address, address + 1)
    return found


class Outcome(ctypes.Structure):
    """What became of a child that touched a byte."""

    _fields_ = (
        ("signal", ctypes.c_int32),  # 0: it went on
        ("code", ctypes.c_int32),
        ("address", ctypes.c_size_t),
    )


class Toucher:
    """Touches bytes in children of this process; made from tests/support/touch.c."""

    def __init__(self, library: Path) -> None:
        self._touch = ctypes.CDLL(str(library)).touch_in_child
        self._touch.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.POINTER(Outcome)]

    def __call__(self, address: int, write: bool) -> tuple[int, int, int]:
        """Signal, its code, and the address as the kernel reports it; zeros if all was well."""
        outcome = Outcome()
        assert self._touch(address, write, ctypes.byref(outcome)) == 0
        return outcome.signal, outcome.code, outcome.address
