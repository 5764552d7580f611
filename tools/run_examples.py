"""Runs the example programs inside limits, from C, Python and Rust: `make run`.

Each program of examples/programs runs once in each language, under a fuel, a time and a memory
limit, and its output is compared with what it must be. Then three runs are given too little, so
that each limit is seen to bite. A table says what every run used; the fuel is exact, so it has to
be the same in all languages. At last the example `runtime` runs threads within limits, on Linux and
on simulated QNX, and says the same in all languages. The exit status is 1 if anything is not as it
must be.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from crates import ROOT, FetchError, find_tool

PROGRAMS = ROOT / "examples/programs"
EXAMPLES = ROOT / "build/examples"
INSTALLED = ROOT / "build/installed"

EXIT_TIMED_OUT = 124
EXIT_OUT_OF_FUEL = 125
PAGE_KIB = 64


class Limits(NamedTuple):
    fuel: int = 2_000_000_000
    timeout_ms: int = 20_000
    pages: int = 256  # 16 MiB


class Case(NamedTuple):
    """A program, what it gets, and how it must end."""

    program: str
    arguments: Sequence[str]
    directory: str | None = None
    limits: Limits = Limits()
    exit_code: int = 0
    says: str | None = None  # its output; None: not compared
    tests: str = "output"

    @property
    def module(self) -> str:
        """In its own folder, where the runners start: so the guest's name for itself is the same
        in all languages, and so is the fuel."""
        return f"{self.program}.wasm"


class Run(NamedTuple):
    """How a case ended and what it used."""

    exit_code: int
    fuel_used: int
    peak_pages: int
    wall_ms: float
    cpu_ms: float
    output: str
    complaint: str  # what stood on the standard error before the report


class Runner(NamedTuple):
    language: str
    command: list[str]
    spells: str  # how it writes its limits: "plain" or "units"
    runtime: list[str]  # the command of the example `runtime`


def cases() -> Iterator[Case]:
    for listed in json.loads((PROGRAMS / "programs.json").read_text()):
        expected = (PROGRAMS / f"expected/{listed['name']}.txt").read_text()
        yield Case(listed["name"], listed["arguments"], listed.get("directory"), says=expected)
    yield Case(
        "queens",
        ["12"],
        limits=Limits(fuel=1_000_000),
        exit_code=EXIT_OUT_OF_FUEL,
        tests="fuel limit",
    )
    endless = ["1000000000"]
    yield Case(
        "digest",
        endless,
        limits=Limits(timeout_ms=200),
        exit_code=EXIT_TIMED_OUT,
        tests="time limit",
    )
    yield Case("squeeze", ["4096"], limits=Limits(pages=20), exit_code=1, tests="memory limit")


# Runners


def build_c() -> Path:
    """Installs the library below build/ and builds examples/c against it, as a user would. Returns
    the folder of the programs."""
    cmake = find_tool("cmake")
    steps = [
        [cmake, "--preset", "release"],
        [cmake, "--build", "--preset", "release"],
        [cmake, "--install", "build/release", "--prefix", str(INSTALLED)],
        [cmake, "-S", "examples/c", "-B", str(EXAMPLES), f"-DCMAKE_PREFIX_PATH={INSTALLED}"],
        [cmake, "--build", str(EXAMPLES)],
    ]
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/release.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests build the same preset
        must_all(steps, ROOT)
    return EXAMPLES


def build_rust() -> Path:
    """Examples of the crate wrt-platform. Returns their folder."""
    cargo = find_tool("cargo")
    examples = ["--example", "run", "--example", "runtime"]
    build = [cargo, "build", "--quiet", "--release", "-p", "wrt-platform", *examples]
    must_all([build], ROOT / "rust")
    metadata = [cargo, "metadata", "--no-deps", "--offline", "--format-version", "1"]
    answer = subprocess.run(metadata, cwd=ROOT / "rust", stdout=subprocess.PIPE, check=True)
    return Path(json.loads(answer.stdout)["target_directory"]) / "release/examples"


def must_all(steps: Sequence[Sequence[str]], folder: Path) -> None:
    for step in steps:
        answer = subprocess.run(step, cwd=folder, stdout=-1, stderr=subprocess.STDOUT, text=True)
        if answer.returncode != 0:
            raise FetchError(f"{' '.join(step)} failed:\n{answer.stdout}")


def command_line() -> list[str]:
    """The command `wrt` of the Python package that this interpreter has."""
    beside = shutil.which("wrt", path=str(Path(sys.executable).parent))
    if beside is None:
        raise FetchError("the command wrt is not installed; `make setup` installs it")
    return [beside, "run", "--report", "json"]


def runners() -> list[Runner]:
    """One for each language that can be had here; what can't is said in one line."""
    print("building the runner in C", file=sys.stderr)
    python = [sys.executable, str(ROOT / "examples/python/runtime.py")]
    found = [
        compiled("C", build_c()),
        Runner("Python", command_line(), "units", python),
    ]
    print("building the runner in Rust: a minute, the first time", file=sys.stderr)
    try:
        found.append(compiled("Rust", build_rust()))
    except FetchError as error:
        print(f"Rust is left out: {error}")
    return found


def compiled(language: str, folder: Path) -> Runner:
    return Runner(language, [str(folder / "run")], "plain", [str(folder / "runtime")])


def options(case: Case, spells: str) -> list[str]:
    limits = case.limits
    words = ["--fuel", str(limits.fuel)]
    if spells == "plain":
        words += ["--timeout-ms", str(limits.timeout_ms), "--memory-pages", str(limits.pages)]
    else:
        words += [
            "--timeout",
            f"{limits.timeout_ms}ms",
            "--memory",
            f"{limits.pages * PAGE_KIB}KiB",
        ]
    if case.directory is not None:
        words += ["--dir", f"{case.directory}::{case.directory}"]
    return words


def run(runner: Runner, case: Case) -> Run:
    command = [*runner.command, *options(case, runner.spells), case.module, *case.arguments]
    answer = subprocess.run(command, cwd=PROGRAMS, capture_output=True, text=True)
    *complaint, report = answer.stderr.strip().split("\n") or [""]
    try:
        used: dict[str, Any] = json.loads(report)
    except ValueError:
        raise FetchError(f"{' '.join(command)} gave no report:\n{answer.stderr}") from None
    return Run(
        answer.returncode,
        used["fuel_used"],
        used["peak_pages"],
        used["wall_ns"] / 1e6,
        used["cpu_ns"] / 1e6,
        answer.stdout,
        "\n".join(complaint),
    )


# The table


def verdict(case: Case, ran: Run) -> str:
    """Empty if the run went as it must, else what is wrong."""
    if ran.exit_code != case.exit_code:
        return f"exit code {ran.exit_code}, not {case.exit_code}: {ran.complaint}"
    if case.says is not None and ran.output != case.says:
        return "another output than expected"
    if ran.peak_pages > case.limits.pages:
        return f"{ran.peak_pages} pages, {case.limits.pages} were granted"
    if ran.fuel_used > case.limits.fuel:
        return f"{ran.fuel_used} instructions, {case.limits.fuel} were granted"
    return ""


HEAD = ("language", "program", "exit", "fuel used", "pages", "wall ms", "CPU ms", "check")
ROW = "{:<9} {:<9} {:>4} {:>14} {:>6} {:>9} {:>9}  {}"


def print_row(runner: Runner, case: Case, ran: Run, wrong: str) -> None:
    check = wrong or f"{case.tests} right"
    cells = [runner.language, case.program, ran.exit_code, f"{ran.fuel_used:,}", ran.peak_pages]
    print(ROW.format(*cells, f"{ran.wall_ms:.1f}", f"{ran.cpu_ms:.1f}", check), flush=True)


def same_fuel(case: Case, runs: Sequence[Run]) -> str:
    """Instructions are counted exactly, unless the clock ended the run."""
    if case.exit_code == EXIT_TIMED_OUT or len({ran.fuel_used for ran in runs}) == 1:
        return ""
    return f"{case.program}: the languages disagree on the fuel used"


def run_runtimes(available: Sequence[Runner]) -> str:
    """Threads within limits: prints what the first language says. Empty if all end well and say
    the same."""
    said = {}
    for runner in available:
        answer = subprocess.run(runner.runtime, capture_output=True, text=True, timeout=60)
        said[runner.language] = answer.stdout
        if answer.returncode != 0:
            return f"runtime: {runner.language} failed: {answer.stderr}"
    first = next(iter(said.values()))
    print(f"\nthreads within limits, from {', '.join(said)}:\n{first}", end="", flush=True)
    different = [language for language, text in said.items() if text != first]
    return f"runtime: {', '.join(different)} say something else" if different else ""


def main() -> int:
    try:
        available = runners()
        print(ROW.format(*HEAD))
        complaints = []
        for case in cases():
            ran = [run(runner, case) for runner in available]
            for runner, one in zip(available, ran):
                wrong = verdict(case, one)
                print_row(runner, case, one, wrong)
                complaints += [wrong] if wrong else []
            disagreement = same_fuel(case, ran)
            complaints += [disagreement] if disagreement else []
        disagreement = run_runtimes(available)
        complaints += [disagreement] if disagreement else []
    except FetchError as error:
        print(f"run_examples: {error}", file=sys.stderr)
        return 2
    print("\n".join(complaints) or "every program did what it must, inside its limits")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
