"""Runs WebAssembly's official test-suite on the engine: `make spec`.

    python tools/spec.py [--suite 1.0] [--step] [--sealed] [--verbose] [SCRIPT ...]

prints a line per suite: how many assertions passed, failed and were left out, and why. The exit
status is 1 when one failed or when the totals are not those that the suite is known to have.

--step runs everything by small steps instead of calls; --sealed keeps each module's bytes, and all
that is built beside them, in memory that can't be written while anything runs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import spec_suite
from crates import FetchError
from spec_runner import FAILED, LEFT_OUT, PASSED, Verdict, run_script


class Tally(NamedTuple):
    """What became of a suite's assertions, and the commands between them that failed."""

    states: Counter[str]
    reasons: Counter[str]  # of what was left out
    broken_commands: int

    @property
    def assertions(self) -> int:
        return sum(self.states.values())


def count(verdicts: list[Verdict]) -> Tally:
    assertions = [verdict for verdict in verdicts if verdict.is_assertion]
    others = [verdict for verdict in verdicts if not verdict.is_assertion]
    return Tally(
        Counter(verdict.state for verdict in assertions),
        Counter(verdict.reason for verdict in assertions if verdict.state == LEFT_OUT),
        sum(verdict.state == FAILED for verdict in others),
    )


def print_tally(suite: str, scripts: int, tally: Tally) -> None:
    print(
        f"suite {suite}: {scripts} scripts, {tally.assertions:,} assertions: "
        f"{tally.states[PASSED]:,} passed, {tally.states[FAILED]:,} failed, "
        f"{tally.states[LEFT_OUT]:,} left out"
    )
    for reason, number in sorted(tally.reasons.items()):
        print(f"    {number:,} left out: {reason}")
    if tally.broken_commands:
        print(f"    {tally.broken_commands:,} modules or actions failed between the assertions")


def print_failures(script: Path, verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        if verdict.state == FAILED:
            print(f"  {script.stem}.wast:{verdict.line} {verdict.kind}: {verdict.reason}")


def run_suite(suite: str, arguments: argparse.Namespace) -> bool:
    """Runs one suite and prints its line. True if all is well."""
    chosen = [
        script
        for script in spec_suite.scripts(suite)
        if not arguments.scripts or script.stem in arguments.scripts
    ]
    verdicts = []
    for script in chosen:
        found = run_script(script, stepping=arguments.step, sealed=arguments.sealed)
        print_failures(script, found)
        verdicts += found
    tally = count(verdicts)
    print_tally(suite, len(chosen), tally)
    known = spec_suite.SUITES[suite]["assertions"]
    if not arguments.scripts and tally.assertions != known:
        print(f"    the suite has {known:,} assertions: some were lost")
        return False
    return tally.states[FAILED] == 0 and tally.broken_commands == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs WebAssembly's official test-suite.")
    parser.add_argument("--suite", choices=spec_suite.SUITES, action="append")
    parser.add_argument("--step", action="store_true", help="by small steps instead of calls")
    parser.add_argument("--sealed", action="store_true", help="modules in read-only memory")
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help="a script's name: br_table")
    arguments = parser.parse_args()
    suites = arguments.suite or list(spec_suite.SUITES)
    try:
        there = {script.stem for suite in suites for script in spec_suite.scripts(suite)}
        for name in set(arguments.scripts) - there:
            parser.error(f"there is no script {name}")
        results = [run_suite(suite, arguments) for suite in suites]
    except FetchError as error:
        print(f"spec: {error}", file=sys.stderr)
        return 2
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
