"""The tables of the simulated QNX: each call has a row, and what the rows name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common import ROOT

TABLES = [ROOT / "docs/sim/qnx.md", ROOT / "docs/sim/qnx_memory.md"]
HEADERS = sorted((ROOT / "c/sim/qnx/include").rglob("*.h"))


def calls() -> set[str]:
    """What the headers declare; the forms whose name ends in _r go with the others."""
    text = "".join(path.read_text() for path in HEADERS)
    named = set(re.findall(r"__QNX_SYMBOL\((\w+)\)", text))
    return (named | set(re.findall(r"__QNX_CALL\(\w+, (\w+),", text))) - {"name"}


def cells() -> Iterator[list[str]]:
    """The rows of the first table, cell by cell."""
    for line in TABLES[0].read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| Call", "| ---")):
            yield [cell.strip() for cell in line.split("|")[1:-1]]


def semantics() -> set[str]:
    text = (ROOT / "c/sim/qnx/kernel_switches.inc").read_text()
    return set(re.findall(r'^SWITCH\(\w+, "([^"]+)"', text, re.M))


def test_every_call_has_a_row() -> None:
    named = set(re.findall(r"`([A-Za-z_]\w+)", "".join(path.read_text() for path in TABLES)))
    assert len(calls()) > 120
    assert calls() - named == set()


def test_every_row_has_a_source_and_a_test_that_exists() -> None:
    programs = (ROOT / "tests/qnx/kernel").glob("*.c")
    tests = set(re.findall(r'\{"(\w+)"', "".join(path.read_text() for path in programs)))
    for call, behaviour, source, _, named in cells():
        assert source != "" or "By inspection" in behaviour, call
        for test in named.split(", "):
            assert test in tests or test == "make" or test.endswith(".c"), f"{call}: {test}"


def test_every_semantic_has_a_row() -> None:
    rows = [cell for row in cells() for cell in row[3].split(", ") if cell != ""]
    assert set(rows) <= semantics()
    memory = TABLES[1].read_text()
    assert {name for name in semantics() - set(rows) if name not in memory} == set()
