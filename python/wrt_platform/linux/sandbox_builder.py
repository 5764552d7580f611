"""What a sandbox is made of: walls round a module (`build`), or, with the profile strict, round an
ordinary program (`confine`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wrt_platform._enums import SandboxProfile, SandboxWall
from wrt_platform._native import ffi, lib
from wrt_platform.errors import InvalidArgumentError, check
from wrt_platform.linux.confined_process import ConfinedProcessBuilder
from wrt_platform.linux.sandboxed import Sandbox
from wrt_platform.page_allocator import _within, _word

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SandboxBuilder", "sandbox_program"]


class SandboxBuilder:
    """Collects settings; the rules of linux/sandbox.h are checked by build()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_sandbox_config")
        self._config = ffi.new("wrt_sandbox_config *", {"struct_size": size})
        self._path: Any = None  # C borrows it

    def with_profile(self, profile: SandboxProfile | str) -> Self:
        """SEALED, or "sealed": build() makes a process for one module. STRICT, or "strict":
        confine() makes one for an ordinary program; run(..., sandbox="strict") runs a module in
        such a one."""
        self._config.profile = _member(SandboxProfile, profile)
        return self

    def with_maximum_pages(self, pages: int) -> Self:
        """Of linear memory, 64 KiB each; 0: 4096, 256 MiB."""
        self._config.maximum_pages = _word(pages, "maximum_pages")
        return self

    def with_cpu_seconds(self, seconds: int) -> Self:
        """Processor time, then the kernel kills it; 0: no limit."""
        self._config.cpu_seconds = _word(seconds, "cpu_seconds")
        return self

    def with_landlock(self, wall: SandboxWall | str = SandboxWall.REQUIRED) -> Self:
        """No file at all, behind the filter; without this call it is preferred."""
        self._config.landlock = _member(SandboxWall, wall)
        return self

    def with_user_namespace(self, wall: SandboxWall | str = SandboxWall.REQUIRED) -> Self:
        """No user and no capability, behind the filter; without this call it is off."""
        self._config.user_namespace = _member(SandboxWall, wall)
        return self

    def with_mount_namespace(self, wall: SandboxWall | str = SandboxWall.REQUIRED) -> Self:
        """A view of files of its own, behind the filter; without this call it is off."""
        self._config.mount_namespace = _member(SandboxWall, wall)
        return self

    def with_ipc_namespace(self, wall: SandboxWall | str = SandboxWall.REQUIRED) -> Self:
        """No System V objects, behind the filter; without this call it is off."""
        self._config.ipc_namespace = _member(SandboxWall, wall)
        return self

    def with_network_namespace(self, wall: SandboxWall | str = SandboxWall.REQUIRED) -> Self:
        """No network, behind the filter; without this call it is off, since it costs 0.4 ms."""
        self._config.network_namespace = _member(SandboxWall, wall)
        return self

    def with_maximum_module_bytes(self, size: int) -> Self:
        """Room for a module and its imports' names; at most 1 GiB; 0: 16 MiB."""
        self._config.maximum_module_bytes = _within(size, "maximum_module_bytes", 2**64)
        return self

    def with_working_bytes(self, size: int) -> Self:
        """For the engine's tables and the guest's stack; at most 1 GiB; 0: 64 MiB."""
        self._config.working_bytes = _within(size, "working_bytes", 2**64)
        return self

    def with_program_path(self, path: str | bytes | os.PathLike[str] | None) -> Self:
        """A file that holds sandbox_program(), where nothing is executed from memory."""
        self._path = None if path is None else ffi.new("char[]", os.fsencode(path))
        self._config.program_path = ffi.NULL if path is None else self._path
        return self

    def build(self) -> Sandbox:
        """Starts the process; it is sealed then, and waits. Raises InvalidArgumentError naming
        the broken rule, UnsupportedError naming what the system lacks (and confine(), with the
        profile STRICT), LimitError, OutOfMemoryError, PermissionDeniedError, NotFoundError,
        SystemCallError."""
        raw = ffi.new("wrt_sandbox *")
        check(lib.wrt_sandbox_init(raw, self._config))
        return Sandbox(raw)

    def confine(self, executable: str | os.PathLike[str]) -> ConfinedProcessBuilder:
        """The walls of the profile STRICT round an ordinary program: a builder that has them, to be
        given arguments, files and limits, and started. Landlock and namespaces are preferred
        where nothing else was asked (the network's is off); one that is required makes all that
        are asked required. Raises UnsupportedError with the profile SEALED, which is for modules,
        InvalidArgumentError for settings that only an engine has."""
        builder = ConfinedProcessBuilder(executable)
        found = ffi.new("wrt_confined_process_config *")
        check(lib.wrt_sandbox_confine(self._config, found))
        for field in ("cpu_seconds", "namespaces", "namespace_wall", "file_wall"):
            setattr(builder._config, field, getattr(found, field))
        return builder


def sandbox_program() -> bytes:
    """The program that runs in the process: a static ELF file, for with_program_path() on systems
    that execute nothing from memory. Raises UnsupportedError where there is none."""
    start, size = ffi.new("uint8_t const **"), ffi.new("size_t *")
    check(lib.wrt_sandbox_program(start, size))
    return bytes(ffi.buffer(start[0], size[0]))


def _member(kind: Any, given: Any) -> int:
    """A member of an enum, or its name."""
    if not isinstance(given, str):
        return int(given)
    if given.upper() not in kind.__members__:
        names = ", ".join(name.lower() for name in kind.__members__)
        raise InvalidArgumentError(f"{given!r} is not one of {names}")
    return int(kind[given.upper()])
