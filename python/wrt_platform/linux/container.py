"""Where this process runs, and how much of the machine it may use. Mirrors linux/container.h.

if detect_environment() is ContainerEnvironment.KUBERNETES:
    print(detect_resources().memory_limit)
for sign in describe_environment().evidence:
    print(sign.runtime.name, sign.confidence.name, sign.text)
"""

from __future__ import annotations

import os
from typing import NamedTuple

from wrt_platform._enums import (
    LinuxCgroupLayout,
    LinuxConfidence,
    LinuxLimitSource,
    LinuxRuntime,
)
from wrt_platform._native import ffi, lib
from wrt_platform.errors import check

__all__ = [
    "ContainerEnvironment",
    "Environment",
    "Evidence",
    "LinuxCgroupLayout",
    "LinuxConfidence",
    "LinuxLimitSource",
    "Resources",
    "describe_environment",
    "detect_environment",
    "detect_resources",
]

ContainerEnvironment = LinuxRuntime
_NONE = 2**64 - 1  # no limit


class Evidence(NamedTuple):
    """One sign."""

    runtime: LinuxRuntime
    confidence: LinuxConfidence
    text: str


class Environment(NamedTuple):
    """What was found; layers can stand in each other."""

    environment: LinuxRuntime  # the one that matters most
    confidence: LinuxConfidence  # of it
    layers: frozenset[LinuxRuntime]
    evidence: tuple[Evidence, ...]


class Resources(NamedTuple):
    """What this process may use; None: nothing limits it."""

    memory_total: int | None  # bytes of the machine
    memory_limit: int | None  # the least of the machine, of each group above, of the address space
    memory_available: int | None  # that can still be had
    cpus: float  # the lesser of quota and CPUs that it may run on
    cpu_count: int  # that it may run on
    cpu_quota: float | None  # the least quota of the groups above
    pids_limit: int | None  # processes and threads
    memory_source: LinuxLimitSource  # of memory_limit
    memory_depth: int  # of the group that limits it, in steps below the mount
    cpu_source: LinuxLimitSource  # of cpus
    cgroup_layout: LinuxCgroupLayout


def detect_environment(root: str = "") -> LinuxRuntime:
    """What matters most of where this process runs: a container goes before systemd."""
    return describe_environment(root).environment


def describe_environment(root: str = "") -> Environment:
    """The same with all signs, and how much they are worth. root: put before each path."""
    raw = ffi.new("wrt_linux_environment *")
    check(lib.wrt_linux_environment_detect(os.fsencode(root), raw))
    layers = (runtime for runtime in LinuxRuntime if raw.layers >> runtime & 1)
    signs = (raw.evidence[number] for number in range(raw.evidence_count))
    evidence = (
        Evidence(
            LinuxRuntime(sign.runtime),
            LinuxConfidence(sign.confidence),
            ffi.string(sign.text).decode(),
        )
        for sign in signs
    )
    return Environment(
        LinuxRuntime(raw.environment),
        LinuxConfidence(raw.confidence),
        frozenset(layers),
        tuple(evidence),
    )


def detect_resources(root: str = "") -> Resources:
    """What this process may use, and what limits it. root: put before each path."""
    raw = ffi.new("wrt_linux_resources *")
    check(lib.wrt_linux_resources_detect(os.fsencode(root), raw))
    quota = _limit(raw.cpu_quota_milli)
    return Resources(
        _limit(raw.memory_total),
        _limit(raw.memory_limit),
        _limit(raw.memory_available),
        raw.cpu_milli / 1000,
        raw.cpu_count,
        None if quota is None else quota / 1000,
        _limit(raw.pids_limit),
        LinuxLimitSource(raw.memory_source),
        raw.memory_depth,
        LinuxLimitSource(raw.cpu_source),
        LinuxCgroupLayout(raw.cgroup_layout),
    )


def _limit(number: int) -> int | None:
    return None if number == _NONE else number
