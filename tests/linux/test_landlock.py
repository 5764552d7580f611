"""Landlock, entered in children; what is refused then is refused by the kernel."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environments import run_in, say_in
from wrt_platform.errors import (
    InvalidArgumentError,
    NotFoundError,
    StateError,
    UnsupportedError,
    WrtError,
)
from wrt_platform.linux.landlock import (
    LandlockAccess,
    LandlockBuilder,
    LandlockPort,
    LandlockRule,
    landlock_abi,
)

IMPORT = """
import socket
from wrt_platform.linux.landlock import *
from wrt_platform.errors import error_of
READ, WRITE = LandlockAccess.READ, LandlockAccess.WRITE
EXECUTE, CREATE = LandlockAccess.EXECUTE, LandlockAccess.CREATE
def refused(call, *arguments):
    try:
        result = call(*arguments)
    except PermissionError:
        return "refused"
    return "done"
"""


def version() -> int:
    try:
        return landlock_abi()
    except UnsupportedError:
        return 0


needs_landlock = pytest.mark.skipif(version() == 0, reason="this kernel has no Landlock")
needs_network = pytest.mark.skipif(version() < 4, reason="TCP takes Landlock 4, Linux 6.7")
needs_scope = pytest.mark.skipif(version() < 6, reason="signals take Landlock 6, Linux 6.12")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which other users can't enter."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        for part in ("open", "shut"):
            (top / part).mkdir()
            (top / part / "file").write_text("content")
        yield top


@needs_landlock
@pytest.mark.row("SC-4")
@pytest.mark.parametrize("environment", ["here", "docker", "user"])
def test_only_what_is_named_can_be_reached(folder: Path, environment: str) -> None:
    body = f"""
    os.chdir({str(folder)!r})
    report = LandlockBuilder().allow("open", READ).restrict()
    for name in ("open/file", "shut/file", "open/../shut/file", "/etc/passwd"):
        print(refused(lambda: open(name).read()))
    print(refused(open, "open/file", "a"), refused(os.listdir, "open"), refused(os.listdir, "."))
    print(refused(os.remove, "open/file"), refused(os.mkdir, "open/new"), report.abi)
    """
    words = say_in(environment, body, before=IMPORT)
    assert words == [
        "done", "refused", "refused", "refused", "refused", "done", "refused", "refused", "refused",
        str(landlock_abi()),
    ]  # fmt: skip


@needs_landlock
@pytest.mark.row("SC-4")
def test_each_access_gives_what_it_says(folder: Path) -> None:
    (folder / "open/program").write_bytes(Path("/bin/true").read_bytes())
    (folder / "open/program").chmod(0o755)
    body = f"""
    import subprocess
    os.chdir({str(folder)!r})
    LandlockBuilder().allow("open", int(sys.argv[1])).allow("/lib", READ | EXECUTE).allow(
        "/lib64", READ | EXECUTE).allow("/usr", READ | EXECUTE).allow("/etc", READ).restrict()
    print(refused(lambda: open("open/file").read()), refused(lambda: os.open("open/file", 1)),
          refused(subprocess.run, ["open/program"]),
          refused(os.mkdir, "open/new"))
    """
    found = {
        name: say_in(
            "here", body, str(int(LandlockAccess[name])), before=IMPORT + "import subprocess"
        )
        for name in ("READ", "WRITE", "CREATE")
    }
    assert found["READ"] == ["done", "refused", "refused", "refused"]
    assert found["WRITE"] == ["refused", "done", "refused", "refused"]
    assert found["CREATE"] == ["refused", "refused", "refused", "done"]
    (folder / "open/new").rmdir()
    both = str(int(LandlockAccess.READ | LandlockAccess.EXECUTE))
    words = say_in("here", body, both, before=IMPORT + "import subprocess")
    assert words == ["done", "refused", "done", "refused"]


@needs_landlock
@pytest.mark.row("SC-4")
def test_a_link_and_a_rename_lead_nowhere(folder: Path) -> None:
    (folder / "open/link").symlink_to("../shut/file")
    body = f"""
    os.chdir({str(folder)!r})
    LandlockBuilder().allow("open", LandlockAccess.ALL).restrict()
    print(refused(lambda: open("open/link").read()))
    print(refused(os.rename, "open/file", "shut/other"), refused(os.link, "shut/file", "open/x"))
    """
    done = run_in(
        "here",
        body.replace("PermissionError", "OSError"),
        before=IMPORT.replace("except PermissionError", "except OSError"),
    )  # a rename between folders may say EXDEV
    assert done.stdout.split() == ["refused"] * 3, done.stderr


@needs_landlock
@pytest.mark.row("SC-4")
def test_what_is_open_stays_open_and_children_are_restricted_too(folder: Path) -> None:
    body = f"""
    file = open({str(folder / "shut/file")!r})
    LandlockBuilder().restrict()
    print(file.read())
    child = os.fork()
    if child == 0:
        print(refused(open, {str(folder / "shut/file")!r}), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    """
    assert say_in("here", body, before=IMPORT) == ["content", "refused"]


@needs_network
@pytest.mark.row("SC-4")
def test_only_the_named_ports_can_be_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        body = f"""
        mine, other = {one.getsockname()}, {two.getsockname()}
        builder = LandlockBuilder().with_ports([LandlockPort(mine[1], LandlockPortAccess.CONNECT)])
        report = builder.restrict()
        for call, place in ("connect", mine), ("connect", other), ("bind", ("127.0.0.1", 0)):
            print(refused(getattr(socket.socket(), call), place))
        print(report.network.state.name)
        """
        words = say_in("here", body, before=IMPORT)
    assert words == ["done", "refused", "refused", "PARTIAL"]


@needs_scope
@pytest.mark.row("SC-4")
def test_no_signal_reaches_a_process_outside() -> None:
    body = """
    report = LandlockBuilder().with_scope().restrict()
    print(refused(os.kill, os.getppid(), 0), refused(os.kill, os.getpid(), 0))
    print(report.scope.state.name, report.network.state.name)
    """
    assert say_in("here", body, before=IMPORT) == ["refused", "done", "ENFORCED", "NOT_ASKED"]


@needs_landlock
@pytest.mark.row("SC-4")
def test_sixteen_layers_are_all() -> None:
    body = """
    for layer in range(17):
        try:
            LandlockBuilder().restrict()
        except Exception as error:
            print(layer, type(error).__name__, error.os_code == errno.E2BIG)
    """
    assert say_in("here", body, before=IMPORT) == ["16", "LimitError", "True"]


@needs_landlock
@pytest.mark.row("SC-4")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6])
def test_an_older_version_is_asked_for_what_it_has_and_the_rest_is_said(
    kernel: int, folder: Path
) -> None:
    """The answer about the version is changed on its way by a debugger's means: a library before
    the system's. What the rule set then holds is the kernel's to accept."""
    source = folder / "version.c"
    source.write_text(
        f"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdarg.h>
        #include <sys/syscall.h>
        #include <errno.h>
        static unsigned long long seen[3];
        long syscall(long number, ...) {{
            va_list list; long a[6];
            va_start(list, number);
            for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
            va_end(list);
            if (number == 444 && a[2] == 1) return {kernel};
            for (int i = 0; number == 444 && i < 3; i++)
                seen[i] = ((unsigned long long *)a[0])[i];
            long result;
            register long r10 __asm__("r10") = a[3];
            register long r8 __asm__("r8") = a[4];
            register long r9 __asm__("r9") = a[5];
            __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]),
                "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
            if (result < 0 && result > -4096) {{ errno = (int)-result; return -1; }}
            return result;
        }}
        unsigned long long handled(int index) {{ return seen[index]; }}
        """
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the stand-in is for x86-64")
    from common import run

    library = folder / "libversion.so"
    run("cc", "-O1", "-shared", "-fPIC", source, "-o", library)
    body = f"""
    report = LandlockBuilder().allow({str(folder / "open")!r}, LandlockAccess.ALL).with_network(
        ).with_scope().restrict()
    own = ctypes.CDLL({str(library)!r})
    own.handled.restype = ctypes.c_ulonglong
    print(report.abi, *[own.handled(index) for index in range(3)])
    print(*[part.state.name for part in report[1:]])
    print(refused(open, {str(folder / "shut/file")!r}))
    """
    done = run_in("here", body, before=IMPORT, LD_PRELOAD=str(library))
    assert done.returncode == 0, done.stderr
    rights = 0x1FFF | (kernel >= 2) << 13 | (kernel >= 3) << 14 | (kernel >= 5) << 15
    words = done.stdout.split()
    assert words[:4] == [
        str(kernel), str(rights), "3" if kernel >= 4 else "0", "3" if kernel >= 6 else "0",
    ]  # fmt: skip
    assert words[4:] == [
        "ENFORCED" if kernel >= 5 else "PARTIAL",
        "PARTIAL" if kernel >= 4 else "ABSENT",
        "ENFORCED" if kernel >= 6 else "ABSENT",
        "refused",
    ]


@pytest.mark.row("SC-4")
@pytest.mark.parametrize(("code", "words"), [("ENOSYS", "older than"), ("EOPNOTSUPP", "lsm=")])
def test_a_kernel_without_landlock_is_told_apart(code: str, words: str) -> None:
    body = f"""
    builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
    builder.with_rule("landlock_create_ruleset", SeccompAction.ERRNO, error=errno.{code})
    builder.build().load()
    for call in (landlock_abi, LandlockBuilder().restrict):
        try:
            call()
        except Exception as error:
            print(type(error).__name__, {words!r} in str(error))
    """
    assert say_in("here", body, before=IMPORT) == ["UnsupportedError", "True"] * 2


@pytest.mark.row("SC-4")
def test_a_process_with_threads_is_refused_unless_this_one_is_meant(folder: Path) -> None:
    """And the thread that asked is the only one restricted: it is a thread of the test's own."""
    if version() == 0:
        pytest.skip("this kernel has no Landlock")
    seen: list[object] = []

    def other() -> None:
        try:
            LandlockBuilder().restrict()
        except StateError as error:
            seen.append("2 threads" in str(error) or "threads" in str(error))
        (folder / "open/file").read_text()
        LandlockBuilder().with_this_thread().restrict()
        try:
            (folder / "open/file").read_text()
        except PermissionError:
            seen.append("refused")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [True, "refused"]
    assert (folder / "open/file").read_text() == "content"


@pytest.mark.row("SC-4")
def test_broken_rules_are_named() -> None:
    def refused(builder: LandlockBuilder) -> WrtError:
        with pytest.raises(WrtError) as caught:
            builder.with_this_thread().restrict()
        return caught.value

    assert isinstance(refused(LandlockBuilder().allow("/", 0)), InvalidArgumentError)
    assert isinstance(refused(LandlockBuilder().allow("/", 32)), InvalidArgumentError)
    with_port = LandlockBuilder().with_ports([LandlockPort(65536, 1)])
    assert isinstance(refused(with_port), InvalidArgumentError)
    if version() > 0:
        both = [LandlockRule("/", 1), LandlockRule("/not/there", 1)]
        missing = refused(LandlockBuilder().with_rules(both))
        assert isinstance(missing, NotFoundError) and "rule 1" in str(missing)
    assert Path("/etc").is_dir()  # nothing was restricted
