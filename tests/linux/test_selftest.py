"""The proof at start-up: it passes where the walls hold, and notices each that does not.

Walls are taken away from outside: guards by a library in front of the C library, the worker's by
compiling it anew with a line of its seal changed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import wrt_platform
from common import ROOT, run
from support.environments import ENVIRONMENTS, run_in
from wrt_platform._native import ffi, lib
from wrt_platform.errors import UnsupportedError
from wrt_platform.linux.sandbox import sandbox_program
from wrt_platform.linux.seccomp import call_name
from wrt_platform.linux.selftest import SelftestBuilder, SelftestState

pytestmark = pytest.mark.row("RT-3", proof="real")

COMMAND = [sys.executable, "-m", "wrt_platform.cli", "selftest", "--json"]
WORKER = ROOT / "c/src/worker"
GUARDS = {"memory.guard_before", "memory.reserved", "memory.guard_behind", "slots.guards"}


def states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode in (0, 1), done.stderr
    return {row["id"]: row["state"] for row in json.loads(done.stdout)["rows"]}


def failed(report: Any) -> set[str]:
    return {row.id for row in report if row.state is SelftestState.FAILED}


# ---- Where the walls hold ----


def test_all_walls_hold_here() -> None:
    start = time.monotonic()
    report = wrt_platform.selftest()
    took = time.monotonic() - start
    assert report and failed(report) == set()
    assert took < 10, "the documents say 1 s; this leaves room for a loaded machine"
    assert sum(row.elapsed for row in report) <= took
    assert len(report.rows) == lib.WRT_SELFTEST_ROWS
    for row in report:
        assert row.reason
        assert (row.attempts > 0) == (row.state is SelftestState.PASSED)


def test_each_call_of_this_processor_is_made() -> None:
    """Counted from the kernel's own header, not from the table that the test reads."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's header for x86-64 is not installed")
    numbers = {int(n) for n in re.findall(r"#define __NR_\w+ (\d+)", header.read_text())}
    unknown = {number for number in numbers if call_name(number) is None}
    assert unknown == set()
    assert SelftestBuilder().run()["worker.calls"].attempts >= len(numbers) - 4


def test_nothing_is_left_and_the_process_goes_on() -> None:
    before = set(os.listdir("/proc/self/fd"))
    SelftestBuilder().run()  # the worker's program stays open from now on
    kept = set(os.listdir("/proc/self/fd"))
    SelftestBuilder().run()
    assert set(os.listdir("/proc/self/fd")) == kept
    assert len(kept - before) <= 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_it_runs_beside_threads_and_signals() -> None:
    """Handlers of this process are called here alone: a child would call them on its memory."""
    heard: list[int] = []
    stop = threading.Event()
    pid = os.getpid()

    def work() -> None:
        while not stop.is_set():
            sum(range(1000))

    def hear(number: int, frame: object) -> None:
        assert os.getpid() == pid
        heard.append(number)

    threads = [threading.Thread(target=work) for _ in range(3)]
    old = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        for thread in threads:
            thread.start()
        assert wrt_platform.selftest()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        stop.set()
        for thread in threads:
            thread.join()
    assert heard
    segv = signal.getsignal(signal.SIGSEGV)
    assert segv in (signal.SIG_DFL, None)  # None: pytest's own, put there by C


def test_ignored_children_are_no_obstacle() -> None:
    """Their status is lost then; from Linux 6.15 on the kernel is asked another way."""
    code = """
import signal, wrt_platform
from wrt_platform.linux.selftest import SelftestBuilder
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
report = SelftestBuilder().run()
print(*[row.id for row in report if row.state.name == "FAILED"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert done.returncode == 0, done.stderr
    assert (done.stdout.split() == []) == (release >= (6, 15))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_walls_hold_in_each_environment(environment: str) -> None:
    body = """
    report = SelftestBuilder().run()
    print(*[row.id for row in report if row.state.name == "SKIPPED"])
    report.check()
    """
    before = "from wrt_platform.linux.selftest import SelftestBuilder\n"
    done = run_in(environment, body, before=before)
    assert done.returncode == 0, done.stderr
    for_users = {"worker.processes", "worker.locks"}  # the kernel lets root pass
    skipped = set(done.stdout.split()) & for_users
    is_user = environment == "user" or os.geteuid() != 0
    assert skipped == (set() if is_user else for_users)


def test_command_says_whether_they_hold() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["holds"] is True
    table = subprocess.run(
        [*COMMAND[:-1], "--report", "table"], capture_output=True, text=True, timeout=60
    )
    assert "SIGSYS" in table.stdout and "passed" in table.stdout


@pytest.mark.vm
def test_walls_hold_on_another_kernel() -> None:
    wrt_platform.selftest()


# ---- Where they do not ----


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guards") / "no_guards.so"
    run("cc", "-shared", "-fPIC", "-O1", ROOT / "tests/support/no_guards.c", "-o", path)
    return path


@pytest.mark.whole_process
@pytest.mark.parametrize(
    ("weak", "missing"),
    [("nothing", set()), ("guards", GUARDS), ("writes", GUARDS), ("runs", {"memory.running"})],
)
def test_guard_that_is_taken_away_is_noticed(preloaded: Path, weak: str, missing: set[str]) -> None:
    variables = {**os.environ, "LD_PRELOAD": str(preloaded), "WEAK": weak}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, env=variables)
    found = states(done)
    assert {name for name, state in found.items() if state == "failed"} == missing
    assert done.returncode == (1 if missing else 0)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds the worker with a change in one of its files."""
    folder = tmp_path_factory.mktemp("worker")
    listed = re.findall(r"^  (\S+\.c)\)?$", (WORKER / "CMakeLists.txt").read_text(), re.M)
    sources = [(WORKER / name).resolve() for name in dict.fromkeys(listed)]
    flags = ["-std=c11", "-O1", "-fno-pic", "-fno-stack-protector", "-fno-strict-aliasing"]
    flags += ["-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables", "-w"]
    include = [f"-I{ROOT}/c/include", f"-I{WORKER}"]
    objects: dict[str, Path] = {}
    for source in sources:
        objects[source.name] = folder / f"{source.stem}.o"
        if source.name not in ("seal.c", "prove.c"):
            run("cc", *flags, *include, "-c", source, "-o", objects[source.name])

    def build(file: str, old: str, new: str) -> Path:
        parts = dict(objects)
        for name in ("seal.c", "prove.c"):
            text = (WORKER / name).read_text()
            if name == file:
                assert text.count(old) == 1, "the worker is not what this test takes apart"
                text = text.replace(old, new)
            text = text.replace('#include "../', f'#include "{WORKER.parent}/')
            changed = folder / f"changed_{name}"
            changed.write_text(text)
            run("cc", *flags, *include, "-c", changed, "-o", parts[name])
        program = folder / f"worker{abs(hash((file, old, new)))}"
        link = ["-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-lgcc"]
        run("cc", *parts.values(), *link, "-o", program)
        return program

    return build


LAST = "    SKIP_UNLESS(__NR_exit_group, 1),\n"
WEAKNESSES = {
    "one call more": ("seal.c", LAST, f"    SKIP_UNLESS(__NR_getpid, 1), ALLOW,\n{LAST}"),
    "the last call of the table": ("seal.c", LAST, f"    SKIP_UNLESS(463, 1), ALLOW,\n{LAST}"),
    "an error in place of the end": (
        "seal.c",
        "#define KILL                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)",
        "#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1)",
    ),
    "any descriptor": (
        "seal.c",
        "    SKIP_UNLESS(number, 4), LOAD(OFFSET_OF_ARGUMENT(0)), SKIP_UNLESS(descriptor, 1), "
        "ALLOW, KILL",
        "    SKIP_UNLESS(number, 1), ALLOW",
    ),
    "any clock": ("seal.c", "BPF_JGE | BPF_K, CLOCK_COUNT, 1, 0)", "BPF_JGE | BPF_K, 0, 0, 0)"),
    "any processor": ("seal.c", "    SKIP_IF(OWN_PROCESSOR, 1),\n    KILL,\n", ""),
    "numbers of x32 too": (
        "seal.c",
        "    ALLOW_ON(__NR_read, WRT__WORKER_IN),",
        "    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x3FFFFFFF),\n"
        "    ALLOW_ON(__NR_read, WRT__WORKER_IN),",
    ),
    "a call too few": ("seal.c", LAST, "    SKIP_UNLESS(9999, 1),\n"),
    "no guards": (
        "seal.c",
        "room + 4 * (uint64_t)GUARD_BYTES, PROT_NONE,",
        "room + 4 * (uint64_t)GUARD_BYTES, PROT_READ | PROT_WRITE,",
    ),
    "a module that can be changed": (
        "seal.c",
        "map(next, wanted->program_bytes, PROT_READ, shared",
        "map(next, wanted->program_bytes, PROT_READ | PROT_WRITE, shared",
    ),
    "memory that can be run": (
        "seal.c",
        "map(next, wanted->memory_bytes, PROT_READ | PROT_WRITE,",
        "map(next, wanted->memory_bytes, PROT_READ | PROT_WRITE | PROT_EXEC,",
    ),
}
NOTICED = {
    "one call more": {"worker.calls"},
    "the last call of the table": {"worker.calls"},
    "an error in place of the end": {"worker.calls", "worker.arguments", "worker.int80"},
    "any descriptor": {"worker.arguments"},
    "any clock": {"worker.arguments"},
    "any processor": {"worker.int80"},
    "numbers of x32 too": {"worker.x32"},
    "a call too few": {"worker.allowed"},
    "no guards": {"worker.guards"},
    "a module that can be changed": {"worker.read_only"},
    "memory that can be run": {"worker.running"},
}


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_wall_of_a_worker_that_is_taken_away_is_noticed(worker: Any, weakness: str) -> None:
    program = worker(*WEAKNESSES[weakness])
    report = SelftestBuilder().with_program_path(program).run()
    assert NOTICED[weakness] <= failed(report), str(report)
    assert failed(report) & GUARDS == set()
    with pytest.raises(UnsupportedError, match=sorted(NOTICED[weakness])[0]):
        report.check()


def test_limit_that_is_not_set_is_noticed(worker: Any) -> None:
    """A worker that says what it would meet without its limits."""
    for step, row in (
        ("addresses", "addresses"),
        ("descriptors", "descriptors"),
        ("files", "files"),
    ):
        text = (WORKER / "prove.c").read_text()
        found = re.search(rf"\[WRT__PROOF_{step.upper()}\] = exceed_{step}\([^)]*\)", text)
        assert found is not None
        changed = f"[WRT__PROOF_{step.upper()}] = 3"
        unused = f"    (void)exceed_{step};\n    under_way->limits{changed}"
        program = worker("prove.c", f"    under_way->limits{found[0]}", unused)
        assert failed(SelftestBuilder().with_program_path(program).run()) == {f"worker.{row}"}


def test_program_that_is_not_there_fails_every_row_of_it(tmp_path: Path) -> None:
    report = SelftestBuilder().with_program_path(tmp_path / "nothing").run()
    rows = {row.id for row in report if not row.id.startswith(("memory", "slots"))}
    root = {row.id for row in report if row.state is SelftestState.SKIPPED}
    assert failed(report) == rows - root
    assert "ENOENT" in report["worker.calls"].reason


def test_program_of_a_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "worker"
    path.write_bytes(sandbox_program())
    path.chmod(0o755)
    assert SelftestBuilder().with_program_path(path).run()


# ---- The raw call ----


def test_rules_of_the_arguments_are_checked() -> None:
    rows, count = ffi.new("wrt_selftest_row[21]"), ffi.new("uint32_t *", 7)
    assert lib.wrt_selftest(ffi.NULL, rows, 20, count) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_selftest(ffi.NULL, ffi.NULL, 21, count) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_selftest(ffi.NULL, rows, 21, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    config = ffi.new("wrt_selftest_config *")
    assert lib.wrt_selftest(config, rows, 21, count) == lib.WRT_ERR_INVALID_ARGUMENT
    config.struct_size = ffi.sizeof("wrt_selftest_config")
    config.reserved[0] = 1
    assert lib.wrt_selftest(config, rows, 21, count) == lib.WRT_ERR_UNSUPPORTED
    assert count[0] == 0
