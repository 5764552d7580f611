"""An ordinary program in a process that has given up nearly all. Mirrors
wrt_platform/linux/confined_process.h.

done = (
    ConfinedProcessBuilder("/usr/bin/python3")
    .with_arguments(["python3", "-c", "print(6 * 7)"])
    .with_system_files()
    .with_memory_bytes(512 << 20)
    .run(timeout=5)
)
print(done.output, done.end, done.report.filter)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import ConfinedDescriptor, ConfinedEnd, ConfinedWall
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import TimedOutError, check
from wrt_platform.linux.capabilities import Capability, capability_mask
from wrt_platform.linux.landlock import LandlockAccess, LandlockRule, raw_rules
from wrt_platform.linux.namespaces import NamespaceType, namespace_mask
from wrt_platform.linux.seccomp import Seccomp
from wrt_platform.page_allocator import _within, _word

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "ConfinedEnd",
    "ConfinedOutcome",
    "ConfinedProcess",
    "ConfinedProcessBuilder",
    "ConfinedReport",
    "ConfinedResult",
    "ConfinedWall",
    "LandlockAccess",
    "LandlockRule",
]

NULL = int(ConfinedDescriptor.NULL)  # /dev/null


class ConfinedReport(NamedTuple):
    """What holds of each wall."""

    cgroup: Enforcement
    namespaces: Enforcement
    root: Enforcement
    limits: Enforcement
    capabilities: Enforcement
    privileges: Enforcement  # none are gained by exec
    selinux: Enforcement
    files: Enforcement
    descriptors: Enforcement  # none but 0, 1 and 2
    filter: Enforcement


class ConfinedResult(NamedTuple):
    """How a program ended."""

    end: ConfinedEnd
    code: int  # exit code or signal; 0 if unknown

    @property
    def ok(self) -> bool:
        """It ended by itself with code 0, and that is known."""
        return self.end == ConfinedEnd.EXITED and self.code == 0


class ConfinedOutcome(NamedTuple):
    """What a program that ran to its end has left."""

    result: ConfinedResult
    output: bytes
    errors: bytes
    report: ConfinedReport
    timed_out: bool

    @property
    def end(self) -> ConfinedEnd:
        """How it ended."""
        return self.result.end

    @property
    def code(self) -> int:
        """Its exit code or signal."""
        return self.result.code


class ConfinedProcess:
    """A program behind its walls; made by ConfinedProcessBuilder. A forked child can't use it."""

    def __init__(self, config: Any) -> None:
        self._raw = ffi.new("wrt_confined_process *")
        self._lock = threading.Lock()  # round each C call but kill
        check(lib.wrt_confined_process_start(self._raw, config))

    @property
    def pid(self) -> int:
        """The number of the process, as seen from here."""
        return int(self._raw.process)

    @property
    def report(self) -> ConfinedReport:
        """What holds of each wall."""
        raw = ffi.new("wrt_confined_report *")
        with self._lock:
            status = lib.wrt_confined_process_query(self._raw, raw)
        check(status)
        names = ConfinedReport._fields
        return ConfinedReport(*(enforcement_of(getattr(raw, name)) for name in names))

    def wait(self, timeout: float | None = None) -> ConfinedResult:
        """Waits until the program has ended. timeout: seconds; None: no limit. Raises
        TimedOutError while it runs. Waits in slices, so that Ctrl-C and kill() get through."""
        deadline = None if timeout is None else time.monotonic() + timeout
        raw = ffi.new("wrt_confined_result *")
        while True:
            left = 0.1 if deadline is None else max(0.0, min(0.1, deadline - time.monotonic()))
            with self._lock:
                status = lib.wrt_confined_process_wait(self._raw, int(left * 1e9), raw)
            out_of_time = deadline is not None and time.monotonic() >= deadline
            if status != lib.WRT_ERR_TIMED_OUT or out_of_time:
                check(status)
                return ConfinedResult(ConfinedEnd(raw.end), raw.code)

    def kill(self) -> None:
        """Kills the program; it has then to be waited for. Any thread may do it."""
        check(lib.wrt_confined_process_kill(self._raw))

    def close(self) -> None:
        """Kills the program if it still runs; again does nothing."""
        with self._lock:
            status = lib.wrt_confined_process_deinit(self._raw)
        check(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_raw", None) is not None:
            lib.wrt_confined_process_deinit(self._raw)


class ConfinedProcessBuilder:
    """Collects settings; the rules of linux/confined_process.h are checked by start()."""

    def __init__(self, executable: str | os.PathLike[str] | None = None) -> None:
        size = ffi.sizeof("wrt_confined_process_config")
        self._config = ffi.new("wrt_confined_process_config *", {"struct_size": size})
        self._kept: dict[str, Any] = {}  # what C borrows while start() runs
        self._files: list[LandlockRule] = []
        if executable is not None:
            self.with_executable(executable)

    def _text(self, field: str, value: str | bytes | os.PathLike[str] | None) -> Self:
        self._kept[field] = ffi.NULL if value is None else ffi.new("char[]", os.fsencode(value))
        setattr(self._config, field, self._kept[field])
        return self

    def _texts(self, field: str, values: Iterable[str | bytes]) -> Self:
        texts = [ffi.new("char[]", os.fsencode(value)) for value in values]
        array = ffi.new("char *[]", [*texts, ffi.NULL])
        self._kept[field] = texts, array
        setattr(self._config, field, ffi.cast("char const * const *", array))
        return self

    def with_executable(self, path: str | os.PathLike[str]) -> Self:
        """The program's path, as seen from the new root."""
        return self._text("executable", path)

    def with_arguments(self, arguments: Sequence[str | bytes]) -> Self:
        """The first is the program's name for itself."""
        return self._texts("arguments", arguments)

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """All of its variables; nothing is inherited."""
        return self._texts("environment", [f"{key}={value}" for key, value in environment.items()])

    def with_working_directory(self, path: str | os.PathLike[str] | None) -> Self:
        """None: the root."""
        return self._text("working_directory", path)

    def with_root(self, path: str | os.PathLike[str] | None) -> Self:
        """A folder that becomes the root; it takes a mount namespace."""
        return self._text("root", path)

    def with_files(self, rules: Iterable[LandlockRule]) -> Self:
        """What the program reaches, seen from the new root, beside its own file."""
        self._files.extend(rules)
        return self

    def allow(self, path: str | os.PathLike[str], access: int) -> Self:
        """One rule for files. access: bits of LandlockAccess."""
        return self.with_files([LandlockRule(path, access)])

    def with_system_files(self, enabled: bool = True) -> Self:
        """The program may read and execute /usr, /lib, /bin and their like."""
        self._config.system_files = enabled
        return self

    def with_filter(self, filter: Seccomp | None) -> Self:
        """A filter of its own, which has to allow execve; None: the profile STRICT."""
        program = b"" if filter is None else filter.program
        raw = ffi.new("wrt_seccomp_instruction[]", max(len(program) // 8, 1))
        ffi.memmove(raw, program, len(program))
        self._kept["filter"] = raw
        self._config.filter = ffi.NULL if filter is None else raw
        self._config.filter_count = len(program) // 8
        return self

    def with_selinux_context(self, context: str | None) -> Self:
        """None: the context stays."""
        return self._text("selinux_context", context)

    def with_kept_capabilities(self, capabilities: Iterable[Capability]) -> Self:
        """What is not there already is not gained."""
        self._config.kept_capabilities = capability_mask(capabilities)
        return self

    def with_memory_bytes(self, size: int) -> Self:
        """Of addresses; 0: no limit."""
        self._config.memory_bytes = _within(size, "memory_bytes", 2**64)
        return self

    def with_file_bytes(self, size: int) -> Self:
        """Of a file that it writes; 0: no limit."""
        self._config.file_bytes = _within(size, "file_bytes", 2**64)
        return self

    def with_cpu_seconds(self, seconds: int) -> Self:
        """Of processor time, then the kernel kills it; 0: no limit."""
        self._config.cpu_seconds = _word(seconds, "cpu_seconds")
        return self

    def with_open_files(self, count: int) -> Self:
        """Descriptors that it may have; 0: 64."""
        self._config.open_files = _word(count, "open_files")
        return self

    def with_processes(self, count: int) -> Self:
        """Of this user, threads too; 0: no limit."""
        self._config.processes = _word(count, "processes")
        return self

    def with_namespaces(self, namespaces: Iterable[NamespaceType]) -> Self:
        """Nothing: USER, MOUNT, PID, IPC and UTS."""
        self._config.namespaces = namespace_mask(namespaces)
        return self

    def with_user_id(self, user: int) -> Self:
        """The program's user; takes root."""
        self._config.user_id, self._config.has_user = _word(user, "user_id"), True
        return self

    def with_group_id(self, group: int) -> Self:
        """The program's group; takes root."""
        self._config.group_id, self._config.has_user = _word(group, "group_id"), True
        return self

    def with_has_user(self, enabled: bool = True) -> Self:
        """Whether user and group count; setting one of them does it."""
        self._config.has_user = enabled
        return self

    def with_standard_input(self, descriptor: int) -> Self:
        """0: that of this process; NULL: /dev/null."""
        self._config.standard_input = descriptor
        return self

    def with_standard_output(self, descriptor: int) -> Self:
        """0: that of this process; NULL: /dev/null."""
        self._config.standard_output = descriptor
        return self

    def with_standard_error(self, descriptor: int) -> Self:
        """0: that of this process; NULL: /dev/null."""
        self._config.standard_error = descriptor
        return self

    def with_cgroup(self, descriptor: int) -> Self:
        """Of a control group's folder, open while start() runs."""
        self._config.cgroup, self._config.has_cgroup = descriptor, True
        return self

    def with_has_cgroup(self, enabled: bool = True) -> Self:
        """Whether the control group counts; setting it does it."""
        self._config.has_cgroup = enabled
        return self

    def with_cgroup_wall(self, wall: ConfinedWall) -> Self:
        """DEFAULT: required, if there is one."""
        self._config.cgroup_wall = wall
        return self

    def with_namespace_wall(self, wall: ConfinedWall) -> Self:
        """DEFAULT: preferred; required with a root."""
        self._config.namespace_wall = wall
        return self

    def with_capability_wall(self, wall: ConfinedWall) -> Self:
        """DEFAULT: preferred."""
        self._config.capability_wall = wall
        return self

    def with_selinux_wall(self, wall: ConfinedWall) -> Self:
        """DEFAULT: required, if there is a context."""
        self._config.selinux_wall = wall
        return self

    def with_file_wall(self, wall: ConfinedWall) -> Self:
        """Landlock. DEFAULT: preferred."""
        self._config.file_wall = wall
        return self

    def with_filter_wall(self, wall: ConfinedWall) -> Self:
        """DEFAULT: required."""
        self._config.filter_wall = wall
        return self

    def with_end_with_thread(self, enabled: bool = True) -> Self:
        """The kernel kills the program when the thread that called start() ends."""
        self._config.end_with_thread = enabled
        return self

    def start(self) -> ConfinedProcess:
        """Starts the program behind its walls. Raises with the wall that can't be put up."""
        return self._start(self._config)

    def _start(self, settings: Any) -> ConfinedProcess:
        config = ffi.new("wrt_confined_process_config *", settings[0])
        rules, count, _kept = raw_rules(self._files)
        config.files, config.file_count = rules, count
        return ConfinedProcess(config)

    def run(self, input: bytes = b"", timeout: float | None = None) -> ConfinedOutcome:
        """Runs the program to its end with its streams caught; it is killed when time is up, in
        seconds. Raises as start() does."""
        ends = [os.pipe() for _ in range(3)]
        settings = ffi.new("wrt_confined_process_config *", self._config[0])
        settings.standard_input, settings.standard_output = ends[0][0], ends[1][1]
        settings.standard_error = ends[2][1]
        try:
            process = self._start(settings)
        except BaseException:
            for end in (ends[0][1], ends[1][0], ends[2][0]):
                os.close(end)
            raise
        finally:
            for end in (ends[0][0], ends[1][1], ends[2][1]):
                os.close(end)
        with process:
            return _talk(process, input, (ends[0][1], ends[1][0], ends[2][0]), timeout)


def _write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        try:
            while content:
                content = content[stream.write(content) :]
        except BrokenPipeError:
            pass  # it does not want any more


def _read_all(descriptor: int, into: list[bytes]) -> None:
    with os.fdopen(descriptor, "rb") as stream:
        into.append(stream.read())


def _talk(
    process: ConfinedProcess, content: bytes, ends: tuple[int, int, int], timeout: float | None
) -> ConfinedOutcome:
    output: list[bytes] = []
    errors: list[bytes] = []
    threads = [
        threading.Thread(target=_write_all, args=(ends[0], content), daemon=True),
        threading.Thread(target=_read_all, args=(ends[1], output), daemon=True),
        threading.Thread(target=_read_all, args=(ends[2], errors), daemon=True),
    ]
    for thread in threads:
        thread.start()
    timed_out = False
    try:
        result = process.wait(timeout)
    except TimedOutError:
        timed_out = True
        process.kill()
        result = process.wait()
    except BaseException:
        process.kill()
        raise
    for thread in threads:
        thread.join()
    return ConfinedOutcome(result, output[0], errors[0], process.report, timed_out)
