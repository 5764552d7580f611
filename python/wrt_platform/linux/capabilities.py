"""The pieces of root's power, and giving them up. Mirrors wrt_platform/linux/capabilities.h.

Capabilities.current().drop_all_except([Capability.SYS_RESOURCE])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from wrt_platform._enums import Capability, CapabilityOption
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check

__all__ = ["Capabilities", "CapabilitiesReport", "Capability", "capability_mask"]


class CapabilitiesReport(NamedTuple):
    """What became of a drop."""

    sets: Enforcement  # effective, permitted, inheritable
    bounding: Enforcement  # so that no exec gives them back
    ambient: Enforcement  # so that none passes exec unasked
    securebits: Enforcement  # so that user 0 is no reason to get any


def capability_mask(capabilities: Iterable[Capability]) -> int:
    """The bits that stand for them."""
    mask = 0
    for one in capabilities:
        mask |= 1 << Capability(one)
    return mask


def _set(mask: int) -> frozenset[Capability]:
    known = {int(one) for one in Capability}
    return frozenset(Capability(bit) for bit in known if mask >> bit & 1)


class Capabilities(NamedTuple):
    """What a thread has; what this library has no name for is left out."""

    effective: frozenset[Capability]  # counts now
    permitted: frozenset[Capability]  # can be made effective
    inheritable: frozenset[Capability]  # can pass exec
    bounding: frozenset[Capability]  # no exec gives more
    ambient: frozenset[Capability]  # pass exec of an ordinary program
    securebits: int  # as prctl(PR_GET_SECUREBITS) has them
    last: int  # the highest one that this kernel knows

    @classmethod
    def current(cls) -> Capabilities:
        """What the calling thread has."""
        raw = ffi.new("wrt_capabilities *")
        check(lib.wrt_capabilities_current(raw))
        return cls._of(raw)

    @classmethod
    def _of(cls, raw: Any) -> Capabilities:
        return cls(
            _set(raw.effective),
            _set(raw.permitted),
            _set(raw.inheritable),
            _set(raw.bounding),
            _set(raw.ambient),
            raw.securebits,
            raw.last,
        )

    def drop_all_except(
        self, kept: Iterable[Capability], *, ambient: bool = False, this_thread: bool = False
    ) -> CapabilitiesReport:
        """Gives up all but these, for good. ambient: programs that are executed get them too.

        Raises StateError in a process with several threads, unless this_thread says that the
        others may keep theirs.
        """
        options = (CapabilityOption.AMBIENT if ambient else 0) | (
            CapabilityOption.THIS_THREAD if this_thread else 0
        )
        raw = ffi.new("wrt_capabilities_report *")
        check(lib.wrt_capabilities_drop_all_except(capability_mask(kept), options, raw))
        return CapabilitiesReport(
            enforcement_of(raw.sets),
            enforcement_of(raw.bounding),
            enforcement_of(raw.ambient),
            enforcement_of(raw.securebits),
        )
