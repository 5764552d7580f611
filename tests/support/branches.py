"""Where branches go, worked out slowly from the text that wasm-tools prints of a module.

The text gives every instruction with its offset, and blocks by their nesting. Nothing of the
engine is used, and nothing of its way: a function is a list of instructions, a branch looks its
target up in a map, the height of the stack is counted by the names of the instructions.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import NamedTuple

from crates import find_tool

LINE = re.compile(r"^\(;@([0-9a-f]+) *;\)\s+(.*)$")
COMMENT = re.compile(r"\(;.*?;\)|;;.*$")
GROUP = re.compile(r"\((param|result|type)((?: [^()]+)?)\)")

LEAVES_FOR_GOOD = {"br", "br_table", "return", "unreachable"}
OPENS = {"block", "loop", "if"}

# (taken, given), by name; what ends in "." stands for all that start so, the longest counts.
EFFECTS = {
    "unreachable": (0, 0), "nop": (0, 0), "drop": (1, 0), "select": (3, 1), "return": (0, 0),
    "br": (0, 0), "br_if": (1, 0), "br_table": (1, 0), "local.get": (0, 1), "local.set": (1, 0),
    "local.tee": (1, 1), "global.get": (0, 1), "global.set": (1, 0), "table.get": (1, 1),
    "table.set": (2, 0), "table.size": (0, 1), "table.grow": (2, 1), "table.fill": (3, 0),
    "table.copy": (3, 0), "table.init": (3, 0), "elem.drop": (0, 0), "data.drop": (0, 0),
    "memory.size": (0, 1), "memory.grow": (1, 1), "memory.init": (3, 0), "memory.copy": (3, 0),
    "memory.fill": (3, 0), "ref.null": (0, 1), "ref.func": (0, 1), "ref.is_null": (1, 1),
}  # fmt: skip
TAKES_TWO = re.compile(
    r"\.(add|sub|mul|div|div_[su]|rem_[su]|and|or|xor|shl|shr_[su]|rotl|rotr|min|max|copysign"
    r"|eq|ne|lt|gt|le|ge|[lg][te]_[su])$"
)


class Branch(NamedTuple):
    """One entry of the side table; `drop` is None where the branch can't be reached."""

    distance: int
    fuel: int
    entries: int
    drop: int | None
    keep: int


@dataclass
class Instruction:
    offset: int
    name: str
    rest: str


@dataclass
class Function:
    start: int
    parameters: int
    results: int
    code: list[Instruction] = field(default_factory=list)


@dataclass
class Block:
    name: str
    height: int
    parameters: int
    results: int
    opened_at: int  # number of the instruction
    is_dead: bool  # the present place in it can't be reached
    was_dead: bool  # nor could its beginning


class Signature(NamedTuple):
    parameters: int
    results: int


def effect(name: str) -> tuple[int, int]:
    """Values that an instruction of fixed types takes and gives."""
    if name in EFFECTS:
        return EFFECTS[name]
    if name.endswith(".const"):
        return 0, 1
    if ".store" in name:
        return 2, 0
    return (2, 1) if TAKES_TWO.search(name) else (1, 1)


def signature(text: str) -> Signature:
    """Counts what `(param i32 i32) (result i64)` names."""
    counts = {"param": 0, "result": 0}
    for kind, names in GROUP.findall(COMMENT.sub("", text)):
        if kind in counts:
            counts[kind] += len(names.split())
    return Signature(counts["param"], counts["result"])


class Text:
    """A module as wasm-tools prints it, names left out."""

    def __init__(self, module: bytes) -> None:
        tool = find_tool("wasm-tools")
        bare = subprocess.run(
            [tool, "strip", "--all"], input=module, capture_output=True, check=True
        )
        printed = subprocess.run(
            [tool, "print", "--print-offsets"], input=bare.stdout, capture_output=True, check=True
        )
        self.types: list[Signature] = []
        self.signatures: list[Signature] = []
        self.functions: list[Function] = []
        for line in printed.stdout.decode().splitlines():
            found = LINE.match(line)
            if found:
                self._read(int(found[1], 16), found[2])

    def _read(self, offset: int, text: str) -> None:
        if text.startswith("(type "):
            self.types.append(signature(text.split("(func", 1)[1]))
        elif text.startswith("(import ") and "(func " in text:
            self.signatures.append(signature(text.split("(func", 1)[1]))
        elif text.startswith("(func "):
            self.signatures.append(signature(text))
            self.functions.append(Function(offset, *self.signatures[-1]))
        elif text == ")":
            self.functions[-1].code.append(Instruction(offset, "end", ""))
        elif not text.startswith("("):
            name, _, rest = COMMENT.sub("", text).strip().partition(" ")
            self.functions[-1].code.append(Instruction(offset, name, rest))


class Model:
    """The branches of one function, in the order of the code."""

    def __init__(self, text: Text, function: Function) -> None:
        self.text = text
        self.function = function
        self.code = function.code
        self.deepest = 0
        self.ends = self._match_ends()
        self.first_entry = self._count_entries()
        self.branches: list[Branch] = []
        self._walk()

    def _match_ends(self) -> dict[int, tuple[int, int | None]]:
        """For each opening instruction, its `end` and its `else`; -1 opens the function."""
        opened: list[tuple[int, int | None]] = [(-1, None)]
        ends = {}
        for number, instruction in enumerate(self.code):
            if instruction.name in OPENS:
                opened.append((number, None))
            elif instruction.name == "else":
                opened[-1] = (opened[-1][0], number)
            elif instruction.name == "end":
                start, other = opened.pop()
                ends[start] = (number, other)
        return ends

    def _entries_of(self, instruction: Instruction) -> int:
        if instruction.name == "br_table":
            return len(instruction.rest.split())
        return int(instruction.name in {"br", "br_if", "if", "else", "return"})

    def _count_entries(self) -> list[int]:
        """How many entries stand before each instruction."""
        counts = [0]
        for instruction in self.code:
            counts.append(counts[-1] + self._entries_of(instruction))
        return counts

    def _branch(self, number: int, target: int, drop: int | None, keep: int) -> None:
        """Notes a branch from one instruction to another."""
        entry = len(self.branches)
        self.branches.append(
            Branch(
                self.code[target].offset - self.code[number].offset,
                target - number - 1,
                self.first_entry[target] - entry,
                drop,
                keep,
            )
        )

    def _to_label(self, number: int, label: int, height: int) -> None:
        block = self.blocks[-1 - label]
        dead = self.blocks[-1].is_dead
        if block.opened_at < 0:  # the function: on its final `end`, which takes the results
            self._branch(number, self.ends[-1][0], None if dead else 0, block.results)
        elif block.name == "loop":
            drop = height - block.parameters - block.height
            self._branch(number, block.opened_at + 1, None if dead else drop, block.parameters)
        else:
            drop = height - block.results - block.height
            target = self.ends[block.opened_at][0] + 1
            self._branch(number, target, None if dead else drop, block.results)

    def _open(self, number: int, instruction: Instruction, height: int) -> int:
        found = re.search(r"\(type (\d+)\)", instruction.rest)
        kind = self.text.types[int(found[1])] if found else signature(instruction.rest)
        dead = self.blocks[-1].is_dead
        if instruction.name == "if":
            height -= 1
            end, other = self.ends[number]
            self._branch(number, (end if other is None else other) + 1, None if dead else 0, 0)
        self.blocks.append(
            Block(instruction.name, height - kind.parameters, *kind, number, dead, dead)
        )
        return height

    def _walk(self) -> None:
        function = self.function
        self.blocks = [
            Block("function", 0, function.parameters, function.results, -1, False, False)
        ]
        height = 0
        for number, instruction in enumerate(self.code):
            height = self._step(number, instruction, height)
            if self.blocks and not self.blocks[-1].is_dead:
                self.deepest = max(self.deepest, height)

    def _step(self, number: int, instruction: Instruction, height: int) -> int:
        """The height of the stack behind the instruction; any number where it can't be reached."""
        name, block = instruction.name, self.blocks[-1]
        if name in OPENS:
            return self._open(number, instruction, height)
        if name == "end":
            self.blocks.pop()
            if self.blocks:
                self.blocks[-1].is_dead = block.was_dead
            return block.height + block.results
        if name == "else":
            target = self.ends[block.opened_at][0] + 1
            self._branch(number, target, None if block.is_dead else 0, 0)
            block.is_dead = block.was_dead
            return block.height + block.parameters
        if name == "call":
            callee = self.text.signatures[int(instruction.rest)]
            return height - callee.parameters + callee.results
        if name == "call_indirect":
            index = re.search(r"\(type (\d+)\)", instruction.rest)
            assert index is not None
            callee = self.text.types[int(index[1])]
            return height - 1 - callee.parameters + callee.results
        taken, given = effect(name)
        height -= taken
        if name in {"br", "br_if", "br_table"}:
            for label in instruction.rest.split():
                self._to_label(number, int(label), height)
        elif name == "return":
            self._to_label(number, len(self.blocks) - 1, height)
        if name in LEAVES_FOR_GOOD:
            block.is_dead = True
        return height + given
