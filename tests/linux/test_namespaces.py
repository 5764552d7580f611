"""Namespaces, entered in children, looked at from inside and from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.environments import run_in, say_in
from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import InvalidArgumentError, StateError
from wrt_platform.linux.namespaces import Namespace, NamespaceType

ALL = list(NamespaceType)[:7]
LINKS = {
    NamespaceType.USER: "user",
    NamespaceType.MOUNT: "mnt",
    NamespaceType.PID: "pid_for_children",
    NamespaceType.NETWORK: "net",
    NamespaceType.IPC: "ipc",
    NamespaceType.UTS: "uts",
    NamespaceType.CGROUP: "cgroup",
}
IMPORT = "from wrt_platform.linux.namespaces import *\n"

possible = Namespace.probe([NamespaceType.USER, NamespaceType.MOUNT])
needs_namespaces = pytest.mark.skipif(
    possible.state != EnforcementState.ENFORCED, reason=possible.reason
)


@needs_namespaces
@pytest.mark.row("SC-2")
@pytest.mark.parametrize("environment", ["here", "user"])
@pytest.mark.parametrize("kind", ALL, ids=[kind.name for kind in ALL])
def test_each_kind_is_a_new_one(kind: NamespaceType, environment: str) -> None:
    body = f"""
    asked = {{NamespaceType.USER, NamespaceType({int(kind)})}}
    before = os.readlink("/proc/self/ns/{LINKS[kind]}")
    Namespace.unshare(asked)
    print(before != os.readlink("/proc/self/ns/{LINKS[kind]}"), os.getuid(), os.getgid())
    """
    mine = 65534 if environment == "user" and os.geteuid() == 0 else os.geteuid()
    if kind == NamespaceType.PID:  # it is there as soon as somebody is in it
        body = body.replace(
            "print(", "os.fork() or os._exit(0); os.wait() if False else None\n    print("
        )
    assert say_in(environment, body, before=IMPORT) == ["True", str(mine), str(mine)]


@needs_namespaces
@pytest.mark.row("SC-2")
def test_the_first_child_is_process_one() -> None:
    body = """
    Namespace.unshare([NamespaceType.USER, NamespaceType.PID])
    child = os.fork()
    if child == 0:
        print(os.getpid(), os.getppid(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    """
    assert say_in("here", body, before=IMPORT) == ["1", "0"]


@needs_namespaces
@pytest.mark.row("SC-2")
def test_there_is_no_network_but_the_own_loopback() -> None:
    body = """
    import socket
    Namespace.unshare([NamespaceType.USER, NamespaceType.NETWORK])
    print(*[name for _, name in socket.if_nameindex()])
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname(), 5)
    print("talks")
    try:
        socket.create_connection(("192.0.2.1", 80), 5)
    except OSError as error:
        print(errno.errorcode[error.errno])
    """
    assert say_in("here", body, before=IMPORT + "import socket") == ["lo", "talks", "ENETUNREACH"]


@needs_namespaces
@pytest.mark.row("SC-2")
def test_what_is_mounted_inside_is_not_seen_outside(tmp_path: Path) -> None:
    body = f"""
    Namespace.unshare([NamespaceType.USER, NamespaceType.MOUNT])
    libc = ctypes.CDLL(None)
    print(libc.mount(b"none", {os.fsencode(tmp_path)!r}, b"tmpfs", 0, None))
    open({str(tmp_path / "inside")!r}, "w").close()
    print(os.path.exists({str(tmp_path / "inside")!r}))
    """
    assert say_in("here", body, before=IMPORT) == ["0", "True"]
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@needs_namespaces
@pytest.mark.row("SC-2")
def test_groups_cannot_be_given_up_inside() -> None:
    body = """
    Namespace.unshare([NamespaceType.USER])
    print(open("/proc/self/setgroups").read().strip())
    try:
        os.setgroups([])
    except PermissionError:
        print("refused")
    """
    assert say_in("here", body, before=IMPORT) == ["deny", "refused"]


@pytest.mark.row("SC-2")
def test_a_process_with_threads_is_refused_with_the_reason() -> None:
    body = """
    import threading
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    before = os.readlink("/proc/self/ns/uts")
    try:
        Namespace.unshare([NamespaceType.UTS])
    except Exception as error:
        print(type(error).__name__, "2 threads" in str(error), "confined process" in str(error))
    print(before == os.readlink("/proc/self/ns/uts"))
    stop.set()
    """
    assert say_in("here", body, before=IMPORT) == ["StateError", "True", "True", "True"]


@pytest.mark.row("SC-2")
def test_the_probe_leaves_this_process_and_its_children_alone() -> None:
    links = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "net")}
    Namespace.probe([NamespaceType.USER, NamespaceType.MOUNT, NamespaceType.NETWORK])
    for name, link in links.items():
        assert os.readlink(f"/proc/self/ns/{name}") == link
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.row("SC-2")
def test_containers_and_limits_that_refuse_are_named() -> None:
    body = """
    found = Namespace.probe([NamespaceType.USER, NamespaceType.MOUNT])
    print(found.state.name, "container" in found.reason)
    try:
        Namespace.unshare([NamespaceType.USER])
    except Exception as error:
        print(type(error).__name__, "container" in str(error), error.os_code == errno.EPERM)
    """
    assert say_in("docker", body, before=IMPORT) == [
        "ABSENT", "True", "PermissionDeniedError", "True", "True",
    ]  # fmt: skip


@needs_namespaces
@pytest.mark.row("SC-2")
def test_what_refuses_only_inside_is_found_by_the_probe() -> None:
    """As some systems do: unshare works, the map or the mount does not."""
    for name in ("mount", "write"):
        body = f"""
        builder = SeccompBuilder().with_default_action(SeccompAction.ALLOW)
        builder.with_rule({name!r}, SeccompAction.ERRNO, {
            "[]" if name == "mount" else "[SeccompArgument(0, SeccompCompare.GREATER, 2)]"
        }, error=errno.EPERM)
        builder.build().load()
        print(Namespace.probe([NamespaceType.USER, NamespaceType.MOUNT]).state.name)
        """
        assert say_in("here", body, before=IMPORT) == ["ABSENT"]


@needs_namespaces
@pytest.mark.row("SC-2")
def test_the_limit_of_user_namespaces_is_named() -> None:
    body = """
    Namespace.unshare([NamespaceType.USER])
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    try:
        Namespace.unshare([NamespaceType.USER])
    except Exception as error:
        print(type(error).__name__, "max_user_namespaces is 0" in str(error))
    """
    done = run_in("here", body, before=IMPORT)
    assert done.stdout.split() == ["LimitError", "True"], done.stderr


@pytest.mark.row("SC-2")
def test_nothing_and_unknown_bits_are_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        Namespace.unshare([])
    with pytest.raises(InvalidArgumentError):
        Namespace.probe([])
    assert issubclass(StateError, RuntimeError)
