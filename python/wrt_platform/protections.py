"""What stands between a guest and its host in a run, said honestly, with what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wrt_platform.enforcement import EnforcementState
from wrt_platform.errors import NotFoundError

if TYPE_CHECKING:
    from wrt_platform.instance import Instance
    from wrt_platform.limits import Limits

__all__ = [
    "STACK_SIZE",
    "Protected",
    "fuel_protection",
    "protections",
    "system_protections",
    "time_protection",
]

_ENFORCED = EnforcementState.ENFORCED
_NOT_ASKED = EnforcementState.NOT_ASKED
_ABSENT = EnforcementState.ABSENT
STACK_SIZE = 1 << 20  # bytes that a run has for the guest's calls; real programs recurse

_PAGE = 65536
_MEBIBYTE = 1 << 20


class Protected(NamedTuple):
    """One protection: how far it holds, by what, and what would make it hold better."""

    name: str
    state: EnforcementState
    reason: str
    remedy: str  # empty if nothing is to be done

    @property
    def word(self) -> str:
        """The state, in lower case: "enforced", "partial", "absent", "not asked"."""
        return self.state.name.lower().replace("_", " ")


def protections(
    instance: Instance, limits: Limits, with_system: bool, folders: list[str]
) -> tuple[Protected, ...]:
    """What held in a run."""
    return (
        Protected("memory bounds", _ENFORCED, "each access is compared with the memory's size", ""),
        _guard_pages(instance),
        _memory(instance, limits),
        fuel_protection(limits),
        time_protection(limits),
        Protected("stack", _ENFORCED, "the guest's calls lie in a stack of their own, 1 MiB", ""),
        *system_protections(with_system, folders),
        Protected(
            "process",
            _ABSENT,
            "the guest runs in this process: a fault of the engine would be the process's",
            'run(..., sandbox="sealed"), --sandbox sealed',
        ),
    )


def _guard_pages(instance: Instance) -> Protected:
    name = "guard pages"
    allocator = instance._open().allocator
    if allocator is None:
        return Protected(name, _NOT_ASKED, "the module has no memory of its own", "")
    held = getattr(allocator.report, "guard_pages", None)
    if held is None:
        remedy = "take LinuxAllocatorBuilder().with_guard_pages()"
        return Protected(name, _ABSENT, "this allocator has none", remedy)
    remedy = "" if held.state is _ENFORCED else "LinuxAllocatorBuilder().with_guard_pages()"
    return Protected(name, held.state, held.reason, remedy)


def _memory(instance: Instance, limits: Limits) -> Protected:
    try:
        memory = instance.memory
    except NotFoundError:
        return Protected("memory limit", _NOT_ASKED, "the module has no memory", "")
    maximum = memory.type.maximum
    pages = limits.pages or 4096
    most = pages if maximum is None else min(pages, maximum)
    reason = f"{most} pages ({most * _PAGE / _MEBIBYTE:g} MiB) at most; growth beyond fails"
    return Protected("memory limit", _ENFORCED, reason, "")


def fuel_protection(limits: Limits) -> Protected:
    """How many instructions it may execute."""
    if limits.fuel is None:
        return Protected("fuel", _NOT_ASKED, "any number of instructions", "fuel=…, --fuel N")
    return Protected("fuel", _ENFORCED, f"exactly {limits.fuel} instructions at most", "")


def time_protection(limits: Limits) -> Protected:
    """How long it may take."""
    if limits.timeout is None:
        return Protected("time limit", _NOT_ASKED, "any time", "timeout=…, --timeout 5s")
    return Protected("time limit", _ENFORCED, f"{limits.timeout:g} s, waits included", "")


def system_protections(with_system: bool, folders: list[str]) -> tuple[Protected, ...]:
    """What it reaches of files and network."""
    if not with_system:
        reason = "the module imports no system call"
        return (
            Protected("files", _ENFORCED, reason, ""),
            Protected("network", _ENFORCED, reason, ""),
        )
    where = f"only below {', '.join(folders)}; the kernel resolves the paths (openat2)"
    return (
        Protected("files", _ENFORCED, where if folders else "no folder is open", ""),
        Protected("network", _ENFORCED, "there is no call that opens a connection", ""),
    )
