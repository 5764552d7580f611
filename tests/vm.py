"""The tests' virtual machine: what this machine's kernel can't show runs in another kernel.

Tests that are marked `vm` need a kernel of their own: every cgroup controller, two NUMA nodes,
SELinux, a disk to slow down. One machine is booted for all of them, when the first one's turn has
come: Debian's kernel in QEMU, on this machine's own files. Inside, pytest runs the marked tests
that were chosen here, with the Python and the package of this session, and writes its reports to a
folder that both see. Outside each report takes the place of its test, as it comes.

Under pytest-xdist all processes get their reports from the same machine: it belongs to the one
that makes the folder first.

`pytest -m vm` runs these tests alone. WRT_VM_ACCEL=kvm boots with KVM, which needs a processor
that lends itself; without it QEMU translates. WRT_VM_QEMU is another QEMU.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from common import ROOT

INSIDE = os.environ.get("WRT_VM_SHARE")  # the folder that both see, as the machine sees it
FILES = ROOT / "build/vm"
BOOT_SECONDS = 240.0  # until pytest starts inside
RUN_SECONDS = 900.0  # until the last report, from then on
TEST_SECONDS = 150  # of one test inside
MEMORY_MIB = 2048
TAIL_LINES = 40
LEFT_OUT = "no virtual machine: "

KERNEL = (
    "console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check clocksource=hpet mitigations=off "
    "rcupdate.rcu_expedited=1 cgroup_no_v1=all hugepagesz=2M hugepages=64 "
    "transparent_hugepage=madvise psi=1 lsm=landlock,lockdown,yama,integrity,selinux,bpf "
    "selinux=1 enforcing=0"
)
PASSED_ON = ("PATH", "HOME", "PYTHONPATH", "LANG", "LC_ALL", "RUSTUP_HOME", "CARGO_HOME")


class NoMachine(Exception):
    """Why there is none, in one line."""


def qemu() -> str:
    return os.environ.get("WRT_VM_QEMU", "qemu-system-x86_64")


def command(share: Path) -> list[str]:
    """The machine: two processors, two nodes of memory, a disk, and two shared folders."""
    kvm = os.environ.get("WRT_VM_ACCEL") == "kvm"
    cpu = "-accel kvm -cpu host" if kvm else "-accel tcg,thread=multi -cpu max"
    words = f"-machine q35 -smp 2 -m {MEMORY_MIB} -nodefaults -no-reboot -display none".split()
    for node in (0, 1):
        words += f"-object memory-backend-ram,id=m{node},size={MEMORY_MIB // 2}M".split()
        words += f"-numa node,nodeid={node},cpus={node},memdev=m{node}".split()
    words += ["-kernel", f"{FILES}/vmlinuz", "-initrd", f"{FILES}/initrd", "-append", KERNEL]
    root = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    words += ["-fsdev", root, "-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]
    words += ["-fsdev", f"local,id=share,path={share},security_model=none"]
    words += ["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]
    words += ["-drive", f"file={share}/disk,if=none,id=disk,format=raw,cache=unsafe"]
    words += ["-device", "virtio-blk-pci,drive=disk", "-serial", "stdio", "-monitor", "none"]
    return [qemu(), *cpu.split(), *words]


def script(share: str) -> str:
    """What runs inside, once the files are there; when it is done the machine goes off."""
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    given |= {"WRT_VM_SHARE": share, "PYTHONDONTWRITEBYTECODE": "1"}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in given.items()]
    # -p no:...: caches and workers are of no use to a machine that ends in a minute.
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    call += [
        "--continue-on-collection-errors",
        f"--timeout={TEST_SECONDS}",
        "--basetemp=/run/tests",
    ]
    lines += [
        f"cd {shlex.quote(str(ROOT))}",
        "echo up >$WRT_VM_SHARE/up",
        f"{shlex.join(call)} --junitxml=$WRT_VM_SHARE/report.xml @$WRT_VM_SHARE/files",
        "echo $? >$WRT_VM_SHARE/code",
    ]
    return "\n".join(lines) + "\n"


def missing() -> str | None:
    """What keeps this machine from having another one inside."""
    if shutil.which(qemu()) is None:
        return f"{qemu()} is not installed"
    for name in ("vmlinuz", "initrd"):
        if not (FILES / name).is_file():
            return f"build/vm/{name} is not there; `make setup` makes it"
    return None


class Machine:
    """The one machine of this session, and the reports that come from it."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self._config = config
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
        self._share = FILES / "runs" / run
        self._seen = 0  # bytes of the reports that were read
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._absent = missing()
        if self._absent is None and self._is_mine():
            self._boot(items)

    def _is_mine(self) -> bool:
        self._share.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._share.mkdir()
        except FileExistsError:
            return False
        return True

    def _boot(self, items: list[pytest.Item]) -> None:
        share = self._share
        (share / "wanted").write_text(json.dumps([item.nodeid for item in items]))
        files = {item.nodeid.split("::")[0]: None for item in items}
        (share / "files").write_text("".join(f"{name}\n" for name in files))
        (share / "run.sh").write_text(script("/vmshare"))
        with open(share / "disk", "wb") as disk:
            disk.truncate(256 << 20)
        # The shell tells everybody that the machine has ended, even if this process has, too.
        limit = f"timeout -k 5 {BOOT_SECONDS + RUN_SECONDS:.0f}"
        line = f"{limit} {shlex.join(command(share))} >console 2>&1; echo $? >ended"
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", line], cwd=share, stdin=subprocess.DEVNULL, start_new_session=True
        )
        atexit.register(self._end)

    def _end(self) -> None:
        """Pytest may leave before the machine, after Ctrl-C for instance."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._share, ignore_errors=True)

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Waits for the reports of a test: set-up, call, end."""
        try:
            return self._await(item)
        except NoMachine as error:
            return [_skipped(item, str(error))]

    def _await(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self._absent is not None:
            raise NoMachine(self._absent)
        self._await_boot()
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            ended = (self._share / "ended").exists()  # looked at first, or its last words are lost
            self._read()
            reports = self._reports.pop(item.nodeid, None)
            if reports is not None:
                return reports
            if ended or time.monotonic() > deadline:
                return [_failed(item, self._last_words(ended))]
            time.sleep(0.05)

    def _await_boot(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not (self._share / "up").exists():
            if (self._share / "ended").exists() or time.monotonic() > deadline:
                self._absent = f"it does not boot: {self._console(1) or 'its console is empty'}"
                raise NoMachine(self._absent)
            time.sleep(0.05)

    def _read(self) -> None:
        """Takes the whole lines that have come since."""
        path = self._share / "reports"
        if not path.exists():
            return
        with open(path, "rb") as file:
            file.seek(self._seen)
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.splitlines():
            done = json.loads(line)
            self._reports[done["test"]] = [self._restored(report) for report in done["reports"]]

    def _restored(self, data: Any) -> pytest.TestReport:
        if isinstance(data["longrepr"], list):  # a skip's place and reason; JSON has no tuples
            data["longrepr"] = tuple(data["longrepr"])
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        assert isinstance(report, pytest.TestReport)
        return report

    def _last_words(self, ended: bool) -> str:
        if (self._share / "code").exists():
            first = "the virtual machine ended without a report of this test"
        elif ended:
            first = "the virtual machine stopped before it had reported this test"
        else:
            first = f"the virtual machine did not report this test within {RUN_SECONDS:.0f} s"
        return f"{first}; its console's last lines:\n{self._console(TAIL_LINES)}"

    def _console(self, lines: int) -> str:
        path = self._share / "console"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def _report(item: pytest.Item, outcome: Any, longrepr: Any) -> pytest.TestReport:
    return pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), outcome, longrepr, "call"
    )


def _skipped(item: pytest.Item, why: str) -> pytest.TestReport:
    return _report(item, "skipped", (__file__, 1, f"Skipped: {LEFT_OUT}{why}"))


def _failed(item: pytest.Item, why: str) -> pytest.TestReport:
    return _report(item, "failed", why)


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("vm") is not None


class Outside:
    """Puts the machine's reports in the place of the marked tests."""

    def __init__(self) -> None:
        self._machine: Machine | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Last come those of the machine: who waits for it then keeps nothing else waiting."""
        items.sort(key=_is_marked)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not _is_marked(item):
            return None
        if self._machine is None:
            marked = [item for item in item.session.items if _is_marked(item)]
            self._machine = Machine(item.config, marked)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._machine.reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        skipped = terminalreporter.stats.get("skipped", [])
        reasons = [_reason(report) for report in skipped]
        left_out = [reason for reason in reasons if LEFT_OUT in reason]
        if left_out:
            why = left_out[0].removeprefix("Skipped: ")
            terminalreporter.write_line(f"{len(left_out)} tests left out, {why}")


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""


class Inside:
    """Runs what is wanted outside, and writes each test's reports in one line."""

    def __init__(self, share: Path) -> None:
        self._wanted = set(json.loads((share / "wanted").read_text()))
        self._path = share / "reports"
        self._reports: list[Any] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._wanted]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._reports = []
        result = yield
        line = json.dumps({"test": item.nodeid, "reports": self._reports})
        with open(self._path, "a") as file:
            file.write(f"{line}\n")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        config = self._config
        self._reports.append(
            config.hook.pytest_report_to_serializable(config=config, report=report)
        )

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config


def plugins(config: pytest.Config) -> Iterator[Any]:
    """What this session needs to know of the machine."""
    if INSIDE is None:
        yield Outside()
    else:
        yield Inside(Path(INSIDE))
