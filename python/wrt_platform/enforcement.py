"""What was asked for, and what this system really does about it. Mirrors enforcement.h."""

from __future__ import annotations

from typing import Any, NamedTuple

from wrt_platform._enums import EnforcementState
from wrt_platform._native import ffi

__all__ = ["Enforcement", "EnforcementState"]


class Enforcement(NamedTuple):
    """One protection: asked or not, and by what it holds, or why it does not."""

    state: EnforcementState
    reason: str

    def __str__(self) -> str:
        return f"{self.state.name.lower().replace('_', ' ')}: {self.reason}"


def enforcement_of(raw: Any) -> Enforcement:
    """Reads a wrt_enforcement."""
    return Enforcement(EnforcementState(raw.state), ffi.string(raw.reason).decode())
