"""Programs behind all walls: what they still reach is asked of the programs themselves."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environments import namespaces_refused, run_in, say_in
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import (
    InvalidArgumentError,
    NotFoundError,
    StateError,
    TimedOutError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.linux.capabilities import Capabilities, Capability
from wrt_platform.linux.confined_process import (
    NULL,
    ConfinedEnd,
    ConfinedOutcome,
    ConfinedProcessBuilder,
    ConfinedWall,
    LandlockAccess,
)
from wrt_platform.linux.namespaces import NamespaceType
from wrt_platform.linux.seccomp import SeccompAction, SeccompBuilder

PYTHON = "/usr/bin/python3"
ENFORCED, ABSENT = EnforcementState.ENFORCED, EnforcementState.ABSENT
pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is not there")

needs_namespaces = pytest.mark.skipif(namespaces_refused() != "", reason=namespaces_refused())
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")

TRY = """
import json, os, sys
def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or True
    return False
"""


def python(body: str, *arguments: str) -> ConfinedProcessBuilder:
    """A script for the system's Python, behind the walls."""
    words = ["python3", "-I", "-S", "-c", TRY + body, *arguments]
    return ConfinedProcessBuilder(PYTHON).with_arguments(words).with_system_files()


def said(outcome: ConfinedOutcome) -> object:
    assert outcome.result.ok, outcome
    return json.loads(outcome.output)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o777)
        for part in ("open", "shut"):
            (top / part).mkdir(mode=0o777)
            (top / part / "file").write_text("content")
        yield top


@pytest.mark.row("SC-5")
def test_an_ordinary_program_runs_and_all_walls_stand() -> None:
    outcome = (
        python("print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))", "one")
        .with_environment({"NAME": "value"})
        .run(timeout=20)
    )
    assert said(outcome) == [["one"], {"NAME": "value"} | lc(outcome), "/"]
    for name, wall in zip(outcome.report._fields, outcome.report):
        if name not in ("cgroup", "root", "selinux"):
            assert wall.state == ENFORCED, (name, wall)


def lc(outcome: ConfinedOutcome) -> dict[str, str]:
    """Python sets this one itself, where the locale is C."""
    found = json.loads(outcome.output)[1]
    return {"LC_CTYPE": found["LC_CTYPE"]} if "LC_CTYPE" in found else {}


@pytest.mark.row("SC-5")
def test_what_it_was_not_given_is_refused(folder: Path) -> None:
    body = f"""
import socket
top = {str(folder)!r}
print(json.dumps([
    refused(open, top + "/open/file"), refused(open, top + "/shut/file"),
    refused(open, "/etc/passwd"), refused(open, top + "/open/file", "a"),
    refused(os.listdir, "/home"), refused(os.listdir, "/proc"),
    refused(socket.socket), refused(os.fork), refused(os.kill, 1, 0), refused(os.kill, -1, 9),
    refused(os.setuid, 0) if os.getuid() else refused(os.setuid, 1), refused(os.chroot, "/"),
]))
"""
    outcome = python(body).allow(folder / "open", LandlockAccess.READ).run(timeout=20)
    answers = said(outcome)
    assert isinstance(answers, list)
    assert answers[0] is False and all(answers[1:]), answers


@needs_namespaces
@pytest.mark.row("SC-2")
def test_it_is_process_one_and_sees_no_other() -> None:
    body = """
processes = [name for name in os.listdir("/proc") if name.isdigit()]
print(json.dumps([os.getpid(), processes]))
"""
    assert said(python(body).allow("/proc", LandlockAccess.READ).run(timeout=20)) == [1, ["1"]]


@needs_namespaces
@pytest.mark.row("SC-2")
def test_a_folder_becomes_its_root(folder: Path) -> None:
    """Which holds nothing but a static program and a file."""
    source = folder / "look.c"
    source.write_text(
        """
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {
            char text[64] = "";
            FILE *file = fopen("/file", "r");
            if (file != NULL) fgets(text, sizeof text, file);
            printf("%s %d %d", text, access("/etc", F_OK), chdir(".."));
            return access("/proc/1", F_OK) == 0;
        }
        """
    )
    subprocess.run(["cc", "-static", "-o", folder / "open/look", source], check=True)
    builder = ConfinedProcessBuilder("/look").with_root(folder / "open")
    outcome = builder.allow("/file", LandlockAccess.READ).run(timeout=20)
    assert (outcome.output, outcome.result.ok) == (b"content -1 0", True), outcome
    assert outcome.report.root.state == ENFORCED


@pytest.mark.row("SC-1")
def test_it_has_no_capability_and_gains_none() -> None:
    body = """
text = open("/proc/self/status").read().split("\\n")
lines = dict(line.split(":\\t") for line in text if line.startswith(("Cap", "NoNewPrivs")))
print(json.dumps([int(lines[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd",
      "CapAmb", "NoNewPrivs")]))
"""
    assert said(python(body).allow("/proc", LandlockAccess.READ).run(timeout=20)) == [0] * 5 + [1]
    kept = 1 << Capability.SYS_NICE
    if Capability.SYS_NICE in Capabilities.current().permitted:
        builder = python(body).allow("/proc", LandlockAccess.READ)
        builder.with_kept_capabilities([Capability.SYS_NICE])
        assert said(builder.run(timeout=20)) == [kept, kept, kept, kept, kept, 1]


@AS_ROOT
@pytest.mark.row("SC-5")
def test_it_runs_as_another_user() -> None:
    body = """
text = open("/proc/self/status").read().split("\\n")
print(json.dumps([os.getuid(), os.getgid(), refused(open, "/etc/shadow"),
                  [line.split() for line in text if line.startswith(("Groups", "CapEff"))]]))
"""
    builder = python(body).with_user_id(65534).with_group_id(65533)
    builder.allow("/proc", LandlockAccess.READ).allow("/etc", LandlockAccess.READ)
    found = said(builder.run(timeout=20))
    assert found == [65534, 65533, 13, [["Groups:"], ["CapEff:", "0" * 16]]]


@pytest.mark.row("SC-5")
def test_descriptors_of_the_parent_are_not_passed_on() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    moved = [os.dup2(read_end, number) for number in (300, 301)]
    try:
        body = 'print(json.dumps(sorted(map(int, os.listdir("/proc/self/fd")))))'
        found = said(python(body).allow("/proc", LandlockAccess.READ).run(timeout=20))
        assert isinstance(found, list) and found[:3] == [0, 1, 2] and max(found) <= 3  # the list's
    finally:
        for descriptor in (read_end, write_end, *moved):
            os.close(descriptor)


@pytest.mark.row("SC-5")
def test_limits_hold() -> None:
    memory = python("x = bytearray(512 << 20)").with_memory_bytes(256 << 20).run(timeout=20)
    assert memory.code == 1 and b"MemoryError" in memory.errors
    spinning = python("while True: pass").with_cpu_seconds(1).run(timeout=20)
    assert spinning.end == ConfinedEnd.SIGNALLED and spinning.code in (
        signal.SIGXCPU,
        signal.SIGKILL,
    )
    files = python("print(json.dumps([refused(os.dup, 0) for _ in range(20)]))").with_open_files(8)
    found = said(files.run(timeout=20))
    assert isinstance(found, list) and not found[0] and found[-1] == 24  # EMFILE


@pytest.mark.row("SC-5")
def test_ends_are_told_apart() -> None:
    def end(body: str) -> tuple[ConfinedEnd, int]:
        outcome = python(body).run(timeout=20)
        return outcome.end, outcome.code

    assert end("sys.exit(7)") == (ConfinedEnd.EXITED, 7)
    crash = "import ctypes; ctypes.string_at(0)"
    assert end(crash) == (ConfinedEnd.SIGNALLED, signal.SIGSEGV)
    strict = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    strict.with_rule("getpgid", SeccompAction.KILL)
    outcome = python("os.getpgid(0)").with_filter(strict.build()).run(timeout=20)
    assert (outcome.end, outcome.code) == (ConfinedEnd.SIGNALLED, signal.SIGSYS)


@pytest.mark.row("SC-5")
def test_a_program_that_hangs_is_killed_when_time_is_up() -> None:
    started = time.monotonic()
    outcome = python("import time; print('here', flush=True); time.sleep(100)").run(timeout=1.0)
    assert outcome.timed_out and (outcome.end, outcome.code) == (ConfinedEnd.KILLED, signal.SIGKILL)
    assert outcome.output == b"here\n" and time.monotonic() - started < 5


@pytest.mark.row("SC-5")
def test_a_status_that_somebody_else_took_is_never_success() -> None:
    """With SIGCHLD ignored the kernel keeps no status; what it still tells is told, or nothing."""
    body = f"""
    import signal
    from wrt_platform.linux.confined_process import *
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    seen = set()
    for code in (0, 3):
        words = ["python3", "-I", "-S", "-c", f"raise SystemExit({{code}})"]
        builder = ConfinedProcessBuilder({PYTHON!r}).with_arguments(words).with_system_files()
        result = builder.run(timeout=20).result
        known = result.end == ConfinedEnd.EXITED and result.code == code
        print(known or (result.end == ConfinedEnd.UNKNOWN and not result.ok))
    """
    assert say_in("here", body) == ["True", "True"]


@pytest.mark.row("SC-5")
def test_many_starts_lose_no_child_no_descriptor_and_no_status() -> None:
    true = ConfinedProcessBuilder("/bin/true").with_system_files()
    false = ConfinedProcessBuilder("/bin/false").with_system_files()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(60):
        for builder, code in ((true, 0), (false, 1)):
            with builder.start() as process:
                assert process.wait(20) == (ConfinedEnd.EXITED, code)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.row("SC-5")
@pytest.mark.whole_process
def test_a_start_costs_the_same_in_a_large_process() -> None:
    """A copy of the page tables of 512 MiB would take some 20 ms."""

    def start() -> float:
        began = time.perf_counter()
        with ConfinedProcessBuilder("/bin/true").with_system_files().start() as process:
            process.wait(20)
        return time.perf_counter() - began

    small = min(start() for _ in range(15))
    ballast = bytearray(512 << 20)
    ballast[:: mmap.PAGESIZE] = b"x" * len(range(0, len(ballast), mmap.PAGESIZE))
    assert min(start() for _ in range(15)) < 2 * small


@pytest.mark.row("SC-5")
def test_threads_start_programs_at_once() -> None:
    seen: list[object] = []

    def one(number: int) -> None:
        outcome = ConfinedProcessBuilder("/bin/echo").with_arguments(["echo", str(number)])
        seen.append(outcome.with_system_files().run(timeout=30).output == b"%d\n" % number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 16


@pytest.mark.row("SC-5")
def test_closing_kills_what_runs_and_a_forked_child_leaves_it_alone() -> None:
    builder = python("import time; time.sleep(100)").with_standard_output(NULL)
    process = builder.start()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            process.kill()
        except StateError:
            process.close()
            code = 0
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(TimedOutError):
        process.wait(0.05)
    number = process.pid
    process.close()
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    with pytest.raises(StateError):
        process.wait()


@pytest.mark.row("SC-5")
def test_it_ends_with_the_thread_that_started_it() -> None:
    kept: list[object] = []

    def start() -> None:
        body = "import time; time.sleep(100)"
        kept.append(python(body).with_end_with_thread().start())

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    process = kept[0]
    result = process.wait(20)  # type: ignore[attr-defined]
    assert (result.end, result.code) == (ConfinedEnd.SIGNALLED, signal.SIGKILL)


@pytest.mark.row("SC-5")
def test_a_large_input_and_a_large_output_pass() -> None:
    content = os.urandom(1 << 20)
    body = "data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data + data)"
    outcome = python(body).run(content, timeout=20)
    assert outcome.output == content + content
    ignoring = ConfinedProcessBuilder("/bin/true").with_system_files().run(content, timeout=20)
    assert ignoring.result.ok


INTERNAL_SIGNAL = 32  # of the C library, whose own call refuses to set it
IGNORED = (1, 0, 0, 0)


def set_disposition(number: int, action: tuple[int, ...]) -> tuple[int, ...]:
    """The kernel's call: handler, flags, restorer, mask. Returns what was there."""
    call = ctypes.CDLL(None).syscall
    rt_sigaction = {"x86_64": 13, "aarch64": 134}[platform.machine()]
    new, old = (ctypes.c_uint64 * 4)(*action), (ctypes.c_uint64 * 4)()
    assert call(rt_sigaction, number, new, old, 8) == 0
    return tuple(old)


@pytest.mark.row("SC-5")
def test_signals_that_the_parent_ignores_are_not_ignored_there() -> None:
    body = """
text = open("/proc/self/status").read().split("\\n")
lines = [line for line in text if line.startswith(("SigIgn", "SigBlk"))]
print(json.dumps([int(line.split()[1], 16) for line in lines]))
"""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    disposition = set_disposition(INTERNAL_SIGNAL, IGNORED)
    try:
        found = said(python(body).allow("/proc", LandlockAccess.READ).run(timeout=20))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        set_disposition(INTERNAL_SIGNAL, disposition)
    assert isinstance(found, list) and found[0] == 0
    assert found[1] == 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)  # Python's own


# ---- What can't be had ----


@pytest.mark.row("SC-5")
def test_failures_say_what_and_leave_no_process(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))

    def failure(builder: ConfinedProcessBuilder) -> WrtError:
        with pytest.raises(WrtError) as caught:
            builder.start()
        return caught.value

    system = ConfinedProcessBuilder("/not/there").with_system_files()
    assert isinstance(failure(system), NotFoundError)
    assert "working directory" in str(
        failure(ConfinedProcessBuilder("/bin/true").with_working_directory("/not/there"))
    )
    rule = ConfinedProcessBuilder("/bin/true").allow("/not/there", LandlockAccess.READ)
    assert "rule 0" in str(failure(rule))
    plain = folder / "open/file"
    assert "not executable" in str(failure(ConfinedProcessBuilder(plain).with_system_files()))
    assert "loader" in str(failure(ConfinedProcessBuilder("/bin/true")))  # no libraries
    closed = ConfinedProcessBuilder("/bin/true").with_standard_output(999)
    assert "descriptor" in str(failure(closed))
    context = ConfinedProcessBuilder("/bin/true").with_selinux_context("a:b:c:s0")
    if not Path("/sys/fs/selinux").exists():
        assert isinstance(failure(context), UnsupportedError)
        context.with_selinux_wall(ConfinedWall.PREFERRED).with_system_files()
        assert context.run(timeout=20).report.selinux.state == ABSENT
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.row("SC-5")
def test_broken_settings_are_named(folder: Path) -> None:
    def refused(builder: ConfinedProcessBuilder) -> str:
        with pytest.raises(InvalidArgumentError) as caught:
            builder.start()
        return str(caught.value)

    true = "/bin/true"
    assert "executable" in refused(ConfinedProcessBuilder())
    assert "executable" in refused(ConfinedProcessBuilder(""))
    assert "first one" in refused(ConfinedProcessBuilder(true).with_arguments([]))
    few = ConfinedProcessBuilder(true).with_namespaces([NamespaceType.USER])
    assert "mount namespace" in refused(few.with_root(folder))
    off = ConfinedProcessBuilder(true).with_root(folder).with_namespace_wall(ConfinedWall.OFF)
    assert "mount namespace" in refused(off)
    assert "negative" in refused(ConfinedProcessBuilder(true).with_standard_input(-2))
    rules = [LandlockAccess.READ] * 257
    many = ConfinedProcessBuilder(true)
    for access in rules:
        many.allow("/", access)
    assert "256" in refused(many)


STRICT = f"""
from wrt_platform.linux.confined_process import *
words = ["python3", "-I", "-S", "-c", "print(open('/etc/hostname').read())"]
builder = ConfinedProcessBuilder({PYTHON!r}).with_arguments(words).with_system_files()
"""


@pytest.mark.row("SC-5")
@pytest.mark.parametrize("environment", ["old kernel", "docker", "user"])
def test_elsewhere_the_walls_that_can_stand_do(environment: str) -> None:
    """A program is never started behind fewer walls than the report says."""
    body = (
        STRICT
        + """
outcome = builder.run(timeout=20)
print(outcome.end.name, outcome.code, *[wall.state.name for wall in outcome.report])
print(outcome.report.files.reason.replace(" ", "_"))
print(outcome.report.namespaces.reason.replace(" ", "_"))
"""
    )
    words = say_in(environment, body, before="from wrt_platform.linux.confined_process import *\n")
    states = dict(zip(("cgroup", "namespaces", "root", "limits", "capabilities", "privileges",
                       "selinux", "files", "descriptors", "filter"), words[2:12]))  # fmt: skip
    always = ("limits", "capabilities", "privileges", "descriptors", "filter")
    assert all(states[name] == "ENFORCED" for name in always), states
    if environment == "old kernel":
        assert states["files"] == "ABSENT" and "older_than_5.13" in words[12]
        assert words[:2] == ["EXITED", "0"]  # so the file could be read, as the report says
    else:
        assert words[:2] == ["EXITED", "1"]
    if environment == "docker":
        assert states["namespaces"] == "ABSENT" and "container" in words[13]


@pytest.mark.row("SC-5")
def test_elsewhere_a_wall_that_is_required_refuses_the_start() -> None:
    for environment, method in (
        ("old kernel", "with_file_wall"), ("docker", "with_namespace_wall"),
    ):  # fmt: skip
        body = (
            STRICT
            + f"""
try:
    builder.{method}(ConfinedWall.REQUIRED).start()
except Exception as error:
    print(type(error).__name__)
"""
        )
        assert say_in(environment, body)[0] in ("UnsupportedError", "PermissionDeniedError")


@pytest.mark.row("SC-5")
def test_the_walls_of_a_process_are_not_the_parents() -> None:
    ConfinedProcessBuilder("/bin/true").with_system_files().run(timeout=20)
    status = Path("/proc/self/status").read_text()
    assert "NoNewPrivs:\t0" in status or run_in("here", "print(1)").returncode == 0
    assert Path("/etc/passwd").read_text() and os.getpid() != 1 and sys.executable
