"""Views of files, processes, network and users of a process's own. Mirrors
wrt_platform/linux/namespaces.h.

if Namespace.probe([NamespaceType.USER, NamespaceType.MOUNT]).state == EnforcementState.ENFORCED:
    Namespace.unshare([NamespaceType.USER, NamespaceType.MOUNT])  # in a process without threads
"""

from __future__ import annotations

from collections.abc import Iterable

from wrt_platform._enums import Namespace as NamespaceType
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check

__all__ = ["Namespace", "NamespaceType", "namespace_mask"]


def namespace_mask(namespaces: Iterable[NamespaceType]) -> int:
    """The bits that stand for them."""
    mask = 0
    for one in namespaces:
        mask |= NamespaceType(one)
    return mask


class Namespace:
    """What can be done about the namespaces of this process."""

    @staticmethod
    def unshare(namespaces: Iterable[NamespaceType]) -> None:
        """Moves this process into new namespaces, for good. Raises StateError in a process with
        several threads, PermissionDeniedError with the setting that refuses it."""
        check(lib.wrt_namespace_unshare(namespace_mask(namespaces)))

    @staticmethod
    def probe(namespaces: Iterable[NamespaceType]) -> Enforcement:
        """Whether unshare() would work, found out by doing it in a child process."""
        raw = ffi.new("wrt_enforcement *")
        check(lib.wrt_namespace_probe(namespace_mask(namespaces), raw))
        return enforcement_of(raw[0])
