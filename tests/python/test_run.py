"""run(): a whole program or one function, and what its Result tells."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import programs
from support.guest import assemble as wasm
from support.lateness import again_if_late, within
from support.programs import exits
from wrt_platform import run
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    ExitError,
    InvalidArgumentError,
    LimitError,
    LinkError,
    MalformedError,
    NotFoundError,
    OutOfFuelError,
    TimedOutError,
    TrapError,
)
from wrt_platform.instance import Instance
from wrt_platform.limits import Limits
from wrt_platform.report import as_json
from wrt_platform.running import ExitCode

ADD = wasm("""(module
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "spin") (loop $l (br $l)))
  (func (export "trap") unreachable))""")


def test_program_runs_and_tells() -> None:
    result = run(programs.HELLO)
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"hello\n", b"hell")
    assert result.output == "hello\n"
    assert result.error is None
    assert result.trap is None
    assert result.fuel_used > 0
    assert result.peak_pages == 1
    assert 0 < result.cpu_time <= result.wall_time + 0.01
    assert result.check() is result


def test_time_that_passes_is_not_time_that_was_used() -> None:
    start = time.monotonic()
    result = run(programs.program("(call $sleep (i64.const 300000000))"))
    assert 0.3 <= result.wall_time <= time.monotonic() - start
    assert result.cpu_time < 0.1
    busy = run(programs.SPIN, timeout=0.3)
    assert busy.cpu_time > 0.05


def test_one_function_in_one_line() -> None:
    assert run(ADD, "add", 2, 3).value == 5
    assert run(ADD, "add", 2, 3, timeout=1).exit_code == 0
    with pytest.raises(TimedOutError):
        run(ADD, "spin", timeout=0.1)
    with pytest.raises(OutOfFuelError):
        run(ADD, "spin", fuel=1000)
    with pytest.raises(TrapError):
        run(ADD, "trap")
    with pytest.raises(NotFoundError, match="has no export 'sub'; it exports add, spin, trap"):
        run(ADD, "sub", 1, 2)


def test_function_of_a_wasi_library_is_initialised_and_can_print() -> None:
    library = wasm(r"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (global $ready (mut i32) (i32.const 0))
      (data (i32.const 0) "\10\00\00\00\03\00\00\00") (data (i32.const 16) "hi\n")
      (func (export "_initialize") (global.set $ready (i32.const 40)))
      (func (export "f") (param i32) (result i32)
        (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (i32.add (global.get $ready) (local.get 0))))""")
    result = run(library, "f", 2)
    assert (result.value, result.stdout) == (42, b"hi\n")


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code_is_the_programs_own(code: int) -> None:
    result = run(exits(code))
    assert (result.exit_code, result.error) == (code, None)
    if code:
        with pytest.raises(ExitError, match=f"ended with exit code {code}") as info:
            result.check()
        assert info.value.exit_code == code


@pytest.mark.parametrize(
    ("program", "settings", "code", "kind"),
    [
        (programs.TRAP, {}, ExitCode.TRAP, TrapError),
        (programs.SPIN, {"timeout": 0.1}, ExitCode.TIMED_OUT, TimedOutError),
        (programs.SLEEP, {"timeout": "100ms"}, ExitCode.TIMED_OUT, TimedOutError),
        (programs.SPIN, {"fuel": 5000}, ExitCode.OUT_OF_FUEL, OutOfFuelError),
        (programs.HUNGRY, {"memory": "1MiB"}, ExitCode.MEMORY_LIMIT, TrapError),
        (programs.HUNGRY, {}, ExitCode.MEMORY_LIMIT, TrapError),
        (programs.MODEST, {}, ExitCode.TRAP, TrapError),
        (programs.MODEST, {"memory": "1MiB"}, ExitCode.TRAP, TrapError),
        (programs.MODEST, {"memory": "128KiB"}, ExitCode.MEMORY_LIMIT, TrapError),
    ],
)
def test_what_stops_a_program_is_told(
    program: bytes, settings: dict[str, Any], code: int, kind: type[Exception]
) -> None:
    result = run(program, limits=Limits(**settings))
    assert result.exit_code == code
    assert type(result.error) is kind
    assert (result.trap is not None) == (kind is TrapError)
    with pytest.raises(kind):
        result.check()


def test_programs_may_recurse_deeper_than_small_systems_grant() -> None:
    deep = wasm("""(module (func $down (export "down") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0)))))""")
    with pytest.raises(TrapError, match="call stack exhausted"):
        Instance(deep).call("down", 10_000)
    assert run(deep, "down", 10_000).value == 10_000
    with pytest.raises(TrapError, match="call stack exhausted"):
        run(deep, "down", 100_000)


def test_limits_hold_exactly() -> None:
    assert run(programs.SPIN, fuel=5000).fuel_used == 5000
    assert run(programs.HUNGRY, memory="1MiB").peak_pages == 16
    with pytest.raises(LimitError):
        run(programs.program("", pages="20"), memory="1MiB")


def test_arguments_environment_and_input_arrive_and_nothing_is_inherited() -> None:
    words = run(programs.ECHO, ["one", "zwei"]).stdout
    assert words.rstrip(b"\0") == b"bytes\0one\0zwei"
    os.environ["WRT_TEST_SECRET"] = "x"
    assert run(programs.VARIABLES, env={"A": "1"}).stdout.rstrip(b"\0") == b"A=1"
    assert run(programs.COPY, stdin=b"in\n").stdout == b"in\n"
    assert run(programs.COPY, stdin="text").stdout == b"text"
    assert run(programs.COPY).stdout == b""
    assert run(programs.COPY).exit_code == 0


def test_output_goes_where_it_is_sent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out"
    with open(path, "wb") as file:
        result = run(programs.HELLO, stdout=file, stderr="inherit")
    assert path.read_bytes() == b"hello\n"
    assert (result.stdout, result.stderr) == (b"", b"")
    assert capfd.readouterr().err == "hell"
    with pytest.raises(TypeError, match="output goes to a descriptor"):
        run(programs.HELLO, stdout="somewhere")


def test_output_without_end_is_cut_and_said() -> None:
    result = run(programs.FLOOD, fuel=1_500_000)
    assert len(result.stdout) == 64 << 20
    assert result.truncated
    assert not run(programs.HELLO).truncated


def test_full_disk_is_told_even_if_the_program_looks_away() -> None:
    with open("/dev/full", "wb") as full:
        result = run(programs.CARELESS, stdout=full)
    assert result.exit_code == ExitCode.OUTPUT
    assert str(result.error) == "standard output: No space left on device"
    with open("/dev/full", "wb") as full:  # and if it ends with a code of its own
        assert run(programs.CAREFUL, stdout=full).exit_code == ExitCode.OUTPUT


def test_closed_pipe_ends_a_program_that_looks_away() -> None:
    read, write = os.pipe()
    os.close(read)
    result = run(programs.FLOOD, stdout=write, timeout=20)
    os.close(write)
    assert result.exit_code == ExitCode.CLOSED_PIPE
    assert str(result.error) == "standard output: Broken pipe"


def test_folder_is_reached_by_its_guest_name(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("note")
    for dirs in ({"/data": tmp_path}, [f"{tmp_path}::/data"], [tmp_path], [(tmp_path, "/")]):
        result = run(programs.READ_FILE, dirs=dirs)
        assert (result.exit_code, result.stdout) == (0, b"note")
    assert run(programs.READ_FILE).exit_code == 8  # EBADF: nothing is open
    with pytest.raises(NotFoundError, match="nothing"):
        run(programs.READ_FILE, dirs=[tmp_path / "nothing"])
    with pytest.raises(InvalidArgumentError, match="a folder is HOST or HOST::GUEST"):
        run(programs.READ_FILE, dirs=["x::"])
    with pytest.raises(TypeError, match="dirs is a list"):
        run(programs.READ_FILE, dirs=str(tmp_path))


def test_what_cannot_be_started_is_raised() -> None:
    with pytest.raises(MalformedError):
        run(b"nonsense")
    with pytest.raises(NotFoundError, match="is no program: it exports no _start, but add"):
        run(ADD)
    with pytest.raises(LinkError, match=r"1 import is unknown: env\.x"):
        run(wasm('(module (import "env" "x" (func)) (func (export "_start")))'))
    with pytest.raises(TypeError, match="arguments of a program are one list"):
        run(programs.HELLO, ["a"], "b")


@again_if_late
def test_program_is_left_in_time_although_a_host_function_sleeps() -> None:
    """And what it still has is closed when the function comes back."""
    module = wasm("""(module (import "env" "f" (func $f)) (memory (export "memory") 1)
      (func (export "_start") (call $f)))""")
    before = sorted(os.listdir("/proc/self/fd")), threading.active_count()
    start = time.monotonic()
    with within(0.1, 0.3):
        result = run(module, imports={"env": {"f": lambda: time.sleep(1)}}, timeout=0.1)
    assert (result.exit_code, result.peak_pages) == (ExitCode.TIMED_OUT, 1)
    assert set(os.listdir("/proc/self/fd")) > set(before[0])  # the guest still has them
    while threading.active_count() > before[1]:
        assert time.monotonic() - start < 10
        time.sleep(0.05)
    assert sorted(os.listdir("/proc/self/fd")) == before[0]


def test_many_programs_run_at_the_same_time() -> None:
    """Each in a thread of its own, as a service would: none hears of another."""
    from concurrent.futures import ThreadPoolExecutor

    def work(number: int) -> tuple[int, bytes]:
        result = run(programs.ECHO, [f"{number:04}"], timeout=20)
        return result.exit_code, result.stdout.rstrip(b"\0")

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(80)))
    assert done == [(0, b"bytes\0%04d" % number) for number in range(80)]


def test_nothing_is_left_open_or_running() -> None:
    run(programs.HELLO)
    before = sorted(os.listdir("/proc/self/fd")), threading.active_count()
    for program in (programs.HELLO, programs.TRAP, exits(3)):
        run(program)
    with pytest.raises(NotFoundError):
        run(programs.HELLO, dirs=["/nothing/here"])
    run(programs.SPIN, timeout=0.05)
    assert (sorted(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_result_tells_what_was_enforced() -> None:
    held = {item.name: item for item in run(programs.HELLO).enforced}
    assert held["guard pages"].state is EnforcementState.ENFORCED
    assert held["fuel"].state is EnforcementState.NOT_ASKED
    assert held["fuel"].remedy == "fuel=…, --fuel N"
    assert held["process"].word == "absent"
    limited = run(programs.HELLO, limits=Limits(memory="1MiB", fuel=10**6, timeout=5))
    words = {item.name: item.reason for item in limited.enforced}
    assert words["memory limit"] == "16 pages (1 MiB) at most; growth beyond fails"
    assert words["fuel"] == "exactly 1000000 instructions at most"


def test_result_is_shown_as_text_html_and_json() -> None:
    result = run(wasm('(module (func $f (export "_start") unreachable))'))
    text = str(result)
    assert "exit code 134, unreachable in f (at byte 0x" in text
    assert "peak memory  0 pages (0 MiB)" in text
    page = result._repr_html_()
    assert page.count("<tr>") == len(result.enforced) + 5
    assert "<td>enforced</td>" in page
    data = json.loads(json.dumps(as_json(result)))
    assert (data["exit_code"], data["error_kind"]) == (134, "TrapError")
    assert data["trap"]["frames"][0]["function"] == "f"
    assert repr(result) == "<Result of bytes: TrapError, fuel 1, 0 pages>"


def test_notebook_shows_output_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, str]] = []

    class OutStream:
        def write(self, text: str) -> None:
            shown.append((time.monotonic(), text))

        def flush(self) -> None: ...

    OutStream.__module__ = "ipykernel.iostream"
    monkeypatch.setattr(sys, "stdout", OutStream())
    program = programs.program(
        "(drop (call $write (i32.const 1) (i32.const 6))) (call $sleep (i64.const 400000000))",
        "hello\\n",
    )
    result = run(program)
    ended = time.monotonic()
    monkeypatch.undo()
    assert [text for _, text in shown] == ["hello\n"]
    assert shown[0][0] < ended - 0.3
    assert result.output == "hello\n"
