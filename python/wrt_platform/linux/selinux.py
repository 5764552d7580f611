"""Whether SELinux is there, and the context of this process. Mirrors
wrt_platform/linux/selinux.h.

if SeLinux.is_enabled():
    SeLinux.set_context("system_u:system_r:wasm_runtime_t:s0")
"""

from __future__ import annotations

from wrt_platform._native import ffi, lib
from wrt_platform.errors import check

__all__ = ["SeLinux"]


class SeLinux:
    """What can be done about the context of the calling thread."""

    @staticmethod
    def is_enabled() -> bool:
        """Whether SELinux is there with a policy loaded."""
        out = ffi.new("bool *")
        check(lib.wrt_selinux_is_enabled(out))
        return bool(out[0])

    @staticmethod
    def is_enforcing() -> bool:
        """Whether what the policy forbids is refused. Raises UnsupportedError without SELinux."""
        out = ffi.new("bool *")
        check(lib.wrt_selinux_is_enforcing(out))
        return bool(out[0])

    @staticmethod
    def context() -> str:
        """The calling thread's context. Raises UnsupportedError without SELinux."""
        text = ffi.new("char[]", lib.WRT_SELINUX_CONTEXT_SIZE)
        check(lib.wrt_selinux_context(text, len(text)))
        return str(ffi.string(text).decode())

    @staticmethod
    def set_context(context: str) -> None:
        """Moves the calling thread into another context. Raises UnsupportedError without SELinux,
        PermissionDeniedError where the policy refuses."""
        check(lib.wrt_selinux_set_context(ffi.new("char[]", context.encode())))
