"""What the pages show as code is what runs: whole programs, in every language that they show.

A page shows the programs of examples/{python,c}/linux and examples/rust/linux by the directive
`example`; they are compiled and run here. Other files that a page shows are run by other tests.
Code that stands in a page itself would be run by nobody, and is refused.

What a machine does not lend, the programs say in one line. In the virtual machine nothing is
missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cargo import cargo
from common import ROOT, run
from support.environments import ENVIRONMENTS, run_in

PAGES = sorted((ROOT / "docs").glob("*.rst"))
PYTHON = ROOT / "examples/python/linux"
C = ROOT / "examples/c/linux"
RUST = ROOT / "examples/rust/linux"
LANGUAGES = ("python", "c", "rust")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]

# Files that pages show in part, and the test that runs them.
RUN_ELSEWHERE = {
    "README.md": "tests/house/test_readme.py",
    "examples/c/host_function.c": "tests/programs/test_examples_c.py",
    "examples/c/run.c": "tests/programs/test_examples_c.py",
    "examples/c/runtime.c": "tests/programs/test_examples_c.py",
    "examples/c/sandbox.c": "tests/programs/test_examples_c.py",
    "examples/notebooks/quickstart.py": "tests/python/test_examples.py",
    "examples/python/quickstart.py": "tests/python/test_examples.py",
    "examples/python/sandbox.py": "tests/python/test_examples.py",
    "rust/wrt-platform/examples/runtime.rs": "tests/programs/test_tools.py",
}

# What the others print, which depends on the machine; in a page it would be a guess.
SAYS = {
    "memory": r"huge pages: \d+ of 32 in RAM; .+\nnode \d+ (enforced|partial|absent): .+\n",
    "pressure": r"(memory is short: (low|medium|critical)\n)*looked\n",
    "container": r"signs found: \d+\n(- .+\n)*memory: at most \d+ bytes\nprocessors: \d+\.\d\d\n",
    "confined": r"inside\nfilter: enforced\nfiles: (enforced|partial)\nexited by itself: yes, "
    r"with 1\n|inside\n(.+\n)+filter: enforced\nfiles: absent\nexited by itself: yes, with 0\n",
    "lazy": r"the byte at 200000 is 3\nloaded: (65536|300000) of 300000 bytes\n",
    "tags": r"16 bytes with tag 10\n|wrt_linux_mte_.+ (MTE in HWCAP2|another one).*\n",
    "locks": r"left: 2\n(.+: \d+\.\d ns\n){10}",
    "perf": r"(.+\n){6}task-clock\W+[\d,]+.*\npage-faults\W+[1-9][\d,]{3,}.*\n(.+\n)+",
    "ring": r"request 42: 4096 bytes\nbatch: 50 reads, 204800 bytes\nregistered: 4096 bytes\n"
    r"by (kernel|threads)\n",
    "threads": r"CPU_QUOTA_EXCEEDED\n(.+\n)+",
    "sandbox": r"system calls enforced.+\n4 queens: 2 ways.+\n(.+\n)+returned \[\]\n"
    r"killed after 0\.1 s: Killed\n",
}

# What asks for something that a system may keep to itself.
MAY_BE_REFUSED = {"cgroup", "pressure", "perf"}


IMPORT_FIRST = """
kinds = (ast.Import, ast.ImportFrom)
imports = ast.Module([node for node in tree.body if isinstance(node, kinds)], [])
exec(compile(imports, "imports", "exec"), {})
"""


class Ended(NamedTuple):
    code: int
    output: str
    errors: str


def ended(done: subprocess.CompletedProcess[str]) -> Ended:
    return Ended(done.returncode, done.stdout, done.stderr)


def shown_outputs() -> dict[str, str]:
    """By example: the output that its page shows; "" where it shows none."""
    found = {}
    directive = re.compile(r"^\.\. example:: (\w+)\n\n?((?:   .*\n|\n)*)", re.MULTILINE)
    for page in PAGES:
        for name, block in directive.findall(page.read_text()):
            lines = block.strip("\n").splitlines()
            found[name] = "".join(f"{line.removeprefix('   ')}\n" for line in lines)
    return found


OUTPUTS = shown_outputs()


def programs(language: str) -> set[str]:
    folder, suffix = {
        "python": (PYTHON, ".py"),
        "c": (C, ".c"),
        "rust": (RUST / "src/bin", ".rs"),
    }[language]
    return {path.stem for path in folder.glob(f"*{suffix}")}


ALL = [(language, name) for language in LANGUAGES for name in sorted(programs(language))]


@pytest.fixture(scope="session")
def command_of(
    release_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], list[str]]:
    """How an example is started; those in Rust are built in one go, those in C one by one."""
    folder = tmp_path_factory.mktemp("examples")
    built: dict[str, Path] = {}

    def in_c(name: str) -> Path:
        library = [f"-L{release_build}", f"-Wl,-rpath,{release_build}", "-lwrt_platform"]
        flags = ["-std=c11", "-D_GNU_SOURCE", *WARNINGS, f"-I{ROOT}/c/include", "-pthread"]
        run("cc", *flags, C / f"{name}.c", "-o", folder / name, *library)
        return folder / name

    def in_rust(name: str) -> Path:
        if not built:
            target = Path(os.environ.get("CARGO_TARGET_DIR", str(ROOT / "build/cargo")))
            done = cargo("build", "--locked", "--quiet", cwd=RUST, CARGO_TARGET_DIR=str(target))
            assert (done.returncode, done.stderr) == (0, "")
            built.update({path: target / "debug" / path for path in programs("rust")})
        return built[name]

    def command(language: str, name: str) -> list[str]:
        if language == "python":
            return [sys.executable, str(PYTHON / f"{name}.py")]
        return [str(in_c(name) if language == "c" else in_rust(name))]

    return command


def started(command: list[str]) -> Ended:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    return ended(done)


def is_refusal(name: str, outcome: Ended) -> bool:
    """It ended with one line that names the call, and what the system said or lacks."""
    line = rf"{name}: wrt_\w+: .{{20,}}\n"
    return outcome.code == 1 and not outcome.output and bool(re.fullmatch(line, outcome.errors))


def is_as_shown(name: str, output: str) -> bool:
    if OUTPUTS.get(name):
        return output == OUTPUTS[name]
    return re.fullmatch(SAYS[name], output) is not None


@pytest.mark.parametrize(("language", "name"), ALL)
def test_program_prints_what_its_page_says(
    language: str, name: str, command_of: Callable[[str, str], list[str]]
) -> None:
    outcome = started(command_of(language, name))
    if name in MAY_BE_REFUSED and outcome.code != 0:
        assert is_refusal(name, outcome), outcome
        in_python = started(command_of("python", name))
        assert in_python.code == 1
        assert in_python.errors.split(", ")[0] == outcome.errors.split(", ")[0]
    else:
        assert outcome.code == 0, outcome
        assert is_as_shown(name, outcome.output), outcome


@pytest.mark.vm
@pytest.mark.parametrize("name", ["cgroup", "pressure", "memory", "confined", "shared"])
def test_program_prints_it_where_the_kernel_lends_all(name: str) -> None:
    outcome = started([sys.executable, str(PYTHON / f"{name}.py")])
    assert outcome.code == 0, outcome
    assert is_as_shown(name, outcome.output), outcome


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("name", sorted(programs("python") - {"threads"}))
def test_program_works_elsewhere_or_says_why_not(name: str, environment: str) -> None:
    path = str(PYTHON / f"{name}.py")
    # An ordinary user may not be allowed to read the files of this Python.
    before = f"import ast\ntree = ast.parse(open({path!r}).read())\n" + IMPORT_FIRST
    run_it = f"exec(compile(tree, {path!r}, 'exec'), {{'__name__': '__main__'}})"
    outcome = ended(run_in(environment, run_it, before=before))
    if name in MAY_BE_REFUSED and outcome.code != 0:
        assert is_refusal(name, outcome), outcome
    else:
        assert outcome.code == 0, outcome
        assert is_as_shown(name, outcome.output), outcome


def test_every_program_is_shown_by_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for language, name in ALL:
        file = f"{name}.{ {'python': 'py', 'c': 'c', 'rust': 'rs'}[language] }"
        assert name in OUTPUTS or f"linux/{file}" in text or f"linux/src/bin/{file}" in text, file
    for name in OUTPUTS:
        assert bool(OUTPUTS[name]) != (name in SAYS), f"{name}: one of both says what it prints"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_code_of_a_page_is_run(page: Path) -> None:
    text = page.read_text()
    alone = re.findall(r"\.\. (?:code-block|code|sourcecode):: (python|c|rust)\b", text)
    remedy = "put the programs into examples/*/linux, and show them by `.. example:: NAME`"
    assert alone == [], f"nobody runs code that stands in a page; {remedy}"
    for shown in re.findall(
        r"\.\. literalinclude:: \.\./(\S+)\n\s+:language: (?:python|c|rust)\b", text
    ):
        path = ROOT / shown
        if path.parent not in (PYTHON, C, RUST / "src/bin"):
            assert path.stem in (ROOT / RUN_ELSEWHERE[shown]).read_text()


@pytest.mark.parametrize(
    "line",
    [
        line
        for page in PAGES
        for line in re.findall(r"^ +\$ (wrt .*)$", page.read_text(), re.MULTILINE)
    ],
)
def test_line_for_the_shell_runs(line: str) -> None:
    program, *words = line.split()
    assert run(Path(sys.executable).with_name(program), *words) != ""


def test_examples_in_rust_are_formatted() -> None:
    done = cargo("fmt", "--check", cwd=RUST)
    assert (done.returncode, done.stdout) == (0, "")
