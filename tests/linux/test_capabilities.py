"""Capabilities, dropped in children; /proc/self/status and refused calls are the proof."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.environments import run_in, say_in
from wrt_platform._native import ffi, lib
from wrt_platform.linux.capabilities import Capabilities, Capability, capability_mask

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="there is nothing to drop without root")
KEPT = 1 << Capability.SYS_NICE

STATUS = """
import re
def sets():
    text = open("/proc/self/status").read()
    return {name: int(word, 16) for name, word in re.findall(r"^Cap(\\w+):\\s+(\\w+)$", text, re.M)}
"""
DROP = (
    STATUS
    + """
from wrt_platform.linux.capabilities import *
report = Capabilities.current().drop_all_except([Capability.SYS_NICE])
"""
)


@pytest.mark.row("SC-1")
def test_what_a_thread_has_is_what_the_kernel_shows() -> None:
    text = Path("/proc/self/status").read_text()
    shown = {name: int(word, 16) for name, word in re.findall(r"^Cap(\w+):\s+(\w+)$", text, re.M)}
    current = Capabilities.current()
    for name, mine in (
        ("Inh", current.inheritable),
        ("Prm", current.permitted),
        ("Eff", current.effective),
        ("Bnd", current.bounding),
        ("Amb", current.ambient),
    ):
        assert capability_mask(mine) == shown[name], name
    assert current.last == int(Path("/proc/sys/kernel/cap_last_cap").read_text())


@pytest.mark.row("SC-1")
def test_names_have_the_numbers_of_the_system_header() -> None:
    header = Path("/usr/include/linux/capability.h").read_text()
    found = re.findall(r"^#define CAP_(\w+)\s+(\d+)$", header, re.M)
    assert len(found) >= 40
    for name, number in found:
        assert Capability[name] == int(number)
        assert ffi.string(lib.wrt_capability_name(int(number))).decode() == name


@AS_ROOT
@pytest.mark.row("SC-1")
def test_only_what_is_kept_is_left() -> None:
    body = (
        DROP
        + """
    now = sets()
    print(*[now[name] for name in ("Eff", "Prm", "Inh", "Bnd", "Amb")])
    print(*[part.state.name for part in report])
    """.replace("\n    ", "\n")
    )
    words = say_in("here", body)
    assert words[:5] == [str(KEPT), str(KEPT), "0", str(KEPT), "0"]
    assert words[5:] == ["ENFORCED"] * 4


@AS_ROOT
@pytest.mark.row("SC-1")
def test_what_was_dropped_is_refused_and_what_was_kept_is_not() -> None:
    body = (
        DROP
        + """
def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False
nice = refused(os.nice, -1)
print(refused(os.chown, "/", 0, 1), refused(os.chroot, "/"), refused(os.setuid, 12345), nice)
"""
    )
    assert say_in("here", body) == ["True", "True", "True", "False"]
    nothing = body.replace("[Capability.SYS_NICE]", "[]")
    assert say_in("here", nothing) == ["True", "True", "True", "True"]
    free = body.replace("report = ", "# ").replace('"/", 0, 1', '"/", 0, 0')
    assert say_in("here", free) == ["False", "False", "False", "False"]


@AS_ROOT
@pytest.mark.row("SC-1")
@pytest.mark.parametrize("ambient", [False, True])
def test_programs_that_are_executed_get_what_is_ambient_and_no_more(ambient: bool) -> None:
    body = f"""
    from wrt_platform.linux.capabilities import *
    Capabilities.current().drop_all_except([Capability.SYS_NICE], ambient={ambient})
    os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
    """
    assert say_in("here", body) == ["CapEff:", f"{KEPT if ambient else 0:016x}"]


@AS_ROOT
@pytest.mark.row("SC-1")
def test_nothing_can_be_taken_back() -> None:
    body = (
        DROP
        + """
import ctypes
back = Capabilities.current().drop_all_except(list(Capability))
now = sets()
print(now["Eff"] == now["Prm"] == 1 << Capability.SYS_NICE)
print(back.bounding.state.name, back.securebits.state.name, "SETPCAP" in back.bounding.reason)
print(Capabilities.current().securebits & 0xFF)
"""
    )
    words = say_in("here", body)
    assert words == ["True", "PARTIAL", "PARTIAL", "True", str(0xEF)]


@pytest.mark.row("SC-1")
def test_an_ordinary_user_has_none_and_dropping_them_again_says_what_is_left() -> None:
    body = (
        STATUS
        + """
report = Capabilities.current().drop_all_except([])
print(sets()["Eff"], report.sets.state.name, report.bounding.state.name)
"""
    )
    before = "from wrt_platform.linux.capabilities import *\n"
    assert say_in("user", body, before=before) == ["0", "ENFORCED", "PARTIAL"]


@pytest.mark.row("SC-1")
def test_a_process_with_threads_is_refused_unless_this_one_is_meant() -> None:
    body = """
    import threading
    from wrt_platform.linux.capabilities import *
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    def effective(thread):
        text = open(f"/proc/self/task/{thread}/status").read()
        return int(text.split("CapEff:")[1].split()[0], 16)
    had = effective(other.native_id)
    try:
        Capabilities.current().drop_all_except([])
    except Exception as error:
        print(type(error).__name__, "2 threads" in str(error), "confined process" in str(error))
    print(effective(os.getpid()) == had)
    Capabilities.current().drop_all_except([], this_thread=True)
    print(effective(os.getpid()), effective(other.native_id) == had)
    stop.set()
    """
    assert say_in("here", body) == ["StateError", "True", "True", "True", "0", "True"]


@pytest.mark.row("SC-1")
def test_options_that_are_unknown_are_refused() -> None:
    report = ffi.new("wrt_capabilities_report *")
    assert lib.wrt_capabilities_drop_all_except(0, 4, report) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_capabilities_drop_all_except(0, 1, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    assert run_in("here", "print(1)").returncode == 0
