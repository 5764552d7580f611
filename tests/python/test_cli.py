"""The command `wrt` in processes of its own: exit codes, one line of complaint, Ctrl-C, pipes."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from support import programs
from support.guest import assemble as wasm
from support.lateness import again_if_late, in_time
from support.programs import exits

COMMAND = [sys.executable, "-m", "wrt_platform.cli"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def module(folder: Path, data: bytes) -> str:
    path = folder / "program.wasm"
    path.write_bytes(data)
    return str(path)


def wrt(*words: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, **settings
    )


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    """The one line on the standard error."""
    assert re.fullmatch(r"wrt[^\n]*: [^\n]+\n", run.stderr), run.stderr
    return run.stderr.strip()


def test_program_talks_through_the_real_streams(folder: Path) -> None:
    run = wrt("run", module(folder, programs.HELLO))
    assert (run.returncode, run.stdout, run.stderr) == (0, "hello\n", "hell")
    run = wrt("run", module(folder, programs.COPY), input="typed")
    assert run.stdout == "typed"


@pytest.mark.parametrize("code", [0, 1, 42, 134, 255])
def test_exit_code_is_passed_through(folder: Path, code: int) -> None:
    run = wrt("run", module(folder, exits(code)))
    assert (run.returncode, run.stdout, run.stderr) == (code, "", "")


def test_arguments_and_environment_are_passed_and_nothing_else(folder: Path) -> None:
    run = wrt("run", module(folder, programs.ECHO), "--fuel", "-x", "--", "a b")
    assert run.stdout.rstrip("\0").split("\0") == ["program.wasm", "--fuel", "-x", "--", "a b"]
    run = wrt("run", "--env", "A=1", "--env", "B=x=y", module(folder, programs.VARIABLES))
    assert run.stdout.rstrip("\0") == "A=1\0B=x=y"


@pytest.mark.parametrize(
    ("program", "options", "code", "text"),
    [
        (programs.TRAP, [], 134, r"trap: unreachable in main \(at byte 0x[0-9a-f]+\)"),
        (programs.SPIN, ["--timeout", "0.2s"], 124, r"the call did not end within 0\.2 s"),
        (programs.SLEEP, ["--timeout", "200ms"], 124, r"the call did not end within 0\.2 s"),
        (programs.SPIN, ["--fuel", "1000"], 125, "the fuel is used up"),
        (programs.HUNGRY, ["--memory", "1MiB"], 126, "the memory limit had refused it more memory"),
        (programs.program("", pages="9"), ["--memory", "64KiB"], 126, "the memory starts with 9"),
        (programs.MODEST, ["--memory", "1MiB"], 134, "trap: unreachable"),
    ],
)
def test_each_limit_has_its_exit_code_and_one_line(
    folder: Path, program: bytes, options: list[str], code: int, text: str
) -> None:
    run = wrt("run", *options, module(folder, program))
    assert run.returncode == code
    assert re.search(text, complaint(run))
    assert "program.wasm" in run.stderr


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"not a module", "magic header not detected at byte 0"),
        (programs.HELLO[:-20], "byte"),
        (b"\0asm\1\0\0\0" + b"\5\3\1\0\1" * 2, "byte 13"),
        (b"\0asm\1\0\0\0\5\xff\xff\xff\xff\x0f", "byte"),
        (b"", "unexpected end"),
        (wasm('(module (func (export "f")))'), "it exports no _start, but f"),
        (
            wasm(
                '(module (import "a" "b" (func)) (import "c" "d" (func)) (func (export "_start")))'
            ),
            r"2 imports are unknown: a\.b .*, c\.d",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(folder: Path, data: bytes, text: str) -> None:
    run = wrt("run", module(folder, data))
    assert (run.returncode, run.stdout) == (2, "")
    assert re.search(text, complaint(run))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "nothing.wasm"], "nothing.wasm: can't read 'nothing.wasm': No such file"),
        (["run", "."], "Is a directory"),
        (["run"], "the following arguments are required: MODULE; try `wrt run --help`"),
        (["run", "--fuel", "x", "m"], "argument --fuel: invalid int value: 'x'"),
        (["run", "--fuel", "-1", "m"], "fuel is -1, not 0 to"),
        (["run", "--timeout", "soon", "m"], "'soon' is not a time; write it like 5s"),
        (["run", "--memory", "5x", "m"], "'5x' is no size: unknown unit 'x', try 64MiB"),
        (["run", "--env", "novalue", "{hello}"], "--env takes NAME=VALUE, not 'novalue'"),
        (["run", "--dir", "/not/there", "{hello}"], "/not/there"),
        (["run", "--dir", "::x", "{hello}"], "a folder is HOST or HOST::GUEST, not '::x'"),
        (["run", "--report", "xml", "m"], "invalid choice: 'xml'"),
        (["inspect", "nothing.wasm"], "No such file"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "required: COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, words: list[str], text: str) -> None:
    hello = module(folder, programs.HELLO)
    run = wrt(*(hello if word == "{hello}" else word for word in words), cwd=folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert text in complaint(run)


def test_folder_of_the_command_line(folder: Path) -> None:
    shared = folder / "shared"
    shared.mkdir()
    (shared / "note.txt").write_text("note")
    program = module(folder, programs.READ_FILE)
    assert wrt("run", "--dir", f"{shared}::/data", program).stdout == "note"
    assert wrt("run", "--dir", shared, program).stdout == "note"
    assert wrt("run", program).returncode == 8


# Ctrl-C


@pytest.mark.row("WE-2")
@pytest.mark.parametrize("program", [programs.SPIN, programs.SLEEP, programs.COPY])
@pytest.mark.parametrize("options", [[], ["--timeout", "50s"]])
@again_if_late
def test_ctrl_c_ends_it_in_time(folder: Path, program: bytes, options: list[str]) -> None:
    """In a busy loop, in a wait for the clock, in a wait for input."""
    run = subprocess.Popen(
        [*COMMAND, "run", *options, module(folder, program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_it_runs(run.pid)
    start = time.monotonic()
    run.send_signal(signal.SIGINT)
    code = run.wait(20)
    took = time.monotonic() - start
    _, errors = run.communicate()
    assert (code, errors) == (130, "wrt: interrupted\n")
    in_time(took, 0, 0.3)  # 0.2 s, and the interpreter's own end


def wait_until_it_runs(process: int) -> None:
    """The guest runs once its own thread is there."""
    until = time.monotonic() + 20
    while len(os.listdir(f"/proc/{process}/task")) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.1)


# Output that nobody can take


def test_full_disk_has_its_exit_code(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*COMMAND, "run", module(folder, programs.CARELESS)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert run.returncode == 74
    assert complaint(run).endswith("standard output: No space left on device")


def test_file_that_reaches_its_limit_is_a_full_disk(folder: Path) -> None:
    """What fits is written; the rest ends the run, with nothing but that file left behind."""
    program, out = module(folder, programs.FLOOD), folder / "out"

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))

    with open(out, "w") as file:
        run = subprocess.run(
            [*COMMAND, "run", "--timeout", "1s", program],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=small_files,
        )
    assert run.returncode in (74, 124)
    assert out.stat().st_size == 10000
    assert complaint(run)
    assert sorted(os.listdir(folder)) == ["out", "program.wasm"]


@pytest.mark.parametrize("words", [["run", "{program}"], ["inspect", "{program}"], ["doctor"]])
def test_closed_pipe_has_its_exit_code(folder: Path, words: list[str]) -> None:
    program = module(folder, programs.FLOOD)
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [*COMMAND, *(program if word == "{program}" else word for word in words)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write)
    assert run.returncode == 141
    assert complaint(run).endswith("standard output: Broken pipe")


@pytest.mark.parametrize("words", [["--version"], ["inspect", "{program}"], ["run", "--help"]])
def test_our_own_output_on_a_full_disk(folder: Path, words: list[str]) -> None:
    program = module(folder, programs.HELLO)
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [*COMMAND, *(program if word == "{program}" else word for word in words)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert run.returncode == 74
    assert "No space left on device" in complaint(run)


def test_closed_standard_error_is_no_reason_to_fail_differently(folder: Path) -> None:
    program = module(folder, programs.TRAP)
    with open("/dev/full", "w") as full:
        silent = subprocess.run([*COMMAND, "run", program], stdout=subprocess.PIPE, stderr=full)
    assert (silent.returncode, silent.stdout) == (134, b"")


def test_closed_streams_are_not_somebody_elses_files(folder: Path) -> None:
    """What is opened first gets the lowest number, and the guest would print into it."""
    program = module(folder, programs.HELLO)
    before = sorted(folder.iterdir())
    words = [*COMMAND, "run", "--dir", str(folder), program]
    assert subprocess.run(["sh", "-c", '"$@" 2>&- >&- <&-', "sh", *words]).returncode == 0
    assert sorted(folder.iterdir()) == before
    run = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "hell")


# Reports


@pytest.mark.row("PE-1")
def test_profile_follows_on_the_standard_error(folder: Path) -> None:
    """The program runs on a thread that its time-out wants, and counts as well."""
    spin = module(folder, programs.SPIN)
    run = wrt("run", "--perf", "--timeout", "300ms", spin)
    assert run.returncode == 124
    counts = dict(line.split(maxsplit=1) for line in run.stderr.splitlines() if "-" in line)
    assert int(counts["task-clock"].replace(",", "")) > 100_000_000
    assert int(counts["page-faults"].replace(",", "")) > 0


def test_report_follows_on_the_standard_error(folder: Path) -> None:
    run = wrt("run", "--report", "json", "--fuel", "100000", module(folder, programs.HELLO))
    assert run.stdout == "hello\n"
    report = json.loads(run.stderr.removeprefix("hell"))
    assert (report["exit_code"], report["error"], report["peak_pages"]) == (0, None, 1)
    assert 0 < report["fuel_used"] < 100
    assert report["wall_ns"] > 0
    held = {item["name"]: item["state"] for item in report["enforced"]}
    assert held["fuel"] == "enforced"
    run = wrt("run", "--report", "json", "--fuel", "1000", module(folder, programs.SPIN))
    words, line = run.stderr.splitlines()
    assert words.startswith("wrt: ")
    assert json.loads(line)["fuel_used"] == 1000
    run = wrt("run", "--report", "table", module(folder, programs.TRAP))
    assert run.returncode == 134
    assert re.search(r"fuel used +1 instructions", run.stderr)
    assert re.search(r"process +absent", run.stderr)


def test_inspect_tells_the_exact_bytes(folder: Path) -> None:
    from wrt_platform.instance import InstanceBuilder
    from wrt_platform.module import Module

    path = module(folder, programs.HELLO)
    run = wrt("inspect", "--report", "json", path)
    assert run.returncode == 0
    found = json.loads(run.stdout)
    assert found["bytes"] == len(programs.HELLO)
    assert found["imports"][0] == {
        "module": "wasi_snapshot_preview1",
        "name": "fd_write",
        "kind": "function",
        "type": "(i32, i32, i32, i32) -> (i32)",
    }
    assert found["memory"]["initial_pages"] == 1
    usage = Module(path).usage
    assert found["engine"]["module_buffer"] == usage.buffer_bytes
    builder = InstanceBuilder().with_module(path)
    assert found["engine"]["instance_buffer"] == builder.layout().bytes
    text = wrt("inspect", path).stdout
    assert re.search(r"wasi_snapshot_preview1\.fd_write +\(i32, i32, i32, i32\) -> \(i32\)", text)
    assert re.search(rf"module buffer +{usage.buffer_bytes}\n", text)


def test_inspect_takes_every_example() -> None:
    for path in sorted((ROOT / "examples/programs").glob("*.wasm")):
        found = json.loads(wrt("inspect", "--report", "json", path).stdout)
        assert found["engine"]["per_code_byte"] <= 0.45


def test_version_and_help() -> None:
    assert re.fullmatch(r"wrt \d+\.\d+\.\d+\n", wrt("--version").stdout)
    text = wrt("run", "--help").stdout
    for code in ("2", "74", "124", "125", "126", "130", "134", "141"):
        assert re.search(rf"^  {code} ", text, re.M)


def test_start_is_light(folder: Path) -> None:
    """What a run does not need is not loaded."""
    path = module(folder, exits(0))
    code = (
        "import sys; from wrt_platform.cli import main; main(['run', sys.argv[1]]);"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert "wrt_platform.running" in loaded
    heavy = {
        "dataclasses",
        "inspect",
        "subprocess",
        "json",
        "asyncio",
        "ctypes",
        "numpy",
        "tempfile",
    }
    assert loaded & heavy == set()
    assert loaded & {"wrt_platform.doctor", "wrt_platform.wat", "wrt_platform.pool"} <= {
        "wrt_platform.wat"
    }
