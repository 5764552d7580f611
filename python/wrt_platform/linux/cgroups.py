"""Control groups: limits for a group of processes, kept by the kernel. Mirrors linux/cgroups.h.

with CgroupBuilder("wasm_runtime").with_parent("/sys/fs/cgroup/user.slice").build() as cgroup:
    applied = cgroup.set_limits(ResourceLimits(memory_max=1 << 30, cpu_max=(50_000, 100_000)))
    process = cgroup.spawn(["wrt", "run", "program.wasm"])
    print(cgroup.get_stats().memory_current)

What keeps a limit from being set is said with the group that is in the way and what to do.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LinuxCgroupLayout, LinuxCgroupObstacle
from wrt_platform._native import ffi, lib
from wrt_platform.errors import NotFoundError, WrtError, check
from wrt_platform.linux.pressure import MemoryPressure, PressureLevel
from wrt_platform.page_allocator import _within, _word
from wrt_platform.system_below import nanoseconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "Cgroup",
    "CgroupBuilder",
    "CgroupController",
    "CgroupLocation",
    "CgroupPlan",
    "CgroupStats",
    "IoLimit",
    "LinuxCgroupLayout",
    "LinuxCgroupObstacle",
    "PressureLevel",
    "ResourceLimits",
    "locate_cgroup",
]

_NONE = 2**64 - 1  # no limit
_NONE_OF_32 = 2**32 - 1
_LEAVING = 5.0  # seconds that the end of `with` waits for processes that it has killed


class CgroupController(IntFlag):
    """Who keeps which limits."""

    CPU = lib.WRT_LINUX_CGROUP_CPU
    IO = lib.WRT_LINUX_CGROUP_IO
    MEMORY = lib.WRT_LINUX_CGROUP_MEMORY
    PIDS = lib.WRT_LINUX_CGROUP_PIDS


class CgroupLocation(NamedTuple):
    """Where this process stands."""

    layout: LinuxCgroupLayout
    path: str  # own group of version 2; empty: none
    mount: str  # where version 2 is mounted
    controllers: CgroupController  # of version 2 that own group may use
    is_outside: bool  # own group can't be seen from here: path is the mounted top


class CgroupPlan(NamedTuple):
    """What build() and the limits after it would meet."""

    path: str  # of the new group
    enabled: CgroupController  # that the new group would have already
    to_enable: CgroupController  # that would be enabled
    blocked: CgroupController  # that can't be had
    obstacle: LinuxCgroupObstacle  # of the first that is blocked
    blocked_controller: CgroupController  # the first that is blocked
    blocker: str  # the group that is in the way; empty: none
    remedy: str


class IoLimit(NamedTuple):
    """Limits of one disk; None: none."""

    device: str  # "8:0", of a whole disk
    read_bytes: int | None = None  # a second
    write_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None


class ResourceLimits(NamedTuple):
    """Limits of a group. None leaves a limit as it is; "max" takes it away."""

    memory_max: int | str | None = None  # bytes; beyond it a process is killed
    memory_high: int | str | None = None  # bytes; beyond it the group is slowed down
    cpu_max: tuple[int | str, int] | None = None  # microseconds of CPU time, in so many
    cpu_weight: int | None = None  # share beside others, 1 to 10000
    io_max: Sequence[tuple[str, str]] | None = None  # [("8:0", "rbps=1048576 wiops=max")]
    pids_max: int | str | None = None  # processes and threads
    memory_swap_max: int | str | None = None  # bytes; 0: nothing goes to swap
    kill_together: bool = False  # out of memory ends the whole group


class CgroupStats(NamedTuple):
    """What a group has used. Numbers whose controller is not enabled are 0."""

    controllers: CgroupController
    is_populated: bool  # a process lives in it, or below
    is_frozen: bool  # all have stopped
    memory_current: int  # bytes, now
    memory_peak: int  # 0 before Linux 5.19
    memory_swap: int
    memory_anonymous: int  # of memory_current, what no file backs
    memory_file: int
    memory_high_events: int  # how often memory_high slowed it down
    memory_max_events: int  # how often memory_max was about to be exceeded
    oom_kills: int
    cpu_usage_usec: int
    cpu_user_usec: int
    cpu_system_usec: int
    cpu_periods: int  # that have passed with a quota
    cpu_throttled: int  # of them, in which it had to wait
    cpu_throttled_usec: int
    io_read_bytes: int  # summed over all devices
    io_write_bytes: int
    io_reads: int
    io_writes: int
    pids_current: int
    pids_max_events: int  # forks that were refused


def locate_cgroup(root: str = "") -> CgroupLocation:
    """Finds the group of this process; root goes before /proc and before each mounted path."""
    raw = ffi.new("wrt_linux_cgroup_location *")
    check(lib.wrt_linux_cgroup_locate(root.encode(), raw))
    path = _text(raw.path)
    return CgroupLocation(
        LinuxCgroupLayout(raw.layout),
        path,
        os.fsencode(path)[: raw.mount_length].decode(),
        CgroupController(raw.controllers),
        raw.is_outside,
    )


class Cgroup:
    """A group; made by CgroupBuilder. A forked child can't use it (StateError).

    As a context manager it kills what is in it and removes the group at the end.
    """

    def __init__(self, config: Any, plan: Callable[[], CgroupPlan]) -> None:
        self._raw = ffi.new("wrt_linux_cgroup *")
        self._lock = threading.Lock()
        self._plan = plan
        self._pressure: list[MemoryPressure] = []
        self._call_explained(lib.wrt_linux_cgroup_init, config)
        self._raw = ffi.gc(self._raw, lib.wrt_linux_cgroup_deinit)

    def _call(self, call: Callable[..., int], *arguments: Any) -> None:
        with self._lock:
            check(call(self._raw, *arguments))

    def _call_explained(self, call: Callable[..., int], *arguments: Any) -> None:
        """A controller that can't be had is reported with the group that is in the way."""
        try:
            self._call(call, *arguments)
        except WrtError as error:
            if "steps below the mount" in str(error):
                raise _explained(error, self._plan()) from None
            raise

    @property
    def path(self) -> str:
        """Where the group is."""
        return _text(lib.wrt_linux_cgroup_path(self._raw))

    def set_limits(self, limits: ResourceLimits) -> ResourceLimits:
        """Sets limits, all or none, and returns those that hold: bytes of memory are rounded down
        to whole pages. io_max is left out; see get_io_limit()."""
        raw, kept = _raw_limits(limits)
        applied = ffi.new("wrt_linux_cgroup_limits *")
        self._call_explained(lib.wrt_linux_cgroup_set_limits, raw, applied)
        del kept
        return _limits_of(applied)

    def get_limits(self) -> ResourceLimits:
        """The limits that hold; None where the controller is not enabled, "max": no limit."""
        raw = ffi.new("wrt_linux_cgroup_limits *")
        self._call(lib.wrt_linux_cgroup_get_limits, raw)
        return _limits_of(raw)

    def get_io_limit(self, device: str) -> IoLimit:
        """The limits of one disk, "8:0"."""
        raw = ffi.new("wrt_linux_cgroup_io *")
        check(lib.wrt_linux_cgroup_io_parse(device.encode(), b"", raw))
        self._call(lib.wrt_linux_cgroup_get_io, raw.major, raw.minor, raw)
        values = (raw.read_bytes, raw.write_bytes, raw.reads, raw.writes)
        return IoLimit(device, *(None if value == _NONE else value for value in values))

    def add_process(self, process: int = 0) -> None:
        """Moves a process, with all its threads, into the group; 0: this one."""
        self._call(lib.wrt_linux_cgroup_add_process, _within(process, "process", 2**31))

    def spawn(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Starts a program that is in the group from its first instruction on, and returns its
        process id; wait for it by os.waitpid()."""
        found = shutil.which(arguments[0])
        if found is None:
            raise NotFoundError(f"there is no program {arguments[0]!r}")
        environment = os.environ if env is None else env
        words = _words(map(os.fsencode, arguments))
        variables = _words(os.fsencode(f"{name}={value}") for name, value in environment.items())
        process = ffi.new("int32_t *")
        call = lib.wrt_linux_cgroup_spawn
        self._call(call, os.fsencode(found), words[0], variables[0], process)
        return int(process[0])

    def get_stats(self) -> CgroupStats:
        """What the group has used."""
        raw = ffi.new("wrt_linux_cgroup_stats *")
        self._call(lib.wrt_linux_cgroup_get_stats, raw)
        names = (name.replace("_usec", "_us") for name in CgroupStats._fields[3:])
        return CgroupStats(
            CgroupController(raw.controllers),
            bool(raw.is_populated),
            bool(raw.is_frozen),
            *(int(getattr(raw, name)) for name in names),
        )

    def on_memory_pressure(
        self, call: Callable[[PressureLevel], Any], window: float | str = "2s"
    ) -> MemoryPressure:
        """Calls `call` with a PressureLevel whenever processes of the group wait for memory, at
        most once in each window for each level. It is called by one daemon thread, which ends with
        the returned object's close(), and at the exit of Python at the latest."""
        watch = MemoryPressure(self, call, window)
        self._pressure.append(watch)
        return watch

    def freeze(self, timeout: float | str = "5s") -> None:
        """Stops all processes in it, and waits until they stand."""
        self._call(lib.wrt_linux_cgroup_freeze, nanoseconds(timeout, "timeout"))

    def thaw(self) -> None:
        """Lets them run again."""
        self._call(lib.wrt_linux_cgroup_thaw)

    def kill(self, timeout: float | str = "5s") -> None:
        """Kills all processes in it, and waits until none is left."""
        self._call(lib.wrt_linux_cgroup_kill, nanoseconds(timeout, "timeout"))

    def remove(self, timeout: float | str = "5s") -> None:
        """Removes the group when the last process has left it, waiting for that."""
        for watch in self._pressure:
            watch.close()
        self._call(lib.wrt_linux_cgroup_remove, nanoseconds(timeout, "timeout"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._raw.is_removed:
            return
        self.kill(_LEAVING)
        self.remove(_LEAVING)


class CgroupBuilder:
    """Collects settings; the rules of linux/cgroups.h are checked by build()."""

    def __init__(self, name: str) -> None:
        size = ffi.sizeof("wrt_linux_cgroup_config")
        self._config = ffi.new("wrt_linux_cgroup_config *", {"struct_size": size})
        self._kept: dict[str, Any] = {}  # C borrows them while build() runs
        self.with_name(name)

    def _keep(self, field: str, text: str) -> Self:
        self._kept[field] = ffi.new("char[]", os.fsencode(text))
        setattr(self._config, field, self._kept[field])
        return self

    def with_name(self, name: str) -> Self:
        """Of the new group: 1 to 255 bytes without a slash."""
        return self._keep("name", name)

    def with_parent(self, parent: str) -> Self:
        """The group in which it is made, as a path from the mount or the top, or, without a first
        slash, from this process's own group; without it, own group."""
        return self._keep("parent", parent)

    def with_root(self, root: str) -> Self:
        """Put before each absolute path, for trees that are not the system's."""
        return self._keep("root", root)

    def with_controllers(self, controllers: CgroupController) -> Self:
        """Enabled by build(), or it fails; without it, when a limit first needs one."""
        self._config.controllers = _word(controllers, "controllers")
        return self

    def with_take_existing(self, enabled: bool = True) -> Self:
        """A group of that name that is there is taken, as it is."""
        self._config.take_existing = enabled
        return self

    def with_move_to_leaf(self, enabled: bool = True) -> Self:
        """Processes of own group that are in the way are moved to a group `wrt-leaf` in it."""
        self._config.move_to_leaf = enabled
        return self

    def plan(self) -> CgroupPlan:
        """What build() and limits would meet; changes nothing."""
        raw = ffi.new("wrt_linux_cgroup_plan *")
        check(lib.wrt_linux_cgroup_plan_of(self._config, raw))
        return CgroupPlan(
            _text(raw.path),
            CgroupController(raw.enabled),
            CgroupController(raw.to_enable),
            CgroupController(raw.blocked),
            LinuxCgroupObstacle(raw.obstacle),
            CgroupController(raw.blocked_controller),
            _text(raw.blocker),
            _text(raw.remedy),
        )

    def build(self) -> Cgroup:
        """Makes the group, or says what is in the way."""
        return Cgroup(self._config, self.plan)


def _explained(error: WrtError, plan: CgroupPlan) -> WrtError:
    if not plan.blocker:
        return error
    said = f"{error}. In the way is {plan.blocker}"
    explained = type(error)(said)
    explained.__dict__.update(error.__dict__)
    return explained


def _text(raw: Any) -> str:
    return os.fsdecode(ffi.string(raw))


def _words(words: Iterable[bytes]) -> tuple[Any, list[Any]]:
    kept = [ffi.new("char[]", word) for word in words]
    return ffi.new("char *[]", [*kept, ffi.NULL]), kept


def _number(given: int | str, name: str, most: int) -> int:
    if given == "max":
        return most
    if isinstance(given, str):
        raise TypeError(f'{name} is a number or "max", not {given!r}')
    return _within(given, name, most)


def _raw_limits(limits: ResourceLimits) -> tuple[Any, Any]:
    """The C struct, and what it borrows."""
    size = ffi.sizeof("wrt_linux_cgroup_limits")
    raw = ffi.new("wrt_linux_cgroup_limits *", {"struct_size": size})
    for name in ("memory_max", "memory_high", "memory_swap_max"):
        given = getattr(limits, name)
        if given is not None:
            setattr(raw, name, _number(given, name, _NONE))
    raw.has_memory_swap_max = limits.memory_swap_max is not None
    if limits.pids_max is not None:
        raw.pids_max = _number(limits.pids_max, "pids_max", _NONE_OF_32)
    if limits.cpu_weight is not None:
        raw.cpu_weight = _word(limits.cpu_weight, "cpu_weight")
    if limits.cpu_max is not None:
        raw.cpu_quota_us = _number(limits.cpu_max[0], "the quota of cpu_max", _NONE)
        raw.cpu_period_us = _within(limits.cpu_max[1], "the period of cpu_max", 2**64)
    raw.kill_together = limits.kill_together
    devices = list(limits.io_max or ())
    io = ffi.new("wrt_linux_cgroup_io[]", max(1, len(devices)))
    for number, (device, settings) in enumerate(devices):
        check(lib.wrt_linux_cgroup_io_parse(device.encode(), settings.encode(), io + number))
    raw.io, raw.io_count = io, len(devices)
    return raw, io


def _limit_of(number: int, none: int = _NONE) -> int | str | None:
    if number == none:
        return "max"
    return number or None


def _limits_of(raw: Any) -> ResourceLimits:
    quota = _limit_of(raw.cpu_quota_us)
    swap = "max" if raw.memory_swap_max == _NONE else int(raw.memory_swap_max)
    return ResourceLimits(
        memory_max=_limit_of(raw.memory_max),
        memory_high=_limit_of(raw.memory_high),
        cpu_max=None if quota is None else (quota, raw.cpu_period_us),
        cpu_weight=raw.cpu_weight or None,
        pids_max=_limit_of(raw.pids_max, _NONE_OF_32),
        memory_swap_max=swap if raw.has_memory_swap_max else None,
        kill_together=raw.kill_together,
    )
