"""Each system call of what gives rights away fails once: the error names the call, and neither a
descriptor nor a child is left behind. Every try is a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from common import run
from support.environments import namespaces_refused, run_in
from visible_library import compile_visible

VISIBLE = (
    "wrt__sys_* wrt_error_last wrt_seccomp_* wrt_capabilities_* wrt_namespace_* wrt_landlock_* "
    "wrt_confined_process_*"
)


CALLS = """
def config(name, **fields):
    raw = ffi.new(name + " *")
    raw.struct_size = ffi.sizeof(name)
    for field, value in fields.items():
        setattr(raw, field, value)
    return raw

kept = []
def text(value):
    kept.append(ffi.new("char[]", value.encode()))
    return kept[-1]

program = ffi.new("wrt_seccomp_instruction[]", [(0x06, 0, 0, 0x7FFF0000)])
rules = ffi.new("wrt_landlock_rule[]", [(text("/usr"), 1, 0), (text("/etc/passwd"), 1, 0)])
arguments = ffi.new("char *[]", [text("true"), ffi.NULL])
report = ffi.new("char[]", 4096)
process = ffi.new("wrt_confined_process *")
result = ffi.new("wrt_confined_result *")
REQUIRED = 3

def start(wall, **more):
    fields = {"system_files": True, **more}
    made = config("wrt_confined_process_config", executable=text("/bin/true"),
                  namespace_wall=wall, capability_wall=wall, file_wall=wall, filter_wall=wall,
                  **fields)
    made.namespaces = 2 | 4 | 8 | (0 if made.has_user else 1)
    made.arguments = ffi.cast("char const * const *", arguments)
    status = library.wrt_confined_process_start(pointer(process), pointer(made))
    if status == 0:
        library.wrt__sys_fail_at(0, 0)
        assert library.wrt_confined_process_wait(
            pointer(process), ctypes.c_uint64(10**10), pointer(result)) == 0
        assert result.end == 1 and result.code == 0, (result.end, result.code)
        library.wrt_confined_process_deinit(pointer(process))
    return status

def landlock():
    made = config("wrt_landlock_config", rules=rules, rule_count=2, network=True)
    return library.wrt_landlock_restrict(pointer(made), pointer(report))

calls = {
    "seccomp": lambda: library.wrt_seccomp_load(pointer(program), 1, 0),
    "capabilities": lambda: library.wrt_capabilities_drop_all_except(
        ctypes.c_uint64(1 << 23), 2, pointer(report)),
    "namespaces": lambda: library.wrt_namespace_unshare(1 | 2 | 8),
    "landlock": landlock,
    "confined": lambda: start(REQUIRED),
    "preferred": lambda: start(2),
    "rooted": lambda: start(
        REQUIRED, root=text(os.path.dirname(sys.argv[1]) + "/root"), system_files=False),
    "user": lambda: start(2, has_user=True, user_id=65534, group_id=65534),
}
"""

WALK = (
    """
import json
from wrt_platform._native import ffi
library = ctypes.CDLL(sys.argv[1])
library.wrt__sys_call_count.restype = ctypes.c_uint64
library.wrt_error_last.restype = ctypes.c_void_p

def pointer(value):
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", value)))
"""
    + CALLS
    + """
def descriptors():
    return sorted(os.listdir("/proc/self/fd"))

def one(number):
    call = calls[sys.argv[2]]
    library.wrt_error_last()
    open_before = len(os.listdir("/proc/self/fd"))
    made = library.wrt__sys_call_count()
    library.wrt__sys_fail_at(number, errno.EIO)
    status = call()
    fired = library.wrt__sys_call_count() - made >= number
    library.wrt__sys_fail_at(0, 0)
    error = ffi.cast("wrt_error *", library.wrt_error_last())
    said = [ffi.string(error.operation).decode(), ffi.string(error.reason).decode()]
    try:
        open_after = len(os.listdir("/proc/self/fd"))
    except PermissionError:
        open_after = open_before  # Landlock stands
    try:
        os.waitpid(-1, os.WNOHANG)
        children = 1
    except ChildProcessError:
        children = 0
    return [number, fired, status, error.os_code, open_after - open_before, children, *said]

for number in range(1, 400):
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        os.write(sender, json.dumps(one(number)).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as stream:
        answer = stream.read()
    assert os.waitpid(child, 0)[1] == 0, number
    print(answer, flush=True)
    if not json.loads(answer)[1]:
        break
"""
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backend with its internals visible, for the order that lets the n-th call fail."""
    folder = tmp_path_factory.mktemp("failures")
    path = compile_visible(folder, VISIBLE.split())
    source = folder / "true.c"  # needs nothing of the root that it is alone in
    source.write_text("#include <unistd.h>\nint main(void) { _exit(0); }\n")
    (folder / "root/bin").mkdir(parents=True)
    run("cc", "-static", "-Os", source, "-o", folder / "root/bin/true")
    return path


def walk(library: Path, name: str) -> list[Any]:
    done = run_in("here", WALK, str(library), name, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) > 3 and not answers[-1][1]
    assert answers[-1][2] == 0, answers[-1]  # without a failure it works
    return answers


def check(answers: list[Any], operation: str) -> list[Any]:
    """Those where the work went on."""
    for number, fired, status, code, descriptors, children, where, reason in answers:
        assert (descriptors, children) == (0, 0), number
        if fired and status != 0:
            assert where == operation and code == 5 and reason, (number, where, code, reason)
    return [answer for answer in answers if answer[1] and answer[2] == 0]


needs_namespaces = pytest.mark.skipif(namespaces_refused() != "", reason=namespaces_refused())
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")


@pytest.mark.row("SC-3")
def test_every_call_of_loading_a_filter_fails_once(library: Path) -> None:
    on = check(walk(library, "seccomp"), "wrt_seccomp_load")
    assert len(on) <= 2  # reading /proc/self/stat: another way tells the number of threads


@AS_ROOT
@pytest.mark.row("SC-1")
def test_every_call_of_dropping_capabilities_fails_once(library: Path) -> None:
    answers = walk(library, "capabilities")
    fired = [answer for answer in answers if answer[1]]
    assert len(fired) > 40
    for _, _, status, code, descriptors, children, where, reason in fired:
        assert (descriptors, children) == (0, 0)
        if status != 0:
            assert where.startswith("wrt_capabilities_") and code == 5 and reason


@needs_namespaces
@pytest.mark.row("SC-2")
def test_every_call_of_entering_namespaces_fails_once(library: Path) -> None:
    assert len(check(walk(library, "namespaces"), "wrt_namespace_unshare")) <= 2


@pytest.mark.row("SC-4")
def test_every_call_of_landlock_fails_once(library: Path) -> None:
    assert len(check(walk(library, "landlock"), "wrt_landlock_restrict")) <= 2


@needs_namespaces
@pytest.mark.row("SC-5")
def test_every_call_of_a_confined_start_fails_once(library: Path) -> None:
    """Also those that the new process makes before its program, since it has the same memory."""
    answers = walk(library, "confined")
    assert len(answers) > 60
    for number, fired, status, code, descriptors, children, where, reason in answers:
        assert (descriptors, children) == (0, 0), number
        if fired and status != 0:
            assert code == 5 and reason and where.startswith("wrt_"), (number, where, code)
    rooted = walk(library, "rooted")
    reasons = {answer[7] for answer in rooted if answer[1] and answer[2] != 0}
    assert any("root" in reason for reason in reasons), reasons
    assert all(answer[4:6] == [0, 0] for answer in rooted)
    preferred = walk(library, "preferred")
    going_on = [answer for answer in preferred if answer[1] and answer[2] == 0]
    assert len(going_on) > 3  # namespaces and the rest, which the report names then


@AS_ROOT
@pytest.mark.row("SC-5")
def test_every_call_of_a_start_as_another_user_fails_once(library: Path) -> None:
    answers = walk(library, "user")
    said = {answer[7] for answer in answers if answer[1] and answer[2] != 0}
    assert any("user" in reason for reason in said), said
    for number, fired, status, code, descriptors, children, where, reason in answers:
        assert (descriptors, children) == (0, 0), number
        if fired and status != 0:
            assert code == 5 and reason and where.startswith("wrt_"), (number, where, code)
