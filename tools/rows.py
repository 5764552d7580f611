"""Prints the feature table: each row, the tests that prove it, and how strong the proof is.

The rows stand in docs/rows.csv; tests say which row they prove by
`@pytest.mark.row("PA-1")`, and by `proof="QEMU"` where it is not the real system.
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROOFS = ["real", "QEMU", "real RTOS", "sim", "inspection"]


class Row(NamedTuple):
    id: str
    title: str
    documents: str


class Proof(NamedTuple):
    test: str  # without its parameters
    strength: str


def table(text: str) -> list[Row]:
    lines = csv.reader(io.StringIO(text))
    next(lines)
    return [Row(*line) for line in lines]


class Collector:
    """A pytest plugin that keeps the marks of what is collected."""

    def __init__(self) -> None:
        self.proofs: dict[str, set[Proof]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("row"):
                strength = mark.kwargs.get("proof", "real")
                self.proofs[mark.args[0]].add(Proof(item.nodeid.split("[")[0], strength))


def collected(folder: Path) -> dict[str, set[Proof]]:
    collector = Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", str(folder)]
        code = pytest.main(arguments, plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"rows: the tests could not be collected\n{output.getvalue()}")
    return collector.proofs


def mistakes(rows: list[Row], proofs: dict[str, set[Proof]]) -> Iterator[str]:
    known = {row.id for row in rows}
    for row, tests in sorted(proofs.items()):
        for test, strength in sorted(tests):
            if row not in known:
                yield f"{test} proves row {row}, which docs/rows.csv does not have"
            if strength not in PROOFS:
                yield f'{test} has proof="{strength}"; known are {", ".join(PROOFS)}'


def report(rows: list[Row], proofs: dict[str, set[Proof]]) -> Iterator[str]:
    for row in rows:
        tests = sorted(proofs.get(row.id, ()))
        strengths = [strength for strength in PROOFS if any(t.strength == strength for t in tests)]
        yield f"{row.id:<5} {', '.join(strengths) or '-':<10} {row.title}"
        yield from (f"{'':17}{proof.test}" for proof in tests)
    proven = sum(1 for row in rows if proofs.get(row.id))
    yield f"{proven} of {len(rows)} rows have tests"


def main() -> int:
    rows = table((ROOT / "docs/rows.csv").read_text())
    proofs = collected(ROOT / "tests")
    print("\n".join(report(rows, proofs)))
    wrong = list(mistakes(rows, proofs))
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
