"""The code blocks of the three QNX documents, as they are listed in three places.

A block is known by its document and a name: tests say which block they are, docs/documents_qnx.rst
lists the blocks with what had to be changed and why, and the Rust examples print them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from cargo import cargo
from common import ROOT
from wrt_platform import Instance, QnxAllocatorBuilder

COUNTS = {"qnx_features": 8, "qnx_platform": 11, "qnx_memory_partitioning": 8}

GUEST = """(module (memory (export "memory") 1 2000)
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "spin") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""

blocks: dict[str, list[str]] = {}
_Test = TypeVar("_Test", bound=Callable[..., None])


def block(document: str, name: str) -> Callable[[_Test], _Test]:
    """Says which block a test is. Decorators are read from below."""

    def note(test: _Test) -> _Test:
        blocks.setdefault(document, []).append(name)
        return test

    return note


def both(name: str) -> Callable[[_Test], _Test]:
    """A block that two of the documents have, letter by letter."""

    def note(test: _Test) -> _Test:
        return block("qnx_platform", name)(block("qnx_memory_partitioning", name)(test))

    return note


def execute_wasm_module() -> int:
    """What stands for the documents' guest: its memory comes from the partition that is current."""
    allocator = QnxAllocatorBuilder().build()
    instance = Instance(GUEST, allocator=allocator)
    answer: int = instance.call("answer")
    instance.close()
    allocator.close()
    return answer


def expect_lines(document: str) -> None:
    """Every block has its test and a line on the page."""
    page = (ROOT / "docs/documents_qnx.rst").read_text()
    section = page[page.index(f".. _{document}:") :].split("\n.. _", 1)[0]
    lines = re.findall(r"^   \* - ``(\w+)``\n     - (.+)\n     - (.+)$", section, re.MULTILINE)
    assert [name for name, _, _ in lines] == blocks[document]
    assert len(lines) == len(re.findall(r"^   \* - ", section, re.MULTILINE)) - 1  # the head
    assert len(lines) == COUNTS[document]
    assert f"{COUNTS[document]} code blocks" in section


def expect_example(document: str) -> None:
    """Every block lives in the Rust example of its document."""
    words = ("run", "--quiet", "-p", "wrt-platform", "--example", document)
    done = cargo(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == blocks[document]
