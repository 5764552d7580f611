"""Rust's public items, read from the sources of the safe crate.

`.. rust-item:: pool::PoolAllocator` shows the item's declaration, its doc comment, and what its
public `impl` blocks offer. The whole of it is on docs.rs in the crate's own documentation; here the
three languages stand side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from comments import from_markdown
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SOURCES = Path(__file__).resolve().parents[2] / "rust/wrt-platform/src"

_ITEM = re.compile(
    r"(?P<doc>(?:^[ ]*///.*\n)*)(?P<attributes>(?:^[ ]*#\[.*\]\n)*)"
    r"^(?P<indent>[ ]*)(?P<code>(?P<visible>pub )?(?:const |unsafe )*"
    r"(?P<kind>struct|enum|trait|type|const|fn) (?P<name>\w+)[^{};]*(?:=[^;]*)?(?P<end>[;{]))",
    re.MULTILINE,
)
_IMPL = re.compile(
    r"^impl(?:<[^\n]*?>)? (?P<name>\w+)(?:<[^{]*?>)?\s*(?:where[^{]*)?\{\n(?P<body>.*?)^\}",
    re.MULTILINE | re.DOTALL,
)


class Item(NamedTuple):
    """A declaration and its doc comment."""

    name: str
    kind: str
    code: str
    doc: list[str]


def _item(match: re.Match[str], text: str) -> Item:
    code = match["code"]
    if match["kind"] in ("struct", "enum") and match["end"] == "{":
        code = _fields(text[match.end() : text.index("\n}", match.end())], code)
    else:
        code = code[:-1].rstrip()
    indent = len(match["indent"])
    code = "\n".join(
        line[indent:] if line[:indent].isspace() else line for line in code.splitlines()
    )
    doc = [re.sub(r"^\s*/// ?", "", line) for line in match["doc"].splitlines()]
    return Item(match["name"], match["kind"], code, doc)


def _fields(body: str, code: str) -> str:
    """The declaration with its public fields or variants, comments and all."""
    shown: list[str] = []
    pending: list[str] = []
    is_enum = " enum " in f" {code}"
    for line in body.strip("\n").splitlines():
        stripped = line.strip()
        if stripped.startswith("///"):
            pending.append(line)
        elif stripped.startswith("pub ") or (is_enum and not stripped.startswith(("#", "//"))):
            shown += [*pending, re.sub(r" = sys::\w+(?: as \w+)?", "", line)]
            pending = []
        elif not stripped.startswith("#"):
            pending = []
    opened = code[:-1].rstrip()
    return "\n".join([f"{opened} {{", *shown, "}"]) if shown else opened


def items_of(path: str) -> Iterator[Item]:
    """The item that `module::Name` names, then the public functions and constants of it."""
    *modules, name = path.split("::")
    texts = [file.read_text() for file in _files("/".join(modules))]
    declared = [
        (match, text)
        for text in texts
        for match in _ITEM.finditer(text)
        if match["name"] == name and match["visible"] and not match["indent"]
    ]
    if len(declared) != 1:
        raise LookupError(f"{path}: {len(declared)} items of that name")
    match, text = declared[0]
    yield _item(match, text)
    if match["kind"] == "trait":
        body = text[match.end() : text.index("\n}", match.end())]
        yield from (_item(m, body) for m in _ITEM.finditer(body) if len(m["indent"]) == 4)
    for text in texts:
        for block in _IMPL.finditer(text):
            if block["name"] == name:
                body = block["body"]
                found = (m for m in _ITEM.finditer(body) if m["visible"] and len(m["indent"]) == 4)
                yield from (_item(m, body) for m in found)


def module_comment(path: str) -> list[str]:
    """What a module says of itself."""
    text = (SOURCES / f"{path.replace('::', '/')}.rs").read_text()
    lines = [re.sub(r"^//! ?", "", line) for line in re.findall(r"^//!.*$", text, re.MULTILINE)]
    return from_markdown(lines, "rust")


def _files(module: str) -> list[Path]:
    """The module's file, and the files below it."""
    files = [SOURCES / f"{module}.rs", *sorted((SOURCES / module).glob("*.rs"))]
    return [file for file in files if file.exists()]


class RustItem(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        for file in _files("/".join(path.split("::")[:-1])):
            self.env.note_dependency(str(file))
        try:
            items = list(items_of(path))
        except LookupError as error:
            raise self.error(str(error)) from None
        lines: list[str] = [f"``wrt_platform::{path}``", ""]
        for number, item in enumerate(items):
            lines += [f".. container:: {'rust-member' if number else 'rust-owner'}", ""]
            block = [".. code-block:: rust", "", *(f"   {line}" for line in item.code.splitlines())]
            block += ["", *from_markdown(item.doc, "rust"), ""]
            lines += [f"   {line}" if line else "" for line in block]
        container = nodes.container(classes=["rust-item"])
        self.state.nested_parse(StringList(lines, source=path), 0, container)
        return [container]


class RustExample(SphinxDirective):
    """The first example of a module's own comment, which the crate's tests run."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = module_comment(self.arguments[0])
        start = lines.index(".. code-block:: rust")
        end = start + 1
        while end < len(lines) and (lines[end] == "" or lines[end].startswith("   ")):
            end += 1
        container = nodes.container()
        self.state.nested_parse(StringList(lines[start:end], source="rust"), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rust-item", RustItem)
    app.add_directive("rust-example", RustExample)
    return {"parallel_read_safe": True}
