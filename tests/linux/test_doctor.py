"""wrt_doctor: each row is an attempt. Environments change exactly the rows that they take away,
what is available is seen by something that is not ours, and no attempt leaves anything behind."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from common import ROOT
from support.environments import ENVIRONMENTS, run_in
from visible_library import link_visible, visible_objects
from wrt_platform._native import ffi, lib
from wrt_platform.linux.doctor import DoctorRow, DoctorState, examine
from wrt_platform.linux.sandbox import sandbox_program

pytestmark = pytest.mark.row("RT-2", proof="real")

LIBC = ctypes.CDLL(None, use_errno=True)
BODY = "print(json.dumps([row for row in examine()]))"
BEFORE = "import json\nfrom wrt_platform.linux.doctor import examine\n"


def rows() -> dict[str, DoctorRow]:
    return {row.id: row for row in examine()}


def rows_in(environment: str, before: str = BEFORE) -> dict[str, Any]:
    done = run_in(environment, BODY, before=before)
    assert done.returncode == 0, done.stderr
    listed = (DoctorRow(*row) for row in json.loads(done.stdout))
    return {row.id: row for row in listed}


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return rows_in("here")


def number(path: str) -> int:
    return int(Path(path).read_text())


# ---- What is there, by another word than ours ----


def test_each_row_says_what_was_seen_and_what_to_do() -> None:
    found = rows()
    assert len(found) == lib.wrt_doctor_count() > 55
    for row in found.values():
        assert row.reason and row.name and row.promises
        assert row.available == (row.remedy == "")
        assert "{" not in row.reason + row.remedy
        assert not row.reason.startswith("wrt_")  # a call that the reader has not made


def test_every_promise_of_linux_has_a_row() -> None:
    listed = (ROOT / "docs/rows.csv").read_text()
    wanted = set(re.findall(r"^((?:LM|LS|MT|CG|IU|SC|PE|CT|UF)-\d+),", listed, re.M))
    assert len(wanted) >= 20
    assert wanted <= {promise for row in rows().values() for promise in row.promises}


def huge_page(exponent: int) -> bool:
    """Whether the C library's mmap gives one."""
    LIBC.mmap.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000 | exponent << 26
    size = ctypes.c_size_t(1 << exponent)
    made = LIBC.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, ctypes.c_long(0))
    if made == 2**64 - 1:
        return False
    LIBC.munmap(ctypes.c_void_p(made), size)
    return True


def open_by_number(call: int, *arguments: Any) -> bool:
    descriptor = LIBC.syscall(ctypes.c_long(call), *arguments)
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


def test_what_is_available_is_seen_by_the_c_library_and_by_proc() -> None:
    found = rows()
    cpus = os.sched_getaffinity(0)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    ring = ctypes.create_string_buffer(120)
    selinux = Path("/sys/fs/selinux/enforce")
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    seen = {
        "memory.huge_2_mib": huge_page(21),
        "memory.huge_1_gib": huge_page(30),
        "memory.name": LIBC.prctl(0x53564D41, 0, 0, 0, 0) == 0,
        "memory.numa": len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) > 1,
        "sync.spinning": len(cpus) > 1,
        "sync.wait_any": release >= (5, 16),
        "threads.priority_limit": resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0,
        "io.uring": open_by_number(425, 2, ring),
        "userfaultfd.fill": open_by_number(323, 1 | os.O_CLOEXEC) and release >= (6, 7),
        "security.selinux": selinux.exists() and selinux.read_text().strip() == "1",
        "kernel.transparent_hugepage": "[never]" not in enabled.read_text(),
        "kernel.futex_hashsize": Path("/proc/sys/kernel/futex_hashsize").exists(),
        "kernel.overcommit": number("/proc/sys/vm/overcommit_memory") != 2,
        "kernel.grsecurity": Path("/proc/sys/kernel/grsecurity").exists(),
        "kernel.huge_pool": number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") > 0,
        "perf.paranoid": number("/proc/sys/kernel/perf_event_paranoid") <= 2,
    }
    for name, available in seen.items():
        assert found[name].available == available, found[name]
    assert number("/proc/sys/vm/max_map_count") == int(
        re.findall(r"is (\d+)", found["kernel.max_map_count"].reason)[0]
    )
    runtime = found["kernel.sched_rt_runtime"]
    assert str(number("/proc/sys/kernel/sched_rt_runtime_us")) in runtime.reason or (
        runtime.available
    )
    assert f"{len(cpus)} CPUs" in found["sync.spinning"].reason or len(cpus) == 1


def unshare_works(*options: str) -> bool:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *user, *options, "true"], capture_output=True)
    return done.returncode == 0


def test_namespaces_are_those_that_unshare_gets() -> None:
    found = rows()
    options = {"mount": "--mount", "pid": "--pid", "network": "--net", "ipc": "--ipc"}
    options |= {"uts": "--uts", "cgroup": "--cgroup"}
    for kind, option in options.items():
        extra = ["--fork"] if kind == "pid" else []
        row = found[f"security.{kind}_namespace"]
        assert row.available == unshare_works(option, *extra), row
    by_tool = subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True)
    assert found["security.user_namespace"].available == (by_tool.returncode == 0)


# ---- Environments ----

NAMESPACES = {f"security.{kind}_namespace" for kind in ("user", "mount", "pid", "network", "ipc",
                                                          "uts", "cgroup")}  # fmt: skip
LOST = {
    "old kernel": {
        "sync.wait_any": "Linux 5.16",
        "files.beneath": "Linux 5.6",
        "security.landlock": "Linux 5.13",
        "security.strict": "Landlock",
    },
    "docker": {
        "io.uring": "seccomp=a profile",
        "userfaultfd.fill": "filter",
        "perf.software": "filter",
        "perf.ebpf": "CAP_BPF",
        "memory.numa": "--cap-add SYS_NICE",
        "security.strict": "namespaces",
        **dict.fromkeys(NAMESPACES, "filter"),
    },
    "user": {
        "threads.fifo": "LimitRTPRIO",
        "threads.round_robin": "LimitRTPRIO",
        "cgroups.make": "Delegate=yes",
        "security.capabilities": "NO_NEW_PRIVS",
        "perf.ebpf": "CAP_BPF",
    },
}
UNSTEADY = {"watchdog.wake_up", "perf.hardware", "memory.transparent_huge"}  # of a loaded machine


@pytest.mark.skipif(os.geteuid() != 0, reason="what an ordinary user lacks is missing here too")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_changes_just_its_rows(here: dict[str, Any], environment: str) -> None:
    there = rows_in(environment)
    worse = {name for name, row in there.items() if row.state > here[name].state} - UNSTEADY
    can_be_lost = {name for name in LOST[environment] if here[name].state < DoctorState.ABSENT}
    if os.access("/dev/userfaultfd", os.R_OK | os.W_OK):  # no filter of calls keeps that shut
        can_be_lost.discard("userfaultfd.fill")
    assert worse == can_be_lost
    assert not {name for name, row in there.items() if row.state < here[name].state} - UNSTEADY
    for name in worse:
        assert LOST[environment][name] in there[name].remedy, there[name]
        assert there[name].reason != here[name].reason
        if there[name].state == DoctorState.ABSENT and name not in NAMESPACES:
            wanted = {"old kernel": errno.ENOSYS, "docker": errno.EPERM}.get(environment)
            assert wanted is None or there[name].os_code == wanted


LIMITS = """
import json, resource
from wrt_platform.linux.doctor import examine
"""


@pytest.mark.whole_process  # the address sanitizer needs addresses, and swallows mlock
def test_limits_are_met_by_trying(here: dict[str, Any]) -> None:
    """The same system, with less address space; without locked memory for one who is not root."""
    little = LIMITS + "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
    found = rows_in("here", before=little)
    assert found["memory.reserve"].state == DoctorState.ABSENT
    assert found["memory.reserve"].os_code == errno.ENOMEM
    assert "ulimit -v" in found["memory.reserve"].remedy
    none = LIMITS + "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
    found = rows_in("user", before=none)
    assert found["memory.lock"].state == DoctorState.ABSENT
    assert "ulimit -l" in found["memory.lock"].remedy


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one CPU")
def test_one_processor_is_noticed() -> None:
    one = BEFORE + f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    found = rows_in("here", before=one)
    assert found["sync.spinning"].state == DoctorState.PARTIAL
    assert found["threads.affinity"].state == DoctorState.AVAILABLE


def refuse(*names: str) -> str:
    """A container's filter of its own."""
    lines = [f'filter.with_rule("{name}", SeccompAction.ERRNO, error=1)' for name in names]
    make = "filter = SeccompBuilder().with_default_action(SeccompAction.ALLOW).with_all_threads()"
    return "\n".join([BEFORE.strip(), make, *lines, "filter.build().load()", ""])


@pytest.mark.parametrize(
    ("call", "lost"),
    [
        ("sched_setaffinity", {"threads.affinity"}),
        ("set_robust_list", {"sync.robust"}),
        ("capset", {"security.capabilities", "security.strict"}),
        pytest.param("mlock", {"memory.lock"}, marks=pytest.mark.whole_process),
        ("eventfd2", {"watchdog.wake_up", "userfaultfd.fill"}),
        ("landlock_restrict_self", {"security.landlock", "security.strict"}),
    ],
)
def test_call_that_is_refused_changes_the_rows_that_need_it(
    here: dict[str, Any], call: str, lost: set[str]
) -> None:
    there = rows_in("here", before=refuse(call))
    assert {n for n, row in there.items() if row.state > here[n].state} - UNSTEADY | (
        lost & UNSTEADY
    ) == lost
    for name in lost:
        assert there[name].remedy


# ---- Nothing stays ----


def left() -> tuple[int, int, list[str]]:
    """Descriptors, children, groups."""
    children = 1
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        children = 0
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("wrt-doctor")]
    return len(os.listdir("/proc/self/fd")), children, groups


def test_process_is_as_it_was() -> None:
    rows()  # the sealed program stays open from now on
    policy, cpus = os.sched_getscheduler(0), os.sched_getaffinity(0)
    status = re.findall(r"^(?:Cap|Seccomp|NoNewPrivs|NS|Sig[BIC]).*", _status(), re.M)
    names = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    before = left()
    rows()
    assert left() == before
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == (policy, cpus)
    assert re.findall(r"^(?:Cap|Seccomp|NoNewPrivs|NS|Sig[BIC]).*", _status(), re.M) == status
    assert names == {name: os.readlink(f"/proc/self/ns/{name}") for name in names}


def _status() -> str:
    return Path("/proc/self/status").read_text()


def test_it_runs_beside_threads_and_signals() -> None:
    heard: list[int] = []
    stop = threading.Event()
    pid = os.getpid()
    results: list[int] = []

    def work() -> None:
        while not stop.is_set():
            sum(range(1000))

    def hear(number: int, frame: object) -> None:
        assert os.getpid() == pid
        heard.append(number)

    def look() -> None:
        results.extend(row.state for row in examine() if not row.id.startswith("cgroups"))

    threads = [threading.Thread(target=work), *(threading.Thread(target=look) for _ in range(2))]
    old = signal.signal(signal.SIGALRM, hear)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        for thread in threads:
            thread.start()
        found = rows()
        for thread in threads[1:]:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        stop.set()
        threads[0].join()
    assert heard
    assert found["security.seccomp"].available and found["memory.guards"].available
    assert len(results) == 2 * sum(not name.startswith("cgroups") for name in found)


VISIBLE = ("wrt__sys_*", "wrt_doctor_*", "wrt_selftest", "wrt_error_*", "examine_failing")

# What the doctor is linked without, and the address space that one failure costs: read where no
# Python runs in between, which takes memory for itself.
BESIDE_THE_DOCTOR = """#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include "wrt_platform/linux/doctor.h"
#include "wrt_platform/instance.h"
const char *wrt__wasi_name_of(const wrt_host_function *function);
const char *wrt__wasi_name_of(const wrt_host_function *function) { (void)function; return 0; }
const char *wrt_trap_text(uint32_t code) { return code == 0 ? "no trap" : "trap"; }
void wrt__sys_fail_at(uint64_t call, int error);

static int64_t addresses(int statm) { /* of which the C library's heap is none of ours */
    char text[64] = "";
    if (pread(statm, text, sizeof text - 1, 0) <= 0) abort();
    return atoll(text) * sysconf(_SC_PAGESIZE) - (int64_t)(intptr_t)sbrk(0);
}

int64_t examine_failing(int statm, uint32_t index, wrt_doctor_row *row, uint64_t call, int error) {
    const int64_t before = addresses(statm);
    wrt__sys_fail_at(call, error);
    if (wrt_doctor_examine(index, row) != WRT_OK) abort();
    wrt__sys_fail_at(0, 0);
    return addresses(statm) - before;
}
"""


@pytest.fixture(scope="module")
def visible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Core, Linux, sandbox and doctor, with the order that lets the n-th system call fail."""
    folder = tmp_path_factory.mktemp("doctor")
    program, names = folder / "worker", folder / "names.c"
    program.write_bytes(sandbox_program())
    names.write_text(BESIDE_THE_DOCTOR)
    parts: list[str | Path] = [f'-DWRT_WORKER_FILE="{program}"', names]
    parts += [*visible_objects(), ROOT / "c/src/engine/elsewhere.c"]
    for floor in ("sandbox", "doctor"):
        parts += sorted((ROOT / "c/src" / floor).glob("*.c"))
    path = link_visible(folder, VISIBLE, parts)
    loaded = ctypes.CDLL(str(path))
    loaded.wrt__sys_call_count.restype = ctypes.c_uint64
    loaded.examine_failing.restype = ctypes.c_int64
    yield loaded
    loaded.wrt__sys_fail_at(0, 0)


@pytest.mark.whole_process
def test_each_system_call_that_fails_leaves_nothing(visible: Any) -> None:
    """The n-th call of each attempt fails: its row says so or does without, and nothing stays."""
    raw = ffi.new("wrt_doctor_row *")
    place = ctypes.c_void_p(int(ffi.cast("uintptr_t", raw)))
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    walked = changed = 0
    for index in range(visible.wrt_doctor_count()):
        visible.wrt_doctor_examine(index, place)
        name, state = ffi.string(raw.id).decode(), raw.state
        start = visible.wrt__sys_call_count()
        visible.wrt_doctor_examine(index, place)
        count = visible.wrt__sys_call_count() - start
        if name == "security.sealed":
            count = min(count, 12)  # its own walk is the sandbox's
        before = left()
        for call in range(1, min(count, 60) + 1):
            stays = visible.examine_failing(statm, index, place, call, errno.EMFILE)
            walked += 1
            assert raw.state in (1, 2, 3), name
            assert ffi.string(raw.reason), name
            assert (raw.state == 1) == (ffi.string(raw.remedy) == b""), name
            changed += raw.state != state
            assert (left(), stays) == (before, 0), (name, call)
    os.close(statm)
    assert walked > 150
    assert changed > 100


@pytest.mark.row("RT-3", proof="real")
@pytest.mark.whole_process
def test_selftest_in_which_a_system_call_fails_fails_and_leaves_nothing(visible: Any) -> None:
    """Of its thousands of calls some are taken, from all of its rows."""
    raws = ffi.new("wrt_selftest_row[]", lib.WRT_SELFTEST_ROWS)
    count = ffi.new("uint32_t *")
    rows_at, count_at = (ctypes.c_void_p(int(ffi.cast("uintptr_t", it))) for it in (raws, count))

    def test() -> int:
        return int(visible.wrt_selftest(None, rows_at, len(raws), count_at))

    assert test() == lib.WRT_OK
    first = visible.wrt__sys_call_count()
    assert test() == lib.WRT_OK
    calls = visible.wrt__sys_call_count() - first
    assert calls > 3000
    before = left()
    noticed = set()
    for call in (1, 2, 3, 5, 8, 300, calls // 3, calls // 2, calls - 40, calls - 20, calls - 9):
        visible.wrt__sys_fail_at(call, errno.EMFILE)
        status = test()
        visible.wrt__sys_fail_at(0, 0)
        failed = [row for row in raws if row.state == lib.WRT_SELFTEST_FAILED]
        assert status == (lib.WRT_ERR_UNSUPPORTED if failed else lib.WRT_OK)
        assert len(failed) <= 1
        noticed |= {ffi.string(row.id) for row in failed if b"EMFILE" in ffi.string(row.reason)}
        assert left() == before, call
    assert len(noticed) >= 3


def test_rows_end_where_the_count_says() -> None:
    raw = ffi.new("wrt_doctor_row *")
    assert lib.wrt_doctor_examine(0, ffi.NULL) == lib.WRT_ERR_INVALID_ARGUMENT
    assert lib.wrt_doctor_examine(lib.wrt_doctor_count(), raw) == lib.WRT_ERR_NOT_FOUND


# ---- A machine that has what this one may lack ----


@pytest.mark.vm
def test_machine_with_everything_has_other_rows() -> None:
    found = rows()
    assert "of 2 nodes" in found["memory.numa"].reason
    assert found["memory.huge_2_mib"].available
    assert "64 pages" in found["kernel.huge_pool"].reason
    assert "version 2, own group" in found["cgroups.version"].reason
    for controller in ("memory", "cpu", "pids", "io"):
        assert found[f"cgroups.{controller}"].available, found[f"cgroups.{controller}"]
    landlock = found["security.landlock"]
    assert landlock.state is DoctorState.PARTIAL or "version" in landlock.reason
    assert found["pressure.memory"].available
    assert found["kernel.transparent_hugepage"].reason.endswith("`madvise`")


@pytest.mark.vm
def test_settings_that_refuse_are_named_with_their_remedy() -> None:
    """Settings of a machine of one's own: each takes away its rows, and is named by them."""
    cases = {
        "/proc/sys/user/max_user_namespaces": ("0", "security.user_namespace",
                                               "user.max_user_namespaces is 0"),
        "/sys/kernel/mm/transparent_hugepage/enabled": ("never", "kernel.transparent_hugepage",
                                                        "echo madvise"),
        "/proc/sys/vm/overcommit_memory": ("2", "kernel.overcommit", "vm.overcommit_memory=0"),
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": ("0", "memory.huge_2_mib",
                                                                   "nr_hugepages"),
        "/sys/kernel/mm/transparent_hugepage/defrag": ("always",
                                                       "kernel.transparent_hugepage_defrag",
                                                       "defrag"),
    }  # fmt: skip
    for path, (setting, name, remedy) in cases.items():
        old = re.sub(r".*\[(\w+)\].*", r"\1", Path(path).read_text().strip())
        Path(path).write_text(setting)
        try:
            row = rows()[name]
        finally:
            Path(path).write_text(old)
        assert row.state is not DoctorState.AVAILABLE, row
        assert remedy in row.remedy, row
        assert rows()[name].state < row.state


@pytest.mark.vm
def test_security_modules_are_told_apart() -> None:
    """SELinux without a policy is none."""
    row = rows()["security.selinux"]
    enforce = Path("/sys/fs/selinux/enforce")
    has_policy = Path("/proc/self/attr/current").read_text().count(":") >= 2
    assert enforce.exists()
    assert row.state is (DoctorState.PARTIAL if has_policy else DoctorState.ABSENT) or (
        enforce.read_text().strip() == "1" and row.available
    )


def test_table_is_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "wrt_platform.cli", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    printed = {item["id"] for item in json.loads(done.stdout)["findings"]}
    assert set(rows()) <= printed
