"""Rings where the kernel is old, a container's filter refuses, or the user has no rights: the same
program reads the same bytes everywhere, and the report says over what, why, and what helps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.environments import run_in

LOAD = """
from wrt_platform.errors import *
from wrt_platform.linux.io_uring import *
"""

# A kernel that lets no wait end at a limit has, as far as a filter can show it, no io_uring.
HIDDEN = """
_hide = SeccompBuilder().with_default_action(SeccompAction.ALLOW).with_all_threads()
for _name in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
    _hide.with_rule(_name, SeccompAction.ERRNO, error=errno.ENOSYS)
_hide.build().load()
"""

# Set-up is allowed, but not to ask what there is.
HALF = """
_hide = SeccompBuilder().with_default_action(SeccompAction.ALLOW).with_all_threads()
_hide.with_rule("io_uring_register", SeccompAction.ERRNO, error=errno.EPERM)
_hide.build().load()
"""

BODY = """
ring = IoUringBuilder().with_entries(8).with_sq_thread(len(sys.argv) > 1).build()
report = ring.report
print(report.backend.name, report.kernel.state.name, report.sq_thread.state.name)
print(report.kernel.reason)
with open("/proc/self/exe", "rb") as file:
    ring.submit([IoUringRequest.read(file, 5000, at * 999, at) for at in range(12)])
    done = ring.wait(12, timeout=20)
    print(len(done), all(bytes(c.data) == os.pread(file.fileno(), 5000, c.user_data * 999)
                         for c in done))
left, right = os.pipe()
ring.submit_read(left, 8, 0, "never", timeout=0.05)
print(ring.wait_completion(20).result == -errno.ETIME)
ring.submit_read(left, 8, 0, "never")
ring.cancel("never")
print(ring.wait_completion(20).result == -errno.ECANCELED)
ring.close()
print(IoUring.is_available())
try:
    IoUringBuilder().with_backend(IoUringBackend.KERNEL).build().close()
    print("built")
except (PermissionDeniedError, UnsupportedError) as error:
    print(type(error).__name__, error)
"""

pytestmark = pytest.mark.row("IU-1")


def said(environment: str, prologue: str = "", *arguments: str) -> list[str]:
    done = run_in(environment, prologue + BODY, *arguments, before=LOAD)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def is_off(environment: str) -> bool:
    """Whether the administrator has switched it off: for users, or for all."""
    path = Path("/proc/sys/kernel/io_uring_disabled")
    level = int(path.read_text()) if path.exists() else 0
    return level == 2 or (level == 1 and (environment == "user" or os.geteuid() != 0))


@pytest.mark.parametrize("environment", ["here", "user"])
def test_without_a_filter_it_is_the_kernels_or_the_sysctl_is_named(environment: str) -> None:
    lines = said(environment)
    assert lines[2:5] == ["12 True", "True", "True"]
    if is_off(environment):
        assert lines[0] == "THREADS ABSENT NOT_ASKED"
        assert "kernel.io_uring_disabled" in lines[1]
    else:
        assert lines[0] == "KERNEL ENFORCED NOT_ASKED"
        assert lines[5:] == ["True", "built"]


@pytest.mark.parametrize(
    ("environment", "prologue", "kind", "words"),
    [
        ("docker", "", "PermissionDeniedError", "a seccomp profile that has io_uring_setup"),
        ("old kernel", HIDDEN, "UnsupportedError", "a kernel before 5.11 or built without"),
        ("here", HALF, "UnsupportedError", "a filter in its way"),
    ],
)
def test_where_it_is_refused_threads_stand_in_and_the_remedy_is_named(
    environment: str, prologue: str, kind: str, words: str
) -> None:
    lines = said(environment, prologue, "with an SQ thread")
    assert lines[0] == "THREADS ABSENT ABSENT"
    assert words in lines[1]
    assert lines[2:6] == ["12 True", "True", "True", "False"]
    assert lines[6].startswith(kind)
    assert words in lines[6]


# The sysctl as it stands where an administrator has set it, for this process alone; the refusal
# itself is the filter's.
SWITCHED_OFF = """
import tempfile
_libc.unshare(0x00020000)
_libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)  # private, all of it
_file = tempfile.NamedTemporaryFile()
_file.write(b"2\\n")
_file.flush()
_place = b"/proc/sys/kernel/io_uring_disabled"
assert _libc.mount(_file.name.encode(), _place, None, 0x1000, None) == 0
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount over the sysctl")
def test_the_sysctl_is_named_where_it_is_what_forbids() -> None:
    if not Path("/proc/sys/kernel/io_uring_disabled").exists():
        pytest.skip("this kernel has no such sysctl")
    done = run_in("docker", BODY, before=LOAD + SWITCHED_OFF)
    assert done.returncode == 0, (done.stdout, done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0] == "THREADS ABSENT NOT_ASKED"
    assert "kernel.io_uring_disabled forbids" in lines[1]
    assert lines[2:6] == ["12 True", "True", "True", "False"]
    assert lines[6].startswith("PermissionDeniedError")
    assert "kernel.io_uring_disabled forbids" in lines[6]
