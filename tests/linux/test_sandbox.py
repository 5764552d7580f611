"""Sandboxes: what crosses between the two processes, how each end is told, what is left behind."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from support import programs
from support.environments import ENVIRONMENTS, say_in
from support.guest import assemble
from wrt_platform import (
    CrashedError,
    EnforcementState,
    ExitError,
    FunctionType,
    HostError,
    HostFunction,
    InterruptedCallError,
    InvalidArgumentError,
    InvalidModuleError,
    LimitError,
    Limits,
    LinkError,
    MalformedError,
    NotFoundError,
    OutOfFuelError,
    OutOfMemoryError,
    Sandbox,
    SandboxBuilder,
    SandboxPoolBuilder,
    StateError,
    TimedOutError,
    TrapError,
    UnsupportedError,
    WasiBuilder,
    i32,
    i64,
    run,
)
from wrt_platform._native import ffi, lib
from wrt_platform.linux.sandbox import SandboxEnd, sandbox_program

pytestmark = pytest.mark.row("SC-5")

KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
PROGRAMS = ROOT / "examples/programs"
LISTED: list[dict[str, Any]] = json.loads((PROGRAMS / "programs.json").read_text())

GUEST = assemble("""(module
  (import "env" "ask" (func $ask (param i32 i64) (result i64)))
  (memory (export "memory") 1 3)
  (data (i32.const 8) "guest")
  (global $ready (mut i32) (i32.const 0))
  (func $start (global.set $ready (i32.const 1)))
  (start $start)
  (func (export "ready") (result i32) (global.get $ready))
  (func (export "ask") (param i32 i64) (result i64 f64)
    (call $ask (local.get 0) (local.get 1)) (f64.const 0.5))
  (func (export "floats") (param f32 f64) (result f64 f32) (local.get 1) (local.get 0))
  (func $divide (export "divide") (param i32) (result i32)
    (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "outer") (drop (call $divide (i32.const 0))))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "spin") (loop $again (br $again))))""")


# The interpreter's own files may be closed to the user that a script becomes.
LOADED_BEFORE = "import wrt_platform.wat; from wrt_platform import SandboxBuilder"


def ask(low: i32, high: i64) -> i64:
    return low - high


def loaded(**settings: Any) -> Sandbox:
    sandbox = SandboxBuilder().with_maximum_pages(4).build()
    sandbox.load(GUEST, {"env": {"ask": ask}}, **settings)
    return sandbox


def started(**settings: Any) -> Sandbox:
    sandbox = loaded(**settings)
    sandbox.start()
    return sandbox


# ---- Values ----


def test_values_of_every_type_cross_both_ways() -> None:
    with started() as sandbox:
        assert sandbox.type_of("ask") == FunctionType(["i32", "i64"], ["i64", "f64"])
        assert sandbox.call("ask", -2, 40) == (-42, 0.5)
        assert sandbox.call("ask", 2**31 - 1, -(2**62)) == (2**31 - 1 + 2**62, 0.5)
        assert sandbox.call("floats", 1.5, -2.25) == (-2.25, 1.5)
        assert sandbox.report.host_calls == 2


def test_no_code_runs_before_it_is_asked_for() -> None:
    """The start function is code of the guest, too."""
    with loaded() as sandbox:
        assert sandbox.report.fuel_used == 0
        with pytest.raises(StateError):
            sandbox.call("ready")
        sandbox.start()
        assert sandbox.call("ready") == 1


def test_memory_is_copied_in_and_out_and_its_end_is_kept() -> None:
    with started() as sandbox:
        assert sandbox.read(8, 5) == b"guest"
        sandbox.write(65530, b"123456")
        assert sandbox.read(65530, 6) == b"123456"
        for address, size in ((65536, 1), (65535, 2), (-1, 1), (2**40, 1)):
            with pytest.raises(InvalidArgumentError):
                sandbox.read(address, size)
        assert sandbox.call("grow", 1) == 1
        assert sandbox.memory_size == 2 * 65536
        assert sandbox.read(65536, 3) == bytes(3)


def test_growth_ends_where_the_smaller_limit_is() -> None:
    with started() as sandbox:
        assert [sandbox.call("grow", 1) for _ in range(3)] == [1, 2, -1]
        report = sandbox.report
        assert (report.memory_pages, report.memory_peak_pages, report.refused_growths) == (3, 3, 1)
        assert report.declared_maximum == 3
    with started(limits=Limits(memory="128KiB")) as sandbox:
        assert [sandbox.call("grow", 1) for _ in range(2)] == [1, -1]


def test_host_function_of_an_embedder_reads_the_memory() -> None:
    """By the C interface, as in one process: the caller's memory is the guest's."""
    seen = []

    def look(context: Any, caller: Any, values: Any) -> int:
        memory = ffi.new("wrt_memory **")
        assert lib.wrt_instance_memory(caller, memory) == lib.WRT_OK
        seen.append((bytes(ffi.buffer(memory[0].base + 8, 5)), memory[0].page_count))
        found = ffi.new("wrt_extern *")
        assert lib.wrt_instance_export(caller, b"spin", 4, found) == lib.WRT_ERR_NOT_FOUND
        assert lib.wrt_instance_deinit(caller) == lib.WRT_ERR_STATE
        values[0].i64 = 7
        return int(lib.WRT_OK)

    callback = ffi.callback("wrt_host_fn", look)
    function = HostFunction(ask, FunctionType(["i32", "i64"], ["i64"]))
    ffi.cast("wrt_host_function *", function._callee._storage).call = callback
    with SandboxBuilder().build() as sandbox:
        sandbox.load(GUEST, {"env": {"ask": function}})
        sandbox.start()
        assert sandbox.call("ask", 0, 0) == (7, 0.5)
    assert seen == [(b"guest", 1)]


# ---- Ends ----


def test_trap_is_told_with_its_frames_and_leaves_the_sandbox_usable() -> None:
    with started() as sandbox:
        with pytest.raises(TrapError, match="integer divide by zero") as caught:
            sandbox.call("outer")
        assert len(caught.value.frames) == 2
        offset = caught.value.frames[0].offset
        assert GUEST[offset] == 0x6E, "i32.div_u"
        assert pickle.loads(pickle.dumps(caught.value)).offset == offset
        assert sandbox.call("divide", 1) == 1


def test_fuel_is_exact_and_what_ran_out_is_dropped() -> None:
    with started(limits=Limits(fuel=10_000)) as sandbox:
        with pytest.raises(OutOfFuelError):
            sandbox.call("spin")
        assert (sandbox.report.fuel_used, sandbox.report.fuel_left) == (10_000, 0)
        with pytest.raises(OutOfFuelError):
            sandbox.call("divide", 1)


def test_time_out_kills_and_lands() -> None:
    with started() as sandbox:
        start = time.monotonic()
        with pytest.raises(TimedOutError):
            sandbox.call("spin", timeout=0.1)
        assert 0.09 < time.monotonic() - start < 1
        assert sandbox.report.end is SandboxEnd.KILLED
        with pytest.raises(StateError, match="ended"):
            sandbox.call("ready")


def test_limit_of_time_holds_for_a_wait_in_the_parent() -> None:
    """The guest sleeps by poll_oneoff, which this process does for it."""
    result = run(programs.SLEEP, sandbox="sealed", timeout=0.2)
    assert result.exit_code == 124
    assert 0.19 < result.wall_time < 1


def test_kill_from_another_thread_interrupts() -> None:
    with started() as sandbox:
        threading.Timer(0.05, sandbox.kill).start()
        with pytest.raises(InterruptedCallError):
            sandbox.call("spin")
        assert sandbox.report.end is SandboxEnd.KILLED
        sandbox.kill()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGBUS])
def test_death_by_a_signal_is_an_exception_that_names_it(number: signal.Signals) -> None:
    with started() as sandbox:
        process = sandbox.report.process
        threading.Timer(0.05, os.kill, (process, number)).start()
        with pytest.raises(CrashedError) as caught:
            sandbox.call("spin")
        assert caught.value.signal == number
        report = sandbox.report
        assert (report.end, report.end_number) == (SandboxEnd.SIGNALLED, number)


def test_host_functions_failure_ends_the_call_with_its_cause() -> None:
    def fails(low: i32, high: i64) -> i64:
        raise KeyError("gone")

    with SandboxBuilder().build() as sandbox:
        sandbox.load(GUEST, {"env": {"ask": fails}})
        sandbox.start()
        with pytest.raises(HostError, match="KeyError") as caught:
            sandbox.call("ask", 1, 1)
        assert isinstance(caught.value.__cause__, KeyError)
        assert sandbox.call("divide", 1) == 1


def test_host_function_cannot_use_its_own_sandbox() -> None:
    refused: list[Exception] = []

    def meddles(low: i32, high: i64) -> i64:
        for call in (lambda: sandbox.call("ready"), sandbox.close, sandbox.start):
            try:
                call()
            except StateError as error:
                refused.append(error)
        return 0

    with SandboxBuilder().build() as sandbox:
        sandbox.load(GUEST, {"env": {"ask": meddles}})
        sandbox.start()
        assert sandbox.call("ask", 1, 1) == (0, 0.5)
    assert len(refused) == 3


def test_exit_code_is_the_guests() -> None:
    wasi = WasiBuilder().build()
    with SandboxBuilder().build() as sandbox:
        sandbox.load(programs.exits(7), wasi)
        with pytest.raises(ExitError) as caught:
            sandbox.call("_start")
        assert caught.value.exit_code == 7
    assert run(programs.exits(9), sandbox="sealed").exit_code == 9


@pytest.mark.parametrize(
    ("module", "kind", "words"),
    [
        (b"\0asm\x01\0\0\0\x01", MalformedError, "at byte 9"),
        (assemble("(module (func (export \"f\")))")[:-1] + b"\x1a", MalformedError, "at byte"),
        (GUEST, LinkError, "import"),
        (assemble("(module (memory 9))"), LimitError, "9 pages"),
        (assemble("(module (memory 1) (data (i32.const 65536) \"x\"))"), TrapError, "memory"),
    ],
)  # fmt: skip
def test_module_that_cannot_be_taken_is_refused_in_words(
    module: bytes, kind: type[Exception], words: str
) -> None:
    with SandboxBuilder().with_maximum_pages(4).build() as sandbox:
        with pytest.raises(kind, match=words):
            sandbox.load(module)
        with pytest.raises(StateError):
            sandbox.call("f")


def test_invalid_module_is_told_by_the_process_alone() -> None:
    """i32.add on an empty stack: well-formed, not valid."""
    good = assemble('(module (func (export "f") (drop (i32.add (i32.const 1) (i32.const 2)))))')
    bad = good.replace(b"\x41\x01\x41\x02", b"\x01\x01\x01\x01")
    assert bad != good
    with SandboxBuilder().build() as sandbox, pytest.raises(InvalidModuleError, match="it says"):
        sandbox.load(bad)


def test_what_cannot_be_lent_is_refused() -> None:
    reference = HostFunction(lambda x: x, FunctionType(["externref"], ["externref"]))
    with SandboxBuilder().build() as sandbox, pytest.raises(UnsupportedError, match="reference"):
        sandbox.load(GUEST, {"env": {"ask": reference}})
    with SandboxBuilder().build() as sandbox, pytest.raises(TypeError):
        sandbox.load(GUEST, {"env": {"ask": 7}})


def test_room_for_module_and_engine_is_kept_to() -> None:
    with (
        SandboxBuilder().with_maximum_module_bytes(65536).build() as sandbox,
        pytest.raises(OutOfMemoryError, match="maximum_module_bytes"),
    ):
        sandbox.load(GUEST + bytes([0]) * 65536, {"env": {"ask": ask}})
    with (
        SandboxBuilder().with_working_bytes(65536).build() as sandbox,
        pytest.raises(OutOfMemoryError, match="working_bytes"),
    ):
        sandbox.load(GUEST, {"env": {"ask": ask}}, stack_size=1 << 20)


def test_config_is_checked() -> None:
    for builder in (
        SandboxBuilder().with_maximum_pages(65537),
        SandboxBuilder().with_working_bytes(2**31),
        SandboxBuilder().with_maximum_module_bytes(2**31),
    ):
        with pytest.raises(InvalidArgumentError):
            builder.build()
    with pytest.raises(UnsupportedError, match="confine"):
        SandboxBuilder().with_profile("strict").build()
    with pytest.raises(UnsupportedError, match="confine"):
        SandboxPoolBuilder().with_ready(1).with_sandbox(
            SandboxBuilder().with_profile("strict")
        ).build()
    with pytest.raises(InvalidArgumentError, match="strict"):
        SandboxBuilder().with_profile("loose")
    with pytest.raises(NotFoundError):
        SandboxBuilder().with_program_path("/nowhere").build()


# ---- The process, seen from within ----


def test_clock_is_answered_in_the_process() -> None:
    """A program that asks for the time alone asks its parent for nothing."""
    clock = assemble("""(module
      (import "wasi_snapshot_preview1" "clock_time_get"
        (func $time (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "time") (param i32 i32) (result i32)
        (call $time (local.get 0) (i64.const 0) (local.get 1))))""")
    wasi = WasiBuilder().build()
    with SandboxBuilder().build() as sandbox:
        sandbox.load(clock, wasi)
        before = time.monotonic_ns()
        assert sandbox.call("time", 1, 64) == 0
        now = int.from_bytes(sandbox.read(64, 8), "little")
        assert before <= now <= time.monotonic_ns()
        assert sandbox.call("time", 9, 64) == 28
        assert sandbox.call("time", 1, 65530) == 21
        assert sandbox.report.host_calls == 0


# ---- The process, seen from outside ----


def test_kernel_says_that_it_is_sealed_before_it_has_a_module() -> None:
    with SandboxBuilder().build() as sandbox:
        status = Path(f"/proc/{sandbox.report.process}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (fields["Seccomp"], fields["Seccomp_filters"]) == ("2", "1")
        assert fields["NoNewPrivs"] == "1"
        assert int(fields["VmRSS"].split()[0]) <= 128, fields["VmRSS"]
        assert fields["SigIgn"].strip("0") == fields["SigCgt"].strip("0") == ""
        assert fields["SigBlk"].strip("0") == ""
        names = os.listdir(f"/proc/{sandbox.report.process}/fd")
        assert sorted(names) == ["0", "1", "2"]
        assert Path(f"/proc/{sandbox.report.process}/environ").read_bytes() == b""


def test_another_process_of_the_same_user_sees_nothing(tmp_path: Path) -> None:
    words = say_in(
        "user",
        """
        from wrt_platform import SandboxBuilder
        with SandboxBuilder().build() as sandbox:
            process = sandbox.report.process
            for name in ("mem", "maps", "environ", "fd", "syscall"):
                try:
                    path = f"/proc/{process}/{name}"
                    os.listdir(path) if name == "fd" else open(path, "rb").read(1)
                    print(name)
                except OSError as error:
                    print(errno.errorcode[error.errno])
            print(errno.errorcode[-system_call(101, 0x4206, process, 0, 0)])  # PTRACE_SEIZE
        """,
        before=LOADED_BEFORE,
    )
    assert len(words) == 6
    assert set(words) <= {"EACCES", "EPERM"}


def test_it_dies_with_its_parent_even_while_it_loops() -> None:
    body = f"""
import sys, threading
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "tools")!r}]
from wrt_platform import SandboxBuilder
sandbox = SandboxBuilder().build()
sandbox.load(bytes.fromhex({assemble('(module (func (export "f") (loop $l (br $l))))').hex()!r}))
print(sandbox.report.process, flush=True)
sandbox.call("f")
"""
    parent = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process = int(parent.stdout.readline())
    time.sleep(0.1)
    assert Path(f"/proc/{process}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while time.monotonic() < until and _runs(process):
        time.sleep(0.01)
    assert not _runs(process)


def _runs(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("mode", ["plain", "ignored", "thief", "storm"])
def test_a_thousand_starts_lose_nothing(mode: str) -> None:
    """A third is killed from outside: its end is that signal's, or unknown where the kernel does
    not tell, never success."""
    script = ROOT / "tests/support/sandbox_starts.py"
    count = 1000
    done = subprocess.run(
        [sys.executable, str(script), mode, str(count)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    ends, lost, child = done.stdout.splitlines()
    counted = dict(eval(ends))
    traps = counted.pop("TrapError", 0)
    killed = counted.pop(f"CrashedError {int(signal.SIGTERM)}", 0)
    unknown = counted.pop("CrashedError 0", 0) if mode in ("ignored", "thief") else 0
    assert counted == {}
    assert killed + unknown == (count + 2) // 3
    assert traps == count - killed - unknown
    if KERNEL >= (6, 15):
        assert unknown == 0, "the kernel tells a status that somebody else has taken"
    assert (lost, child) == ("0", "no child")


def test_a_parent_with_many_descriptors_gives_none_of_them_away() -> None:
    numbers = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    try:
        for number in numbers:
            os.set_inheritable(number, True)
        with SandboxBuilder().build() as sandbox:
            assert sorted(os.listdir(f"/proc/{sandbox.report.process}/fd")) == ["0", "1", "2"]
    finally:
        for number in numbers:
            os.close(number)


def test_kept_program_that_was_closed_is_made_again() -> None:
    """Daemons close every descriptor; the number may be another file's then."""
    SandboxBuilder().build().close()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if "wrt-worker" in target:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, int(name))
            os.close(null)
            kept = int(name)
    with started() as sandbox:
        assert sandbox.call("ready") == 1
    os.close(kept)


def test_fork_leaves_the_sandbox_to_the_parent() -> None:
    sandbox = started()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sandbox.call("ready")
        except StateError:
            sandbox.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert sandbox.call("ready") == 1
    sandbox.close()


def test_program_can_come_from_a_file(tmp_path: Path) -> None:
    """For systems that execute nothing from memory."""
    path = tmp_path / "worker"
    path.write_bytes(sandbox_program())
    path.chmod(0o755)
    with SandboxBuilder().with_program_path(path).build() as sandbox:
        sandbox.load(GUEST, {"env": {"ask": ask}})
        sandbox.start()
        assert sandbox.call("ask", 1, 2) == (-1, 0.5)


@pytest.mark.parametrize("environment", ["here", *ENVIRONMENTS])
def test_it_works_or_says_why_not_everywhere(environment: str) -> None:
    words = say_in(
        environment,
        """
        from wrt_platform import SandboxBuilder
        with SandboxBuilder().with_user_namespace("preferred").build() as sandbox:
            sandbox.load(bytes.fromhex("0061736d010000000105016000017f03020100070501016600000a0601040041070b"))
            print(sandbox.call("f"))
            report = sandbox.report
            print(report.system_calls.state.name, report.landlock.state.name)
        """,
        before=LOADED_BEFORE,
    )
    assert words[:2] == ["7", "ENFORCED"]
    assert words[2] in ("ENFORCED", "ABSENT")
    if environment == "here":
        assert words[2] == "ENFORCED"


@pytest.mark.parametrize(
    "wall", ["user_namespace", "mount_namespace", "ipc_namespace", "network_namespace", "landlock"]
)
def test_further_walls_stand_when_they_are_required(wall: str) -> None:
    builder = SandboxBuilder()
    getattr(builder, f"with_{wall}")()
    with builder.build() as sandbox:
        assert getattr(sandbox.report, wall).state is EnforcementState.ENFORCED
        kind = {"user_namespace": "user", "mount_namespace": "mnt", "ipc_namespace": "ipc",
                "network_namespace": "net"}.get(wall)  # fmt: skip
        if kind is not None:
            theirs = os.readlink(f"/proc/{sandbox.report.process}/ns/{kind}")
            assert theirs != os.readlink(f"/proc/self/ns/{kind}")
        sandbox.load(GUEST, {"env": {"ask": ask}})


# ---- Pools ----


def test_pool_hands_out_each_sandbox_once() -> None:
    with SandboxPoolBuilder().with_ready(3).build() as pool:
        taken = [pool.take() for _ in range(4)]
        processes = {sandbox.report.process for sandbox in taken}
        assert len(processes) == 4
        assert pool.report[:4] == (0, 3, 4, 1)
        pool.fill()
        assert pool.report.ready == 3
        for sandbox in taken:
            sandbox.close()
        with pool.take() as sandbox:
            assert sandbox.report.process not in processes


def test_pool_replaces_what_has_died_waiting() -> None:
    with SandboxPoolBuilder().with_ready(1).build() as pool:
        first = pool.take()
        pool.fill()
        children = Path("/proc/self/task")
        victims = {
            int(number)
            for task in children.iterdir()
            for number in (task / "children").read_text().split()
        } - {first.report.process}
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        time.sleep(0.05)
        with pool.take() as sandbox:
            sandbox.load(GUEST, {"env": {"ask": ask}})
            sandbox.start()
            assert sandbox.call("ready") == 1
        report = pool.report
        assert (report.replaced, report.missed) == (1, 1)
        first.close()


def test_pool_checks_its_config() -> None:
    for count in (0, 1025):
        with pytest.raises(InvalidArgumentError, match="ready"):
            SandboxPoolBuilder().with_ready(count).build()
    with pytest.raises(OutOfMemoryError):
        SandboxPoolBuilder().with_ready(2).with_buffer(bytearray(32)).build()


# ---- The program itself ----


def test_program_is_small_static_and_asks_for_nothing(tmp_path: Path) -> None:
    """No interpreter, no library, no symbol that is not there, no memory that is both written and
    executed."""
    path = tmp_path / "worker"
    path.write_bytes(sandbox_program())
    headers = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True).stdout
    assert "INTERP" not in headers
    assert "DYNAMIC" not in headers
    flags = [line[60:].split("0x")[0] for line in headers.splitlines() if "LOAD" in line]
    assert len(flags) >= 3
    assert not any("W" in flag and "E" in flag for flag in flags)
    assert path.stat().st_size < 300_000


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no compiler for Arm")
def test_program_is_made_for_arm_too(tmp_path: Path) -> None:
    """It is linked whole, with the flags that the build has there; seccomp needs a real machine."""
    folder = ROOT / "c/src/worker"
    listed = re.findall(r"^  (\S+\.c)\b", (folder / "CMakeLists.txt").read_text(), re.M)
    sources = [str((folder / name).resolve()) for name in listed]
    program = tmp_path / "worker"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"]
    flags += ["-Werror", "-fno-pic", "-fno-stack-protector", "-mno-outline-atomics"]
    flags += ["-ffunction-sections", "-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections"]
    command = ["aarch64-linux-gnu-gcc", *flags, f"-I{ROOT}/c/include", *sources]
    done = subprocess.run([*command, "-lgcc", "-o", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("qemu-aarch64") is not None:
        # Without what its parent gives it the first step fails, and that is its exit code.
        ended = subprocess.run(["qemu-aarch64", program], stdin=subprocess.DEVNULL, timeout=60)
        assert ended.returncode == 81
