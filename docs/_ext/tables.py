"""Tables made from the sources: opcodes, calls of WASI, features and their proofs, memory."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
OPCODES = ROOT / "c/src/engine/opcodes.inc"
CALLS = ROOT / "c/src/wasi/calls.c"
FEATURES = ROOT / "docs/rows.csv"
PROGRAMS = sorted((ROOT / "examples/programs").glob("*.wasm"))

_OPCODE = re.compile(
    r'^OPCODE(?P<prefix>_FC)?\((?P<code>\w+), \w+, "(?P<name>[^"]+)", (?P<immediates>\w+),\s*'
    r'(?P<takes>SPECIAL|"\w*"),\s*(?P<gives>SPECIAL|"\w*"),\s*(?P<traps>(?:"[^"]*"\s*)+),\s*'
    r"(?P<feature>\w+),",
    re.MULTILINE,
)
_TYPES = {"i": "i32", "I": "i64", "f": "f32", "F": "f64"}
_IMMEDIATES = {
    "NONE": "",
    "PREFIX": "the opcode proper",
    "BLOCK_TYPE": "block type",
    "LABEL": "label",
    "LABELS": "labels, default label",
    "FUNCTION": "function",
    "FUNCTION_REFERENCE": "function",
    "TYPE_AND_TABLE": "type, table",
    "TYPES": "value types",
    "REFERENCE_TYPE": "reference type",
    "LOCAL": "local",
    "GLOBAL": "global",
    "TABLE": "table",
    "TABLE_AND_TABLE": "table, table",
    "ELEMENT": "element segment",
    "ELEMENT_AND_TABLE": "element segment, table",
    "MEMORY": "memory",
    "MEMORY_AND_MEMORY": "memory, memory",
    "DATA": "data segment",
    "DATA_AND_MEMORY": "data segment, memory",
    "MEMARG_1": "alignment (at most 1), offset",
    "MEMARG_2": "alignment (at most 2), offset",
    "MEMARG_4": "alignment (at most 4), offset",
    "MEMARG_8": "alignment (at most 8), offset",
    "I32": "constant",
    "I64": "constant",
    "F32": "4 bytes",
    "F64": "8 bytes",
}
_CALL = re.compile(r'^    \{"(\w+)", ([^,]+), ([^,]+),\s*(\w+)\}', re.MULTILINE)


class Opcode(NamedTuple):
    code: str
    name: str
    immediates: str
    stack: str
    traps: str
    feature: str


def opcodes() -> Iterator[Opcode]:
    for match in _OPCODE.finditer(OPCODES.read_text()):
        number = int(match["code"], 0)
        yield Opcode(
            f"0xFC {number}" if match["prefix"] else f"0x{number:02X}",
            match["name"],
            _IMMEDIATES[match["immediates"]],
            _stack(match["takes"], match["gives"]),
            "".join(re.findall(r'"([^"]*)"', match["traps"])),
            "1.0" if match["feature"] == "CORE" else match["feature"].lower().replace("_", " "),
        )


def _stack(takes: str, gives: str) -> str:
    if takes == "SPECIAL":
        return "by context"
    before, after = (
        " ".join(_TYPES[letter] for letter in side.strip('"')) for side in (takes, gives)
    )
    return f"{before} → {after}".strip()


def calls() -> Iterator[tuple[str, str, str]]:
    """Name, parameters, and whether it is answered."""
    for name, parameters, _, code in _CALL.findall(CALLS.read_text()):
        types = parameters.replace('""', "").lower()
        yield name, types, "ENOSYS" if code == "wrt__wasi_no_call" else "answered"


def features() -> Iterator[tuple[str, str, str, str, str]]:
    """Row, feature, documents, strength of proof, files of the tests that carry the row."""
    proofs: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for row, strength in _marks(path.read_text()):
            proofs.setdefault(row, set()).add(strength)
            files.setdefault(row, set()).add(path.relative_to(ROOT / "tests").as_posix())
    with FEATURES.open(newline="") as lines:
        for line in csv.DictReader(lines):
            name = line["id"]
            tests = ", ".join(sorted(files.get(name, ())))
            strengths = ", ".join(sorted(proofs.get(name, ()))) or "not yet"
            yield name, line["title"], line["documents"], strengths, tests


def memory_costs() -> Iterator[tuple[str, ...]]:
    """Program, bytes of the module, of its code, of what is kept beside it, of the side table."""
    from wrt_platform import Module

    for path in PROGRAMS:
        module = Module(path)
        usage = module.usage
        ratio = f"{usage.buffer_bytes / usage.code_bytes:.2f}"
        sizes = (module.size, usage.code_bytes, usage.buffer_bytes, usage.side_table_bytes)
        yield (path.name, *(f"{size:,}" for size in sizes), ratio)


def _marks(source: str) -> Iterator[tuple[str, str]]:
    """Row and strength of each pytest.mark.row(...) in a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
            keywords = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
            yield ast.literal_eval(node.args[0]), keywords.get("proof", "real")


class _Table(SphinxDirective):
    """A table; subclasses say what is in it, and which columns hold names of code."""

    header: Sequence[str]
    code: Sequence[int] = ()
    sources: Sequence[Path]

    def contents(self) -> Iterable[Sequence[str]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        for source in self.sources:
            self.env.note_dependency(str(source))
        lines = [".. list-table::", "   :header-rows: 1", "   :class: generated", ""]
        for number, row in enumerate([self.header, *self.contents()]):
            for column, cell in enumerate(row):
                text = f"``{cell}``" if cell and number and column in self.code else _plain(cell)
                lines.append(f"   {'* -' if column == 0 else '  -'} {text}".rstrip())
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="tables"), 0, container)
        return container.children


def _plain(text: str) -> str:
    return re.sub(r"([*|`\\]|_(?!\w))", r"\\\1", text)


class OpcodeTable(_Table):
    header = Opcode("Opcode", "Name", "Immediates", "Stack", "Traps", "Since")
    code = (0, 1)
    sources = (OPCODES,)

    def contents(self) -> Iterable[Sequence[str]]:
        return opcodes()


class CallTable(_Table):
    header = ("Call", "Parameters", "Answer")
    code = (0,)
    sources = (CALLS,)

    def contents(self) -> Iterable[Sequence[str]]:
        return calls()


class FeatureTable(_Table):
    header = ("Row", "Feature", "Document", "Proof", "Tests")
    sources = (FEATURES, *sorted((ROOT / "tests").rglob("test_*.py")))

    def contents(self) -> Iterable[Sequence[str]]:
        return features()


class MemoryCostTable(_Table):
    header = ("Program", "Module", "Code", "Kept beside it", "Side table", "Kept, per byte of code")
    code = (0,)
    sources = PROGRAMS

    def contents(self) -> Iterable[Sequence[str]]:
        return memory_costs()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("opcode-table", OpcodeTable)
    app.add_directive("wasi-call-table", CallTable)
    app.add_directive("feature-table", FeatureTable)
    app.add_directive("memory-cost-table", MemoryCostTable)
    return {"parallel_read_safe": True}
