"""Filters: what they answer is judged by the rules themselves, by libseccomp, and by the kernel.

No filter is loaded into the test's own process: that could never be taken back.
"""

from __future__ import annotations

import errno
import platform
import random
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from common import ROOT, run
from support.filters import LibSeccomp, calls_near, decide, random_rules
from wrt_platform.errors import InvalidArgumentError, NotFoundError, UnsupportedError, WrtError
from wrt_platform.linux.seccomp import (
    Seccomp,
    SeccompAction,
    SeccompArchitecture,
    SeccompArgument,
    SeccompBuilder,
    SeccompCompare,
    SeccompForm,
    SeccompProfile,
    SeccompRule,
    call_name,
    call_number,
    seccomp_logging,
    simulate,
)

EIGHT = ["read", "write", "mmap", "munmap", "mprotect", "futex", "clock_gettime", "exit_group"]
X86_64 = SeccompArchitecture.X86_64
AARCH64 = SeccompArchitecture.AARCH64
AUDIT = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
FORMS = [SeccompForm.TREE, SeccompForm.LINEAR]
ON_X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only")

PROLOGUE = """
import ctypes, os, sys
from wrt_platform.linux.seccomp import *
libc = ctypes.CDLL(None, use_errno=True)

def system_call(number, *arguments):
    words = [ctypes.c_long(value) for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    return result if result != -1 else -ctypes.get_errno()
"""


def child(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in a process of its own, where a filter may be loaded."""
    script = PROLOGUE + textwrap.dedent(body)
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def document_filter(form: SeccompForm = SeccompForm.TREE) -> Seccomp:
    return (
        SeccompBuilder()
        .allow(EIGHT)
        .with_default_action(SeccompAction.KILL)
        .with_log_failures()
        .with_form(form)
        .build()
    )


# ---- What programs answer ----


@pytest.mark.row("SC-3")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_random_filters_answer_as_their_rules_say(
    form: SeccompForm, architecture: SeccompArchitecture
) -> None:
    source = random.Random(20260 + form * 7 + architecture)
    audit = AUDIT[architecture]
    checked = 0
    for _ in range(60):
        rules = random_rules(source, source.choice([1, 3, 20, 60]))
        if not rules:
            continue
        default = SeccompAction(source.randrange(1, 6))
        built = (
            SeccompBuilder()
            .with_architecture(architecture)
            .with_form(form)
            .with_rules(rules)
            .with_exact()
            .with_default_action(default)
            .with_default_error(33)
            .with_unknown_error(44)
            .build()
        )
        for number, values in calls_near(source, rules, 200):
            fallback = (default, 33 if default == SeccompAction.ERRNO else 0)
            if number >= 470 and number not in {rule.call for rule in rules}:
                fallback = (SeccompAction.ERRNO, 44)
            if number >= 2**30 and architecture == X86_64:
                fallback = (SeccompAction.KILL, 0)
            verdict = simulate(built.program, number, values, audit)
            assert (verdict.action, verdict.error) == (decide(rules, number, values) or fallback)
            checked += 1
    assert checked > 5000


@pytest.mark.row("SC-3")
@pytest.mark.skipif(not LibSeccomp.is_there(), reason="libseccomp is not installed")
@ON_X86_64
@pytest.mark.parametrize("tree", [False, True])
def test_filters_answer_as_those_that_libseccomp_makes(tree: bool) -> None:
    """libseccomp takes all rules of a call for one action, so their order can't differ."""
    source = random.Random(77 + tree)
    compared = 0
    for _ in range(40):
        action = SeccompAction(source.choice([SeccompAction.ALLOW, SeccompAction.TRAP]))
        theirs = LibSeccomp(SeccompAction.ERRNO, 1, tree=tree)
        taken: list[SeccompRule] = []
        for rule in random_rules(source, 12):
            one = rule._replace(action=action, error=0)
            indexes = [argument.position for argument in one.arguments]
            fits = one.call in range(470) and len(set(indexes)) == len(indexes)
            if fits and theirs.add(one) == 0:
                taken.append(one)
        if not taken:
            continue
        ours = (
            SeccompBuilder().with_rules(taken).with_exact()
            .with_default_action(SeccompAction.ERRNO).build()
        )  # fmt: skip
        program = theirs.program()
        for number, values in calls_near(source, taken, 100):
            if number < 470:
                ours_says = ours.simulate(number, values)
                theirs_says = simulate(program, number, values, AUDIT[X86_64])
                assert ours_says.raw == theirs_says.raw, (number, values, taken)
                compared += 1
    assert compared > 2000


@pytest.mark.row("SC-3")
@pytest.mark.skipif(not LibSeccomp.is_there(), reason="libseccomp is not installed")
@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
def test_names_have_the_numbers_that_libseccomp_knows(architecture: SeccompArchitecture) -> None:
    library = LibSeccomp(SeccompAction.KILL, 0, tree=False)
    text = (ROOT / "c/src/linux/seccomp_calls.inc").read_text()
    checked = 0
    for name in re.findall(r"^CALL\((\w+),", text, re.M):
        theirs = library.number(name, AUDIT[architecture])
        try:
            ours = call_number(name, architecture)
        except NotFoundError:
            assert theirs < 0, name
            continue
        assert call_name(ours, architecture) == name
        if theirs >= 0:
            assert ours == theirs, name
            checked += 1
    assert checked > 300


@pytest.mark.row("SC-3")
@ON_X86_64
def test_names_have_the_numbers_of_the_system_header() -> None:
    text = run("cc", "-E", "-dM", "-include", "asm/unistd_64.h", "-x", "c", "/dev/null")
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)
    assert len(found) > 300
    for name, number in found:
        assert call_number(name) == int(number)


@pytest.mark.row("SC-3")
@pytest.mark.parametrize("form", FORMS)
def test_a_filter_looks_at_the_architecture_first(form: SeccompForm) -> None:
    built = SeccompBuilder().with_architecture(X86_64).allow(["read"]).with_form(form).build()
    assert simulate(built.program, 0, (), AUDIT[X86_64]).action == SeccompAction.ALLOW
    for audit in (0x40000003, AUDIT[AARCH64], 1):  # i386 among them: int 0x80
        assert simulate(built.program, 0, (), audit).action == SeccompAction.KILL
        assert simulate(built.program, 0, (), audit).steps <= 3
    for number in (2**30, 2**30 + 1, 2**31, 2**32 - 1):  # x32
        assert simulate(built.program, number, (), AUDIT[X86_64]).action == SeccompAction.KILL


@pytest.mark.row("SC-3")
def test_the_tree_takes_fewer_steps_where_many_calls_are_listed() -> None:
    names = [call_name(number, AARCH64) for number in range(0, 300, 2)]
    steps = {}
    for form in FORMS:
        built = SeccompBuilder().with_architecture(AARCH64).allow(filter(None, names))
        ready = built.with_form(form).build()
        calls = [ready.simulate(name).steps for name in names if name]
        steps[form] = max(calls)
    assert steps[SeccompForm.TREE] <= 16 < 100 < steps[SeccompForm.LINEAR]


@pytest.mark.row("SC-3")
def test_nothing_is_added_in_silence() -> None:
    assert document_filter().report.added == ()
    assert document_filter().report.call_count == 8
    forking = SeccompBuilder().allow(["clone"]).build()
    added = SeccompRule("clone3", SeccompAction.ERRNO, errno.ENOSYS)
    assert forking.report.added == (added,)
    assert forking.simulate("clone3").error == errno.ENOSYS
    exact = SeccompBuilder().allow(["clone"]).with_exact().build()
    assert exact.report.added == () and exact.simulate("clone3").error == errno.EPERM


@pytest.mark.row("SC-3")
def test_numbers_without_a_name_are_answered_as_an_old_kernel_does() -> None:
    built = SeccompBuilder().with_default_action(SeccompAction.KILL).build()
    assert built.simulate("open" if platform.machine() == "x86_64" else "openat").action == (
        SeccompAction.KILL
    )
    for number in (470, 500, 2**30 - 1):
        assert built.simulate(number)[:2] == (SeccompAction.ERRNO, errno.ENOSYS)


# ---- Profiles ----

HARMFUL = [
    "ptrace", "mount", "umount2", "pivot_root", "unshare", "setns", "bpf", "perf_event_open",
    "io_uring_setup", "userfaultfd", "keyctl", "init_module", "kexec_load", "reboot", "swapon",
    "process_vm_writev", "mbind", "set_mempolicy", "open_by_handle_at", "clock_settime",
]  # fmt: skip
THREAD = 0x3D0F00  # what glibc's pthread_create asks of clone


@pytest.mark.row("SC-3")
@pytest.mark.parametrize("architecture", [X86_64, AARCH64])
@pytest.mark.parametrize("form", FORMS)
def test_the_profiles_let_through_what_they_say(
    architecture: SeccompArchitecture, form: SeccompForm
) -> None:
    def profile(kind: SeccompProfile) -> Seccomp:
        return (
            SeccompBuilder()
            .with_profile(kind)
            .with_architecture(architecture)
            .with_form(form)
            .build()
        )

    minimal, sealed = profile(SeccompProfile.MINIMAL), profile(SeccompProfile.SEALED)
    strict, container = profile(SeccompProfile.STRICT), profile(SeccompProfile.CONTAINER)
    for number in range(470):
        name = call_name(number, architecture)
        allowed = minimal.simulate(number).action == SeccompAction.ALLOW
        assert allowed == (name in EIGHT), name
    for name in HARMFUL:
        for built in (minimal, sealed, strict, container):
            assert built.simulate(name).action != SeccompAction.ALLOW, name
        assert container.simulate(name).error == strict.simulate(name).error == errno.EPERM
    for name in ("fork", "vfork", "socket", "connect", "kill", "setuid", "execveat", "personality"):
        if name not in ("fork", "vfork") or architecture == X86_64:
            assert strict.simulate(name, [1]).error == errno.EPERM
    assert strict.simulate("clone", [THREAD]).action == SeccompAction.ALLOW
    assert strict.simulate("clone", [THREAD | 0x10000000]).error == errno.EPERM  # NEWUSER
    assert strict.simulate("clone", [17]).error == errno.EPERM  # fork
    assert strict.simulate("ioctl", [0, 0x5413]).action == SeccompAction.ALLOW
    assert strict.simulate("ioctl", [0, 0x5412]).error == errno.EPERM  # TIOCSTI
    assert container.simulate("clone", [17]).action == SeccompAction.ALLOW
    assert container.simulate("clone", [17 | 0x10000000]).error == errno.EPERM
    assert container.simulate("socket", [1]).action == SeccompAction.ALLOW
    assert container.simulate("socket", [40]).error == errno.EPERM  # AF_VSOCK
    assert strict.simulate("clone3").error == container.simulate("clone3").error == errno.ENOSYS


@pytest.mark.row("SC-5")
def test_the_sealed_profile_is_five_calls_with_checked_arguments() -> None:
    sealed = SeccompBuilder().with_profile(SeccompProfile.SEALED).build()
    assert sealed.report.call_count == 5
    allowed = {
        ("read", (0,)), ("write", (1,)), ("futex", (0, 0)), ("futex", (0, 1)),
        ("futex", (0, 128)), ("futex", (0, 129)), ("clock_gettime", ()), ("exit_group", ()),
    }  # fmt: skip
    for name, arguments in allowed:
        assert sealed.simulate(name, arguments).action == SeccompAction.ALLOW
    for name, arguments in [
        ("read", (1,)), ("read", (2**32,)), ("write", (0,)), ("write", (2,)), ("futex", (0, 2)),
        ("futex", (0, 6)), ("futex", (0, 13)), ("futex", (0, 2**32)), ("mmap", ()), ("exit", ()),
        ("write", (2**32 + 1,)),
    ]:  # fmt: skip
        assert sealed.simulate(name, arguments).action == SeccompAction.KILL
    assert sealed.simulate(470).action == SeccompAction.KILL


@pytest.mark.row("SC-3")
def test_own_rules_replace_the_profiles() -> None:
    built = (
        SeccompBuilder()
        .with_profile(SeccompProfile.STRICT)
        .with_rule("getpid", SeccompAction.KILL)
        .allow(["getpgid"])
        .build()
    )
    assert built.simulate("getpid").action == SeccompAction.KILL
    assert built.simulate("getpgid").action == SeccompAction.ALLOW
    assert built.simulate("gettid").action == SeccompAction.ALLOW


# ---- Rules that are broken ----


@pytest.mark.row("SC-3")
def test_broken_rules_are_named() -> None:
    def refused(builder: SeccompBuilder) -> str:
        with pytest.raises(InvalidArgumentError) as caught:
            builder.build()
        return str(caught.value)

    allow = SeccompAction.ALLOW
    equal, masked = SeccompCompare.EQUAL, SeccompCompare.MASKED_EQUAL
    one = SeccompBuilder().allow(["read"])
    assert "rule 1 can never decide" in refused(one.with_rule("read", SeccompAction.KILL))
    beyond = SeccompArgument(6, equal, 0)
    assert "beyond 5" in refused(SeccompBuilder().with_rule("read", allow, [beyond]))
    outside = SeccompArgument(0, masked, 3, 1)
    assert "never hold" in refused(SeccompBuilder().with_rule("read", allow, [outside]))
    with_mask = SeccompArgument(0, equal, 0, 1)
    assert "MASKED_EQUAL" in refused(SeccompBuilder().with_rule("read", allow, [with_mask]))
    assert "0x3fffffff" in refused(SeccompBuilder().allow([2**30]))
    assert "256" in refused(SeccompBuilder().allow(range(257)))
    assert "4095" in refused(SeccompBuilder().with_rule("read", SeccompAction.ERRNO, error=4096))
    with pytest.raises(NotFoundError):
        SeccompBuilder().allow(["raed"]).build()
    with pytest.raises(NotFoundError):
        SeccompBuilder().with_architecture(AARCH64).allow(["open"]).build()


@pytest.mark.row("SC-3")
def test_the_simulator_refuses_programs_that_the_kernel_would() -> None:
    def program(*instructions: tuple[int, int, int, int]) -> bytes:
        return b"".join(
            code.to_bytes(2, "little") + bytes([yes, no]) + value.to_bytes(4, "little")
            for code, yes, no, value in instructions
        )

    answer = (0x06, 0, 0, 0x7FFF0000)
    assert simulate(program(answer), 0).action == SeccompAction.ALLOW
    for broken in (
        [(0x20, 0, 0, 64), answer],  # behind the call
        [(0x20, 0, 0, 2), answer],  # between two words
        [(0x05, 0, 0, 1), answer],  # jumps behind the end
        [(0x05, 0, 0, 2**32 - 1), answer],
        [(0x15, 1, 0, AUDIT[X86_64]), (0x15, 5, 5, 0), answer],
        [(0x20, 0, 0, 0)],  # no answer
    ):
        with pytest.raises(InvalidArgumentError):
            simulate(program(*broken), 0)
    with pytest.raises(UnsupportedError):
        simulate(program((0x0C, 0, 0, 0), answer), 0)


# ---- Loaded ----


@pytest.mark.row("SC-3")
@pytest.mark.parametrize("form", FORMS)
def test_the_documents_filter_kills_what_it_does_not_list(form: SeccompForm) -> None:
    body = f"""
    ready = SeccompBuilder().allow({EIGHT!r}).with_default_action(SeccompAction.KILL)
    ready = ready.with_form(SeccompForm({int(form)})).build()
    number = call_number(sys.argv[1])
    exit_group, write = call_number("exit_group"), call_number("write")
    ready.load()
    os.write(1, b"loaded")
    system_call(number, 0, 0, 0)
    system_call(exit_group, 7)
    """
    fine = child(body, "write")
    assert (fine.returncode, fine.stdout) == (7, "loaded")
    for name in ("getpid", "openat", "socket", "clone", "execve", "ptrace"):
        killed = child(body, name)
        assert (killed.returncode, killed.stdout) == (-signal.SIGSYS, "loaded"), name


@pytest.mark.row("SC-3")
@ON_X86_64
@pytest.mark.parametrize("entry", ["int80", "x32"])
def test_other_ways_into_the_kernel_are_closed(entry: str, tmp_path: Path) -> None:
    """The same numbers mean other calls there: 11 of int 0x80 is execve, munmap here."""
    source = tmp_path / "entry.c"
    source.write_text(
        """
        long by_int80(long number) {
            long result;
            __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0) : "memory");
            return result;
        }
        long by_x32(long number) {
            long result;
            __asm__ volatile("syscall" : "=a"(result) : "a"(number | 0x40000000), "D"(0)
                             : "rcx", "r11", "memory");
            return result;
        }
        """
    )
    library = tmp_path / "libentry.so"
    run("cc", "-O1", "-shared", "-fPIC", source, "-o", library)
    body = f"""
    by = ctypes.CDLL({str(library)!r}).by_{entry}
    if sys.argv[1] == "filtered":
        SeccompBuilder().allow({EIGHT!r}).with_default_action(SeccompAction.ERRNO).build().load()
    os.write(1, b"loaded")
    by(11)
    libc.syscall(231, 7)
    """
    assert child(body, "free").returncode == 7
    assert child(body, "filtered").returncode == -signal.SIGSYS


@pytest.mark.row("SC-3")
def test_actions_are_what_they_are_called() -> None:
    body = """
    import signal
    action = SeccompAction[sys.argv[1]]
    builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    equal = [SeccompArgument(0, SeccompCompare.EQUAL, 12345)]
    getpgid = call_number("getpgid")
    builder.with_rule("getpgid", action, equal, error=77 if action == SeccompAction.ERRNO else 0)
    caught = []
    signal.signal(signal.SIGSYS, lambda *_: caught.append(1))
    builder.build().load()
    own = system_call(getpgid, 0) > 0
    print(own, system_call(getpgid, 12345) in (-77,), len(caught), flush=True)
    """
    assert child(body, "ERRNO").stdout.split() == ["True", "True", "0"]
    assert child(body, "TRAP").stdout.split() == ["True", "False", "1"]
    assert child(body, "LOG").stdout.split() == ["True", "False", "0"]
    assert child(body, "KILL").returncode == -signal.SIGSYS


@pytest.mark.row("SC-3")
def test_a_process_with_threads_is_refused_unless_all_are_meant() -> None:
    """And the thread that was there before the filter has it as well then."""
    body = """
    import threading
    go, done, seen = threading.Event(), threading.Event(), []
    getpgid = call_number("getpgid")
    def other():
        go.wait()
        seen.append(system_call(getpgid, 0))
        done.set()
    threading.Thread(target=other, daemon=True).start()
    builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    builder.with_rule("getpgid", SeccompAction.ERRNO, error=77)
    try:
        builder.build().load()
    except Exception as error:
        print(type(error).__name__, "2 threads" in str(error), "ALL_THREADS" in str(error))
    print(system_call(getpgid, 0) > 0)
    builder.with_all_threads().build().load()
    go.set()
    done.wait()
    print(seen, system_call(getpgid, 0), flush=True)
    """
    done = child(body)
    assert done.stdout.splitlines() == ["StateError True True", "True", "[-77] -77"], done.stderr


@pytest.mark.row("SC-3")
def test_the_kernel_answers_as_the_simulator_does() -> None:
    """Compares of getpgid's argument, tried for real: an error number tells which rule decided."""
    body = """
    import random
    source = random.Random(5)
    sys.path[:0] = [sys.argv[1], sys.argv[2]]
    from support.filters import EDGES, random_argument
    getpgid = call_number("getpgid")
    builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    for error in range(1000, 1040):
        compared = [random_argument(source)._replace(position=source.randrange(2)) for _ in "12"]
        builder.with_rule("getpgid", SeccompAction.ERRNO, compared, error=error)
    ready = builder.with_rule("getpgid", SeccompAction.ERRNO, error=1999).build()
    tries = [[source.choice(EDGES) for _ in "12"] for _ in range(400)]
    expected = [-ready.simulate("getpgid", words).error for words in tries]
    ready.load()
    signed = [[word - 2**64 if word >= 2**63 else word for word in words] for words in tries]
    found = [system_call(getpgid, *words) for words in signed]
    print(found == expected, len(set(found)) > 5, flush=True)
    """
    done = child(body, str(ROOT / "tests/support"), str(ROOT / "tests"))
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.row("SC-3")
def test_the_strict_profile_runs_python_with_threads() -> None:
    body = """
    import threading, json, hashlib, time, tempfile
    SeccompBuilder().with_profile(SeccompProfile.STRICT).with_all_threads().build().load()
    answers = []
    worker = threading.Thread(target=lambda: answers.append(hashlib.sha256(b"x").hexdigest()))
    worker.start(); worker.join(); time.sleep(0.001)
    open("/proc/self/status").read()
    for forbidden in (os.fork, lambda: os.kill(os.getppid(), 0)):
        try:
            forbidden()
        except PermissionError as error:
            answers.append(error.errno)
    print(json.dumps(answers[1:]), len(answers[0]), flush=True)
    """
    done = child(body)
    assert done.stdout == f"[{errno.EPERM}, {errno.EPERM}] 64\n", done.stderr


@pytest.mark.row("SC-3")
def test_what_is_logged_is_said_as_the_kernel_has_it() -> None:
    path = Path("/proc/sys/kernel/seccomp/actions_logged")
    logging = seccomp_logging()
    if not path.exists():
        assert logging.state.name == "ABSENT"
    elif "errno" in path.read_text().split():
        assert logging.state.name == "ENFORCED"
    else:
        assert logging.state.name in ("PARTIAL", "ABSENT") and "actions_logged" in logging.reason


@pytest.mark.row("SC-3")
def test_a_filter_that_forbids_filters_is_reported() -> None:
    body = """
    builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    ready = builder.build()
    builder.with_rule("seccomp", SeccompAction.ERRNO, error=int(sys.argv[1])).build().load()
    try:
        ready.load()
    except Exception as error:
        print(type(error).__name__, error.os_code, "seccomp" in str(error), flush=True)
    """
    for code, name in ((errno.ENOSYS, "UnsupportedError"), (errno.EPERM, "PermissionDeniedError")):
        done = child(body, str(code))
        assert done.stdout.split() == [name, str(code), "True"], done.stderr


def test_errors_of_loading_are_of_the_library() -> None:
    with pytest.raises(WrtError):
        Seccomp.load(_empty())


def _empty() -> Seccomp:
    from wrt_platform._native import ffi

    built = document_filter()
    built._program = ffi.new("wrt_seccomp_instruction[]", 0)
    return built
