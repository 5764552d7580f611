"""A process lets go of files, TCP ports and signals that it does not name. Mirrors
wrt_platform/linux/landlock.h.

report = (
    LandlockBuilder()
    .allow("/usr", LandlockAccess.READ | LandlockAccess.EXECUTE)
    .with_network()
    .restrict()
)
print(report.files)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from wrt_platform._enums import LandlockAccess, LandlockPortAccess
from wrt_platform._native import ffi, lib
from wrt_platform.enforcement import Enforcement, enforcement_of
from wrt_platform.errors import check
from wrt_platform.page_allocator import _word

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

__all__ = [
    "LandlockAccess",
    "LandlockBuilder",
    "LandlockPort",
    "LandlockPortAccess",
    "LandlockReport",
    "LandlockRule",
    "landlock_abi",
]


class LandlockRule(NamedTuple):
    """A path that stays usable, and all beneath it."""

    path: str | bytes | os.PathLike[str]
    access: int  # bits of LandlockAccess


class LandlockPort(NamedTuple):
    """A TCP port that stays usable."""

    port: int
    access: int  # bits of LandlockPortAccess


class LandlockReport(NamedTuple):
    """What became of it."""

    abi: int  # of this kernel, as Landlock counts
    files: Enforcement
    network: Enforcement
    scope: Enforcement


def landlock_abi() -> int:
    """The version that this kernel has. Raises UnsupportedError where there is none."""
    out = ffi.new("uint32_t *")
    check(lib.wrt_landlock_abi(out))
    return int(out[0])


def raw_rules(rules: Iterable[LandlockRule]) -> tuple[Any, int, list[Any]]:
    """The array that C takes, how long it is, and what has to be kept with it."""
    listed = list(rules)
    kept = [ffi.new("char[]", os.fsencode(rule.path)) for rule in listed]
    raw = ffi.new("wrt_landlock_rule[]", max(len(listed), 1))
    for place, rule, path in zip(raw, listed, kept):
        place.path, place.access = path, _word(rule.access, "access")
    return raw, len(listed), kept


class LandlockBuilder:
    """Collects what stays; the rules of linux/landlock.h are checked by restrict()."""

    def __init__(self) -> None:
        size = ffi.sizeof("wrt_landlock_config")
        self._config = ffi.new("wrt_landlock_config *", {"struct_size": size})
        self._rules: list[LandlockRule] = []
        self._ports: list[LandlockPort] = []

    def allow(self, path: str | bytes | os.PathLike[str], access: int) -> Self:
        """This path stays usable, and all beneath it. access: bits of LandlockAccess."""
        return self.with_rules([LandlockRule(path, access)])

    def with_rules(self, rules: Iterable[LandlockRule]) -> Self:
        """These paths stay usable."""
        self._rules.extend(rules)
        return self

    def with_ports(self, ports: Iterable[LandlockPort]) -> Self:
        """These TCP ports stay usable, and no other."""
        self._ports.extend(ports)
        return self

    def with_network(self, enabled: bool = True) -> Self:
        """TCP is restricted, to the ports that are given."""
        self._config.network = enabled
        return self

    def with_scope(self, enabled: bool = True) -> Self:
        """No signals to, and no abstract sockets of, processes outside."""
        self._config.scope = enabled
        return self

    def with_this_thread(self, enabled: bool = True) -> Self:
        """Although there are other threads, which stay free."""
        self._config.this_thread = enabled
        return self

    def restrict(self) -> LandlockReport:
        """Restricts the calling thread, for good. Raises StateError in a process with several
        threads, NotFoundError for a path that is not there."""
        config = ffi.new("wrt_landlock_config *", self._config[0])
        rules, count, _kept = raw_rules(self._rules)
        ports = ffi.new("wrt_landlock_port[]", max(len(self._ports), 1))
        for place, port in zip(ports, self._ports):
            place.port, place.access = _word(port.port, "port"), _word(port.access, "access")
        config.rules, config.rule_count = rules, count
        config.ports, config.port_count = ports, len(self._ports)
        raw = ffi.new("wrt_landlock_report *")
        check(lib.wrt_landlock_restrict(config, raw))
        return LandlockReport(
            raw.abi,
            enforcement_of(raw.files),
            enforcement_of(raw.network),
            enforcement_of(raw.scope),
        )
