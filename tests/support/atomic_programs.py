"""Builds the C programs that torture records, also with the library broken on purpose.

A fault is a text of atomic_memory.c and what comes in its place; one that no longer finds its text
fails, so no fault is forgotten when the code changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common import ROOT, run

SUPPORT = ROOT / "tests/support"

Fault = tuple[str, str]

# The order of the stores: as if the data came last.
SWAPPED: Fault = (
    "    store_data(slot + 1, data, record->size);\n    wrt__store_release(slot, sequence);\n",
    "    wrt__store_release(slot, sequence);\n    store_data(slot + 1, data, record->size);\n",
)
NEVER_MARKED: Fault = ("wrt__store_release(slot, sequence | BEING_WRITTEN);", "")
# The order of the slots: as if a write replaced the copy that readers have.
NEWER_REPLACED: Fault = ("record->slots[newest ^ i ^ 1]", "record->slots[newest ^ i]")
# A reader that doesn't look whether it was overtaken.
NOT_LOOKING_BACK: Fault = ("if (wrt__load(slot) != sequence) return OVERTAKEN;", "")
# A writer that readers can't run beside.
NOT_ATOMIC: Fault = ("wrt__store(words, word);", "*words = word;")
# A reader that gives up instead of beginning again.
GIVING_UP: Fault = (
    "while (wrt__load(record->slots[0]) != seen[0] || wrt__load(record->slots[1]) != seen[1]);",
    "while (0);",
)

OTHERS = [
    *(f"c/src/core/{name}.c" for name in ("config", "siphash", "status")),
    "c/src/linux/port.c",
]
CHECKSUM = [
    *(f"c/src/core/crc32c{name}.c" for name in ("", "_arm", "_sliced", "_x86")),
    "c/src/linux/checksum.c",
]
FLAGS = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
FLAGS += [f"-I{ROOT}/c/include"]


class Programs:
    """Programs of tests/support, linked with the parts of the library that they need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[object, Path] = {}

    def build(
        self,
        name: str,
        *faults: Fault,
        checksum: bool = True,
        flags: tuple[str, ...] = (),
    ) -> Path:
        """Builds tests/support/<name>.c; without `checksum`, with one that finds nothing."""
        program = self.folder / f"{name}-{len(self.built)}"
        if (name, faults, checksum, flags) in self.built:
            return self.built[name, faults, checksum, flags]
        source = self.folder / f"{program.name}.c"
        source.write_text(broken("c/src/core/atomic_memory.c", faults))
        others = [*OTHERS, *(CHECKSUM if checksum else ["tests/support/no_checksum.c"])]
        objects = [self.compiled(ROOT / file, flags) for file in others]
        objects += [self.compiled(file, flags) for file in (source, SUPPORT / f"{name}.c")]
        run("cc", *FLAGS, *flags, "-o", program, *objects)
        self.built[name, faults, checksum, flags] = program
        return program

    def compiled(self, source: Path, flags: tuple[str, ...]) -> Path:
        """The object file of a source, made once."""
        if (source, flags) not in self.built:
            made = self.folder / f"{source.stem}-{len(self.built)}.o"
            include = f"-I{ROOT}/c/src/core"
            run("cc", *FLAGS, *flags, include, "-c", "-o", made, source)
            self.built[source, flags] = made
        return self.built[source, flags]

    def counts(
        self,
        name: str,
        *arguments: object,
        faults: Sequence[Fault] = (),
        checksum: bool = True,
        flags: tuple[str, ...] = (),
    ) -> dict[str, int]:
        """What a program printed: words and numbers in turns."""
        program = self.build(name, *faults, checksum=checksum, flags=flags)
        words = run(program, *map(str, arguments)).split()
        return {word: int(number) for word, number in zip(words[::2], words[1::2])}


def broken(path: str, faults: Sequence[Fault]) -> str:
    text = (ROOT / path).read_text()
    for good, bad in faults:
        assert text.count(good) == 1, f"{path} has changed: write {good!r} anew"
        text = text.replace(good, bad)
    return text
