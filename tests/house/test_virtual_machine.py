"""The rig of the virtual machine tells the truth: of failures, of crashes, and when there is none.

A session of its own runs here, with a program in QEMU's place that runs what the machine would, on
this machine. tests/linux/test_virtual_machine.py is inside of the real one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from common import ROOT

Session = Callable[..., str]

CONFTEST = """
import pytest, vm
from pathlib import Path

def pytest_configure(config):
    config.addinivalue_line("markers", "vm: in the machine")
    vm.ROOT = Path(__file__).parent
    vm.FILES = vm.ROOT / "machine"
    for plugin in vm.plugins(config):
        config.pluginmanager.register(plugin)
"""

TESTS = """
import os, signal, warnings, pytest

def test_outside(): assert "WRT_VM_SHARE" not in os.environ

@pytest.mark.vm
@pytest.mark.parametrize("word", ["a b", "[c]::d"])
def test_inside(word): assert "WRT_VM_SHARE" in os.environ and word

@pytest.mark.vm
def test_that_fails(): assert 6 * 7 == 54, "so the wrong question"

@pytest.mark.vm
def test_that_is_left_out(): pytest.skip("for a reason of its own")

@pytest.mark.vm
def test_of_a_fixture_that_fails(broken): pass

@pytest.fixture
def broken(): raise RuntimeError("broken before it began")
"""

# Ends all that runs in the machine, as a kernel that stops would.
CRASH = """
@pytest.mark.vm
def test_that_stops_the_machine():
    print("the last words", flush=True)
    os.killpg(0, signal.SIGKILL)

@pytest.mark.vm
def test_that_never_came(): pass
"""

RUNS_HERE = """#!/bin/sh
share=$(printf '%s\\n' "$@" | sed -n 's/^local,id=share,path=\\([^,]*\\),.*/\\1/p')
echo "a console"
echo >>"$share/../../boots"
sed "s#/vmshare#$share#g" "$share/run.sh" >"$share/here.sh"
exec sh "$share/here.sh"
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Runs pytest over some tests with some machine; what it printed."""
    machine = tmp_path / "machine"
    machine.mkdir()
    for name in ("vmlinuz", "initrd"):
        (machine / name).touch()
    (tmp_path / "conftest.py").write_text(CONFTEST)

    def run(tests: str, qemu: str, *words: str, qemu_path: str | None = None) -> str:
        (tmp_path / "test_probe.py").write_text(tests)
        program = tmp_path / "qemu"
        program.write_text(qemu)
        program.chmod(0o755)
        path = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": ":".join(path),
            "WRT_VM_QEMU": qemu_path or str(program),
        }
        for name in list(environment):
            if name.startswith("PYTEST_"):
                del environment[name]
        call = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*call, "--timeout=60", *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout

    return run


def outcomes(output: str) -> dict[str, str]:
    """Test to outcome, from the lines of -v, with workers or without."""
    plain = re.findall(r"^test_probe.py::(.+) (PASSED|FAILED|SKIPPED|ERROR)\b", output, re.M)
    workers = re.findall(r"(PASSED|FAILED|SKIPPED|ERROR) test_probe.py::(.+?) *$", output, re.M)
    return dict(plain) | {name: outcome for outcome, name in workers if " - " not in name}


EXPECTED = {
    "test_outside": "PASSED",
    "test_inside[a b]": "PASSED",
    "test_inside[[c]::d]": "PASSED",
    "test_that_fails": "FAILED",
    "test_that_is_left_out": "SKIPPED",
    "test_of_a_fixture_that_fails": "ERROR",
}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_what_happens_inside_is_reported_outside_from_one_boot(
    session: Session, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    output = session(TESTS, RUNS_HERE, *workers)
    assert outcomes(output) == EXPECTED
    assert "so the wrong question" in output
    assert "broken before it began" in output
    assert "1 failed, 3 passed, 1 skipped, 1 error" in output
    assert (tmp_path / "machine/boots").read_text() == "\n"
    assert list((tmp_path / "machine/runs").iterdir()) == []


def test_one_chosen_test_boots_for_itself_alone(session: Session) -> None:
    output = session(TESTS, RUNS_HERE, "-k", "left_out")
    assert outcomes(output) == {"test_that_is_left_out": "SKIPPED"}


def test_machine_is_not_booted_for_others(session: Session, tmp_path: Path) -> None:
    assert outcomes(session(TESTS, RUNS_HERE, "-m", "not vm")) == {"test_outside": "PASSED"}
    assert not (tmp_path / "machine/boots").exists()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_crash_of_the_machine_fails_what_was_not_reported(
    session: Session, workers: tuple[str, ...]
) -> None:
    output = session(TESTS + CRASH, RUNS_HERE, *workers, "-k", "inside or machine or never")
    assert outcomes(output) == {
        "test_inside[a b]": "PASSED",
        "test_inside[[c]::d]": "PASSED",
        "test_that_stops_the_machine": "FAILED",
        "test_that_never_came": "FAILED",
    }
    assert output.count("stopped before it had reported this test") >= 2
    assert "a console" in output


def test_tests_that_the_machine_does_not_find_fail(session: Session) -> None:
    here = 'import os\nif "WRT_VM_SHARE" not in os.environ:\n    '
    found = here + TESTS.strip().replace("\n", "\n    ")
    output = session(found, RUNS_HERE, "-k", "inside")
    assert set(outcomes(output).values()) == {"FAILED"}
    assert "ended without a report of this test" in output


@pytest.mark.parametrize(
    ("qemu", "why"),
    [
        ("#!/bin/sh\necho 'no such machine'; exit 1\n", "it does not boot: no such machine"),
        ("#!/bin/sh\nexit 1\n", "it does not boot: its console is empty"),
    ],
)
def test_machine_that_does_not_boot_is_said_in_one_line(
    session: Session, qemu: str, why: str
) -> None:
    output = session(TESTS, qemu)
    left_out = {name: "SKIPPED" for name in EXPECTED if name != "test_outside"}
    assert outcomes(output) == {"test_outside": "PASSED", **left_out}
    (line,) = [line for line in output.splitlines() if line.startswith("5 tests left out")]
    assert line == f"5 tests left out, no virtual machine: {why}"


def test_missing_kernel_is_said(session: Session, tmp_path: Path) -> None:
    (tmp_path / "machine/vmlinuz").unlink()
    assert "build/vm/vmlinuz is not there; `make setup` makes it" in session(TESTS, RUNS_HERE)


def test_missing_qemu_is_said(session: Session) -> None:
    assert "tests left out, no virtual machine: /none is not installed" in session(
        TESTS, RUNS_HERE, qemu_path="/none"
    )


def test_hang_ends_at_its_limit(session: Session, tmp_path: Path) -> None:
    conftest = tmp_path / "conftest.py"
    limits = "\n    vm.RUN_SECONDS = 3.0\n"
    conftest.write_text(CONFTEST.replace("\n    vm.FILES", f"{limits}    vm.FILES"))
    hang = "import time, pytest\n@pytest.mark.vm\ndef test_hang(): time.sleep(50)\n"
    output = session(hang, RUNS_HERE)
    assert outcomes(output) == {"test_hang": "FAILED"}
    assert "did not report this test within 3 s" in output
