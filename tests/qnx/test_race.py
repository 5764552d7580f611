"""The kernel under the thread sanitizer: the baton is all that guards what threads share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from common import ROOT, run
from simulated import guest_flags, is_guest

TSAN = ["-std=c11", "-O1", "-g", "-fsanitize=thread", "-fno-omit-frame-pointer", "-w"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """race.c and the kernel, with the sanitizer in both."""
    folder = tmp_path_factory.mktemp("race")
    kernel = [path for name in ("common", "qnx") for path in (ROOT / "c/sim" / name).glob("*.c")]
    library = [ROOT / f"c/src/core/{name}.c" for name in ("config", "status")]
    hosts = [path for path in kernel if not is_guest(path)]
    hosts += [*library, ROOT / "c/src/linux/port.c", ROOT / "tests/qnx/kernel/race.c"]
    guests = [path for path in kernel if is_guest(path)]
    include = f"-I{ROOT}/c/include"
    run("gcc", *TSAN, include, "-c", *hosts, cwd=folder)
    run("gcc", *TSAN, include, *guest_flags("gcc"), "-c", *guests, cwd=folder)
    run("gcc", "-fsanitize=thread", *sorted(folder.glob("*.o")), "-lpthread", "-o", folder / "race")
    return folder / "race"


def outcome(program: Path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout.strip(), done.stderr


def test_baton_guards_what_threads_share(program: Path) -> None:
    counted, complaints = outcome(program, "bracket")
    assert complaints == ""
    assert counted == str(4 * 3000)


def test_race_outside_of_the_bracket_is_reported(program: Path) -> None:
    _, complaints = outcome(program)
    assert "WARNING: ThreadSanitizer: data race" in complaints
    assert "in count" in complaints
