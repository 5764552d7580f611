"""What gives rights away, under the name of the documents' module."""

from __future__ import annotations

from wrt_platform.linux.capabilities import Capabilities, CapabilitiesReport, Capability
from wrt_platform.linux.landlock import LandlockAccess, LandlockBuilder, LandlockReport
from wrt_platform.linux.namespaces import Namespace, NamespaceType
from wrt_platform.linux.seccomp import Seccomp, SeccompAction, SeccompBuilder, SeccompProfile
from wrt_platform.linux.selinux import SeLinux

__all__ = [
    "Capabilities",
    "CapabilitiesReport",
    "Capability",
    "LandlockAccess",
    "LandlockBuilder",
    "LandlockReport",
    "Namespace",
    "NamespaceType",
    "SeLinux",
    "Seccomp",
    "SeccompAction",
    "SeccompBuilder",
    "SeccompProfile",
]
