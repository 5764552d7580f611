"""Measures what bench/*.py knows to measure, side by side with peers: `make bench`.

Each module of bench/ that has rows() gives rows of {name, ours, peer, peer_name, ratio, goal}.
They are printed as a table and written to build/bench.json. A ratio is ours divided by the peer's,
so less is better; where there is no peer it is the figure that the goal is about, or nothing.
The exit status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from crates import ROOT, FetchError

BENCH = ROOT / "bench"
RESULT = ROOT / "build/bench.json"
KEYS = ("name", "ours", "peer", "peer_name", "ratio", "goal")
LAYOUT = "{:<48} {:>12} {:>12} {:>7} {:>6}  {}"


def measuring_modules(wanted: Iterable[str]) -> Iterator[Any]:
    """The modules of bench/ that measure something; all of them if none is named."""
    sys.path.insert(0, str(BENCH))
    for path in sorted(BENCH.glob("*.py")):
        module = importlib.import_module(path.stem)
        if hasattr(module, "rows") and (not wanted or path.stem in wanted):
            yield module


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 10000 else f"{value:.{digits}f}"


def missed(row: dict[str, Any]) -> bool:
    """Whether the row has a goal and its figure is beyond it."""
    return row["goal"] is not None and (row["ratio"] is None or row["ratio"] > row["goal"])


def print_row(row: dict[str, Any]) -> None:
    cells = [row["name"], number(row["ours"]), number(row["peer"]), number(row["ratio"], 2)]
    remark = row["peer_name"] or ""
    if missed(row):
        remark += "  GOAL MISSED"
    print(LAYOUT.format(*cells, number(row["goal"], 2), remark), flush=True)


def collect(wanted: Iterable[str]) -> list[dict[str, Any]]:
    found = []
    for module in measuring_modules(wanted):
        for row in module.rows():
            assert tuple(row) == KEYS, f"{module.__name__} gave {tuple(row)}, not {KEYS}"
            found.append(row)
            print_row(row)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures, side by side with peers.")
    parser.add_argument("--output", type=Path, default=RESULT, help="where the JSON goes")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of bench/; all if none")
    arguments = parser.parse_args()
    print(LAYOUT.format("measured", "ours", "peer", "ratio", "goal", "peer"))
    try:
        rows = collect(arguments.modules)
    except FetchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"{len(rows)} rows, also in {arguments.output}")
    return 1 if any(map(missed, rows)) else 0


if __name__ == "__main__":
    sys.exit(main())
